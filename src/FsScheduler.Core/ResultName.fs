namespace FsScheduler.Core

open System
open System.Text

/// The owner of a result. A result replaces an older one of the same source, and none of another.
type ResultSource =
    /// An input file, whatever its version.
    | OfFile of TaskName
    /// One submission of a client: two submissions of one name may hold different files.
    | OfTask of TaskId

/// Who owns a name in the folder of results, seen from one source.
[<RequireQualifiedAccess>]
type NameHolder =
    | Nobody
    /// The source itself: its older result is there, and may be replaced.
    | Same
    | Other

/// Chooses the file name of a result. `NAME.out` and `NAME.err` have one holder.
module ResultName =

    /// The most names that are tried.
    let candidatesMax = 1_000

    /// A longer ending counts as a part of the name.
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
    /// <returns>None where the mark does not fit into the name, even with a shorter beginning.</returns>
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

    /// <summary>The names that a result may have, the best first: its own, then names with a distinguishing mark, which
    /// for a client's task is the task number.</summary>
    /// <param name="source">The owner of the result.</param>
    /// <param name="name">The preferred name.</param>
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

    /// <summary>Who owns a name.</summary>
    /// <param name="source">The source that wants the name.</param>
    /// <param name="name">The name.</param>
    /// <param name="recorded">The recorded owner of the name; none: the input file of the same name.</param>
    /// <param name="isThere">Whether a result or an error file has the name.</param>
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

    /// <summary>The first candidate that no other source owns.</summary>
    /// <returns>The name, and whether an existing file may be replaced. None: all candidates are taken.</returns>
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
