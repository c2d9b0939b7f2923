namespace FsScheduler.Scheduler

open System
open Argu
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Cli
open FsScheduler.Sdk

/// The command line of `fs-scheduler stages`.
[<RequireQualifiedAccess>]
type StagesArguments =
    | [<Unique>] Built_In
    | [<Unique>] Connect of ``HOST:PORT``: string
    | [<Unique>] Token_File of FILE: string
    | [<Unique>] Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | StagesArguments.Built_In -> "only built-in stages; no scheduler is asked"
            | StagesArguments.Connect _ -> ClientCommand.connectUsage
            | StagesArguments.Token_File _ -> ClientCommand.tokenFileUsage
            | StagesArguments.Json -> ClientCommand.jsonUsage

/// A line of output.
type private StageLine = {
    stage: string
    builtIn: bool
    /// Workers that offer the stage, and their slots; None: no scheduler was asked.
    offered: (int * int64) option
    queued: int64
    what: string
}

/// `stages`: the built-in stages, and the stages that connected workers offer.
module StagesCommand =

    /// The syntax of a built-in stage, and its result.
    let describe (stage: BuiltInStage) : struct (string * string) =
        match stage.name with
        | "latin1" -> "latin1", "ISO-8859-1 as UTF-8; only as the first stage"
        | "cp1252" -> "cp1252", "windows-1252 as UTF-8; only as the first stage"
        | "utf-16" -> "utf-16[:ORDER]", "UTF-16 as UTF-8; only as the first stage"
        | "lower" -> "lower", "lower case"
        | "upper" -> "upper", "upper case"
        | "trim" -> "trim", "each line without the blanks at its ends"
        | "squeeze" -> "squeeze", "each run of blanks as one space"
        | "strip-accents" -> "strip-accents", "letters without their marks"
        | "nfc" -> "nfc", "Unicode normal form C"
        | "grep" -> "grep:TEXT", "the lines that contain TEXT"
        | "replace" -> "replace:OLD/NEW", "NEW for each OLD"
        | "head" -> "head:N", "the first N lines"
        | "sort" -> "sort[:WORDS]", "the lines in order; WORDS are numeric, desc and unique"
        | "uniq" -> "uniq", "of equal lines that follow each other, one"
        | "freq" -> "freq", "how often each word occurs, by word"
        | "top" -> "top:N", "the N lines with the greatest leading number"
        | "lines" -> "lines", "how many lines there are"
        | "words" -> "words", "how many words there are"
        | "bytes" -> "bytes", "how many bytes there are"
        | name ->
            let argument =
                match stage.argument with
                | NoArgument -> ""
                | SearchText -> ":TEXT"
                | LineCount -> ":N"
                | OldAndNew -> ":OLD/NEW"
                | SortWords -> "[:WORDS]"
                | ByteOrderWord -> "[:ORDER]"

            name + argument, if stage.isFirstOnly then "only as the first stage" else ""

    let private builtIn = [
        for stage in Stage.builtIn do
            let struct (text, what) = describe stage

            stage.name, { stage = text; builtIn = true; offered = None; queued = 0L; what = what }
    ]

    let private isProgram (stage: string) = stage.Contains ':'

    /// The built-in stages with the workers that offer them, and the other stages that workers offer.
    let private combine (offers: StageOffer seq) : StageLine list =
        let known = Map.ofList builtIn

        let asked = [
            for offer in offers do
                let name = offer.Stage

                let line =
                    match known.TryFind name with
                    | Some line -> line
                    | None -> {
                        stage = name
                        builtIn = false
                        offered = None
                        queued = 0L
                        what =
                            if isProgram name then
                                "a program that a worker may run"
                            else
                                "a worker's own"
                      }

                name,
                { line with offered = Some(offer.Workers, offer.Slots); queued = offer.Queued }
        ]

        let found = Map.ofList asked

        [
            for name, line in builtIn do
                found
                |> Map.tryFind name
                |> Option.defaultValue { line with offered = Some(0, 0L) }

            for name, line in asked do
                if not (known.ContainsKey name) then
                    line
        ]

    let private print isJson (lines: StageLine list) =
        if isJson then
            for line in lines do
                let workers, slots =
                    match line.offered with
                    | Some(workers, slots) -> Nullable workers, Nullable slots
                    | None -> Nullable(), Nullable()

                ClientCommand.printJson {|
                    stage = line.stage
                    builtIn = line.builtIn
                    workers = workers
                    slots = slots
                    queued = line.queued
                    what = line.what
                |}
        else
            let count value =
                value |> Option.map string |> Option.defaultValue ""

            [
                for line in lines ->
                    [
                        line.stage
                        count (line.offered |> Option.map fst)
                        count (line.offered |> Option.map snd)
                        (if line.offered.IsSome then string line.queued else "")
                        line.what
                    ]
            ]
            |> Columns.Rows([ "stage"; "workers"; "slots"; "queued"; "what it gives" ]).Add

        ExitCode.ok

    let run (arguments: ParseResults<StagesArguments>) : int =
        let isJson = arguments.Contains StagesArguments.Json
        let address = arguments.TryGetResult StagesArguments.Connect

        if arguments.Contains StagesArguments.Built_In then
            print isJson (List.map snd builtIn)
        else
            try
                ClientCommand.run
                    address
                    (arguments.TryGetResult StagesArguments.Token_File)
                    (fun client ct ->
                        task {
                            match! ClientCommand.tryAnswer (client.GetStagesAsync ct) with
                            | Ok offers -> return offers |> combine |> print isJson
                            | Error message ->
                                ClientCommand.printError "stages" message
                                return ExitCode.quarantined
                        })
            with :? SchedulerException as away when address.IsNone ->
                // A person who writes a pipeline may have no scheduler yet.
                ClientCommand.printError
                    "stages"
                    $"only the built-in stages are listed: {away.Message}"

                print isJson (List.map snd builtIn)
