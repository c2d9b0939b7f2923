module FsScheduler.Scheduler.Program

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Argu
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Cli
open FsScheduler.Scheduler.StartOptions

let private workerArguments (arguments: ParseResults<Arguments>) (state: StateFolder) = [
    for option, value in
        [
            "--token-file", arguments.TryGetResult Token_File |> Option.map Path.GetFullPath
            "--log-level",
            Some(
                Logs.levelOf
                    (arguments.TryGetResult Log_Level)
                    (arguments.Contains Quiet)
                    (arguments.Contains Verbose)
            )
            "--log-format", arguments.TryGetResult Log_Format
            "--drain", arguments.TryGetResult Drain
        ] do
        match value with
        | Some value ->
            option
            value
        | None -> ()

    for program in arguments.GetResults Allow_Exec do
        "--allow-exec"
        program

    if arguments.Contains Shared_Files then
        for folder in [ entradaOf arguments; state.Temporary ] do
            "--shared-files"
            Path.GetFullPath folder
]

/// The address that workers of this machine connect to.
let private localAddress (listening: IPEndPoint) =
    if listening.Address.Equals IPAddress.Any then
        IPEndPoint(IPAddress.Loopback, listening.Port)
    elif listening.Address.Equals IPAddress.IPv6Any then
        IPEndPoint(IPAddress.IPv6Loopback, listening.Port)
    else
        listening

/// The options that are not those of the scheduler itself.
type private RunOptions = {
    drain: TimeSpan
    /// The number of workers to start.
    workers: int
    workerProgram: WorkerProgram
    onceLimit: Duration option
}

let private runOptionsOf (arguments: ParseResults<Arguments>) : RunOptions =
    let onceLimit =
        arguments.TryGetResult Once_Timeout
        |> Option.map (CommandLine.durationFrom 1L<ms> "--once-timeout")

    if onceLimit.IsSome && not (arguments.Contains Once) then
        raise (WrongArguments "--once-timeout: it needs --once")

    let workers =
        arguments.GetResult(Workers, 0) |> CommandLine.countBetween 0 1_000 "--workers"

    {
        drain = arguments.GetResult(Drain, "10s") |> CommandLine.timeSpanFrom 0L<ms> "--drain"
        workers = workers
        workerProgram =
            if workers = 0 then
                WorkerProgram.none
            else
                match WorkerProgram.find () with
                | Ok program -> program
                | Error message -> raise (IOException message)
        onceLimit = onceLimit
    }

let private serve
    (arguments: ParseResults<Arguments>)
    (run: RunOptions)
    (options: SchedulerOptions)
    (log: ILogger)
    =
    task {
        use interruption = new Interruption()
        let! started = SchedulerServer.StartAsync options
        use server = started
        let stateGone = options.state.UntilGoneAsync interruption.Token
        printfn $"listening on {server.EndPoint}"
        stdout.Flush()

        use workers =
            new LocalWorkers(
                run.workerProgram,
                localAddress server.EndPoint,
                run.workers,
                workerArguments arguments options.state,
                interruption.Token,
                log
            )

        let once = OnceWait(server, run.onceLimit, log)

        let whole: Task =
            if arguments.Contains Once then
                once.RunAsync interruption.Token
            else
                Task.Delay(Timeout.Infinite, interruption.Token)

        let hasWorkers () =
            task {
                let! status = server.StatusAsync()
                return not (Seq.isEmpty status.workers)
            }

        // Workers that others start may come at any time. With --once and without --expect, none is waited for.
        let unable =
            if run.workers > 0 && arguments.Contains Once && not (arguments.Contains Expect) then
                workers.UntilUnableAsync(hasWorkers, interruption.Token)
            else
                TaskCompletionSource<string>().Task

        let! ended =
            Task.WhenAny(
                whole,
                unable,
                stateGone,
                server.Completion,
                (if run.workers > 0 then
                     workers.Completion
                 else
                     server.Completion)
            )

        if interruption.Token.IsCancellationRequested then
            do! server.DrainAsync run.drain
            return ExitCode.interrupted
        elif obj.ReferenceEquals(ended, whole) then
            do! whole
            let! status = server.StatusAsync()

            let! before = server.DoneBeforeAsync()

            let finished = DoneBefore.summary (status.finished - server.FinishedBefore) before

            printfn $"{finished}, {status.quarantined} in quarantine, {server.Refused} refused"

            for worker in status.workers do
                printfn $"worker {worker.name} finished {worker.finished} failed {worker.failed}"

            return
                if once.HasRunOut || status.quarantined > 0L || server.Refused > 0 then
                    ExitCode.quarantined
                else
                    ExitCode.ok
        elif obj.ReferenceEquals(ended, unable) then
            let! reason = unable

            eprintfn
                $"fs-scheduler: no task can run: none of the workers of --workers can start, and no other worker is connected: {reason}"

            return ExitCode.cannotStart
        elif obj.ReferenceEquals(ended, stateGone) then
            let! reason = stateGone
            eprintfn $"fs-scheduler: {reason}"
            return ExitCode.cannotStart
        else
            do! ended // throws the exception of a part that has failed
            return ExitCode.broken
    }

