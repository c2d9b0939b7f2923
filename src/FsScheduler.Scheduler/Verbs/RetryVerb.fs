namespace FsScheduler.Scheduler

open System
open System.Text.Json
open System.Threading.Tasks
open Argu
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Cli

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
            | RetryArguments.Connect _ -> Remote.connectUsage
            | RetryArguments.Token_File _ -> Remote.tokenFileUsage
            | RetryArguments.Json -> Remote.jsonUsage

/// `retry`: tasks leave the quarantine. Says with which pipeline: a scheduler that was started with another one since does
/// not change that of a task.
module RetryVerb =

    /// What a task is called, and what it was submitted with.
    [<Struct>]
    type private Known = { task: int64; name: string; pipeline: string }

    let private known (explanation: byte[]) : Known =
        use document = JsonDocument.Parse(ReadOnlyMemory explanation)
        let root = document.RootElement

        let pipeline =
            root.GetProperty("events").EnumerateArray()
            |> Seq.tryPick (fun event ->
                match event.TryGetProperty "pipeline" with
                | true, pipeline -> Some(string pipeline)
                | _ -> None)
            |> Option.defaultValue ""

        {
            task = root.GetProperty("task").GetInt64()
            name = string (root.GetProperty "name")
            pipeline = pipeline
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
                (Remote.json {|
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
                Remote.complain "retry" error

    let private some pipeline (ids: TaskId list) client ct =
        task {
            let tried = ResizeArray<Known>()
            let errors = ResizeArray<string>()

            for id in ids do
                match! Remote.ask client (ToScheduler.Explain id) ct with
                | Error message -> errors.Add message
                | Ok arrival ->
                    let message =
                        match pipeline with
                        | Some pipeline -> ToScheduler.RetryWith(id, pipeline)
                        | None -> ToScheduler.Retry id

                    let known = known (Remote.bytesOf arrival)

                    match! Remote.say client [ message ] ct with
                    | [] -> tried.Add known
                    | wrong -> errors.AddRange wrong

            let tried = List.ofSeq tried
            let said = List.map (sentence pipeline) tried
            return struct (said, tried, int64 tried.Length, List.ofSeq errors)
        }

    let private all pipeline client ct =
        task {
            let! found = Quarantine.find client ct

            let message =
                match pipeline with
                | Some pipeline -> ToScheduler.RetryAllWith pipeline
                | None -> ToScheduler.RetryAll

            let! errors =
                if found.count = 0L then
                    Task.FromResult []
                else
                    Remote.say client [ message ] ct

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
        let pipeline = arguments.TryGetResult RetryArguments.Pipeline

        if pipeline |> Option.exists (fun text -> text.Trim() = "") then
            raise (WrongArguments "--pipeline: the pipeline is empty")

        let work =
            match
                arguments.Contains RetryArguments.All, arguments.TryGetResult RetryArguments.What
            with
            | true, Some _ -> raise (WrongArguments "--all takes nothing else")
            | true, None -> all pipeline
            | false, Some whats -> some pipeline (List.map Remote.taskOf whats)
            | false, None -> raise (WrongArguments "say which, or --all")

        Remote.run
            (arguments.TryGetResult RetryArguments.Connect)
            (arguments.TryGetResult RetryArguments.Token_File)
            (fun client ct ->
                task {
                    let! struct (said, tried, count, errors) = work client ct
                    tell (arguments.Contains RetryArguments.Json) pipeline said tried count errors
                    return if errors.IsEmpty then ExitCode.ok else ExitCode.quarantined
                })
