namespace FsScheduler.Core

open System
open System.Collections.Generic
open System.Globalization
open System.Text

/// Which payloads a stage can run on.
type StageKind =
    /// Each line by itself: the results of pieces, cut at line ends and concatenated, are the result.
    | PerLine
    /// The whole payload, from its first byte on.
    | WholeFile
    /// Pieces; their results are merged.
    | Aggregating

/// A stage of a pipeline. The argument of a built-in stage has been checked.
type Stage = {
    name: string
    argument: string
    kind: StageKind
    /// The offer that a worker must make to be given the stage: its name, or `exec:PROGRAM`.
    demand: string
}

/// Which argument a built-in stage takes.
type ArgumentRule =
    | NoArgument
    /// A text of at least one character, without line ends.
    | SearchText
    /// A whole number from 0.
    | LineCount
    /// `OLD/NEW`; see `Replacement`.
    | OldAndNew
    /// Nothing, or words with commas between; see `SortOptions`.
    | SortWords
    /// Nothing, `le` or `be`; see `ByteOrder`.
    | ByteOrderWord

/// A stage that every worker can run, unless it says otherwise.
type BuiltInStage = {
    name: string
    kind: StageKind
    argument: ArgumentRule
    /// Reads the payload as submitted, and so never follows another stage.
    isFirstOnly: bool
}

/// The argument of `replace`.
[<Struct>]
type Replacement = { oldText: string; newText: string }

module Replacement =

    /// <summary>Reads `OLD/NEW`, where `\/` stands for a slash and `\\` for a backslash.</summary>
    /// <returns>OLD, never empty, and NEW; or what is wrong with the argument.</returns>
    let parse (argument: string) : Result<Replacement, string> =
        let parts = [| StringBuilder(); StringBuilder() |]

        let rec from index part =
            if index = argument.Length then
                if part = 1 && parts[0].Length > 0 then
                    Ok { oldText = string parts[0]; newText = string parts[1] }
                elif part = 1 then
                    Error "replace wants a text before the '/', as in replace:old/new"
                else
                    Error "replace wants two texts with a '/' between, as in replace:old/new"
            else
                match argument[index] with
                | '\\' when
                    index + 1 < argument.Length
                    && (argument[index + 1] = '/' || argument[index + 1] = '\\')
                    ->
                    parts[part].Append argument[index + 1] |> ignore
                    from (index + 2) part
                | '\\' -> Error @"replace wants each backslash written as \\ or, before a slash, \/"
                | '/' when part = 1 -> Error @"replace wants one '/'; those of the texts as \/"
                | '/' -> from (index + 1) 1
                | character ->
                    parts[part].Append character |> ignore
                    from (index + 1) part

        from 0 0

/// The argument of `sort`.
[<Struct>]
type SortOptions = {
    /// Sort by the number at the beginning of each line; else by code points.
    isNumeric: bool
    isDescending: bool
    /// Drop all but one of equal lines.
    isUnique: bool
}

module SortOptions =

    let private none = { isNumeric = false; isDescending = false; isUnique = false }

    /// <summary>Reads `numeric`, `desc` and `unique`, in any order, each at most once, with commas between.</summary>
    /// <returns>The options, all off for an empty argument; or what is wrong with the argument.</returns>
    let parse (argument: string) : Result<SortOptions, string> =
        let add options word =
            match options, word with
            | Ok options, "numeric" when not options.isNumeric ->
                Ok { options with isNumeric = true }
            | Ok options, "desc" when not options.isDescending ->
                Ok { options with isDescending = true }
            | Ok options, "unique" when not options.isUnique -> Ok { options with isUnique = true }
            | _ ->
                Error
                    "sort takes numeric, desc and unique, each at most once, as in sort:numeric,desc"

        if argument = "" then
            Ok none
        else
            argument.Split ',' |> Array.fold add (Ok none)

/// Which byte of a UTF-16 unit comes first: the low or the high one.
type ByteOrder =
    | Little
    | Big

module ByteOrder =

    /// <returns>The byte order that the argument of `utf-16` names, none for an empty one; or what is wrong.</returns>
    let parse (argument: string) : Result<ByteOrder voption, string> =
        match argument with
        | "" -> Ok ValueNone
        | "le" -> Ok(ValueSome Little)
        | "be" -> Ok(ValueSome Big)
        | _ -> Error "utf-16 takes le or be, or nothing: then its byte order mark says which"

