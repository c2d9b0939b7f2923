/// Merges the parts of an aggregating stage, one for each piece of a payload, into one result.
module FsScheduler.Stages.StageMerge

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core

/// The most parts of one merge. Merge more parts in groups of neighbours, then merge the results:
/// the bytes are the same for all groupings.
let partsMax = 4_096

/// Reads a part that is a count and a newline.
let private readCount (part: Stream) number (wire: string) (ct: CancellationToken) =
    task {
        let bytes = Array.zeroCreate<byte> 24
        let! length = part.ReadAtLeastAsync(bytes.AsMemory(), bytes.Length, false, ct)
        let digits = length - 1
        let mutable count = 0L

        if
            digits < 1
            || bytes[digits] <> '\n'B
            || (bytes[0] = '0'B && digits > 1)
            || bytes.AsSpan(0, digits).ContainsAnyExceptInRange('0'B, '9'B)
            || not (Int64.TryParse(ReadOnlySpan(bytes, 0, digits), &count))
        then
            let fault = "it is not a count and a newline"
            raise (StageException($"part {number} is no result of {wire}: {fault}", true))

        return count
    }

let private addCounts (parts: Stream[]) (wire: string) (result: StreamResult) ct =
    task {
        let mutable sum = 0L

        for index in 0 .. parts.Length - 1 do
            let! count = readCount parts[index] (index + 1) wire ct

            if sum > Int64.MaxValue - count then
                raise (StageException($"{wire}: there are more than 2^63 - 1", false))

            sum <- sum + count

        Count.write sum result
    }

/// Writes the lines of one part after the other, for `uniq`: lines can be equal only where two
/// parts meet.
let private joinParts (sources: LineSource[]) (sink: LineSink) (result: StreamResult) ct =
    task {
        for source in sources do
            while not source.IsDone do
                if not (source.TryAdvance()) then
                    do! result.FlushAsync()
                    do! source.FillAsync ct
                elif not source.IsDone then
                    sink.Add(source.Line, source.Count)

            source.Close()
    }

/// Writes the lines that a source has left to disk, as a run.
let private spillRest (source: LineSource) (spills: Spills) ct =
    task {
        let run = spills.Begin()

        if not source.IsTaken then
            run.Add(source.Line, source.Count)

        while not source.IsDone do
            if not (source.TryAdvance()) then
                do! source.FillAsync ct
            elif not source.IsDone then
                run.Add(source.Line, source.Count)

        source.Close()
        spills.Add ct
    }

/// Merges all parts at once. When the buffers for long lines would exceed `mergeBytesMax`, the rest
/// of each part becomes a run on disk, since `Spills` merges fewer runs at a time.
let private mergeParts
    (sources: LineSource[])
    rules
    spilling
    (sink: LineSink)
    (result: StreamResult)
    ct
    =
    task {
        let spills = Spills(rules.order, rules.repeats, rules.linesMax, spilling)
        let merge = LineMerge(sources, rules.order, sink)
        let mutable bufferBytes = 0L

        try
            while bufferBytes <= int64 spilling.mergeBytesMax && not (merge.Advance()) do
                let source = merge.Hungry
                let before = source.BufferBytes
                do! result.FlushAsync()
                do! source.FillAsync ct
                bufferBytes <- bufferBytes + int64 (source.BufferBytes - before)

            if bufferBytes > int64 spilling.mergeBytesMax then
                for source in sources do
                    do! spillRest source spills ct

                spills.MergeTo(sink, ct)
        finally
            spills.Clear()
    }

let private rulesOf (stage: Stage) : MergeRules voption =
    let rules order follows repeats =
        ValueSome {
            order = order
            follows = follows
            repeats = repeats
            linesMax = Int64.MaxValue
        }

    match stage.name with
    | "uniq" -> rules LineOrder.Text Follows.NotEqual Repeats.Drop
    | "freq" -> rules LineOrder.Text Follows.InOrderAndNotEqual Repeats.Count
    | "sort" ->
        match SortOptions.parse stage.argument with
        | Ok options when options.isUnique ->
            rules (LineOrder.ofSort options) Follows.InOrderAndNotEqual Repeats.Drop
        | Ok options -> rules (LineOrder.ofSort options) Follows.InOrder Repeats.Keep
        | Error _ -> ValueNone
    | "top" ->
        match Stage.tryLineCount stage.argument with
        | ValueSome count ->
            ValueSome {
                order = LineOrder.Greatest
                follows = Follows.InOrder
                repeats = Repeats.Keep
                linesMax = count
            }
        | ValueNone -> ValueNone
    | _ -> ValueNone

