module FsScheduler.Worker.Program

open System
open System.Threading.Tasks
open Argu
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Execution
open FsScheduler.Cli
open FsScheduler.Execution.Exec

let private optionsOf (arguments: ParseResults<Arguments>) (log: ILogger) : WorkerOptions =
    let defaults = Worker.options
    let connect = arguments.GetResult(Connect, defaults.connect)

    match SchedulerAddress.parse connect with
    | Ok _ -> ()
    | Error message -> raise (WrongArguments $"--connect: {message}")

    let builtIn =
        match arguments.TryGetResult Stages with
        | None -> defaults.builtIn
        | Some text ->
            let names = CommandLine.names "--stages" text

            for name in names do
                if Stage.tryBuiltIn name |> Option.isNone then
                    let known = String.Join(", ", defaults.builtIn)

                    raise (
                        WrongArguments
                            $"--stages: there is no built-in stage '{name}'; there are {known}"
                    )

            names

    let allowExec = arguments.GetResults Allow_Exec

    match AllowedProgram.findAll allowExec with
    | Ok _ -> ()
    | Error message -> raise (WrongArguments $"--allow-exec: {message}")

    if not (ProtocolLimits.areOffers (builtIn @ ExecCommand.offers (List.distinct allowExec))) then
        raise (WrongArguments "--allow-exec: HELLO has no room for so many programs; allow fewer")

    let sharedFolders = arguments.GetResults Shared_Files

    for folder in sharedFolders do
        if not (IO.Directory.Exists folder) then
            raise (
                WrongArguments
                    $"--shared-files: there is no folder '{folder}'; name one that the scheduler sees under the same path"
            )

    {
        connect = connect
        dial = None
        name =
            let name = arguments.GetResult(Name, defaults.name)
            let bytes = Text.Encoding.UTF8.GetByteCount name

            CommandLine.countBetween 1 ProtocolLimits.peerNameBytesMax "--name, in bytes" bytes
            |> ignore

            name
        slots =
            arguments.GetResult(Slots, defaults.slots)
            |> CommandLine.countBetween 1 ProtocolLimits.slotsMax "--slots"
        token =
            arguments.TryGetResult Token_File
            |> Option.map (CommandLine.tokenFor "worker" "--token-file")
        builtIn = builtIn
        functions = []
        allowExec = allowExec
        sharedFolders = sharedFolders
        drain = arguments.GetResult(Drain, "10s") |> CommandLine.timeSpanFrom 0L<ms> "--drain"
        giveUp =
            arguments.TryGetResult Give_Up
            |> Option.map (CommandLine.timeSpanFrom 0L<ms> "--give-up")
        log = log
    }

/// Asks the worker to end when standard input ends.
let private endWithStdin (interruption: Interruption) =
    Task.Run(fun () ->
        use input = Console.OpenStandardInput()

        while input.ReadByte() >= 0 do
            ()

        interruption.Request())
    |> ignore

let private run (arguments: ParseResults<Arguments>) =
    let level =
        Logs.levelOf
            (arguments.TryGetResult Log_Level)
            (arguments.Contains Quiet)
            (arguments.Contains Verbose)

    use logs = Logs.create "fs-worker" level (arguments.TryGetResult Log_Format)
    let options = optionsOf arguments (logs.CreateLogger "fs-worker")
    use interruption = new Interruption()

    if arguments.Contains End_With_Stdin then
        endWithStdin interruption

    match (Worker.runAsync options interruption.Token).GetAwaiter().GetResult() with
    | Ended ->
        if interruption.IsSignal then
            ExitCode.interrupted
        else
            ExitCode.ok
    | Unserved reason ->
        eprintfn $"fs-worker: {reason}"
        ExitCode.cannotStart

[<EntryPoint>]
let main args =
    Signals.restore ()

    let args =
        match args with
        | [| "help" | "version" as word |] -> [| "--" + word |]
        | _ -> args

    CommandLine.printing "fs-worker" (fun () -> CommandLine.main<Arguments> "fs-worker" args run)
