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

/// The message for the scheduler after a task, and the result of a success, which goes with the message.
[<Struct>]
type TaskReport = { message: ToScheduler; payload: Content }

/// A shared file that the scheduler named cannot be used.
exception private NotShared of reason: string

/// <summary>Runs the stages of tasks. Built-in stages run on one thread for each processor, stage functions on the
/// thread pool, those of all tasks at once.</summary>
/// <param name="functions">Stages in code, by name; they override built-in ones.</param>
/// <param name="programs">Stages that run programs, if any are allowed.</param>
/// <param name="shared">The folders with files that tasks may name in place of payloads.</param>
/// <param name="folder">The folder of the worker, for payloads and results too large for memory.</param>
/// <param name="slots">The largest number of tasks at once.</param>
/// <param name="renew">Replaces the folder if it was removed.</param>
/// <param name="doubt">Told of failures of the worker, not of the task; on any thread.</param>
/// <param name="finish">Gets each task with its outcome, on any thread.</param>
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
        finish: AssignedTask -> TaskReport -> unit
    ) =
    // Smaller payloads, in bytes, are run by the thread that read them: switching threads would cost more.
    static let inlineMax = 4 * 1024

    static let copyBytes = 1024 * 1024

    // Results up to this size are sent as bytes even where files are shared.
    static let travelMax = 64L * 1024L * 1L<B>

    let calls = StageCalls(functions, programs, folder)
    let inlineRunner = calls.NewRunner()
    let runners = System.Collections.Concurrent.ConcurrentBag<StageRunner>()
    let tasks = Channel.CreateUnbounded<AssignedTask>() // at most one for each slot

    let failed (work: Process) (error: exn) =
        let failed message retry =
            ToScheduler.Result(work.attempt, Failed(message, retry))

        let unable message =
            ToScheduler.Result(work.attempt, Unable message)

        let message =
            match error with
            | NotShared reason -> ToScheduler.Unshared(work.attempt, reason)
            | :? StageException as error when error.IsOfWorker -> unable error.Message
            | :? StageException as error -> failed error.Message error.Retry
            | :? OperationCanceledException -> failed "cancelled" true
            // Errors of a stage are `StageException`: these are of the worker's own storage or memory.
            | :? IOException
            | :? UnauthorizedAccessException
            | :? OutOfMemoryException ->
                unable $"this worker cannot store what it works on: {error.Message}"
            | error -> failed $"{error.GetType().Name}: {error.Message}" true

        { message = message; payload = Content.empty }

    let succeeded (work: Process) payload = {
        message = ToScheduler.Result(work.attempt, Succeeded)
        payload = payload
    }

    /// A failure with shared files is not one of the task: the payload can still be sent as bytes.
    let sharing (work: Task<'result>) : Task<'result> =
        task {
            try
                return! work
            with Disk.StorageError reason ->
                return raise (NotShared reason)
        }

    /// Copies a shared payload to memory, or to a file of the worker.
    let fetch (files: SharedFiles) (ct: CancellationToken) : Task<Content> =
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

    /// Stores a result where the scheduler has asked for it.
    let store
        (assigned: AssignedTask)
        (files: SharedFiles)
        (write: Stream -> Task<Size>)
        : Task<TaskReport> =
        task {
            let! payload = StageCalls.Fill(shared.Create files, write)

            return {
                message = ToScheduler.Stored(assigned.work.attempt, Content.size payload)
                payload = payload
            }
        }

    let sharedBuiltIn
        (runner: StageRunner)
        (assigned: AssignedTask)
        (files: SharedFiles)
        : Task<TaskReport> =
        task {
            use input = shared.Open files

            return!
                store assigned files (fun output ->
                    runner.RunAsync(
                        assigned.work.stages,
                        input,
                        PayloadPlace.OfPiece assigned.work.piece,
                        output,
                        assigned.cancellation
                    ))
        }

    /// Programs and functions get a copy of the payload; a small result is sent as bytes.
    let sharedMixed
        (runner: StageRunner)
        (assigned: AssignedTask)
        (files: SharedFiles)
        : Task<TaskReport> =
        task {
            let! payload = sharing (fetch files assigned.cancellation)

            let! result = calls.RunMixed(runner, assigned, payload)
            let size = Content.size result

            if size <= travelMax then
                return succeeded assigned.work result
            else
                try
                    return!
                        sharing (
                            task {
                                use input = SpoolFile.openContent result

                                return!
                                    store assigned files (fun output ->
                                        task {
                                            do!
                                                input.CopyToAsync(
                                                    output,
                                                    copyBytes,
                                                    assigned.cancellation
                                                )

                                            return size
                                        })
                            }
                        )
                finally
                    SpoolFile.discard result
        }

    let perform (runner: StageRunner) (assigned: AssignedTask) : Task<TaskReport> =
        task {
            match assigned.work.files, calls.IsBuiltIn assigned.work with
            | ValueSome files, true -> return! sharing (sharedBuiltIn runner assigned files)
            | ValueSome files, false -> return! sharedMixed runner assigned files
            | ValueNone, true ->
                let! result =
                    calls.RunBuiltIn(runner, assigned, assigned.work.stages, assigned.payload)

                return succeeded assigned.work result
            | ValueNone, false ->
                let! result = calls.RunMixed(runner, assigned, assigned.payload)
                return succeeded assigned.work result
        }

    /// Blames the worker for a failure while its folder was removed.
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

    let run (runner: StageRunner) (assigned: AssignedTask) =
        task {
            let! result =
                task {
                    let before = folder.Generation
                    renew ()

                    try
                        return! perform runner assigned
                    with error ->
                        let error = blame before error

                        let result = failed assigned.work error

                        match result.message with
                        | ToScheduler.Result(_, Unable reason) -> doubt reason
                        | _ -> ()

                        return result
                }

            SpoolFile.discard assigned.payload
            finish assigned result
        }

    let consume () =
        task {
            let runner = calls.NewRunner()
            let! first = tasks.Reader.WaitToReadAsync()
            let mutable goOn = first

            while goOn do
                let mutable assigned = Unchecked.defaultof<AssignedTask>

                while tasks.Reader.TryRead(&assigned) do
                    do! run runner assigned

                let! more = tasks.Reader.WaitToReadAsync()
                goOn <- more
        }

    let consumers = [
        for _ in 1 .. min slots Environment.ProcessorCount -> Task.Run<unit>(fun () -> consume ())
    ]

    /// The largest result, in bytes, that the scheduler accepts; a program that writes more is stopped.
    member _.ResultMax
        with get () = calls.ResultMax
        and set size = calls.ResultMax <- size

    /// <summary>Runs a task with a small payload and built-in stages at once.</summary>
    /// <returns>None: the task is not of this kind, and is for `Take`.</returns>
    /// <remarks>By one thread at a time, since the runner is reused.</remarks>
    member _.TryRunAtOnce(work: Process, payload: Content) : TaskReport voption =
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

    /// Queues a task for another thread.
    member _.Take(assigned: AssignedTask) =
        if calls.IsBuiltIn assigned.work then
            tasks.Writer.TryWrite assigned |> ignore
        else
            Task.Run<unit>(fun () ->
                task {
                    let runner =
                        match runners.TryTake() with
                        | true, runner -> runner
                        | _ -> calls.NewRunner()

                    do! run runner assigned
                    runners.Add runner
                })
            |> ignore

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            tasks.Writer.TryComplete() |> ignore
            ValueTask(Task.WhenAll consumers :> Task)