/// Whether the results of a stage keep the byte order mark of the payload.
let private keepsMark (stage: Stage) =
    stage.name = "sort" || stage.name = "uniq"

let private mergeLines stage rules (parts: Stream[]) place (result: StreamResult) spilling ct =
    task {
        let hasFirst = keepsMark stage && place <> PartsPlace.Later && parts.Length > 0
        let parts = Array.copy parts

        if hasFirst then
            let! struct (isMarked, lines) = MarkedPart.OpenAsync(parts[0], ct)
            parts[0] <- lines

            if isMarked then
                ByteOrderMark.write result

        // The first buffers take half of the memory, and longer lines the other half.
        let readBytes =
            spilling.mergeBytesMax / 2 / max 1 parts.Length
            |> max (min 4_096 spilling.readBytes)
            |> min spilling.readBytes

        let wire = Stage.toWire stage

        let source index part : LineSource =
            PartSource(part, index + 1, wire, rules, spilling.lineBytesMax, readBytes)

        let sources = Array.mapi source parts
        let sink = LineSink(rules.repeats, rules.linesMax)
        sink.Start result
        sink.DoublesMarks <- hasFirst && place = PartsPlace.First

        match rules.follows with
        | Follows.NotEqual -> do! joinParts sources sink result ct
        | Follows.InOrder
        | Follows.InOrderAndNotEqual -> do! mergeParts sources rules spilling sink result ct

        sink.Finish()
    }

/// `runAsync` with other limits of memory, for tests.
let internal runPlacedWith
    (spilling: Spilling)
    (stage: Stage)
    (parts: Stream[])
    (place: PartsPlace)
    (output: Stream)
    (ct: CancellationToken)
    : Task<Size> =
    task {
        if parts.Length > partsMax then
            invalidArg (nameof parts) $"at most {partsMax} parts are merged at once"

        let result = StreamResult(output, ct)

        match stage.name, rulesOf stage with
        | _, ValueSome rules -> do! mergeLines stage rules parts place result spilling ct
        | ("lines" | "words" | "bytes"), ValueNone -> do! addCounts parts stage.name result ct
        | _, ValueNone -> invalidArg (nameof stage) $"results of {stage.name} are not merged"

        do! result.FlushAsync()
        return result.Written * 1L<B>
    }

/// `runPlacedWith` for the parts of all pieces.
let internal runWith spilling stage parts output ct =
    runPlacedWith spilling stage parts PartsPlace.All output ct

/// <summary>
/// Merges the parts of a stage into the bytes that the stage would give for the whole payload, in
/// bounded memory. The pieces must have been cut behind newlines. Merging is associative: parts of
/// neighbouring pieces may be merged first.
/// </summary>
/// <param name="stage">A built-in stage of kind `Aggregating`.</param>
/// <param name="parts">
/// The results of the pieces in their order, 0 to `partsMax`; 0 stand for an empty payload. All
/// parts are read at the same time, for `top` only as far as needed, and are not closed.
/// </param>
/// <param name="place">Which pieces the parts are of: all, or a group merged first.</param>
/// <param name="output">Receives the result; incomplete after an exception.</param>
/// <param name="temporary">An existing folder for runs, written when parts have many very long
/// lines.</param>
/// <param name="ct">Cancels the merge.</param>
/// <returns>The size of the result in bytes.</returns>
/// <exception cref="T:FsScheduler.Stages.StageException">A part is no result of the stage, or a
/// count is over 2^63 - 1.</exception>
/// <exception cref="T:System.ArgumentException">The results of this stage cannot be merged, or
/// there are more than `partsMax` parts.</exception>
let runAsync
    (stage: Stage)
    (parts: Stream[])
    (place: PartsPlace)
    (output: Stream)
    (temporary: string)
    (ct: CancellationToken)
    : Task<Size> =
    runPlacedWith (Spilling.Into temporary) stage parts place output ct
