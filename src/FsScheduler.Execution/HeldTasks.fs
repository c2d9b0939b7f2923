namespace FsScheduler.Execution

open System
open System.Collections.Generic
open System.Threading
open FsScheduler.Core
open FsScheduler.Protocol

/// An assigned task, with its result if that came while there was no connection.
type private HeldTask = {
    assigned: AssignedTask
    source: CancellationTokenSource
    mutable result: TaskReport voption
}

/// <summary>The tasks that a worker holds, over all its connections: they go on while the scheduler is away, and their
/// results wait. Safe for any thread.</summary>
/// <remarks>Small payloads of built-in stages are not held: running them again is faster than a message.</remarks>
[<Sealed>]
type HeldTasks() =
    let held = Dictionary<Attempt, HeldTask>()
    let mutable deliver: (AssignedTask -> TaskReport -> bool) voption = ValueNone

    let discard (result: TaskReport) = SpoolFile.discard result.payload

    let drop (one: HeldTask) =
        held.Remove one.assigned.work.attempt |> ignore

        match one.result with
        | ValueSome result -> discard result
        | ValueNone -> one.source.Cancel() // nothing to remove at its end

    /// Adds a task. Its cancellation token is that of the returned one.
    member _.Add(work: Process, payload: Content) : AssignedTask =
        lock held (fun () ->
            let source = new CancellationTokenSource()
            let assigned = { work = work; payload = payload; cancellation = source.Token }
            held[work.attempt] <- { assigned = assigned; source = source; result = ValueNone }
            assigned)

    member _.IsEmpty = lock held (fun () -> held.Count = 0)
    member _.Count = lock held (fun () -> held.Count)

    /// The attempts for a HELLO, as many as fit; the others are dropped.
    member _.Holding: Attempt[] =
        lock held (fun () ->
            for one in
                held.Values
                |> Seq.skip (min ProtocolLimits.holdingMax held.Count)
                |> Seq.toArray do
                drop one

            Seq.toArray held.Keys)

    /// <summary>Begins a connection: tasks to keep go on, or are delivered; all others are dropped.</summary>
    /// <param name="keep">The attempts to keep.</param>
    /// <param name="send">Sends a result. False: the connection is gone, and the result waits.</param>
    member _.Attach(keep: Attempt[], send: AssignedTask -> TaskReport -> bool) =
        lock held (fun () ->
            let kept = HashSet keep

            for one in Seq.toArray held.Values do
                if not (kept.Contains one.assigned.work.attempt) then
                    drop one

            deliver <- ValueSome send

            for one in Seq.toArray held.Values do
                match one.result with
                | ValueSome result when send one.assigned result ->
                    held.Remove one.assigned.work.attempt |> ignore
                | _ -> ())

    /// Ends a connection: results wait.
    member _.Detach() =
        lock held (fun () -> deliver <- ValueNone)

    /// Cancels a task for the scheduler.
    member _.Cancel(attempt: Attempt) =
        lock held (fun () ->
            match held.TryGetValue attempt with
            | true, one -> drop one
            | _ -> ())

    /// Drops all tasks, at the end of the worker.
    member _.Clear() =
        lock held (fun () ->
            for one in Seq.toArray held.Values do
                drop one)

    /// Ends a task. The result of a dropped task is discarded.
    member _.Finish(assigned: AssignedTask, result: TaskReport) =
        lock held (fun () ->
            match held.TryGetValue assigned.work.attempt with
            | true, one when obj.ReferenceEquals(one.assigned, assigned) ->
                match deliver with
                | ValueSome deliver when deliver assigned result ->
                    held.Remove assigned.work.attempt |> ignore
                | _ -> one.result <- ValueSome result
            | _ -> discard result)
