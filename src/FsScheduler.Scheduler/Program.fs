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
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Cli

let private entradaOf (arguments: ParseResults<Arguments>) = arguments.GetResult(Entrada, "entrada")

let private resultadosOf (arguments: ParseResults<Arguments>) =
    arguments.GetResult(Resultados, "resultados")

let private stateOf (arguments: ParseResults<Arguments>) =
    arguments.GetResult(State, ".fs-scheduler")

let private listenAddress (text: string) =
    let wrong () =
        raise (
            WrongArguments
                $"--listen: '{text}' is not an address; write HOST:PORT, such as 127.0.0.1:7070"
        )

    match text.LastIndexOf ':' with
    | -1 -> wrong ()
    | colon ->
        let host = text.Substring(0, colon).Trim('[', ']')

        match Int32.TryParse(text.Substring(colon + 1)), IPAddress.TryParse host with
        | (true, port), (true, address) when port >= 0 && port < 65_536 ->
            IPEndPoint(nonNull address, port)
        | (true, port), _ when host = "localhost" && port >= 0 && port < 65_536 ->
            IPEndPoint(IPAddress.Loopback, port)
        | (true, _), _ ->
            raise (
                WrongArguments
                    $"--listen: '{host}' is not an IP address of this machine; write one, or localhost, or 0.0.0.0 for all"
            )
        | _ -> wrong ()

let private tokensOf (arguments: ParseResults<Arguments>) =
    arguments.TryGetResult Token_File
    |> Option.map (fun path ->
        match Tokens.parse (CommandLine.readFile "--token-file" path) with
        | Ok tokens -> tokens
        | Error message -> raise (WrongArguments $"--token-file: {path}: {message}"))

/// How often workers beat, and when a silent one is lost.
let private beatsOf (arguments: ParseResults<Arguments>) =
    let lostAfter =
        arguments.GetResult(Lost_After, "5s")
        |> CommandLine.durationFrom 100L<ms> "--lost-after"

    let beat =
        match arguments.TryGetResult Beat with
        | None -> min 1_000L<ms> (lostAfter / 3L)
        | Some text -> CommandLine.durationFrom 10L<ms> "--beat" text

    if lostAfter < 2L * beat then
        raise (
            WrongArguments
                $"--lost-after: {lostAfter} ms is less than two beats of {beat} ms; a worker would be lost between them"
        )

    struct (beat, lostAfter)

/// Of submissions that wait: what is more is in the journal only, and read when its turn comes.
let private memoryMax = 24L * 1024L * 1024L * 1L<B>

/// What is smaller is held in memory, and not cut.
let private splitMin = 128L * 1024L * 1L<B>

/// How long --once waits where every worker that could run a task is held back.
let private unableMax = 5_000L<ms>

let private speculateOf (arguments: ParseResults<Arguments>) =
    match arguments.GetResult(Speculate, 3.0) with
    | 0.0 -> 0.0
    | factor when factor >= 1.0 && factor <= 1_000.0 -> factor
    | _ -> raise (WrongArguments "--speculate: a number from 1 to 1000, or 0 for never")

let private settingsOf (arguments: ParseResults<Arguments>) (lostAfter: Duration) : Settings =
    let allowed = arguments.GetResults Allow_Exec

    if not allowed.IsEmpty && arguments.GetResult(Workers, 0) = 0 then
        raise (
            WrongArguments
                "--allow-exec is for the workers that --workers starts, and there are none; say it to fs-worker"
        )

    // Workers that this process starts would end at once, again and again.
    match FsScheduler.Execution.Exec.AllowedProgram.findAll allowed with
    | Ok _ -> ()
    | Error message -> raise (WrongArguments $"--allow-exec: {message}")

    let expected =
        CommandLine.expected (arguments.TryGetResult Expect)
        |> Set.union (Set.ofList (ExecCommand.offers allowed))

    let pipeline = CommandLine.pipeline expected (arguments.TryGetResult Pipeline)

    {
        Settings.defaults pipeline with
            expected = Set.toArray expected
            maxAttempts =
                arguments.GetResult(Max_Attempts, 3)
                |> CommandLine.countBetween 1 100 "--max-attempts"
            taskTimeout =
                arguments.GetResult(Task_Timeout, "5m")
                |> CommandLine.durationFrom 10L<ms> "--task-timeout"
            lostAfter = lostAfter
            memory = memoryMax
            spoolBytes =
                match arguments.GetResult(Spool_Bytes, "16GiB") with
                | "off" -> Settings.unlimited
                | size -> CommandLine.sizeFrom 1L<B> "--spool-bytes" size
            split =
                match arguments.GetResult(Split, "16MiB") with
                | "off" -> Settings.unlimited
                | size -> CommandLine.sizeFrom splitMin "--split" size
            speculate = speculateOf arguments
            // Who is to end one day cannot wait until somebody repairs a worker.
            unableAfter =
                if arguments.Contains Once then
                    unableMax
                else
                    Settings.patient
            seed = uint64 (Random.Shared.NextInt64())
    }

/// The level of `--sync`.
let private syncOf (arguments: ParseResults<Arguments>) =
    match
        arguments.GetResult(Sync, "normal")
        |> CommandLine.oneOf [ "off"; "normal"; "full" ] "--sync"
    with
    | "off" -> FsScheduler.Server.Sync.Off
    | "full" -> FsScheduler.Server.Sync.Full
    | _ -> FsScheduler.Server.Sync.Normal

