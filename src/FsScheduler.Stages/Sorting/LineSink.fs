namespace FsScheduler.Stages

open System
open System.Buffers

/// What a sink does with equal lines in a row.
[<RequireQualifiedAccess>]
type internal Repeats =
    | Keep
    | Drop
    /// The lines are words, whose counts are added up and written before the word.
    | Count

/// Writes lines that come one by one, at most `linesMax`, and keeps, drops or counts repeats.
[<Sealed>]
type internal LineSink(repeats: Repeats, linesMax: int64) =

    let mutable output = Unchecked.defaultof<IBufferWriter<byte>>
    let mutable lines = 0L
    let mutable last = Held.create ()
    let mutable hasLast = false
    let mutable sum = 0L

    let mutable longestBytes = 0

    let advance length =
        output.Advance length
        lines <- lines + 1L
        longestBytes <- max longestBytes length

    /// Each U+FEFF at the beginning of the next line is written twice; see `MarkedPart`.
    let mutable doublesMarks = false

    let doubleMarks (line: ReadOnlySpan<byte>) =
        for _ in 1 .. ByteOrderMark.count line do
            ByteOrderMark.write output

        doublesMarks <- false

    let write (line: ReadOnlySpan<byte>) =
        if doublesMarks then
            doubleMarks line

        let target = output.GetSpan(line.Length + 1)
        line.CopyTo target
        target[line.Length] <- '\n'B
        advance (line.Length + 1)

    let keep (line: ReadOnlySpan<byte>) =
        last.ResetWrittenCount()
        last.Write line
        hasLast <- true

    let writeCount () =
        let target = output.GetSpan(last.WrittenCount + 24)
        let mutable written = 0
        sum.TryFormat(target, &written) |> ignore
        target[written] <- '\t'B
        last.WrittenSpan.CopyTo(target.Slice(written + 1))
        target[written + 1 + last.WrittenCount] <- '\n'B
        advance (last.WrittenCount + written + 2)

    /// Whether `linesMax` lines have been written; more lines are ignored.
    member _.IsFull = lines >= linesMax

    /// Bytes of the longest line written, with its count and its newline.
    member _.LongestBytes = longestBytes

    /// The output of the next lines.
    member _.Output
        with set (target: IBufferWriter<byte>) = output <- target

    /// Whether each U+FEFF at the beginning of the first line is written twice, so that none reads
    /// as a byte order mark; see `MarkedPart`. Without effect after the first line.
    member _.DoublesMarks
        with set value = doublesMarks <- value && lines = 0L

    /// Forgets the lines and the output.
    member _.Clear() =
        doublesMarks <- false
        output <- Unchecked.defaultof<IBufferWriter<byte>>
        lines <- 0L
        Held.clear &last
        hasLast <- false
        longestBytes <- 0

    /// Forgets the lines, and begins to write to this output.
    member sink.Start(target: IBufferWriter<byte>) =
        sink.Clear()
        output <- target

    /// <summary>Takes the next line.</summary>
    /// <param name="line">A line without its newline, or a word.</param>
    /// <param name="count">How often the word occurs, from 1; 1 for a line.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">The count of a word is over
    /// 2^63 - 1.</exception>
    member _.Add(line: ReadOnlySpan<byte>, count: int64) =
        if lines < linesMax then
            match repeats with
            | Repeats.Keep -> write line
            | Repeats.Drop ->
                if not (hasLast && line.SequenceEqual last.WrittenSpan) then
                    write line
                    keep line
            | Repeats.Count ->
                if hasLast && line.SequenceEqual last.WrittenSpan then
                    if sum > Int64.MaxValue - count then
                        raise (
                            StageException(
                                "freq: a word occurs more often than 2^63 - 1 times",
                                false
                            )
                        )

                    sum <- sum + count
                else
                    if hasLast then
                        writeCount ()

                    keep line
                    sum <- count

    /// Writes the last word, whose count is known only now.
    member _.Finish() =
        if repeats = Repeats.Count && hasLast then
            writeCount ()
            hasLast <- false
