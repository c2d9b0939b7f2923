namespace FsScheduler.Execution

open System
open System.Collections.Generic
open System.IO
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Stages
open FsScheduler.Protocol
open FsScheduler.Execution.Exec

/// A task that a worker has been given.
type Job = { work: Process; payload: Payload; cancellation: CancellationToken }

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
type Executor
    (
        functions: IReadOnlyDictionary<string, StageFunction>,
        programs: ExecStages voption,
        shared: SharedFolders,
        folder: WorkerFolder,
        slots: int,
        renew: unit -> unit,
        doubt: string -> unit,
        finish: Job -> JobResult -> unit
    ) =
    // Results up to this stay in memory.
    static let memoryMax = 4 * 1024 * 1024
    // Payloads up to this are run by the thread that read them: a switch of threads would cost more.
    static let inlineMax = 4 * 1024

    static let copyBytes = 1024 * 1024

    // A result up to this travels also where files are shared.
    static let travelMax = 64L * 1024L * 1L<B>

    // Timers take no more.
    static let timeoutMax = 1_728_000_000L<ms>

    let newRunner () =
        StageRunner(BuiltIn.tryStartIn folder.Root, memoryMax)

    let inlineRunner = newRunner ()
    let runners = System.Collections.Concurrent.ConcurrentBag<StageRunner>()
    let jobs = Channel.CreateUnbounded<Job>() // never more of them than slots
    let mutable files = 0L
    let mutable resultMax = Int64.MaxValue * 1L<B>

    let nameOf (wire: string) =
        match wire.IndexOf ':' with
        | -1 -> wire
        | colon -> wire.Substring(0, colon)

    let argumentOf (wire: string) =
        match wire.IndexOf ':' with
        | -1 -> ""
        | colon -> wire.Substring(colon + 1)

    // Also of a worker that runs no programs: it says so, and not that it does not know the stage.
    let isProgram (wire: string) =
        wire.StartsWith("exec", StringComparison.Ordinal)
        && (ExecCommand.tryKind (nameOf wire)).IsSome

    let isBuiltIn (work: Process) =
        not (
            work.stages
            |> Array.exists (fun wire ->
                isProgram wire || functions.Count > 0 && functions.ContainsKey(nameOf wire))
        )

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

    let newFile () =
        let path = Path.Combine(folder.Root, string (Interlocked.Increment &files))
        struct (path, new StraightFile(path, FileMode.CreateNew))

    /// Fills a file that was just made, at that path, or leaves none.
    let fill
        (struct (path: string, output: StraightFile))
        (write: Stream -> Task<Size>)
        : Task<Payload> =
        task {
            try
                let! size = write output
                do! output.DisposeAsync()
                return Spooled(path, size)
            with error ->
                do! output.DisposeAsync()
                SpoolFile.delete path
                return raise error
        }

    /// What the worker's own folder is to blame for says nothing of the task.
    let storing (work: unit -> Task<'result>) : Task<'result> =
        task {
            try
                return! work ()
            with
            | :? IOException
            | :? UnauthorizedAccessException
            | :? ArgumentOutOfRangeException as error when
                // So .NET says that a file would be larger than a limit of its process ('ulimit -f').
                (match error with
                 | :? ArgumentOutOfRangeException as error -> error.ParamName = "value"
                 | _ -> true)
                ->
                let reason = error.Message.Replace(folder.Root, folder.Path)
                return raise (StageException($"this worker could not store: {reason}", true, true))
        }

    let streamed (runner: StageRunner) (stages: string[]) payload place (ct: CancellationToken) =
        task {
            use input = SpoolFile.openPayload payload

            return!
                fill (newFile ()) (fun output -> runner.RunAsync(stages, input, place, output, ct))
        }

    let builtIn (runner: StageRunner) (job: Job) (stages: string[]) payload : Task<Payload> =
        let place = PayloadPlace.OfPiece job.work.piece
        let ct = job.cancellation

        match payload with
        | Bytes bytes ->
            match runner.TryRun(stages, ReadOnlySpan bytes, place) with
            | ValueSome result -> Task.FromResult(Bytes(result.ToArray()))
            | ValueNone -> storing (fun () -> streamed runner stages payload place ct)
        | Packed
        | Filed
        | Recorded _
        | Spooled _
        | Input _
        | Slice _ -> storing (fun () -> streamed runner stages payload place ct)

    let callFunction (job: Job) (wire: string) payload =
        task {
            let! bytes =
                match payload with
                | Bytes bytes -> Task.FromResult bytes
                | Spooled(_, size) when size > StageFunction.payloadMax ->
                    raise (
                        StageException(
                            $"{size} bytes are too many for the stage function '{nameOf wire}'",
                            false
                        )
                    )
                | Spooled(path, _) ->
                    storing (fun () -> File.ReadAllBytesAsync(path, job.cancellation))
                | Packed
                | Filed
                | Recorded _
                | Input _
                | Slice _ -> invalidOp "a worker has payloads in memory or in files of its own"

            try
                let! result =
                    functions[nameOf wire].Invoke {
                        argument = argumentOf wire
                        name = job.work.name
                        attempt = job.work.attempt
                        piece = job.work.piece
                        payload = ReadOnlyMemory bytes
                        cancellation = job.cancellation
                    }

                return Bytes(result.ToArray())
            with
            | :? StageException
            | :? OperationCanceledException as error ->
                ExceptionDispatchInfo.Throw error
                return Payload.empty
            | error ->
                // Whatever else it throws is its own matter, but for a full disk.
                return
                    raise (
                        StageException(
                            $"{error.GetType().Name}: {error.Message}",
                            true,
                            Disk.passes error
                        )
                    )
        }

    let runProgram (job: Job) (wire: string) payload ct : Task<Payload> =
        match programs, ExecCommand.tryKind (nameOf wire) with
        | ValueSome programs, ValueSome kind ->
            storing (fun () ->
                programs.RunAsync(kind, argumentOf wire, job.work, payload, resultMax, ct))
        | _ -> raise (StageException("this worker may not run any program", true))

    /// Programs end with the time of their task, whether or not the scheduler is there to say so.
    let limited (job: Job) =
        let source = CancellationTokenSource.CreateLinkedTokenSource job.cancellation
        source.CancelAfter(TimeSpan.FromMilliseconds(float (min job.work.timeout timeoutMax)))
        source

    let isOverdue (job: Job) (limit: CancellationTokenSource) =
        limit.IsCancellationRequested && not job.cancellation.IsCancellationRequested

    let overdue (job: Job) (wire: string) =
        let stage = Limit.cut 200 wire

        StageException(
            $"'{stage}' was still running after {job.work.timeout} ms, the time limit of the task",
            true
        )

    /// Stages one by one, where some are functions or programs. The payload goes with it.
    let mixed (runner: StageRunner) (job: Job) (payload: Payload) =
        task {
            let mutable payload = payload
            let mutable at = ""
            use limit = limited job

            try
                for wire in job.work.stages do
                    job.cancellation.ThrowIfCancellationRequested()
                    at <- wire

                    let! result =
                        if isProgram wire then
                            runProgram job wire payload limit.Token
                        elif functions.ContainsKey(nameOf wire) then
                            callFunction job wire payload
                        else
                            builtIn runner job [| wire |] payload

                    SpoolFile.discard payload
                    payload <- result

                return payload
            with error ->
                SpoolFile.discard payload

                match error with
                | :? OperationCanceledException when isOverdue job limit ->
                    return raise (overdue job at)
                | _ -> return raise error
        }

    /// What fails with shared files says nothing of the stages: the payload can still come with a message.
    let sharing (work: Task<'result>) : Task<'result> =
        task {
            try
                return! work
            with Disk.Trouble reason ->
                return raise (NotShared reason)
        }

    /// A shared payload as one of the worker's own.
    let fetch (files: SharedFiles) (ct: CancellationToken) : Task<Payload> =
        task {
            use input = shared.Open files

            if files.size <= int64 memoryMax * 1L<B> then
                let bytes = GC.AllocateUninitializedArray<byte>(int files.size)
                input.ReadExactly(bytes.AsSpan())
                return Bytes bytes
            else
                return!
                    fill (newFile ()) (fun output ->
                        task {
                            do! input.CopyToAsync(output, copyBytes, ct)
                            return files.size
                        })
        }

    /// A result where the scheduler has asked for it.
    let store (job: Job) (files: SharedFiles) (write: Stream -> Task<Size>) : Task<JobResult> =
        task {
            let! payload = fill (shared.Create files) write

            return {
                message = ToScheduler.Stored(job.work.attempt, Payload.size payload)
                payload = payload
            }
        }

    let sharedBuiltIn (runner: StageRunner) (job: Job) (files: SharedFiles) : Task<JobResult> =
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
    let sharedMixed (runner: StageRunner) (job: Job) (files: SharedFiles) : Task<JobResult> =
        task {
            let! payload = sharing (fetch files job.cancellation)

            let! result = mixed runner job payload
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

    let perform (runner: StageRunner) (job: Job) : Task<JobResult> =
        task {
            match job.work.files, isBuiltIn job.work with
            | ValueSome files, true -> return! sharing (sharedBuiltIn runner job files)
            | ValueSome files, false -> return! sharedMixed runner job files
            | ValueNone, true ->
                let! result = builtIn runner job job.work.stages job.payload
                return succeeded job.work result
            | ValueNone, false ->
                let! result = mixed runner job job.payload
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

    let run (runner: StageRunner) (job: Job) =
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
            let runner = newRunner ()
            let! first = jobs.Reader.WaitToReadAsync()
            let mutable goOn = first

            while goOn do
                let mutable job = Unchecked.defaultof<Job>

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
        with get () = resultMax
        and set size = resultMax <- size

    /// <summary>Runs what is small and built in, at once.</summary>
    /// <returns>None: it is not, and is for `Take`.</returns>
    /// <remarks>By one thread at a time: what runs it is used again for the next.</remarks>
    member _.TryRunAtOnce(work: Process, payload: Payload) : JobResult voption =
        match payload with
        | Bytes bytes when bytes.Length <= inlineMax && work.files.IsNone && isBuiltIn work ->
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
    member _.Take(job: Job) =
        if isBuiltIn job.work then
            jobs.Writer.TryWrite job |> ignore
        else
            Task.Run<unit>(fun () ->
                task {
                    let runner =
                        match runners.TryTake() with
                        | true, runner -> runner
                        | _ -> newRunner ()

                    do! run runner job
                    runners.Add runner
                })
            |> ignore

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            jobs.Writer.TryComplete() |> ignore
            ValueTask(Task.WhenAll consumers :> Task)
