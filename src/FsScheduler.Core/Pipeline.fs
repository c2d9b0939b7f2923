namespace FsScheduler.Core

open System
open System.Collections.Generic
open System.Text

/// Stages that run one after the other, at least one.
type Pipeline = {
    stages: Stage[]
    /// The stages as they stand in a PROCESS message: `name` or `name:argument`, unquoted.
    wire: string[]
}

/// Why a text is not a pipeline, where, and what was probably meant.
type PipelineError = {
    /// Characters into the text, from 0.
    position: int
    message: string
}

module Pipeline =

    /// The longest text, in characters (UTF-16).
    let lengthMax = 4_096

    /// The most stages of a pipeline.
    let stagesMax = 64

    let private fail position message =
        Error { position = position; message = message }

    /// What to do about a program that no worker is allowed to run.
    let private notAllowed (demand: string) =
        let program = demand.Substring(demand.IndexOf ':' + 1)

        $"no worker may run '{demand}'; start one with --allow-exec '{program}', or the scheduler with --expect '{demand}'"

    let private unknown (offered: IReadOnlySet<string>) (name: string) =
        let known = [
            for stage in Stage.builtIn do
                stage.name

            yield! offered
        ]

        match Spelling.nearest known name with
        | Some near -> $"unknown stage '{name}'; did you mean '{near}'?"
        | None ->
            let names = known |> List.distinct |> List.truncate 40 |> String.concat ", "
            $"unknown stage '{name}'; known are {names}; a worker's own is known once it has joined, or by --expect '{name}'"

    let private skipBlanks (text: string) start =
        let mutable index = start

        while index < text.Length && Char.IsWhiteSpace text[index] do
            index <- index + 1

        index

    /// The end of the stage that `start` is in: the next `|`, or the end of the text.
    let private stageEnd (text: string) (start: int) =
        match text.IndexOf('|', start) with
        | -1 -> text.Length
        | bar -> bar

    /// The argument whose quote opens at `opening`, and the end of its stage.
    let private quoted (text: string) (opening: int) =
        let argument = StringBuilder()

        let rec from (index: int) =
            match text.IndexOf('"', index) with
            | -1 -> fail opening $"the quote at character {opening + 1} is not closed"
            | quote when quote + 1 < text.Length && text[quote + 1] = '"' ->
                argument.Append(text, index, quote + 1 - index) |> ignore
                from (quote + 2)
            | quote ->
                argument.Append(text, index, quote - index) |> ignore
                let after = skipBlanks text (quote + 1)

                if after = text.Length || text[after] = '|' then
                    Ok struct (string argument, after)
                else
                    fail after $"'|' expected at character {after + 1}, after the closing quote"

        from (opening + 1)

    let private argumentAt (text: string) colon =
        let start = skipBlanks text (colon + 1)

        if start < text.Length && text[start] = '"' then
            quoted text start
        else
            let ending = stageEnd text start
            Ok struct (text[start .. ending - 1].TrimEnd(), ending)

    /// Whether a single quote of an `exec` argument is still open at its end.
    let private isInQuotes (argument: string) =
        Seq.length (Seq.filter ((=) '\'') argument) % 2 = 1

    /// The stage that reads an encoding, named by the encoding, or why there is none.
    let private ofEncoding (written: string) argument meaning =
        match meaning with
        | EncodingName.Meaning.Stage(name, "") -> Stage.create name argument
        | EncodingName.Meaning.Stage(name, order) when argument = "" -> Stage.create name order
        | EncodingName.Meaning.Stage _ -> Error $"{written} takes no argument"
        | EncodingName.Meaning.Utf8 ->
            Error $"there is no stage '{written}': text is UTF-8 already; leave it away"
        | EncodingName.Meaning.Unread ->
            Error
                $"no stage reads '{written}'; make UTF-8 of it before, or let the pipeline begin with a program that does, as in exec:iconv -f {written} -t utf-8"

    /// <summary>The stage that begins at `start`, which is no blank, and where the stage ends.</summary>
    /// <param name="isKnown">Whether a name, or `exec:PROGRAM`, is known to run on some worker.</param>
    /// <param name="isOwn">Whether a name that is also that of an encoding is a worker's own stage.</param>
    /// <param name="offered">Known names, for suggestions.</param>
    /// <param name="text">The whole pipeline.</param>
    /// <param name="start">Index into the text.</param>
    let private stageAt isKnown isOwn (offered: IReadOnlySet<string>) (text: string) (start: int) =
        let ending = stageEnd text start

        let nameEnd =
            match text.IndexOf(':', start, ending - start) with
            | -1 -> ending
            | colon -> colon

        let name = text[start .. nameEnd - 1].TrimEnd()
        let isProgram = (ExecCommand.tryKind name).IsSome

        let argument =
            if nameEnd = ending then
                Ok struct ("", ending)
            else
                argumentAt text nameEnd

        let encoding =
            if isProgram || (Stage.tryBuiltIn name).IsSome || isOwn name then
                ValueNone
            else
                EncodingName.tryFind name

        if start = ending then
            fail start $"empty stage at character {start + 1}"
        elif
            ProtocolLimits.isStageName name
            && (Stage.tryBuiltIn name).IsNone
            && not isProgram
            && encoding.IsNone
            && not (isKnown name)
        then
            fail start (unknown offered name)
        else
            match argument with
            | Error error -> Error error
            | Ok struct (argument, ending) ->
                match
                    encoding
                    |> ValueOption.map (ofEncoding name argument)
                    |> ValueOption.defaultWith (fun () -> Stage.create name argument)
                with
                | Ok stage when isProgram && not (isKnown stage.demand) ->
                    fail start (notAllowed stage.demand)
                | Ok stage -> Ok struct (stage, ending)
                | Error message when isProgram && ending < text.Length && isInQuotes argument ->
                    fail
                        start
                        $"{message}: '|' ends the stage, unless its whole argument is in double quotes"
                | Error message -> fail start message

    let private isFirstOnly (stage: Stage) =
        match Stage.tryBuiltIn stage.name with
        | Some builtIn -> builtIn.isFirstOnly
        | None -> false

    let private parseKnowing
        charsMax
        isKnown
        isOwn
        offered
        (text: string)
        : Result<Pipeline, PipelineError> =
        let stages = List<Stage>()

        let rec from start =
            let start = skipBlanks text start

            if stages.Count = stagesMax then
                fail start $"a pipeline has at most {stagesMax} stages"
            else
                match stageAt isKnown isOwn offered text start with
                | Error error -> Error error
                | Ok struct (stage, _) when stages.Count > 0 && isFirstOnly stage ->
                    fail start $"{stage.name} can only be the first stage"
                | Ok struct (stage, ending) ->
                    stages.Add stage

                    if ending < text.Length then
                        from (ending + 1)
                    else
                        let stages = stages.ToArray()
                        Ok { stages = stages; wire = Array.map Stage.toWire stages }

        if text.Length > charsMax then
            fail charsMax $"a pipeline has at most {charsMax} characters"
        elif String.IsNullOrWhiteSpace text then
            fail 0 "the pipeline is empty"
        else
            from 0

    /// <summary>Reads a pipeline such as `lower | grep:erro | words`.</summary>
    /// <param name="offered">Offers known beside the built-in stages: names, and `exec:PROGRAM`.</param>
    /// <param name="text">
    /// Stages with `|` between them, blanks around them as one likes, each `name` or
    /// `name:argument`. An argument in double quotes keeps its blanks and `|`; `""` in it is a quote.
    /// </param>
    let parse (offered: IReadOnlySet<string>) (text: string) : Result<Pipeline, PipelineError> =
        parseKnowing lengthMax offered.Contains offered.Contains offered text

    /// Reads a pipeline that was accepted before, whatever workers offer now. `print` may give more characters than were
    /// accepted, so there is no bound.
    let parseRecorded (text: string) : Result<Pipeline, PipelineError> =
        parseKnowing Int32.MaxValue (fun _ -> true) (fun _ -> true) (HashSet<string>()) text

    /// Reads a pipeline whose stages may be offered later. Names of encodings mean built-in stages.
    let parseAwaiting (text: string) : Result<Pipeline, PipelineError> =
        parseKnowing lengthMax (fun _ -> true) (fun _ -> false) (HashSet<string>()) text

    let private printArgument (argument: string) =
        if argument.Contains '|' || argument[0] = '"' || argument.Trim() <> argument then
            let doubled = argument.Replace("\"", "\"\"")
            $"\"{doubled}\""
        else
            argument

    /// A text that `parse` reads as this pipeline, quoted where needed.
    let print (pipeline: Pipeline) : string =
        pipeline.stages
        |> Seq.map (fun stage ->
            if stage.argument = "" then
                stage.name
            else
                $"{stage.name}:{printArgument stage.argument}")
        |> String.concat " | "

    let ofStages (stages: Stage[]) : Pipeline = {
        stages = stages
        wire = Array.map Stage.toWire stages
    }

    /// Whether the printed pipeline is within the limits of `parse`.
    let isAllowed (pipeline: Pipeline) : bool =
        pipeline.stages.Length <= stagesMax && (print pipeline).Length <= lengthMax
