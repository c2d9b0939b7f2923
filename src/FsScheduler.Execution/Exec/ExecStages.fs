namespace FsScheduler.Execution.Exec

open System
open System.Collections
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Execution

/// How a worker runs programs.
type ExecOptions = {
    /// The paths of the allowed programs, by the names that stages use.
    programs: IReadOnlyDictionary<string, string>
    /// The worker's token: variables that contain it are removed from the environment of programs.
    token: string option
    /// The folder of the worker, for the folders of the programs.
    temporary: string
    slots: int
    lines: LineLimits
    /// Whether to start programs as on a system without sessions.
    isPortable: bool
    log: ILogger
}

/// <summary>The stages `exec`, `exec-file` and `exec-lines` of a worker. Disposing ends every program.</summary>
[<Sealed>]
type ExecStages(options: ExecOptions) =

    // Results up to this size, in bytes, stay in memory.
    static let memoryMax = 4 * 1024 * 1024
    // Idle programs of all `exec-lines` stages, for each slot.
    static let idlesPerSlot = 4
    // How long the programs may take to end when the worker ends.
    static let endMax = TimeSpan.FromSeconds 5.0

    /// A variable in the environment of these programs only, by which they are found if the worker is killed.
    let mark = $"FS_WORKER={Guid.NewGuid():N}"

    let reaper =
        if Posix.isAvailable && not options.isPortable then
            ValueSome(new ProcessReaper(mark, options.log))
        else
            options.log.LogWarning(
                "this system has no sessions: processes that a killed program has started may live on if their parents \
                 have ended, and all programs may if this worker is killed"
            )

            ValueNone

    let starter: IProgramStarter =
        match reaper with
        | ValueSome reaper -> SessionStarter reaper
        | ValueNone -> PortableStarter()

    let lines = new LineProcessPool(options.lines, options.slots * idlesPerSlot)
    let stop = new CancellationTokenSource()
    let mutable running = 0
    let mutable files = 0L

    let inherited = [|
        for entry in Seq.cast<DictionaryEntry>(Environment.GetEnvironmentVariables()) do
            let variable = $"{entry.Key}={entry.Value}"

            let isSecret =
                match options.token with
                | Some token -> variable.Contains(token, StringComparison.Ordinal)
                | None -> false

            // Of a worker that runs inside a program of another one.
            let isOurs =
                List.contains (string entry.Key) [
                    "FS_WORKER"
                    "FS_TASK"
                    "FS_ATTEMPT"
                    "FS_NAME"
                    "FS_PIECE"
                ]

            if not isSecret && not isOurs then
                variable

        mark
    |]

    let next () = Interlocked.Increment &files

    let newFile () =
        Path.Combine(options.temporary, $"exec{next ()}")

    let newFolder () =
        RunFolder(options.temporary, $"run{next ()}")

    // A folder that cannot be removed now may be removed with the folder of the worker.
    let removeFolder (folder: RunFolder) =
        folder.Remove(fun reason ->
            options.log.LogWarning(
                "{Folder}, the folder of a program that has ended, cannot be removed: {Reason}",
                folder.Path,
                reason
            ))

    /// Blames the worker, not the task, for a failure after the folder of the program was removed by others, or on a
    /// worker that has no free space even without the files of the program.
    let blame (folder: RunFolder) (wasGone: bool) (error: exn) : exn =
        let ofWorker (message: string) : exn = StageException(message, true, true)

        match error with
        | :? StageException as failure when not failure.IsOfWorker ->
            if wasGone then
                ofWorker $"the folder of the program was removed while it was in use: {folder.Path}"
            else
                match FolderRoom.probe options.temporary with
                | null -> error
                | reason ->
                    ofWorker $"{failure.Message}; and this worker cannot store anything: {reason}"
        | _ -> error

    let environmentOf (work: Process) =
        if work.name.Contains '\000' then
            raise (StageException("the task's name has a NUL, which FS_NAME cannot hold", false))

        Array.append inherited [|
            $"FS_TASK={work.attempt.task}"
            $"FS_ATTEMPT={work.attempt.number}"
            $"FS_NAME={work.name}"
            // The number of the piece, from 0; empty if the payload is whole.
            match work.piece with
            | ValueSome piece -> $"FS_PIECE={piece}"
            | ValueNone -> "FS_PIECE="
        |]

    let commandOf (argument: string) =
        match ExecCommand.parse argument with
        | Error fault ->
            raise (StageException($"at character {fault.position + 1}: {fault.message}", false))
        | Ok command ->
            match options.programs.TryGetValue command.program with
            | true, path -> struct (command, path)
            | _ ->
                raise (
                    StageException($"this worker may not run the program '{command.program}'", true)
                )

    let runOnce
        kind
        argument
        (work: Process)
        (payload: Content)
        (sink: ResultSink)
        ct
        : Task<Content> =
        task {
            let struct (command, path) = commandOf argument
            let folder = newFolder ()

            let run () : Task<Content> =
                task {
                    let files = ExecFiles.place kind command.arguments folder.Path work.name

                    let start = {
                        path = path
                        name = command.program
                        arguments = files.arguments
                        environment = environmentOf work
                        folder = folder.Root
                        input =
                            (match files.input, payload with
                             | null, Spooled(path, _) -> InputFile path
                             | null, _ -> InputPiped
                             | _ -> InputEmpty)
                        isOutputWanted = isNull files.output
                    }

                    do! ExecFiles.writeInput folder files payload

                    do! ProgramRun.run starter start payload sink ct

                    match files.output with
                    | null -> return! sink.FinishAsync()
                    | _ ->
                        return
                            ExecFiles.readOutput
                                command.program
                                folder
                                newFile
                                memoryMax
                                sink.BytesMax
                }

            let! outcome =
                task {
                    try
                        let! result = run ()
                        return Ok result
                    with error ->
                        return Error error
                }

            let wasGone = folder.IsGone
            removeFolder folder

            match outcome with
            | Ok result -> return result
            | Error error -> return raise (blame folder wasGone error)
        }

    let startLines argument () =
        let struct (command, path) = commandOf argument
        let folder = newFolder ()

        try
            let running =
                starter.Start {
                    path = path
                    name = command.program
                    arguments = command.arguments
                    environment = inherited
                    folder = folder.Root
                    input = InputPiped
                    isOutputWanted = true
                }

            running.Completion.ContinueWith(fun (_: Task<ProgramEnd>) -> removeFolder folder)
            |> ignore

            new LineProcess(command.program, path, running)
        with error ->
            removeFolder folder

            match error with
            | :? IOException as error -> raise (StartFailure.failure error)
            | _ -> raise error

    let runLines argument payload (sink: ResultSink) ct =
        task {
            do! lines.RunAsync(argument, startLines argument, payload, sink, ct)
            return! sink.FinishAsync()
        }

    let run kind argument work payload bytesMax ct =
        task {
            let sink = ResultSink(newFile, memoryMax, bytesMax)

            try
                match kind with
                | OnLines -> return! runLines argument payload sink ct
                | OnStreams
                | OnFiles -> return! runOnce kind argument work payload sink ct
            with error ->
                sink.Discard()
                return raise error
        }

    /// The stages to be named in HELLO: each program, in each way to run it.
    member _.Offers = ExecCommand.offers options.programs.Keys

    /// <summary>Runs a stage.</summary>
    /// <param name="kind">The stage.</param>
    /// <param name="argument">The program and its arguments, as text.</param>
    /// <param name="work">The task.</param>
    /// <param name="payload">Its file is left to the caller to delete.</param>
    /// <param name="bytesMax">The largest result, in bytes.</param>
    /// <param name="ct">Kills the program, and everything it has started.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">The program failed, or may not be run here.</exception>
    /// <exception cref="T:System.OperationCanceledException">The program was killed by <c>ct</c>.</exception>
    member _.RunAsync
        (kind, argument, work, payload, bytesMax: Size, ct: CancellationToken)
        : Task<Content> =
        task {
            Interlocked.Increment &running |> ignore
            use either = CancellationTokenSource.CreateLinkedTokenSource(ct, stop.Token)

            try
                return! run kind argument work payload bytesMax either.Token
            finally
                Interlocked.Decrement &running |> ignore
        }

    /// The number of idle programs of `exec-lines`.
    member internal _.IdleCount = lines.IdleCount

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                stop.Cancel()
                (lines :> IDisposable).Dispose()
                let started = Environment.TickCount64

                while Volatile.Read &running > 0
                      && Environment.TickCount64 - started < int64 endMax.TotalMilliseconds do
                    do! Task.Delay 5

                match reaper with
                | ValueSome reaper -> (reaper :> IDisposable).Dispose()
                | ValueNone -> ()
            }
            |> ValueTask
