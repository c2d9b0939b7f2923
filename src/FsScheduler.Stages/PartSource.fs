namespace FsScheduler.Stages

open System
open System.IO
open System.Text.Unicode

/// How a line of a part must compare with the line before.
[<RequireQualifiedAccess>]
type internal Follows =
    | InOrder
    | InOrderAndNotEqual
    | NotEqual

/// What the parts of a stage look like, and how they are merged.
[<Struct>]
type internal MergeRules = {
    order: LineOrder
    follows: Follows
    repeats: Repeats
    /// The most lines of a merged result.
    linesMax: int64
} with

    /// Whether each line is a count, a tab and a word.
    member rules.HasCounts = rules.repeats = Repeats.Count

/// <summary>The lines of a part. Each line is checked, since a part comes from another machine:
/// lines that the stage does not write raise `StageException`, with retry.</summary>
/// <param name="stream">The part, read to its end and not closed.</param>
/// <param name="number">The number of the part, from 1, for messages.</param>
/// <param name="wire">The stage as in a PROCESS message, for messages.</param>
/// <param name="rules">What the lines look like.</param>
/// <param name="lineBytesMax">Bytes of the longest line, without its newline and its count.</param>
/// <param name="readBytes">Bytes of one read.</param>
[<Sealed>]
type internal PartSource
    (stream: Stream, number: int, wire: string, rules: MergeRules, lineBytesMax: int, readBytes: int)
    =
    inherit LineSource(rules.order, rules.HasCounts, lineBytesMax, readBytes, readBytes)

    let hasBlank (word: ReadOnlySpan<byte>) =
        let mutable index = 0

        while index < word.Length && Blanks.firstLength (word.Slice index) = 0 do
            index <- index + 1

        index < word.Length

    override _.KeepsPrevious = true

    override _.Damaged fault =
        raise (StageException($"part {number} is no result of {wire}: {fault}", true))

    override source.Check() =
        if not (Utf8.IsValid source.Line) then
            source.Damaged "it is not UTF-8"

        if rules.HasCounts && (source.Line.IsEmpty || hasBlank source.Line) then
            source.Damaged "a count is not followed by a word"

        if source.HasPrevious then
            let comparison = LineOrder.compare rules.order source.Previous source.Line

            if comparison = 0 && rules.follows <> Follows.InOrder then
                source.Damaged "a line comes twice"

            if comparison > 0 && rules.follows <> Follows.NotEqual then
                source.Damaged "its lines are not in order"

    override _.ReadAsync(memory, ct) = stream.ReadAsync(memory, ct)
