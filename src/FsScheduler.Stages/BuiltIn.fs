/// Starts the stages of the catalogue in `FsScheduler.Core.Stage`.
module FsScheduler.Stages.BuiltIn

open System
open System.IO
open FsScheduler.Core

let private sort argument spilling : StageRun voption =
    match SortOptions.parse argument with
    | Ok options ->
        let repeats = if options.isUnique then Repeats.Drop else Repeats.Keep
        ValueSome(SortRun("sort", LineOrder.ofSort options, repeats, Int64.MaxValue, spilling))
    | Error _ -> ValueNone

let private top count spilling =
    SortRun("top", LineOrder.Greatest, Repeats.Keep, count, spilling)

/// `tryStartIn` with other limits of memory, for tests.
let internal tryStartWith (spilling: Spilling) (stage: Stage) : StageRun voption =
    match stage.name with
    | "latin1" -> ValueSome(Latin1Run())
    | "cp1252" -> ValueSome(Cp1252Run())
    | "utf-16" ->
        match ByteOrder.parse stage.argument with
        | Ok order -> ValueSome(Utf16Run order)
        | Error _ -> ValueNone
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
    | "sort" -> sort stage.argument spilling
    | "uniq" -> ValueSome(UniqRun spilling)
    | "freq" -> ValueSome(FreqRun spilling)
    | "top" ->
        Stage.tryLineCount stage.argument
        |> ValueOption.map (fun count -> top count spilling)
    | "lines" -> ValueSome(LinesRun())
    | "words" -> ValueSome(WordsRun())
    | "bytes" -> ValueSome(BytesRun())
    | _ -> ValueNone

/// <summary>Starts a built-in stage.</summary>
/// <param name="temporary">An existing folder for the files of `sort`, `top` and `freq`, written
/// when a payload outgrows memory.</param>
/// <param name="stage">The stage, parsed.</param>
/// <returns>The started stage; none if no built-in stage has this name and argument.</returns>
/// <exception cref="T:FsScheduler.Stages.StageException">This machine lacks the ICU library, which
/// `nfc` and `strip-accents` need.</exception>
let tryStartIn (temporary: string) (stage: Stage) : StageRun voption =
    tryStartWith (Spilling.Into temporary) stage

/// `tryStartIn` the system's folder for temporary files.
let tryStart (stage: Stage) : StageRun voption = tryStartIn (Path.GetTempPath()) stage
