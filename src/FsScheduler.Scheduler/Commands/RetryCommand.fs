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
            | RetryArguments.What _ -> "the numbers of tasks in quarantine"
            | RetryArguments.All -> "every task in quarantine"
            | RetryArguments.Pipeline _ ->
                "run these files with another pipeline, as new tasks (default: that which each was submitted with)"
            | RetryArguments.Connect _ -> ClientCommand.connectUsage
            | RetryArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | RetryArguments.Json -> ClientCommand.jsonUsage

/// `retry`: takes tasks out of quarantine, and prints with which pipeline: a task keeps its own when the scheduler is
/// started with another one.
module RetryCommand =

    /// What was done, for people and for programs.
    type private Retried = {
        sentences: string list
        tasks: TaskExplanation list
        count: int64
        errors: string list
    }

    let private sentence (pipeline: string option) (task: TaskExplanation) =
        let what = $"task {task.TaskId}, '{Terminal.printable task.Name}': tried again with"

        match pipeline with
        | Some pipeline -> $"{what} '{Terminal.printable pipeline}', as a new task"
        | None ->
            $"{what} '{Terminal.printable (string task.Pipeline)}', as it was submitted; for another: fs-scheduler retry {task.TaskId} --pipeline STAGES"

    let private print isJson (pipeline: string option) (retried: Retried) =
        if isJson then
            ClientCommand.printJson {|
                errors = retried.errors
                retried = retried.count
                tasks = [
                    for task in retried.tasks ->
                        {|
                            task = task.TaskId
                            name = task.Name
                            pipeline = Option.defaultValue (string task.Pipeline) pipeline
                        |}
                ]
            |}
        else
            for line in retried.sentences do
                printfn "%s" line

            for error in retried.errors do
                ClientCommand.printError "retry" error

    let private retryTasks pipeline (ids: int64 list) (client: SchedulerClient) ct =
        task {
            let tasks = ResizeArray<TaskExplanation>()
            let errors = ResizeArray<string>()

            for id in ids do
                match! ClientCommand.tryAnswer (client.ExplainAsync(id, ct)) with
                | Error message -> errors.Add message
                | Ok explanation ->
                    let! result =
                        match pipeline with
                        | Some pipeline -> client.RetryAsync(id, pipeline, ct)
                        | None -> client.RetryAsync(id, cancellationToken = ct)

                    match ClientCommand.errorsOf result with
                    | [] -> tasks.Add explanation
                    | refused -> errors.AddRange refused

            return {
                sentences = tasks |> Seq.map (sentence pipeline) |> List.ofSeq
                tasks = List.ofSeq tasks
                count = int64 tasks.Count
                errors = List.ofSeq errors
            }
        }

    let private retryAll pipeline (client: SchedulerClient) ct =
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

            // A task that is refused is one error, and the others are tried again; another error is about all of them.
            let isRefusal (error: string) =
                error.StartsWith("task ", StringComparison.Ordinal)

            let count =
                if List.forall isRefusal errors then
                    max 0L (found.count - int64 errors.Length)
                else
                    0L

            return {
                sentences = [
                    if found.count = 0L then
                        found.Sentence
                    elif errors.IsEmpty then
                        found.Sentence + how
                    elif count > 0L then
                        $"{count} of {found.count} tasks are tried again{how}"
                ]
                tasks = []
                count = count
                errors = errors
            }
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
            | true, Some _ ->
                raise (WrongArguments "--all is for every task; name no task beside it")
            | true, None -> retryAll pipeline
            | false, Some ids -> retryTasks pipeline (List.map ClientCommand.taskIdOf ids)
            | false, None ->
                raise (WrongArguments "name at least one task by its number, or use --all")

        ClientCommand.run
            (arguments.TryGetResult RetryArguments.Connect)
            (arguments.TryGetResult RetryArguments.Token_File)
            (fun client ct ->
                task {
                    let! retried = work client ct
                    print (arguments.Contains RetryArguments.Json) pipeline retried

                    return
                        if retried.errors.IsEmpty then
                            ExitCode.ok
                        else
                            ExitCode.quarantined
                })
