namespace FsScheduler.Execution

open System
open System.Collections.Generic
open System.Threading
open FsScheduler.Core
open FsScheduler.Protocol

/// A job in hand, and its result where it came while there was nobody to give it to.
type private HeldJob = {
    job: AssignedTask
    source: CancellationTokenSource
    mutable result: JobResult voption
}

/// <summary>What a worker has in its hands, over all its connections: work goes on while its scheduler is away, and
/// what was finished meanwhile waits. Safe for use by any thread.</summary>
/// <remarks>Small payloads of built-in stages are not held: they are run at once, and run again sooner than a word
/// about them could be sent.</remarks>
[<Sealed>]
type HeldTasks() =
    let held = Dictionary<Attempt, HeldJob>()
    let mutable deliver: (AssignedTask -> JobResult -> bool) voption = ValueNone

    let discard (result: JobResult) = SpoolFile.discard result.payload

    let drop (one: HeldJob) =
        held.Remove one.job.work.attempt |> ignore

        match one.result with
        | ValueSome result -> discard result
        | ValueNone -> one.source.Cancel() // its end removes nothing any more

    /// Takes a job in hand; the token of what it is given back is that of the job.
    member _.Add(work: Process, payload: Payload) : AssignedTask =
        lock held (fun () ->
            let source = new CancellationTokenSource()
            let job = { work = work; payload = payload; cancellation = source.Token }
            held[work.attempt] <- { job = job; source = source; result = ValueNone }
            job)

    member _.IsEmpty = lock held (fun () -> held.Count = 0)
    member _.Count = lock held (fun () -> held.Count)

    /// What to say in a HELLO: as many as it takes; the rest is dropped.
    member _.Holding: Attempt[] =
        lock held (fun () ->
            for one in
                held.Values
                |> Seq.skip (min ProtocolLimits.holdingMax held.Count)
                |> Seq.toArray do
                drop one

            Seq.toArray held.Keys)

    /// <summary>A scheduler is there: what it lets the worker keep goes on, or is delivered, and all else is
    /// dropped.</summary>
    /// <param name="keep">What may be kept.</param>
    /// <param name="to'">Sends a result. False: the connection is gone, and so the result waits.</param>
    member _.Attach(keep: Attempt[], to': AssignedTask -> JobResult -> bool) =
        lock held (fun () ->
            let kept = HashSet keep

            for one in Seq.toArray held.Values do
                if not (kept.Contains one.job.work.attempt) then
                    drop one

            deliver <- ValueSome to'

            for one in Seq.toArray held.Values do
                match one.result with
                | ValueSome result when to' one.job result ->
                    held.Remove one.job.work.attempt |> ignore
                | _ -> ())

    /// The scheduler is gone: results wait.
    member _.Detach() =
        lock held (fun () -> deliver <- ValueNone)

    /// The scheduler wants this one no more.
    member _.Cancel(attempt: Attempt) =
        lock held (fun () ->
            match held.TryGetValue attempt with
            | true, one -> drop one
            | _ -> ())

    /// The worker ends: everything is dropped.
    member _.Clear() =
        lock held (fun () ->
            for one in Seq.toArray held.Values do
                drop one)

    /// A job has come to its end. The result of one that was dropped is nobody's.
    member _.Finish(job: AssignedTask, result: JobResult) =
        lock held (fun () ->
            match held.TryGetValue job.work.attempt with
            | true, one when obj.ReferenceEquals(one.job, job) ->
                match deliver with
                | ValueSome deliver when deliver job result ->
                    held.Remove job.work.attempt |> ignore
                | _ -> one.result <- ValueSome result
            | _ -> discard result)
