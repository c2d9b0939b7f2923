namespace FsScheduler.Core

open System
open System.Collections.Generic
open System.Globalization
open System.Text

/// What a stage may be run on.
type StageKind =
    /// Each line by itself: pieces of a file, cut at line ends, give the pieces of its result.
    | PerLine
    /// Needs the payload from its first byte on.
    | WholeFile
    /// Runs on pieces; the results of the pieces are merged.
    | Aggregating

/// A step of a pipeline, as parsed: its argument has been checked if the stage is built in.
type Stage = {
    name: string
    /// Empty when there is none.
    argument: string
    kind: StageKind
    /// What a worker must offer to be given it: the name; of a stage that runs a program, `exec:PROGRAM`.
    demand: string
}

/// What a built-in stage wants after its name.
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
    /// Makes sense only on the payload itself, not on what another stage gives.
    isFirstOnly: bool
}

/// The argument of `replace`.
[<Struct>]
type Replacement = { oldText: string; newText: string }

module Replacement =

    /// <summary>Reads `OLD/NEW`, where `\/` stands for a slash and `\\` for a backslash.</summary>
    /// <returns>OLD, never empty, and NEW; or what `replace` wants.</returns>
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
    /// By the number at the beginning of each line; else by code points.
    isNumeric: bool
    isDescending: bool
    /// Of equal lines, only one.
    isUnique: bool
}

module SortOptions =

    let private none = { isNumeric = false; isDescending = false; isUnique = false }

    /// <summary>Reads `numeric`, `desc` and `unique`, in any order, each at most once, with commas between.</summary>
    /// <returns>The options, all off for an empty argument; or what `sort` wants.</returns>
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

/// Which byte of a unit of UTF-16 comes first: the one that counts less, or the other.
type ByteOrder =
    | Little
    | Big

module ByteOrder =

    /// <returns>What the argument of `utf-16` says, nothing for an empty one; or what it wants.</returns>
    let parse (argument: string) : Result<ByteOrder voption, string> =
        match argument with
        | "" -> Ok ValueNone
        | "le" -> Ok(ValueSome Little)
        | "be" -> Ok(ValueSome Big)
        | _ -> Error "utf-16 takes le or be, or nothing: then its byte order mark says which"

module Stage =

    /// The stages that are built in, in the order in which a manual would show them.
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

    /// The built-in stage of that name.
    let tryBuiltIn (name: string) : BuiltInStage option = Map.tryFind name builtInByName

    /// No half of a surrogate pair: the text has a form in UTF-8.
    let private isUnicode (text: string) =
        let rec from index =
            index = text.Length
            || match Rune.TryGetRuneAt(text, index) with
               | true, rune -> from (index + rune.Utf16SequenceLength)
               | false, _ -> false

        from 0

    /// <returns>A count of lines below 2^63, if that is what the text is.</returns>
    let tryLineCount (text: string) : int64 voption =
        match Int64.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture) with
        | true, count -> ValueSome count
        | false, _ -> ValueNone

    /// What is wrong with an argument of a built-in stage, if anything.
    let private argumentFault (stage: BuiltInStage) (argument: string) =
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
            | Error fault -> Some fault
            | Ok _ -> None
        | SortWords ->
            match SortOptions.parse argument with
            | Error fault -> Some fault
            | Ok _ -> None
        | ByteOrderWord ->
            match ByteOrder.parse argument with
            | Error fault -> Some fault
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
        | Error fault ->
            Error $"{name}, at character {fault.position + 1} of its argument: {fault.message}"
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

    /// What is run on the pieces of a payload in place of a worker's own stage, whose parts are put one behind the other.
    let linesForm = ".lines"

    /// What is run on them where the parts are not the result yet, but one text for `mergeForm`.
    let partForm = ".part"

    /// What makes the result of the parts, one behind the other.
    let mergeForm = ".merge"

    /// <summary>Makes a stage. One that is not built in is of kind `WholeFile`, unless it is `exec-lines`.</summary>
    /// <returns>The stage, or what is wrong with its name or its argument.</returns>
    let create (name: string) (argument: string) : Result<Stage, string> =
        if not (ProtocolLimits.isStageName name) then
            Error
                $"stage name '{name}' is not made of letters, digits, '-', '_' and '.', with a letter or a digit first"
        elif not (isUnicode argument) then
            Error $"the argument of {name} is not valid Unicode"
        else
            match tryBuiltIn name, ExecCommand.tryKind name with
            | Some stage, _ ->
                match argumentFault stage argument with
                | Some fault -> Error fault
                | None -> Ok { name = name; argument = argument; kind = stage.kind; demand = name }
            | None, ValueSome kind -> exec kind argument
            | None, ValueNone ->
                Ok { name = name; argument = argument; kind = WholeFile; demand = name }

    /// <summary>Another form of a worker's own stage, with the same argument.</summary>
    /// <param name="form">What is added to its name.</param>
    /// <param name="stage">Any.</param>
    /// <returns>None: the stage is built in, or a program, or its name is too long.</returns>
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
