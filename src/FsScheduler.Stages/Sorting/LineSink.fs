namespace FsScheduler.Stages

open System
open System.Buffers

/// What becomes of equal lines that follow each other.
[<RequireQualifiedAccess>]
type internal Repeats =
    | Keep
    | Drop
    /// The lines are words with counts, which are added up.
    | Count

/// Where lines go that are in order.
[<Sealed>]
type internal LineSink(repeats: Repeats, linesMax: int64) =

    let mutable output = Unchecked.defaultof<IBufferWriter<byte>>
    let mutable lines = 0L
    let mutable last = Held.create ()
    let mutable hasLast = false
    let mutable sum = 0L

    /// The length of the longest line so far, with its newline.
    let mutable longestBytes = 0

    let advance length =
        output.Advance length
        lines <- lines + 1L
        longestBytes <- max longestBytes length

    /// What the first line begins with is written twice; see `MarkedPart`.
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

    /// Nothing more will be taken.
    member _.IsFull = lines >= linesMax

    /// The length of the longest line that was written, with its newline.
    member _.LongestBytes = longestBytes

    /// Where the lines go from now on.
    member _.Output
        with set (target: IBufferWriter<byte>) = output <- target

    /// Whether U+FEFF at the beginning of the first line, if it is the next, is written so that it is no byte order mark.
    member _.DoublesMarks
        with set value = doublesMarks <- value && lines = 0L

    /// Forgets what was.
    member _.Clear() =
        doublesMarks <- false
        output <- Unchecked.defaultof<IBufferWriter<byte>>
        lines <- 0L
        Held.clear &last
        hasLast <- false
        longestBytes <- 0

    /// Forgets what was, and begins with this output.
    member sink.Start(target: IBufferWriter<byte>) =
        sink.Clear()
        output <- target

    /// <summary>Takes the next line.</summary>
    /// <param name="line">Without its newline; or a word.</param>
    /// <param name="count">How often the word occurs, at least once; 1 for a line.</param>
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

    /// Writes what has waited for a next line.
    member _.Finish() =
        if repeats = Repeats.Count && hasLast then
            writeCount ()
            hasLast <- false
