/// The options of a scheduler, from the arguments of `fs-scheduler`.
module internal FsScheduler.Scheduler.StartOptions

open System
open System.Net
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

let entradaOf (arguments: ParseResults<Arguments>) = arguments.GetResult(Entrada, "entrada")

let resultadosOf (arguments: ParseResults<Arguments>) =
    arguments.GetResult(Resultados, "resultados")

let stateOf (arguments: ParseResults<Arguments>) =
    arguments.GetResult(State, ".fs-scheduler")

let private listenAddress (text: string) =
    let refuse () =
        raise (
            WrongArguments
                $"--listen: '{text}' is not an address; write HOST:PORT, such as 127.0.0.1:7070"
        )

    match text.LastIndexOf ':' with
    | -1 -> refuse ()
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
                    $"--listen: '{host}' is not an IP address; write one of this machine, localhost, or 0.0.0.0 for all"
            )
        | _ -> refuse ()

let private tokensOf (arguments: ParseResults<Arguments>) =
    arguments.TryGetResult Token_File
    |> Option.map (fun path ->
        match Tokens.parse (CommandLine.readFile "--token-file" path) with
        | Ok tokens -> tokens
        | Error message -> raise (WrongArguments $"--token-file: {path}: {message}"))

/// How often workers send a beat, and after which silence a worker is lost.
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

/// The memory for waiting submissions. Further submissions are in the journal only, and are read when their turn comes.
let private memoryMax = 24L * 1024L * 1024L * 1L<B>

/// Smaller payloads are held in memory, and not cut.
let private splitMin = 128L * 1024L * 1L<B>

/// How long a task waits with --once while every worker that could run it is held back.
let private unableMax = 5_000L<ms>

let private speculateOf (arguments: ParseResults<Arguments>) =
    match arguments.GetResult(Speculate, 3.0) with
    | 0.0 -> 0.0
    | factor when factor >= 1.0 && factor <= 1_000.0 -> factor
    | _ -> raise (WrongArguments "--speculate: write a number from 1 to 1000, or 0 for never")

let private settingsOf (arguments: ParseResults<Arguments>) (lostAfter: Duration) : Settings =
    let allowed = arguments.GetResults Allow_Exec

    if not allowed.IsEmpty && arguments.GetResult(Workers, 0) = 0 then
        raise (
            WrongArguments
                "--allow-exec: it is for the workers that --workers starts, and there are none; give it to fs-worker"
        )

    // Checked here too: workers that this process starts would end at once, again and again.
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
            // With --once the scheduler must end, and cannot wait until a worker is repaired.
            unableAfter =
                if arguments.Contains Once then
                    unableMax
                else
                    Settings.patient
            seed = uint64 (Random.Shared.NextInt64())
    }

/// The level of `--sync`.
let syncOf (arguments: ParseResults<Arguments>) =
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

/// The options of a scheduler. The state folder is opened last, after all other arguments are checked.
let optionsOf
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