let private run (arguments: ParseResults<Arguments>) =
    let level =
        Logs.levelOf
            (arguments.TryGetResult Log_Level)
            (arguments.Contains Quiet)
            (arguments.Contains Verbose)

    use logs = Logs.create "fs-scheduler" level (arguments.TryGetResult Log_Format)
    let log = logs.CreateLogger "fs-scheduler"

    let cannotStart (message: string) =
        eprintfn $"fs-scheduler: {message}"
        ExitCode.cannotStart

    let entrada = entradaOf arguments
    FolderArguments.check entrada (resultadosOf arguments) (stateOf arguments)
    let ignored = CommandLine.ignored entrada (arguments.GetResults Ignore)
    let inputs = InputFolder(entrada, ignored)
    FolderArguments.checkOutput inputs
    FolderArguments.checkTokens inputs (arguments.TryGetResult Token_File)

    let openState clock outage =
        if not (Directory.Exists entrada) then
            raise (
                DirectoryNotFoundException
                    $"there is no folder '{entrada}' to take files from; make it, or name another with --entrada"
            )

        let state = new StateFolder(stateOf arguments)

        match state.Notice with
        | null -> ()
        | notice -> log.LogWarning("{Notice}", notice)

        let openJournal () =
            StateJournal.openIn
                state.Path
                (syncOf arguments)
                (arguments.Contains Accept_Loss)
                outage
                clock
                log

        struct (state, openJournal)

    let work () =
        task {
            // Checked before the state folder is opened.
            let runOptions = runOptionsOf arguments
            let options = optionsOf arguments ignored log openState
            use _ = options.state

            try
                return! serve arguments runOptions options log
            with :? SocketException as error ->
                return
                    cannotStart
                        $"cannot listen on {options.listen}: {error.Message}; name another port with --listen, or 0 for a free one"
        }

    try
        work().GetAwaiter().GetResult()
    with
    | JournalRefused message -> cannotStart message
    | QueueLost message ->
        eprintfn
            $"fs-scheduler: {message}. This scheduler has stopped; it has answered for nothing that it had not recorded"

        ExitCode.broken
    | :? IOException
    | :? UnauthorizedAccessException as error -> cannotStart error.Message
    | WrongArguments _ -> reraise ()
    | error ->
        log.LogCritical(
            error,
            "a defect of the scheduler: the process ends, because its state may be wrong"
        )

        ExitCode.broken

[<EntryPoint>]
let main args =
    Signals.restore ()

    if Array.tryHead args = Some WorkerProgram.Inside then
        FsScheduler.Worker.Program.main (Array.tail args)
    else
        CommandLine.printing "fs-scheduler" (fun () ->
            Commands.dispatch args (fun args ->
                CommandLine.main<Arguments> "fs-scheduler" args run))
