namespace FsScheduler.Scheduler

open System
open System.IO
open System.Text.Json
open Argu
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Cli

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
                $"only those in these states, with commas between: {names} (default: all that are not finished)"
            | TasksArguments.Name _ ->
                "only those whose name, or its last part, fits: * stands for any characters, ? for one"
            | TasksArguments.Stage _ -> "only those that are at this stage, or wait for it"
            | TasksArguments.All -> "also those that are done or cancelled"
            | TasksArguments.Limit _ -> "this many at the most; 0: all (default: 1000)"
            | TasksArguments.After _ -> "only those of a higher number"
            | TasksArguments.Connect _ -> Remote.connectUsage
            | TasksArguments.Token_File _ -> Remote.tokenFileUsage
            | TasksArguments.Json -> Remote.jsonUsage

/// `tasks`: which tasks there are, where they are and why, a page at a time.
module TasksVerb =

    let private pageMax = 1_000

    let private phasesOf (arguments: ParseResults<TasksArguments>) : Phase[] =
        let given =
            arguments.GetResults TasksArguments.State
            |> List.collect (fun text ->
                text.Split(
                    ',',
                    StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries
                )
                |> List.ofArray)

        let phases =
            given
            |> List.map (fun name ->
                match PhaseName.tryParse name with
                | Some phase -> phase
                | None ->
                    let hint =
                        match Spelling.nearest PhaseName.all name with
                        | Some near -> $"did you mean '{near}'?"
                        | None -> $"""there are {String.concat ", " PhaseName.all}"""

                    raise (WrongArguments $"--state: there is no state '{name}'; {hint}"))

        match phases with
        | [] when arguments.Contains TasksArguments.All -> [|
            for name in PhaseName.all do
                yield! Option.toArray (PhaseName.tryParse name)
          |]
        | phases -> phases |> List.distinct |> Array.ofList

    /// How long, in the largest unit that it fills.
    let private age (ms: int64) =
        match ms / 1_000L with
        | seconds when seconds < 100L -> $"{seconds}s"
        | seconds when seconds < 6_000L -> $"{seconds / 60L}m"
        | seconds when seconds < 172_800L -> $"{seconds / 3_600L}h"
        | seconds -> $"{seconds / 86_400L}d"

    let private header = [ "task"; "state"; "attempt"; "since"; "stage"; "worker"; "name"; "error" ]

    let private cells (line: string) : string list =
        use document = JsonDocument.Parse line
        let root = document.RootElement

        let text (name: string) =
            match root.TryGetProperty name with
            | true, value -> value.ToString()
            | _ -> ""

        [
            text "task"
            text "state"
            text "attempt"
            age (root.GetProperty("sinceMs").GetInt64())
            text "stage"
            text "worker"
            text "name"
            text "error"
        ]

    let run (arguments: ParseResults<TasksArguments>) : int =
        let limit = arguments.GetResult(TasksArguments.Limit, 1_000)
        let first = arguments.GetResult(TasksArguments.After, 0L)

        if limit < 0 then
            raise (WrongArguments "--limit: how many, or 0 for all")

        if first < 0L || first > ProtocolLimits.integerMax then
            raise (WrongArguments "--after: the number of a task, or 0")

        let query: TaskQuery = {
            after = first * 1L<taskId>
            most = pageMax
            phases = phasesOf arguments
            name = arguments.TryGetResult TasksArguments.Name
            stage = arguments.TryGetResult TasksArguments.Stage
        }

        Remote.run
            (arguments.TryGetResult TasksArguments.Connect)
            (arguments.TryGetResult TasksArguments.Token_File)
            (fun client ct ->
                task {
                    let table = Columns.Rows header
                    let mutable after = query.after
                    let mutable left = if limit = 0 then Int32.MaxValue else limit
                    let mutable code = ExitCode.ok
                    let mutable goOn = true

                    while goOn do
                        let query = { query with after = after; most = min pageMax left }

                        match! Remote.page client query ct with
                        | Ok(struct (lines, last, more)) ->
                            if arguments.Contains TasksArguments.Json then
                                for line in lines do
                                    Console.Out.WriteLine line
                            else
                                lines |> Array.map cells |> List.ofArray |> table.Add

                            left <- left - lines.Length
                            after <- last
                            goOn <- more && left > 0

                            if more && left = 0 then
                                eprintfn
                                    $"fs-scheduler tasks: there may be more: --after {last} goes on, --limit 0 shows all"
                        | Error message ->
                            Remote.complain "tasks" message
                            code <- ExitCode.quarantined
                            goOn <- false

                    return code
                })
