namespace FsScheduler.Scheduler

open System
open System.Text
open System.Text.Json
open System.Threading.Tasks
open Argu
open FsScheduler.Core
open FsScheduler.Runtime

/// The command lines of `cancel`, `retry`, `drain` and `explain`.
[<RequireQualifiedAccess>]
type TaskArguments =
    | [<MainCommand>] What of WHAT: string list
    | [<Unique>] All
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | TaskArguments.What _ ->
                "the numbers of tasks; for drain, the name of a worker or its session"
            | TaskArguments.All -> "for retry: everything in quarantine"
            | TaskArguments.Connect _ -> "where the scheduler listens (default: 127.0.0.1:7070)"
            | TaskArguments.Token_File _ -> "a file with a line 'client TOKEN'"
            | TaskArguments.Json -> "for programs"

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
            | EventsArguments.Connect _ -> "where the scheduler listens (default: 127.0.0.1:7070)"
            | EventsArguments.Token_File _ -> "a file with a line 'client TOKEN'"
            | EventsArguments.Json -> "events are JSON lines with or without it"

/// What is said about tasks, and about workers. Exit code 1: something was wrong with one of them.
module TaskVerbs =

    let private taskOf (text: string) : TaskId =
        match Int64.TryParse text with
        | true, id when id > 0L && id <= 9_007_199_254_740_991L -> id * 1L<taskId>
        | _ ->
            raise (
                WrongArguments
                    $"'{text}' is not the number of a task; 'fs-scheduler events' and ACCEPTED tell them"
            )

    let private whats (arguments: ParseResults<TaskArguments>) =
        if arguments.Contains TaskArguments.All then
            raise (WrongArguments "--all is for retry, and takes nothing else")

        match arguments.TryGetResult TaskArguments.What with
        | Some whats -> whats
        | None -> raise (WrongArguments "say which")

    let private say verb (arguments: ParseResults<TaskArguments>) messages =
        Remote.run
            verb
            (arguments.TryGetResult TaskArguments.Connect)
            (arguments.TryGetResult TaskArguments.Token_File)
            (fun client ct ->
                task {
                    let! errors = Remote.say client messages ct

                    if arguments.Contains TaskArguments.Json then
                        printfn $"{JsonSerializer.Serialize {| errors = errors |}}"
                    else
                        for error in errors do
                            eprintfn $"fs-scheduler {verb}: {Remote.shown error}"

                    return if errors.IsEmpty then ExitCode.ok else ExitCode.quarantined
                })

    let cancel (arguments: ParseResults<TaskArguments>) : int =
        whats arguments
        |> List.map (taskOf >> ToScheduler.Cancel)
        |> say "cancel" arguments

    let retry (arguments: ParseResults<TaskArguments>) : int =
        if
            arguments.Contains TaskArguments.All
            && not (arguments.Contains TaskArguments.What)
        then
            say "retry" arguments [ ToScheduler.RetryAll ]
        else
            whats arguments
            |> List.map (taskOf >> ToScheduler.Retry)
            |> say "retry" arguments

    let drain (arguments: ParseResults<TaskArguments>) : int =
        whats arguments |> List.map ToScheduler.Drain |> say "drain" arguments

    let private tell (json: byte[]) =
        use document = JsonDocument.Parse(ReadOnlyMemory json)
        let root = document.RootElement

        let text (name: string) =
            Remote.shown (root.GetProperty(name).ToString())

        printfn "task %s, '%s': %s" (text "task") (text "name") (text "state")

        for sentence in root.GetProperty("sentences").EnumerateArray() do
            printfn "  %s" (Remote.shown (nonNull (sentence.GetString())))

    let explain (arguments: ParseResults<TaskArguments>) : int =
        let ids = whats arguments |> List.map taskOf

        Remote.run
            "explain"
            (arguments.TryGetResult TaskArguments.Connect)
            (arguments.TryGetResult TaskArguments.Token_File)
            (fun client ct ->
                task {
                    let mutable code = ExitCode.ok

                    for id in ids do
                        match! Remote.ask client (ToScheduler.Explain id) ct with
                        | Ok arrival when arguments.Contains TaskArguments.Json ->
                            printfn "%s" (Encoding.UTF8.GetString(Remote.bytesOf arrival))
                        | Ok arrival -> tell (Remote.bytesOf arrival)
                        | Error message ->
                            eprintfn $"fs-scheduler explain: {Remote.shown message}"
                            code <- ExitCode.quarantined

                    return code
                })

    let private pollEvery = TimeSpan.FromMilliseconds 300.0

    let events (arguments: ParseResults<EventsArguments>) : int =
        let of' =
            arguments.TryGetResult EventsArguments.Task
            |> Option.map (fun id -> taskOf (string id))

        if arguments.GetResult(EventsArguments.After, 0L) < 0L then
            raise (WrongArguments "--after: the number of an event, or 0")

        Remote.run
            "events"
            (arguments.TryGetResult EventsArguments.Connect)
            (arguments.TryGetResult EventsArguments.Token_File)
            (fun client ct ->
                task {
                    use output = Console.OpenStandardOutput()
                    let mutable hasSome = false
                    let mutable after = arguments.GetResult(EventsArguments.After, 0L)
                    let mutable code = ExitCode.ok
                    let mutable goOn = true

                    while goOn do
                        let query = { task = of'; after = after; most = 1_000 }

                        match! Remote.ask client (ToScheduler.Events query) ct with
                        | Ok({ message = FromScheduler.Events last } as arrival) ->
                            let lines = Remote.bytesOf arrival
                            do! output.WriteAsync(ReadOnlyMemory lines, ct)
                            do! output.FlushAsync ct
                            hasSome <- hasSome || lines.Length > 0

                            if last > after then
                                after <- last
                            elif arguments.Contains EventsArguments.Follow then
                                do! Task.Delay(pollEvery, ct)
                            else
                                goOn <- false
                        | Ok _ -> goOn <- false
                        | Error message ->
                            eprintfn $"fs-scheduler events: {Remote.shown message}"
                            code <- ExitCode.quarantined
                            goOn <- false

                    match of' with
                    | Some task when code = ExitCode.ok && not hasSome && after = 0L ->
                        eprintfn $"fs-scheduler events: task {task} is not known"
                        return ExitCode.quarantined
                    | _ -> return code
                })
