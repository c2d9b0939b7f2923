namespace FsScheduler.Execution

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Stages
open FsScheduler.Protocol
open FsScheduler.Execution.Exec

/// What became of it: what the scheduler is told, and the result where it succeeded. A result that is stored goes with
/// whoever is told.
[<Struct>]
type JobResult = { message: ToScheduler; payload: Payload }

/// The files that a scheduler named cannot be used.
exception private NotShared of reason: string

/// <summary>Runs the stages of jobs. Built-in stages run on as many threads as there are processors, stage functions
/// on the thread pool, all jobs at once.</summary>
/// <param name="functions">Stages in code, by name. They take precedence over built-in ones.</param>
/// <param name="programs">Stages that run programs, if there are any.</param>
/// <param name="shared">Where jobs may name files in place of their payloads.</param>
/// <param name="folder">The worker's own, for what is too large for memory.</param>
/// <param name="slots">How many jobs there are at once, at most.</param>
/// <param name="renew">Sees that the folder is there.</param>
/// <param name="doubt">Told when the worker, and not the task, is to blame; on any thread.</param>
/// <param name="finish">Gets each job with its result, on any thread.</param>
[<Sealed>]
type TaskRunner
    (
        functions: IReadOnlyDictionary<string, StageFunction>,
        programs: ExecStages voption,
        shared: SharedFolders,
        folder: WorkerFolder,
        slots: int,
        renew: unit -> unit,
        doubt: string -> unit,
        finish: AssignedTask -> JobResult -> unit
    ) =
    // Payloads up to this are run by the thread that read them: a switch of threads would cost more.
    static let inlineMax = 4 * 1024

    static let copyBytes = 1024 * 1024

    // A result up to this travels also where files are shared.
    static let travelMax = 64L * 1024L * 1L<B>

    let calls = StageCalls(functions, programs, folder)
    let inlineRunner = calls.NewRunner()
    let runners = System.Collections.Concurrent.ConcurrentBag<StageRunner>()
    let jobs = Channel.CreateUnbounded<AssignedTask>() // never more of them than slots

    let failed (job: Process) (error: exn) =
        let failed message retry =
            ToScheduler.Result(job.attempt, Failed(message, retry))

        let unable message =
            ToScheduler.Result(job.attempt, Unable message)

        let message =
            match error with
            | NotShared reason -> ToScheduler.Unshared(job.attempt, reason)
            | :? StageException as error when error.IsOfWorker -> unable error.Message
            | :? StageException as error -> failed error.Message error.Retry
            | :? OperationCanceledException -> failed "cancelled" true
            // Whatever a stage says of its payload is a `StageException`: this is the worker's own storage or memory.
            | :? IOException
            | :? UnauthorizedAccessException
            | :? OutOfMemoryException ->
                unable $"this worker cannot store what it works on: {error.Message}"
            | error -> failed $"{error.GetType().Name}: {error.Message}" true

        { message = message; payload = Payload.empty }

    let succeeded (job: Process) payload = {
        message = ToScheduler.Result(job.attempt, Succeeded)
        payload = payload
    }

    /// What fails with shared files says nothing of the stages: the payload can still come with a message.
    let sharing (work: Task<'result>) : Task<'result> =
        task {
            try
                return! work
            with Disk.StorageError reason ->
                return raise (NotShared reason)
        }

    /// A shared payload as one of the worker's own.
    let fetch (files: SharedFiles) (ct: CancellationToken) : Task<Payload> =
        task {
            use input = shared.Open files

            if files.size <= int64 StageCalls.MemoryMax * 1L<B> then
                let bytes = GC.AllocateUninitializedArray<byte>(int files.size)
                input.ReadExactly(bytes.AsSpan())
                return Bytes bytes
            else
                return!
                    calls.FillNew(fun output ->
                        task {
                            do! input.CopyToAsync(output, copyBytes, ct)
                            return files.size
                        })
        }

    /// A result where the scheduler has asked for it.
    let store
        (job: AssignedTask)
        (files: SharedFiles)
        (write: Stream -> Task<Size>)
        : Task<JobResult> =
        task {
            let! payload = StageCalls.Fill(shared.Create files, write)

            return {
                message = ToScheduler.Stored(job.work.attempt, Payload.size payload)
                payload = payload
            }
        }

    let sharedBuiltIn
        (runner: StageRunner)
        (job: AssignedTask)
        (files: SharedFiles)
        : Task<JobResult> =
        task {
            use input = shared.Open files

            return!
                store job files (fun output ->
                    runner.RunAsync(
                        job.work.stages,
                        input,
                        PayloadPlace.OfPiece job.work.piece,
                        output,
                        job.cancellation
                    ))
        }

    /// Programs and functions get the payload as ever; a small result travels.
    let sharedMixed
        (runner: StageRunner)
        (job: AssignedTask)
        (files: SharedFiles)
        : Task<JobResult> =
        task {
            let! payload = sharing (fetch files job.cancellation)

            let! result = calls.RunMixed(runner, job, payload)
            let size = Payload.size result

            if size <= travelMax then
                return succeeded job.work result
            else
                try
                    return!
                        sharing (
                            task {
                                use input = SpoolFile.openPayload result

                                return!
                                    store job files (fun output ->
                                        task {
                                            do!
                                                input.CopyToAsync(
                                                    output,
                                                    copyBytes,
                                                    job.cancellation
                                                )

                                            return size
                                        })
                            }
                        )
                finally
                    SpoolFile.discard result
        }

    let perform (runner: StageRunner) (job: AssignedTask) : Task<JobResult> =
        task {
            match job.work.files, calls.IsBuiltIn job.work with
            | ValueSome files, true -> return! sharing (sharedBuiltIn runner job files)
            | ValueSome files, false -> return! sharedMixed runner job files
            | ValueNone, true ->
                let! result = calls.RunBuiltIn(runner, job, job.work.stages, job.payload)
                return succeeded job.work result
            | ValueNone, false ->
                let! result = calls.RunMixed(runner, job, job.payload)
                return succeeded job.work result
        }

    /// Whatever goes wrong while the worker's folder is taken away is for the worker to answer for.
    let blame (before: int) (error: exn) : exn =
        renew ()

        match error with
        | :? StageException
        | :? IOException when folder.Generation <> before || not folder.IsThere ->
            StageException(
                $"the worker's folder was removed while it was used: {error.Message}",
                true,
                true
            )
        | error -> error

    let run (runner: StageRunner) (job: AssignedTask) =
        task {
            let! result =
                task {
                    let before = folder.Generation
                    renew ()

                    try
                        return! perform runner job
                    with error ->
                        let error = blame before error

                        let result = failed job.work error

                        match result.message with
                        | ToScheduler.Result(_, Unable reason) -> doubt reason
                        | _ -> ()

                        return result
                }


            SpoolFile.discard job.payload
            finish job result
        }

    let consume () =
        task {
            let runner = calls.NewRunner()
            let! first = jobs.Reader.WaitToReadAsync()
            let mutable goOn = first

            while goOn do
                let mutable job = Unchecked.defaultof<AssignedTask>

                while jobs.Reader.TryRead(&job) do
                    do! run runner job

                let! more = jobs.Reader.WaitToReadAsync()
                goOn <- more
        }

    let consumers = [
        for _ in 1 .. min slots Environment.ProcessorCount -> Task.Run<unit>(fun () -> consume ())
    ]

    /// The largest result that the scheduler takes; programs that give more are stopped there.
    member _.ResultMax
        with get () = calls.ResultMax
        and set size = calls.ResultMax <- size

    /// <summary>Runs what is small and built in, at once.</summary>
    /// <returns>None: it is not, and is for `Take`.</returns>
    /// <remarks>By one thread at a time: what runs it is used again for the next.</remarks>
    member _.TryRunAtOnce(work: Process, payload: Payload) : JobResult voption =
        match payload with
        | Bytes bytes when bytes.Length <= inlineMax && work.files.IsNone && calls.IsBuiltIn work ->
            try
                match
                    inlineRunner.TryRun(
                        work.stages,
                        ReadOnlySpan bytes,
                        PayloadPlace.OfPiece work.piece
                    )
                with
                | ValueSome result -> ValueSome(succeeded work (Bytes(result.ToArray())))
                | ValueNone -> ValueNone
            with error ->
                ValueSome(failed work error)
        | _ -> ValueNone

    /// Runs a job later, on another thread.
    member _.Take(job: AssignedTask) =
        if calls.IsBuiltIn job.work then
            jobs.Writer.TryWrite job |> ignore
        else
            Task.Run<unit>(fun () ->
                task {
                    let runner =
                        match runners.TryTake() with
                        | true, runner -> runner
                        | _ -> calls.NewRunner()

                    do! run runner job
                    runners.Add runner
                })
            |> ignore

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            jobs.Writer.TryComplete() |> ignore
            ValueTask(Task.WhenAll consumers :> Task)
