namespace FsScheduler.Scheduler

open System
open System.Text
open System.Text.Json
open System.Threading.Tasks
open Argu
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Cli

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
            | TaskArguments.Connect _ -> Remote.connectUsage
            | TaskArguments.Token_File _ -> Remote.tokenFileUsage
            | TaskArguments.Json -> Remote.jsonUsage

/// The command line of `events`.
[<RequireQualifiedAccess>]
type EventsArguments =
    | [<Unique>] Follow
    | [<Unique>] Task of TASK: int64
    | [<Unique>] After of NUMBER: int64
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | EventsArguments.Follow -> "go on with what happens, until Ctrl+C"
            | EventsArguments.Task _ -> "only those of this task"
            | EventsArguments.After _ -> "only those of a higher number"
            | EventsArguments.Connect _ -> Remote.connectUsage
            | EventsArguments.Token_File _ -> Remote.tokenFileUsage
            | EventsArguments.Json -> "events are JSON lines with or without it"

/// What is said about tasks, and about workers. Exit code 1: something was wrong with one of them.
module TaskVerbs =

    let private whats (arguments: ParseResults<TaskArguments>) =
        match arguments.TryGetResult TaskArguments.What with
        | Some whats -> whats
        | None -> raise (WrongArguments "say which")

    let private say verb (arguments: ParseResults<TaskArguments>) messages =
        Remote.run
            (arguments.TryGetResult TaskArguments.Connect)
            (arguments.TryGetResult TaskArguments.Token_File)
            (fun client ct ->
                task {
                    let! errors = Remote.say client messages ct

                    if arguments.Contains TaskArguments.Json then
                        printfn $"{Remote.json {| errors = errors |}}"
                    else
                        for error in errors do
                            Remote.complain verb error

                    return if errors.IsEmpty then ExitCode.ok else ExitCode.quarantined
                })

    let cancel (arguments: ParseResults<TaskArguments>) : int =
        whats arguments
        |> List.map (Remote.taskOf >> ToScheduler.Cancel)
        |> say "cancel" arguments

    let drain (arguments: ParseResults<TaskArguments>) : int =
        whats arguments |> List.map ToScheduler.Drain |> say "drain" arguments

    /// Shows an explanation, as a scheduler or `HistoryQueries` makes it.
    let show isJson (explanation: byte[]) =
        if isJson then
            printfn "%s" (Encoding.UTF8.GetString explanation)
        else
            use document = JsonDocument.Parse(ReadOnlyMemory explanation)
            let root = document.RootElement

            let text (name: string) =
                Terminal.printable (root.GetProperty(name).ToString())

            printfn "task %s, '%s': %s" (text "task") (text "name") (text "state")

            for sentence in root.GetProperty("sentences").EnumerateArray() do
                printfn "  %s" (Terminal.printable (nonNull (sentence.GetString())))

    let explain (arguments: ParseResults<TaskArguments>) : int =
        let ids = whats arguments |> List.map Remote.taskOf

        Remote.run
            (arguments.TryGetResult TaskArguments.Connect)
            (arguments.TryGetResult TaskArguments.Token_File)
            (fun client ct ->
                task {
                    let mutable code = ExitCode.ok

                    for id in ids do
                        match! Remote.ask client (ToScheduler.Explain id) ct with
                        | Ok arrival ->
                            show (arguments.Contains TaskArguments.Json) (Remote.bytesOf arrival)
                        | Error message ->
                            Remote.complain "explain" message
                            code <- ExitCode.quarantined

                    return code
                })

    let private pollEvery = TimeSpan.FromMilliseconds 300.0

    let events (arguments: ParseResults<EventsArguments>) : int =
        let of' =
            arguments.TryGetResult EventsArguments.Task
            |> Option.map (fun id -> Remote.taskOf (string id))

        if arguments.GetResult(EventsArguments.After, 0L) < 0L then
            raise (WrongArguments "--after: the number of an event, or 0")

        let isFollowing = arguments.Contains EventsArguments.Follow
        let after = ref (arguments.GetResult(EventsArguments.After, 0L))
        let isAgain = ref false

        /// Another journal counts from 1 again: whoever waits for higher numbers would wait for ever.
        let resume (client: SchedulerClient) ct =
            task {
                let isLater = isAgain.Value && after.Value > 0L
                isAgain.Value <- true

                if isLater then
                    let query = { task = None; after = after.Value - 1L; most = 1 }

                    match! Remote.ask client (ToScheduler.Events query) ct with
                    | Ok { message = FromScheduler.Events last } when last < after.Value ->
                        Remote.complain
                            "events"
                            $"the scheduler has no event {after.Value} any more, its journal is another one: from its first event on"

                        after.Value <- 0L
                    | Ok _
                    | Error _ -> ()
            }

        (if isFollowing then Remote.follow "events" else Remote.run)
            (arguments.TryGetResult EventsArguments.Connect)
            (arguments.TryGetResult EventsArguments.Token_File)
            (fun client ct ->
                task {
                    let output = StandardStreams.bytes ()
                    do! resume client ct
                    let mutable code = ExitCode.ok
                    let mutable goOn = true

                    while goOn do
                        let query = { task = of'; after = after.Value; most = 1_000 }

                        match! Remote.ask client (ToScheduler.Events query) ct with
                        | Ok({ message = FromScheduler.Events last } as arrival) ->
                            let lines = Remote.bytesOf arrival
                            output.Write(ReadOnlySpan lines)

                            if last > after.Value then after.Value <- last
                            elif isFollowing then do! Remote.pause pollEvery ct
                            else goOn <- false
                        | Ok _ -> Remote.somethingElse ()
                        | Error message ->
                            Remote.complain "events" message
                            code <- ExitCode.quarantined
                            goOn <- false

                    return code
                })
