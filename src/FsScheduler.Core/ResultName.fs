namespace FsScheduler.Core

open System
open System.Text

/// Whose a result is. A result replaces an older one of the same source, and none of another.
type ResultSource =
    /// A file of the folder of inputs, whatever its version.
    | OfFile of TaskName
    /// One submission of a client: two of the same name may be of different files.
    | OfTask of TaskId

/// Who has a name in a folder of results, seen from one source.
[<RequireQualifiedAccess>]
type NameHolder =
    | Nobody
    /// The source itself: what stands there is older, and may be replaced.
    | Same
    | Other

/// Under which name a result goes. `NAME.out` and `NAME.err` have the same holder.
module ResultName =

    /// Names that are tried, at most.
    let candidatesMax = 1_000

    /// An ending that is longer is a part of the name.
    let private endingBytesMax = 32

    let private bytesOf (text: string) = Encoding.UTF8.GetByteCount text

    let private truncate (bytes: int) (text: string) =
        let kept = StringBuilder()
        let mutable left = bytes

        for rune in text.EnumerateRunes() do
            left <- left - rune.Utf8SequenceLength

            if left >= 0 then
                kept.Append(rune.ToString()) |> ignore

        kept.ToString()

    /// <summary>A name with a mark before its ending: `d/a.txt` and `7` give `d/a.7.txt`.</summary>
    /// <returns>None where the name is too long for it, even with a shorter beginning.</returns>
    let apart (name: TaskName) (mark: string) : TaskName voption =
        let text = TaskName.toString name
        let cut = text.LastIndexOf '/' + 1
        let part = text.Substring cut
        let dot = part.LastIndexOf '.'
        let hasEnding = dot > 0 && bytesOf (part.Substring dot) <= endingBytesMax
        let stem = if hasEnding then part.Substring(0, dot) else part
        let rest = "." + mark + (if hasEnding then part.Substring dot else "")
        let taken = bytesOf rest

        let room =
            min
                (TaskName.partBytesMax - taken)
                (TaskName.bytesMax - bytesOf (text.Substring(0, cut)) - taken)

        match truncate (max 0 room) stem with
        | "" -> ValueNone
        | stem ->
            match TaskName.parse (text.Substring(0, cut) + stem + rest) with
            | Ok name -> ValueSome name
            | Error _ -> ValueNone

    /// <summary>The names that a result may have, the best first: its own, and then others that tell it apart. Those of a
    /// task have its number.</summary>
    /// <param name="source">Whose it is.</param>
    /// <param name="name">Its own name.</param>
    let candidates (source: ResultSource) (name: TaskName) : TaskName seq =
        let mark index =
            match source with
            | OfFile _ -> string index
            | OfTask task when index = 1 -> string task
            | OfTask task -> $"{task}-{index}"

        Seq.append
            (Seq.singleton name)
            (Seq.init (candidatesMax - 1) (fun index -> apart name (mark (index + 1)))
             |> Seq.choose ValueOption.toOption)

    /// <summary>Who has a name.</summary>
    /// <param name="source">Who asks.</param>
    /// <param name="name">The name.</param>
    /// <param name="recorded">Whose the latest result of that name was, where that is not the file of the same name.</param>
    /// <param name="isThere">Whether there is a result or an error of that name.</param>
    /// <param name="isInput">Whether a file of that name is an input: its result will have the name.</param>
    let holder
        (source: ResultSource)
        (name: TaskName)
        (recorded: ResultSource voption)
        (isThere: unit -> bool)
        (isInput: unit -> bool)
        : NameHolder =
        match recorded with
        | ValueSome owner when owner = source -> NameHolder.Same
        | ValueNone when source = OfFile name -> NameHolder.Same
        | ValueSome _ when source = OfFile name ->
            if isThere () then NameHolder.Other else NameHolder.Nobody
        | ValueSome _
        | ValueNone ->
            if isThere () || isInput () then
                NameHolder.Other
            else
                NameHolder.Nobody

    /// <summary>The first name that nobody else has.</summary>
    /// <returns>It, and whether what stands there may be replaced. None: all are taken.</returns>
    let choose
        (holderOf: TaskName -> NameHolder)
        (candidates: TaskName seq)
        : struct (TaskName * bool) voption =
        candidates
        |> Seq.tryPick (fun name ->
            match holderOf name with
            | NameHolder.Nobody -> Some(struct (name, false))
            | NameHolder.Same -> Some(struct (name, true))
            | NameHolder.Other -> None)
        |> ValueOption.ofOption