module Stage =

    /// The built-in stages, in the order of the manual.
    let builtIn: IReadOnlyList<BuiltInStage> =
        let stage name kind argument = {
            name = name
            kind = kind
            argument = argument
            isFirstOnly = false
        }

        [|
            { stage "latin1" PerLine NoArgument with isFirstOnly = true }
            { stage "cp1252" PerLine NoArgument with isFirstOnly = true }
            { stage "utf-16" WholeFile ByteOrderWord with isFirstOnly = true }
            stage "lower" PerLine NoArgument
            stage "upper" PerLine NoArgument
            stage "trim" PerLine NoArgument
            stage "squeeze" PerLine NoArgument
            stage "strip-accents" PerLine NoArgument
            stage "nfc" PerLine NoArgument
            stage "grep" PerLine SearchText
            stage "replace" PerLine OldAndNew
            stage "head" WholeFile LineCount
            stage "sort" Aggregating SortWords
            stage "uniq" Aggregating NoArgument
            stage "freq" Aggregating NoArgument
            stage "top" Aggregating LineCount
            stage "lines" Aggregating NoArgument
            stage "words" Aggregating NoArgument
            stage "bytes" Aggregating NoArgument
        |]

    let private builtInByName = Map.ofSeq [ for stage in builtIn -> stage.name, stage ]

    let tryBuiltIn (name: string) : BuiltInStage option = Map.tryFind name builtInByName

    /// Whether the text has no half of a surrogate pair, and so a form in UTF-8.
    let private isUnicode (text: string) =
        let rec from index =
            index = text.Length
            || match Rune.TryGetRuneAt(text, index) with
               | true, rune -> from (index + rune.Utf16SequenceLength)
               | false, _ -> false

        from 0

    /// <returns>A count of lines below 2^63; none: the text is no such number.</returns>
    let tryLineCount (text: string) : int64 voption =
        match Int64.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, count -> ValueSome count
        | false, _ -> ValueNone

    /// What is wrong with the argument of a built-in stage; none: it is valid.
    let private argumentError (stage: BuiltInStage) (argument: string) =
        match stage.argument with
        | NoArgument when argument <> "" -> Some $"{stage.name} takes no argument"
        | SearchText when argument = "" ->
            Some $"{stage.name} wants a text, as in {stage.name}:erro"
        | SearchText
        | OldAndNew when argument.AsSpan().ContainsAny('\r', '\n') ->
            Some $"{stage.name} works line by line: its argument has no line ends"
        | LineCount when (tryLineCount argument).IsNone ->
            Some $"{stage.name} wants a whole number from 0, as in {stage.name}:10"
        | OldAndNew ->
            match Replacement.parse argument with
            | Error error -> Some error
            | Ok _ -> None
        | SortWords ->
            match SortOptions.parse argument with
            | Error error -> Some error
            | Ok _ -> None
        | ByteOrderWord ->
            match ByteOrder.parse argument with
            | Error error -> Some error
            | Ok _ -> None
        | NoArgument
        | SearchText
        | LineCount -> None

    /// A stage that runs a program.
    let private exec kind (argument: string) =
        let name = ExecCommand.nameOf kind

        match ExecCommand.parse argument with
        | Error _ when String.IsNullOrWhiteSpace argument ->
            Error $"{name} wants a program to run, as in {name}:jq"
        | Error error ->
            Error $"{name}, at character {error.position + 1} of its argument: {error.message}"
        | Ok command ->
            Ok {
                name = name
                argument = argument
                kind =
                    (match kind with
                     | OnLines -> PerLine
                     | OnStreams
                     | OnFiles -> WholeFile)
                demand = ExecCommand.demand kind command.program
            }

    /// Ending of the stage that runs on pieces in place of a worker's own stage, where the parts are concatenated.
    let linesForm = ".lines"

    /// Ending of the stage that runs on pieces, where the concatenated parts are the input of `mergeForm`.
    let partForm = ".part"

    /// Ending of the stage that makes the result of the concatenated parts.
    let mergeForm = ".merge"

    /// <summary>Makes a stage. A stage that is neither built in nor `exec-lines` is of kind `WholeFile`.</summary>
    /// <returns>The stage, or why its name or argument is invalid.</returns>
    let create (name: string) (argument: string) : Result<Stage, string> =
        if not (ProtocolLimits.isStageName name) then
            Error
                $"stage name '{name}' is not made of letters, digits, '-', '_' and '.', with a letter or a digit first"
        elif not (isUnicode argument) then
            Error $"the argument of {name} is not valid Unicode"
        else
            match tryBuiltIn name, ExecCommand.tryKind name with
            | Some stage, _ ->
                match argumentError stage argument with
                | Some error -> Error error
                | None -> Ok { name = name; argument = argument; kind = stage.kind; demand = name }
            | None, ValueSome kind -> exec kind argument
            | None, ValueNone ->
                Ok { name = name; argument = argument; kind = WholeFile; demand = name }

    /// <summary>Another form of a worker's own stage, with the same argument.</summary>
    /// <param name="form">The ending to add to its name.</param>
    /// <param name="stage">Any stage.</param>
    /// <returns>None: the stage is built in or runs a program, or the name becomes too long.</returns>
    let tryForm (form: string) (stage: Stage) : Stage voption =
        if (tryBuiltIn stage.name).IsSome || (ExecCommand.tryKind stage.name).IsSome then
            ValueNone
        else
            match create (stage.name + form) stage.argument with
            | Ok other -> ValueSome other
            | Error _ -> ValueNone

    /// `name` or `name:argument`, unquoted, as it stands in a PROCESS message.
    let toWire (stage: Stage) : string =
        if stage.argument = "" then
            stage.name
        else
            $"{stage.name}:{stage.argument}"

    /// <summary>Reads what `toWire` writes.</summary>
    /// <returns>The stage, or what is wrong with its name or its argument.</returns>
    let parse (wire: string) : Result<Stage, string> =
        match wire.IndexOf ':' with
        | -1 -> create wire ""
        | colon -> create wire[.. colon - 1] wire[colon + 1 ..]
