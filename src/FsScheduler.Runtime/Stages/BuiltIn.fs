/// The stages of the catalogue in `FsScheduler.Core.Stage`, at work.
module FsScheduler.Runtime.Stages.BuiltIn

open FsScheduler.Core

/// <summary>Starts a built-in stage.</summary>
/// <returns>The stage at work; nothing if no built-in stage has that name and takes that argument.</returns>
/// <exception cref="T:FsScheduler.Runtime.Stages.StageException">This machine lacks what the stage needs.</exception>
let tryStart (stage: Stage) : StageRun voption =
    match stage.name with
    | "latin1" -> ValueSome(Latin1Run())
    | "lower" -> ValueSome(CaseRun(isUpper = false))
    | "upper" -> ValueSome(CaseRun(isUpper = true))
    | "trim" -> ValueSome(TrimRun())
    | "squeeze" -> ValueSome(SqueezeRun())
    | "strip-accents" -> ValueSome(StripAccentsRun())
    | "nfc" -> ValueSome(NfcRun())
    | "grep" when stage.argument <> "" -> ValueSome(GrepRun stage.argument)
    | "replace" ->
        match Replacement.parse stage.argument with
        | Ok replacement -> ValueSome(ReplaceRun(replacement.oldText, replacement.newText))
        | Error _ -> ValueNone
    | "head" ->
        Stage.tryLineCount stage.argument
        |> ValueOption.map (fun count -> HeadRun count)
    | "lines" -> ValueSome(LinesRun())
    | "words" -> ValueSome(WordsRun())
    | "bytes" -> ValueSome(BytesRun())
    | _ -> ValueNone
