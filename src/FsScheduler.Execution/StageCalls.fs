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

/// A task assigned to a worker.
type AssignedTask = { work: Process; payload: Content; cancellation: CancellationToken }

/// <summary>Runs the stages of a task over its payload: built-in stages, stage functions and programs.</summary>
/// <param name="functions">Stages in code, by name; they override built-in ones.</param>
/// <param name="programs">Stages that run programs, if any are allowed.</param>
/// <param name="folder">The folder of the worker, for payloads and results too large for memory.</param>
[<Sealed>]
type internal StageCalls
    (
        functions: IReadOnlyDictionary<string, StageFunction>,
        programs: ExecStages voption,
        folder: WorkerFolder
    ) =
    // Results up to this size, in bytes, stay in memory.
    static let memoryMax = 4 * 1024 * 1024

    // Timers take no longer time.
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

    // Also if no programs are allowed, so that the error does not call the stage unknown.
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
        : Task<Content> =
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

    /// Turns a failure of the worker's own storage into one that does not count against the task.
    let storing (work: unit -> Task<'result>) : Task<'result> =
        task {
            try
                return! work ()
            with
            | :? IOException
            | :? UnauthorizedAccessException
            | :? ArgumentOutOfRangeException as error when
                // .NET reports in this way a file beyond a limit of the process ('ulimit -f').
                (match error with
                 | :? ArgumentOutOfRangeException as error -> error.ParamName = "value"
                 | _ -> true)
                ->
                let reason = error.Message.Replace(folder.Root, folder.Path)
                return raise (StageException($"this worker could not store: {reason}", true, true))
        }

    let streamed (runner: StageRunner) (stages: string[]) payload place (ct: CancellationToken) =
        task {
            use input = SpoolFile.openContent payload

            return!
                fill (newFile ()) (fun output -> runner.RunAsync(stages, input, place, output, ct))
        }

    let builtIn
        (runner: StageRunner)
        (assigned: AssignedTask)
        (stages: string[])
        payload
        : Task<Content> =
        let place = PayloadPlace.OfPiece assigned.work.piece
        let ct = assigned.cancellation

        match payload with
        | Bytes bytes ->
            match runner.TryRun(stages, ReadOnlySpan bytes, place) with
            | ValueSome result -> Task.FromResult(Bytes(result.ToArray()))
            | ValueNone -> storing (fun () -> streamed runner stages payload place ct)
        | Spooled _ -> storing (fun () -> streamed runner stages payload place ct)

    let callFunction (assigned: AssignedTask) (wire: string) payload =
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
                    storing (fun () -> File.ReadAllBytesAsync(path, assigned.cancellation))

            try
                let! result =
                    functions[nameOf wire].Invoke {
                        argument = argumentOf wire
                        name = assigned.work.name
                        attempt = assigned.work.attempt
                        piece = assigned.work.piece
                        payload = ReadOnlyMemory bytes
                        cancellation = assigned.cancellation
                    }

                return Bytes(result.ToArray())
            with
            | :? StageException
            | :? OperationCanceledException as error ->
                ExceptionDispatchInfo.Throw error
                return Content.empty
            | error ->
                // Other exceptions are the function's own, except that of a full disk.
                return
                    raise (
                        StageException(
                            $"{error.GetType().Name}: {error.Message}",
                            true,
                            Disk.passes error
                        )
                    )
        }

    let runProgram (assigned: AssignedTask) (wire: string) payload ct : Task<Content> =
        match programs, ExecCommand.tryKind (nameOf wire) with
        | ValueSome programs, ValueSome kind ->
            storing (fun () ->
                programs.RunAsync(kind, argumentOf wire, assigned.work, payload, resultMax, ct))
        | _ -> raise (StageException("this worker may not run any program", true))

    /// Ends programs at the time limit of the task, even without the scheduler.
    let limited (assigned: AssignedTask) =
        let source = CancellationTokenSource.CreateLinkedTokenSource assigned.cancellation
        source.CancelAfter(TimeSpan.FromMilliseconds(float (min assigned.work.timeout timeoutMax)))
        source

    let isOverdue (assigned: AssignedTask) (limit: CancellationTokenSource) =
        limit.IsCancellationRequested
        && not assigned.cancellation.IsCancellationRequested

    let overdue (assigned: AssignedTask) (wire: string) =
        let stage = ProtocolLimits.cut 200 wire

        StageException(
            $"'{stage}' was still running after {assigned.work.timeout} ms, the time limit of the task",
            true
        )

    /// Runs stages one by one, where some are functions or programs. Discards the payload.
    let mixed (runner: StageRunner) (assigned: AssignedTask) (payload: Content) =
        task {
            let mutable payload = payload
            let mutable at = ""
            use limit = limited assigned

            try
                for wire in assigned.work.stages do
                    assigned.cancellation.ThrowIfCancellationRequested()
                    at <- wire

                    let! result =
                        if isProgram wire then
                            runProgram assigned wire payload limit.Token
                        elif functions.ContainsKey(nameOf wire) then
                            callFunction assigned wire payload
                        else
                            builtIn runner assigned [| wire |] payload

                    SpoolFile.discard payload
                    payload <- result

                return payload
            with error ->
                SpoolFile.discard payload

                match error with
                | :? OperationCanceledException when isOverdue assigned limit ->
                    return raise (overdue assigned at)
                | _ -> return raise error
        }

    /// Payloads up to this size, in bytes, are held in memory.
    static member MemoryMax = memoryMax

    /// <summary>Fills a new file, or deletes it.</summary>
    /// <param name="file">The path, and the open file, which is closed.</param>
    /// <param name="write">Writes the file, and returns the bytes written.</param>
    static member Fill
        (file: struct (string * StraightFile), write: Stream -> Task<Size>)
        : Task<Content> =
        fill file write

    /// Fills a new file in the folder of the worker, or deletes it.
    member _.FillNew(write: Stream -> Task<Size>) : Task<Content> = fill (newFile ()) write

    /// The largest result, in bytes, that the scheduler accepts; a program that writes more is stopped.
    member _.ResultMax
        with get () = resultMax
        and set size = resultMax <- size

    /// A runner of built-in stages, for one task at a time.
    member _.NewRunner() =
        StageRunner(BuiltIn.tryStartIn folder.Root, memoryMax)

    /// Whether all stages of a task are built in.
    member _.IsBuiltIn(work: Process) : bool = isBuiltIn work

    /// <summary>Runs built-in stages. Does not discard the payload.</summary>
    /// <param name="runner">Used by no other task meanwhile.</param>
    /// <param name="assigned">The task.</param>
    /// <param name="stages">Its stages, or some of them, as on the wire.</param>
    /// <param name="payload">In memory, or in a file of the worker.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">A stage fails, or the worker cannot store.</exception>
    member _.RunBuiltIn
        (runner: StageRunner, assigned: AssignedTask, stages: string[], payload: Content)
        : Task<Content> =
        builtIn runner assigned stages payload

    /// <summary>Runs stages, some of them functions or programs, within the time limit of the task.</summary>
    /// <param name="runner">Used by no other task meanwhile.</param>
    /// <param name="assigned">The task.</param>
    /// <param name="payload">Discarded at the end.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">A stage fails or is late, or the worker cannot
    /// store.</exception>
    member _.RunMixed
        (runner: StageRunner, assigned: AssignedTask, payload: Content)
        : Task<Content> =
        mixed runner assigned payload
