namespace FsScheduler.Scheduler

open System
open System.Threading.Tasks
open Argu
open FsScheduler.Platform
open FsScheduler.Cli
open FsScheduler.Sdk

/// The command line of `retry`.
[<RequireQualifiedAccess>]
type RetryArguments =
    | [<MainCommand>] What of TASK: string list
    | [<Unique>] All
    | [<Unique>] Pipeline of STAGES: string
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | RetryArguments.What _ -> "the numbers of tasks that are in quarantine"
            | RetryArguments.All -> "everything in quarantine"
            | RetryArguments.Pipeline _ ->
                "another pipeline for these files (default: that which each was submitted with)"
            | RetryArguments.Connect _ -> ClientCommand.connectUsage
            | RetryArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | RetryArguments.Json -> ClientCommand.jsonUsage

/// `retry`: tasks leave the quarantine. Says with which pipeline: a scheduler that was started with another one since does
/// not change that of a task.
module RetryCommand =

    /// What a task is called, and what it was submitted with.
    [<Struct>]
    type private Known = { task: int64; name: string; pipeline: string }

    let private known (explanation: TaskExplanation) : Known = {
        task = explanation.TaskId
        name = explanation.Name
        pipeline =
            match explanation.Pipeline with
            | null -> ""
            | pipeline -> pipeline
    }

    let private sentence (pipeline: string option) (known: Known) =
        let what = $"task {known.task}, '{Terminal.printable known.name}': tried again with"

        match pipeline with
        | Some pipeline -> $"{what} '{Terminal.printable pipeline}', as a new task"
        | None ->
            $"{what} '{Terminal.printable known.pipeline}', as it was submitted; for another: fs-scheduler retry {known.task} --pipeline STAGES"

    let private tell
        isJson
        (pipeline: string option)
        (said: string list)
        (tried: Known list)
        (count: int64)
        errors
        =
        if isJson then
            printfn
                "%s"
                (ClientCommand.json {|
                    errors = errors
                    retried = count
                    tasks = [
                        for known in tried ->
                            {|
                                task = known.task
                                name = known.name
                                pipeline = Option.defaultValue known.pipeline pipeline
                            |}
                    ]
                |})
        else
            for line in said do
                printfn "%s" line

            for error in errors do
                ClientCommand.complain "retry" error

    let private some pipeline (ids: int64 list) (client: SchedulerClient) ct =
        task {
            let tried = ResizeArray<Known>()
            let errors = ResizeArray<string>()

            for id in ids do
                match! ClientCommand.answer (client.ExplainAsync(id, ct)) with
                | Error message -> errors.Add message
                | Ok explanation ->
                    let! result =
                        match pipeline with
                        | Some pipeline -> client.RetryAsync(id, pipeline, ct)
                        | None -> client.RetryAsync(id, cancellationToken = ct)

                    match ClientCommand.errorsOf result with
                    | [] -> tried.Add(known explanation)
                    | wrong -> errors.AddRange wrong

            let tried = List.ofSeq tried
            let said = List.map (sentence pipeline) tried
            return struct (said, tried, int64 tried.Length, List.ofSeq errors)
        }

    let private all pipeline (client: SchedulerClient) ct =
        task {
            let! found = Quarantine.find client ct

            let! errors =
                task {
                    if found.count = 0L then
                        return []
                    else
                        let! result =
                            match pipeline with
                            | Some pipeline -> client.RetryAllAsync(pipeline, ct)
                            | None -> client.RetryAllAsync(cancellationToken = ct)

                        return ClientCommand.errorsOf result
                }

            let how =
                match pipeline with
                | Some pipeline -> $", with '{Terminal.printable pipeline}', as new tasks"
                | None ->
                    ", each with the pipeline that it was submitted with; for another: fs-scheduler retry --all --pipeline STAGES"

            // Each that is refused is an error of its own, and the others are tried again all the same.
            let isRefusal (error: string) =
                error.StartsWith("task ", StringComparison.Ordinal)

            let tried =
                if List.forall isRefusal errors then
                    max 0L (found.count - int64 errors.Length)
                else
                    0L

            let said =
                if found.count = 0L then
                    [ found.Sentence ]
                elif errors.IsEmpty then
                    [ found.Sentence + how ]
                elif tried > 0L then
                    [ $"{tried} of {found.count} tasks are tried again" + how ]
                else
                    []

            return struct (said, [], tried, errors)
        }

    let run (arguments: ParseResults<RetryArguments>) : int =
        let pipeline =
            arguments.TryGetResult RetryArguments.Pipeline
            |> Option.map ClientCommand.pipelineOf

        if pipeline |> Option.exists (fun text -> text.Trim() = "") then
            raise (WrongArguments "--pipeline: the pipeline is empty")

        let work =
            match
                arguments.Contains RetryArguments.All, arguments.TryGetResult RetryArguments.What
            with
            | true, Some _ -> raise (WrongArguments "--all takes nothing else")
            | true, None -> all pipeline
            | false, Some whats -> some pipeline (List.map ClientCommand.taskOf whats)
            | false, None -> raise (WrongArguments "say which, or --all")

        ClientCommand.run
            (arguments.TryGetResult RetryArguments.Connect)
            (arguments.TryGetResult RetryArguments.Token_File)
            (fun client ct ->
                task {
                    let! struct (said, tried, count, errors) = work client ct
                    tell (arguments.Contains RetryArguments.Json) pipeline said tried count errors
                    return if errors.IsEmpty then ExitCode.ok else ExitCode.quarantined
                })
