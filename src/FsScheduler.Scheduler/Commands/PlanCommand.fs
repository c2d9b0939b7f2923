namespace FsScheduler.Scheduler

open System
open System.IO
open System.Text.Json
open Argu
open Spectre.Console
open FsScheduler.Core
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
            | State _ -> "as for the scheduler; only looked at for being outside of --entrada"
            | Pipeline _ -> "as for the scheduler (default: lower)"
            | Route _
            | Ignore _ -> "as for the scheduler"
            | Expect _ -> "as for the scheduler"
            | Json -> ClientCommand.jsonUsage

/// `plan`: what a scheduler with these arguments would do with what is in its folder. Touches nothing.
module PlanCommand =

    /// What becomes of a file.
    type private Fate =
        | Taken of Pipeline * PipelineSource
        | LeftAlone of IgnoreReason
        | Refused of reason: string

    type private Planned = { name: string; size: Size voption; fate: Fate }

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
                    fate =
                        match pipelines.Choose name with
                        | Ok struct (pipeline, source) -> Taken(pipeline, source)
                        | Error broken ->
                            Refused
                                $"{broken.folder}/{Route.folderFile} is no pipeline: {broken.reason}"
                }

        for struct (path, reason) in listing.ignored do
            { name = path; size = ValueNone; fate = LeftAlone reason }

        for struct (path, refusal) in listing.refused do
            { name = path; size = ValueNone; fate = Refused refusal.Message }

        for struct (path, reason) in listing.unknown do
            { name = path; size = ValueNone; fate = Refused reason }
    ]

    let private unusedRoutes routes (listing: Listing) =
        Route.unused routes [
            for struct (name, _) in listing.files do
                if not (Route.isFolderFile name) then
                    name
        ]

    let private asJson (planned: Planned) =
        match planned.fate with
        | Taken(pipeline, source) ->
            ClientCommand.json {|
                name = planned.name
                bytes = ValueOption.toNullable (planned.size |> ValueOption.map int64)
                pipeline = Pipeline.print pipeline
                from = string source
                stages = [
                    for stage in pipeline.stages ->
                        {| stage = Stage.toWire stage; kind = kindOf stage |}
                ]
            |}
        | LeftAlone reason -> ClientCommand.json {| name = planned.name; ignored = string reason |}
        | Refused reason -> ClientCommand.json {| name = planned.name; refused = reason |}

    let private table (plan: Planned list) =
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

            match planned.fate with
            | Taken(pipeline, source) ->
                table.AddRow(
                    cell planned.name,
                    size,
                    cell (Pipeline.print pipeline),
                    cell (string source)
                )
            | LeftAlone reason ->
                table.AddRow(
                    cell planned.name,
                    size,
                    $"[grey]{cell (string reason)}[/]",
                    "left alone"
                )
            | Refused reason ->
                table.AddRow(cell planned.name, size, $"[red]{cell reason}[/]", "refused")
            |> ignore

        table

    /// For a pipe: name, bytes, pipeline or why it is refused, and what that is from.
    let private piped (planned: Planned) : string =
        let size =
            match planned.size with
            | ValueSome size -> string (int64 size)
            | ValueNone -> ""

        match planned.fate with
        | Taken(pipeline, source) ->
            Columns.piped [ planned.name; size; Pipeline.print pipeline; string source ]
        | LeftAlone reason -> Columns.piped [ planned.name; size; string reason; "left alone" ]
        | Refused reason -> Columns.piped [ planned.name; size; reason; "refused" ]

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
                    $"{folder.Path} is not there, or cannot be listed; name a folder with --entrada"
            )
        | ValueSome listing ->
            let plan =
                plan folder (FolderPipelines(folder, routes, own)) listing |> List.sortBy _.name

            if arguments.Contains PlanArguments.Json then
                for planned in plan do
                    printfn $"{asJson planned}"
            else if Terminal.isOutput () then
                (Columns.console ()).Write(table plan)
            else
                for planned in plan do
                    Console.Out.WriteLine(piped planned)

            for sentence in unusedRoutes routes listing do
                eprintfn $"fs-scheduler plan: {Terminal.printable sentence}"

            if plan |> List.exists _.fate.IsRefused then
                ExitCode.quarantined
            else
                ExitCode.ok