let private retentionOf (arguments: ParseResults<Arguments>) : Retention = {
    age = arguments.GetResult(Retain, "7d") |> CommandLine.duration "--retain"
    bytes = arguments.GetResult(Retain_Bytes, "1GiB") |> CommandLine.size "--retain-bytes"
}

/// What all parts share, from the command line; the state folder is taken last.
let private optionsOf
    (arguments: ParseResults<Arguments>)
    (ignored: IgnoreRules)
    (log: ILogger)
    (openState: Clock -> StorageOutage -> struct (StateFolder * (unit -> Journal)))
    : SchedulerOptions =
    let listen = arguments.GetResult(Listen, "127.0.0.1:7070") |> listenAddress
    let tokens = tokensOf arguments

    let struct (beat, lostAfter) = beatsOf arguments

    match tokens with
    | Some tokens when tokens.Shortest < Tokens.charsAdvised ->
        log.LogWarning(
            "the token file has a token of {Length} characters, which can be guessed; use {Advised} random ones",
            tokens.Shortest,
            Tokens.charsAdvised
        )
    | _ -> ()

    match AccessControl.mayListen listen.Address tokens with
    | Ok() -> ()
    | Error message -> raise (WrongArguments $"--listen: {message}")

    let settings = settingsOf arguments lostAfter

    let routes =
        CommandLine.routes
            (entradaOf arguments)
            (Set.ofArray settings.expected)
            (arguments.GetResults Route)

    let clock = Clock TimeProvider.System
    let outage = StorageOutage log

    let rules = {
        tokens = tokens
        maxPayload = arguments.GetResult(Max_Payload, "64MiB") |> CommandLine.size "--max-payload"
        maxResult = arguments.GetResult(Max_Result, "16GiB") |> CommandLine.size "--max-result"
    }

    let settle =
        arguments.GetResult(Settle, "500ms")
        |> CommandLine.durationFrom 0L<ms> "--settle"

    let onDone =
        match
            arguments.GetResult(On_Done, "keep")
            |> CommandLine.oneOf [ "keep"; "move"; "delete" ] "--on-done"
        with
        | "move" -> Move
        | "delete" -> Delete
        | _ -> Keep

    let sync = syncOf arguments
    let retention = retentionOf arguments
    let struct (state, openJournal) = openState clock outage

    {
        listen = listen
        sharesFiles = arguments.Contains Shared_Files
        entrada = entradaOf arguments
        ignored = ignored
        resultados = resultadosOf arguments
        state = state
        sync = sync
        settings = settings
        routes = routes
        rules = rules
        beat = beat
        settle = settle
        onDone = onDone
        again = arguments.Contains Again
        openJournal = openJournal
        retention = retention
        outage = outage
        clock = clock
        log = log
    }

let private workerArguments (arguments: ParseResults<Arguments>) (state: StateFolder) = [
    for option, value in
        [
            "--token-file", arguments.TryGetResult Token_File |> Option.map Path.GetFullPath
            "--log-level",
            Some(
                CommandLine.logLevel
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

/// How the process runs, with workers of its own.
type private RunOptions = {
    drain: TimeSpan
    /// How many.
    workers: int
    workerProgram: WorkerProgram
    onceLimit: Duration option
}

let private runOptionsOf (arguments: ParseResults<Arguments>) : RunOptions =
    let drain =
        arguments.GetResult(Drain, "10s") |> CommandLine.durationFrom 0L<ms> "--drain"

    let onceLimit =
        arguments.TryGetResult Once_Timeout
        |> Option.map (CommandLine.durationFrom 1L<ms> "--once-timeout")

    if onceLimit.IsSome && not (arguments.Contains Once) then
        raise (WrongArguments "--once-timeout: it is for --once")

    let workers =
        arguments.GetResult(Workers, 0) |> CommandLine.countBetween 0 1_000 "--workers"

    {
        drain = TimeSpan.FromMilliseconds(float (int64 drain))
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

        // Workers that others start may come at any time; who says nothing of them and waits for the end does so for ever.
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
                $"fs-scheduler: nothing can be done, since none of its workers can start, and no other is connected: {reason}"

            return ExitCode.cannotStart
        elif obj.ReferenceEquals(ended, stateGone) then
            let! reason = stateGone
            eprintfn $"fs-scheduler: {reason}"
            return ExitCode.cannotStart
        else
            do! ended // throws: a part that we cannot live without has failed
            return ExitCode.broken
    }

let private run (arguments: ParseResults<Arguments>) =
    let level =
        CommandLine.logLevel
            (arguments.TryGetResult Log_Level)
            (arguments.Contains Quiet)
            (arguments.Contains Verbose)
        |> CommandLine.oneOf Logs.levels "--log-level"

    let format =
        arguments.GetResult(Log_Format, "text")
        |> CommandLine.oneOf [ "text"; "json" ] "--log-format"

    use logs = Logs.create "fs-scheduler" level (format = "json")
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
            // Before the state is touched.
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
            $"fs-scheduler: {message}. This one has stopped: what it had not recorded it has told nobody"

        ExitCode.broken
    | :? IOException
    | :? UnauthorizedAccessException as error -> cannotStart error.Message
    | WrongArguments _ -> reraise ()
    | error ->
        log.LogCritical(
            error,
            "a defect of the scheduler: it ends rather than go on in a state that it does not trust"
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
