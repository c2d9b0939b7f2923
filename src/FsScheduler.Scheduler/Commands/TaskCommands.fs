namespace FsScheduler.Scheduler

open System
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Argu
open FsScheduler.Platform
open FsScheduler.Cli
open FsScheduler.Sdk

/// The command lines of `cancel`, `drain` and `explain`.
[<RequireQualifiedAccess>]
type TaskArguments =
    | [<MainCommand>] What of WHAT: string list
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | TaskArguments.What _ ->
                "the numbers of tasks; for drain, the name of a worker or its session"
            | TaskArguments.Connect _ -> ClientCommand.connectUsage
            | TaskArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | TaskArguments.Json -> ClientCommand.jsonUsage

/// `cancel`, `drain` and `explain`. Exit code 1: a task or worker is not known, or the command came too late for it.
module TaskCommands =

    let private named (hint: string) (arguments: ParseResults<TaskArguments>) =
        match arguments.TryGetResult TaskArguments.What with
        | Some named -> named
        | None -> raise (WrongArguments hint)

    let private taskIds (arguments: ParseResults<TaskArguments>) =
        named "name at least one task by its number; 'fs-scheduler tasks' lists them" arguments
        |> List.map ClientCommand.taskIdOf

    let private command
        name
        (arguments: ParseResults<TaskArguments>)
        (give: SchedulerClient -> CancellationToken -> Task<CommandResult>)
        =
        ClientCommand.run
            (arguments.TryGetResult TaskArguments.Connect)
            (arguments.TryGetResult TaskArguments.Token_File)
            (fun client ct ->
                task {
                    let! result = give client ct
                    let errors = ClientCommand.errorsOf result

                    if arguments.Contains TaskArguments.Json then
                        ClientCommand.printJson {| errors = errors |}
                    else
                        for error in errors do
                            ClientCommand.printError name error

                    return if errors.IsEmpty then ExitCode.ok else ExitCode.quarantined
                })

    let cancel (arguments: ParseResults<TaskArguments>) : int =
        let ids = taskIds arguments
        command "cancel" arguments (fun client ct -> client.CancelAsync(ids, ct))

    let drain (arguments: ParseResults<TaskArguments>) : int =
        let workers =
            named "name at least one worker; 'fs-scheduler status' lists them" arguments
            |> List.map ClientCommand.workerOf

        command "drain" arguments (fun client ct -> client.DrainAsync(workers, ct))

    /// Prints an explanation, the JSON of EXPLAIN, which `HistoryQueries` makes.
    let show isJson (explanation: ReadOnlyMemory<byte>) =
        if isJson then
            printfn "%s" (Encoding.UTF8.GetString explanation.Span)
        else
            use document = JsonDocument.Parse explanation
            let root = document.RootElement

            let text (name: string) =
                Terminal.printable (root.GetProperty(name).ToString())

            printfn "task %s, '%s': %s" (text "task") (text "name") (text "state")

            for sentence in root.GetProperty("sentences").EnumerateArray() do
                printfn "  %s" (Terminal.printable (nonNull (sentence.GetString())))

    let explain (arguments: ParseResults<TaskArguments>) : int =
        let ids = taskIds arguments

        ClientCommand.run
            (arguments.TryGetResult TaskArguments.Connect)
            (arguments.TryGetResult TaskArguments.Token_File)
            (fun client ct ->
                task {
                    let mutable code = ExitCode.ok

                    for id in ids do
                        match! ClientCommand.tryAnswer (client.ExplainAsync(id, ct)) with
                        | Ok explanation ->
                            show (arguments.Contains TaskArguments.Json) explanation.Json
                        | Error message ->
                            ClientCommand.printError "explain" message
                            code <- ExitCode.quarantined

                    return code
                })
