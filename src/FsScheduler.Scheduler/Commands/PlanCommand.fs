namespace FsScheduler.Scheduler

open System
open System.IO
open System.Text.Json
open Argu
open Spectre.Console
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.Cli

/// The command line of `fs-scheduler plan`.
[<RequireQualifiedAccess>]
type PlanArguments =
    | [<Unique>] Entrada of FOLDER: string
    | [<Unique>] Resultados of FOLDER: string
    | [<Unique>] State of FOLDER: string
    | [<Unique>] Pipeline of STAGES: string
    | Route of ``PATTERN=STAGES``: string
    | Ignore of PATTERN: string
    | [<Unique>] Expect of STAGES: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Entrada _ -> "the folder that files would be taken from (default: entrada)"
            | Resultados _
            | State _ -> "as for the scheduler; only checked for lying outside of --entrada"
            | Pipeline _ -> "as for the scheduler (default: lower)"
            | Route _
            | Ignore _
            | Expect _ -> "as for the scheduler"
            | Json -> ClientCommand.jsonUsage

/// `plan`: what a scheduler with these arguments would do with the files of its folder. Changes nothing.
module PlanCommand =

    /// What a scheduler would do with a file.
    type private PlannedAction =
        | Taken of Pipeline * PipelineSource
        | LeftAlone of IgnoreReason
        | Refused of reason: string

    type private PlannedFile = { name: string; size: Size voption; action: PlannedAction }

    let private kindOf (stage: Stage) =
        match stage.kind with
        | PerLine -> "per-line"
        | WholeFile -> "whole-file"
        | Aggregating -> "aggregating"

    let private plan (folder: InputFolder) (pipelines: FolderPipelines) (listing: Listing) = [
        for struct (name, stamp) in listing.files do
            if not (Route.isFolderFile name) then
                {
                    name = string name
                    size = ValueSome stamp.size
                    action =
                        match pipelines.Choose name with
                        | Ok struct (pipeline, source) -> Taken(pipeline, source)
                        | Error broken ->
                            Refused
                                $"{broken.folder}/{Route.folderFile} is no pipeline: {broken.reason}"
                }

        for struct (path, reason) in listing.ignored do
            { name = path; size = ValueNone; action = LeftAlone reason }

        for struct (path, refusal) in listing.refused do
            { name = path; size = ValueNone; action = Refused refusal.Message }

        for struct (path, reason) in listing.unknown do
            { name = path; size = ValueNone; action = Refused reason }
    ]

    let private unusedRoutes routes (listing: Listing) =
        Route.unused routes [
            for struct (name, _) in listing.files do
                if not (Route.isFolderFile name) then
                    name
        ]

    let private printJson (planned: PlannedFile) =
        match planned.action with
        | Taken(pipeline, source) ->
            ClientCommand.printJson {|
                name = planned.name
                bytes = ValueOption.toNullable (planned.size |> ValueOption.map int64)
                pipeline = Pipeline.print pipeline
                from = string source
                stages = [
                    for stage in pipeline.stages ->
                        {| stage = Stage.toWire stage; kind = kindOf stage |}
                ]
            |}
        | LeftAlone reason ->
            ClientCommand.printJson {| name = planned.name; ignored = string reason |}
        | Refused reason -> ClientCommand.printJson {| name = planned.name; refused = reason |}

    let private table (plan: PlannedFile list) =
        let table =
            Table()
                .RoundedBorder()
                .AddColumn("file")
                .AddColumn(TableColumn("bytes").RightAligned())
                .AddColumns("pipeline", "from")

        let cell text = Markup.Escape(Terminal.printable text)

        for planned in plan do
            let size =
                match planned.size with
                | ValueSome size -> String.Format("{0:N0}", int64 size)
                | ValueNone -> ""

            let pipeline, source =
                match planned.action with
                | Taken(pipeline, source) -> cell (Pipeline.print pipeline), cell (string source)
                | LeftAlone reason -> $"[grey]{cell (string reason)}[/]", "left alone"
                | Refused reason -> $"[red]{cell reason}[/]", "refused"

            table.AddRow(cell planned.name, size, pipeline, source) |> ignore

        table

    /// A line for a pipe: name, bytes, pipeline or the reason against one, and where that comes from.
    let private piped (planned: PlannedFile) : string =
        let size =
            match planned.size with
            | ValueSome size -> string (int64 size)
            | ValueNone -> ""

        let pipeline, source =
            match planned.action with
            | Taken(pipeline, source) -> Pipeline.print pipeline, string source
            | LeftAlone reason -> string reason, "left alone"
            | Refused reason -> reason, "refused"

        Columns.piped [ planned.name; size; pipeline; source ]

    let run (arguments: ParseResults<PlanArguments>) : int =
        let expected = CommandLine.expected (arguments.TryGetResult PlanArguments.Expect)

        let own =
            CommandLine.pipeline expected (arguments.TryGetResult PlanArguments.Pipeline)

        let inputs = arguments.GetResult(PlanArguments.Entrada, "entrada")

        let routes =
            CommandLine.routes inputs expected (arguments.GetResults PlanArguments.Route)

        FolderArguments.check
            inputs
            (arguments.GetResult(PlanArguments.Resultados, "resultados"))
            (arguments.GetResult(PlanArguments.State, ".fs-scheduler"))

        let ignored = CommandLine.ignored inputs (arguments.GetResults PlanArguments.Ignore)
        let folder = InputFolder(inputs, ignored)

        match
            (if folder.Refresh() then
                 Scanner.scan folder ""
             else
                 ValueNone)
        with
        | ValueNone ->
            raise (
                DirectoryNotFoundException
                    $"the folder {folder.Path} does not exist or cannot be listed; name another with --entrada"
            )
        | ValueSome listing ->
            let plan =
                plan folder (FolderPipelines(folder, routes, own)) listing |> List.sortBy _.name

            if arguments.Contains PlanArguments.Json then
                List.iter printJson plan
            elif Terminal.isOutput () then
                (Columns.console ()).Write(table plan)
            else
                for planned in plan do
                    Console.Out.WriteLine(piped planned)

            for sentence in unusedRoutes routes listing do
                ClientCommand.printError "plan" sentence

            if plan |> List.exists _.action.IsRefused then
                ExitCode.quarantined
            else
                ExitCode.ok
