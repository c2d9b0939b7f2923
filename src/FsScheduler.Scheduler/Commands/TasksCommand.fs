namespace FsScheduler.Scheduler

open System
open Argu
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol
open FsScheduler.Cli
open FsScheduler.Sdk

/// The command line of `fs-scheduler tasks`.
[<RequireQualifiedAccess>]
type TasksArguments =
    | State of STATES: string
    | [<Unique>] Name of PATTERN: string
    | [<Unique>] Stage of STAGE: string
    | [<Unique>] All
    | [<Unique>] Limit of COUNT: int
    | [<Unique>] After of TASK: int64
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | TasksArguments.State _ ->
                let names = String.concat ", " PhaseName.all
                $"only tasks in these states, separated by commas: {names} (default: all that are not finished)"
            | TasksArguments.Name _ ->
                "only tasks whose name, or its last part, fits; * is any characters, ? one character"
            | TasksArguments.Stage _ -> "only tasks that are at this stage or wait for it"
            | TasksArguments.All -> "also tasks that are done or cancelled"
            | TasksArguments.Limit _ -> "at most this many; 0: all (default: 1000)"
            | TasksArguments.After _ -> "only tasks with a higher number"
            | TasksArguments.Connect _ -> ClientCommand.connectUsage
            | TasksArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | TasksArguments.Json -> ClientCommand.jsonUsage

/// `tasks`: tasks with their states and errors, a page at a time.
module TasksCommand =

    let private pageMax = 1_000

    let private statesOf (arguments: ParseResults<TasksArguments>) : string list =
        let given =
            arguments.GetResults TasksArguments.State
            |> List.collect (fun text ->
                text.Split(
                    ',',
                    StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries
                )
                |> List.ofArray)

        for name in given do
            if not (List.contains name PhaseName.all) then
                let hint =
                    match Spelling.nearest PhaseName.all name with
                    | Some near -> $"did you mean '{near}'?"
                    | None -> $"""there are {String.concat ", " PhaseName.all}"""

                raise (WrongArguments $"--state: there is no state '{name}'; {hint}")

        match given with
        | [] when arguments.Contains TasksArguments.All -> PhaseName.all
        | states -> List.distinct states

    /// A duration as a whole number: of seconds below 100 s, of minutes below 100 min, of hours below 2 days, of days.
    let private age (since: TimeSpan) =
        match int64 since.TotalSeconds with
        | seconds when seconds < 100L -> $"{seconds}s"
        | seconds when seconds < 6_000L -> $"{seconds / 60L}m"
        | seconds when seconds < 172_800L -> $"{seconds / 3_600L}h"
        | seconds -> $"{seconds / 86_400L}d"

    let private header = [ "task"; "state"; "attempt"; "since"; "stage"; "worker"; "name"; "error" ]

    let private cells (task: TaskSummary) : string list = [
        string task.TaskId
        task.State
        string task.Attempt
        age task.Since
        string task.Stage
        string task.Worker
        task.Name
        string task.Error
    ]

    let run (arguments: ParseResults<TasksArguments>) : int =
        let limit = arguments.GetResult(TasksArguments.Limit, 1_000)
        let first = arguments.GetResult(TasksArguments.After, 0L)

        if limit < 0 then
            raise (WrongArguments $"--limit: {limit} is not a number of tasks, or 0 for all")

        if first < 0L || first > ProtocolLimits.integerMax then
            raise (WrongArguments $"--after: {first} is not the number of a task, or 0")

        let states = statesOf arguments

        let queryAfter after most =
            TaskQuery(
                States = states,
                Name = Option.toObj (arguments.TryGetResult TasksArguments.Name),
                Stage = Option.toObj (arguments.TryGetResult TasksArguments.Stage),
                After = after,
                Most = most
            )

        ClientCommand.run
            (arguments.TryGetResult TasksArguments.Connect)
            (arguments.TryGetResult TasksArguments.Token_File)
            (fun client ct ->
                task {
                    let table = Columns.Rows header
                    let mutable after = first
                    let mutable left = if limit = 0 then Int32.MaxValue else limit
                    let mutable code = ExitCode.ok
                    let mutable goOn = true

                    while goOn do
                        let query = queryAfter after (min pageMax left)

                        match! ClientCommand.tryAnswer (client.ListAsync(query, ct)) with
                        | Ok page ->
                            if arguments.Contains TasksArguments.Json then
                                for task in page.Tasks do
                                    Console.Out.WriteLine task.Json
                            else
                                page.Tasks |> Seq.map cells |> List.ofSeq |> table.Add

                            left <- left - page.Tasks.Count
                            after <- page.Last
                            goOn <- page.HasMore && left > 0

                            if page.HasMore && left = 0 then
                                eprintfn
                                    $"fs-scheduler tasks: there may be more; --after {page.Last} lists the next, --limit 0 all"
                        | Error message ->
                            ClientCommand.printError "tasks" message
                            code <- ExitCode.quarantined
                            goOn <- false

                    return code
                })
