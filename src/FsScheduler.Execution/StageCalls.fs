namespace FsScheduler.Execution

open System
open System.Collections.Generic
open System.IO
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Stages
open FsScheduler.Protocol
open FsScheduler.Execution.Exec

/// A task that a worker has been given.
type AssignedTask = { work: Process; payload: Payload; cancellation: CancellationToken }

/// <summary>Runs stages over a payload: built-in ones, stage functions and programs.</summary>
/// <param name="functions">Stages in code, by name. They take precedence over built-in ones.</param>
/// <param name="programs">Stages that run programs, if there are any.</param>
/// <param name="folder">The worker's own, for what is too large for memory.</param>
[<Sealed>]
type internal StageCalls
    (
        functions: IReadOnlyDictionary<string, StageFunction>,
        programs: ExecStages voption,
        folder: WorkerFolder
    ) =
    // Results up to this stay in memory.
    static let memoryMax = 4 * 1024 * 1024

    // Timers take no more.
    static let timeoutMax = 1_728_000_000L<ms>

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

    let newFile () =
        let path = Path.Combine(folder.Root, string (Interlocked.Increment &files))
        struct (path, new StraightFile(path, FileMode.CreateNew))

    static let fill
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

    let builtIn
        (runner: StageRunner)
        (job: AssignedTask)
        (stages: string[])
        payload
        : Task<Payload> =
        let place = PayloadPlace.OfPiece job.work.piece
        let ct = job.cancellation

        match payload with
        | Bytes bytes ->
            match runner.TryRun(stages, ReadOnlySpan bytes, place) with
            | ValueSome result -> Task.FromResult(Bytes(result.ToArray()))
            | ValueNone -> storing (fun () -> streamed runner stages payload place ct)
        | Packed
        | Journaled
        | Recorded _
        | Spooled _
        | Input _
        | Slice _ -> storing (fun () -> streamed runner stages payload place ct)

    let callFunction (job: AssignedTask) (wire: string) payload =
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
                | Journaled
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

    let runProgram (job: AssignedTask) (wire: string) payload ct : Task<Payload> =
        match programs, ExecCommand.tryKind (nameOf wire) with
        | ValueSome programs, ValueSome kind ->
            storing (fun () ->
                programs.RunAsync(kind, argumentOf wire, job.work, payload, resultMax, ct))
        | _ -> raise (StageException("this worker may not run any program", true))

    /// Programs end with the time of their task, whether or not the scheduler is there to say so.
    let limited (job: AssignedTask) =
        let source = CancellationTokenSource.CreateLinkedTokenSource job.cancellation
        source.CancelAfter(TimeSpan.FromMilliseconds(float (min job.work.timeout timeoutMax)))
        source

    let isOverdue (job: AssignedTask) (limit: CancellationTokenSource) =
        limit.IsCancellationRequested && not job.cancellation.IsCancellationRequested

    let overdue (job: AssignedTask) (wire: string) =
        let stage = ProtocolLimits.cut 200 wire

        StageException(
            $"'{stage}' was still running after {job.work.timeout} ms, the time limit of the task",
            true
        )

    /// Stages one by one, where some are functions or programs. The payload goes with it.
    let mixed (runner: StageRunner) (job: AssignedTask) (payload: Payload) =
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

    /// Payloads up to so many bytes are held in memory.
    static member MemoryMax = memoryMax

    /// <summary>Fills a file that was just made, or leaves none.</summary>
    /// <param name="file">Its path, and the file, which is closed.</param>
    /// <param name="write">Gives the bytes written.</param>
    static member Fill
        (file: struct (string * StraightFile), write: Stream -> Task<Size>)
        : Task<Payload> =
        fill file write

    /// Fills a new file of the worker's folder, or leaves none.
    member _.FillNew(write: Stream -> Task<Size>) : Task<Payload> = fill (newFile ()) write

    /// The largest result that the scheduler takes; programs that give more are stopped there.
    member _.ResultMax
        with get () = resultMax
        and set size = resultMax <- size

    /// Runs the built-in stages of one task at a time.
    member _.NewRunner() =
        StageRunner(BuiltIn.tryStartIn folder.Root, memoryMax)

    /// Whether all stages of a task are built in.
    member _.IsBuiltIn(work: Process) : bool = isBuiltIn work

    /// <summary>Runs built-in stages. The payload stays the caller's.</summary>
    /// <param name="runner">Of no other task meanwhile.</param>
    /// <param name="job">The task.</param>
    /// <param name="stages">Its stages, or some of them, as on the wire.</param>
    /// <param name="payload">In memory, or in a file of the worker's.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">A stage fails, or the worker cannot store.</exception>
    member _.RunBuiltIn
        (runner: StageRunner, job: AssignedTask, stages: string[], payload: Payload)
        : Task<Payload> =
        builtIn runner job stages payload

    /// <summary>Runs stages one by one, where some are functions or programs, for at most the time limit of the
    /// task.</summary>
    /// <param name="runner">Of no other task meanwhile.</param>
    /// <param name="job">The task.</param>
    /// <param name="payload">It is discarded at the end.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">A stage fails or takes too long, or the worker cannot
    /// store.</exception>
    member _.RunMixed(runner: StageRunner, job: AssignedTask, payload: Payload) : Task<Payload> =
        mixed runner job payload
