namespace FsScheduler.Stages

open System
open System.Buffers

/// A stage on whole lines. A last line without a newline is treated like the others.
[<AbstractClass>]
type internal WholeLineRun(name: string, lineBytesMax: int) =
    inherit TextRun()

    /// The unfinished line.
    let mutable held = Held.create ()

    let what = $"{name}: a line is"

    let hold (part: ReadOnlySpan<byte>) = Held.append held part lineBytesMax what

    abstract ResetLines: unit -> unit

    /// Takes a line without its newline.
    abstract PushLine: line: ReadOnlySpan<byte> * output: IBufferWriter<byte> -> unit

    abstract FinishLines: output: IBufferWriter<byte> -> unit

    override run.ResetText() =
        Held.clear &held
        run.ResetLines()

    override run.PushText(text, output) =
        let mutable rest = text
        let mutable newline = rest.IndexOf '\n'B

        while newline >= 0 do
            let line = rest.Slice(0, newline)

            if held.WrittenCount = 0 then
                run.PushLine(line, output)
            else
                hold line
                run.PushLine(held.WrittenSpan, output)
                Held.clear &held

            rest <- rest.Slice(newline + 1)
            newline <- rest.IndexOf '\n'B

        if not rest.IsEmpty then
            hold rest

    override run.FinishText output =
        if held.WrittenCount > 0 then
            run.PushLine(held.WrittenSpan, output)
            Held.clear &held

        run.FinishLines output

/// `uniq`: the first of equal lines in a row.
[<Sealed>]
type internal UniqRun(spilling: Spilling) =
    inherit WholeLineRun("uniq", spilling.lineBytesMax)

    let sink = LineSink(Repeats.Drop, Int64.MaxValue)

    override _.ResetLines() = sink.Clear()

    override run.PushLine(line, output) =
        sink.Output <- output
        sink.DoublesMarks <- run.IsFirstPiece
        sink.Add(line, 1L)

    override _.FinishLines _ = sink.Clear()

/// <summary>`sort` and `top`: sorted lines. Lines that outgrow memory are written to disk as sorted
/// runs, and the runs are merged.</summary>
/// <param name="name">The stage, for messages.</param>
/// <param name="order">The order of the lines.</param>
/// <param name="repeats">What becomes of equal lines; `Keep` if `linesMax` is a limit.</param>
/// <param name="linesMax">The most lines of the result; no limit (`Int64.MaxValue`) for the
/// descending orders of `sort`.</param>
/// <param name="spilling">The limits of memory, and the folder for runs.</param>
[<Sealed>]
type internal SortRun
    (name: string, order: LineOrder, repeats: Repeats, linesMax: int64, spilling: Spilling) =
    inherit WholeLineRun(name, spilling.lineBytesMax)

    /// Lines beyond twice `linesMax` before a sieve, so that a small `linesMax` has few sieves.
    static let sievedLines = 4_096

    let buffer = LineBuffer(order, spilling.bufferBytesMax)
    let spills = Spills(order, repeats, linesMax, spilling)
    let sink = LineSink(repeats, linesMax)

    /// Number of lines in memory at which `sieve` runs; never for a large `linesMax`.
    let sievedAt =
        if linesMax < 1_048_576L then
            2 * int linesMax + sievedLines
        else
            Int32.MaxValue

    /// A line with a greater key is not among the first `linesMax`.
    let mutable keyMax = UInt64.MaxValue

    let writeTo (target: LineSink) =
        buffer.Sort()
        let mutable index = 0

        while index < buffer.Count && not target.IsFull do
            target.Add(buffer.Line index, 1L)
            index <- index + 1

        target.Finish()

    /// Keeps the first `linesMax` lines of those in memory, which are more.
    let sieve () =
        buffer.Sort()

        if linesMax > 0L then
            keyMax <- LineOrder.keyOf order (buffer.Line(int linesMax - 1))

        buffer.KeepFirst(int linesMax)

    let clear () =
        keyMax <- UInt64.MaxValue
        buffer.Clear()
        spills.Clear()
        sink.Clear()

    member private run.Spill() =
        writeTo (spills.Begin())
        buffer.Empty()
        spills.Add run.Cancellation

    /// The result of `top` is a selection, no longer the text.
    override _.KeepsMark = order <> LineOrder.Greatest

    override _.ResetLines() = clear ()

    /// Makes room for more lines: drops lines beyond `linesMax`, or spills.
    member private run.MakeRoom() =
        if linesMax < int64 buffer.Count then
            sieve ()

        // A sieve that leaves over half would soon be needed again.
        if buffer.IsHalfFull then
            run.Spill()

    override run.PushLine(line, _) =
        if keyMax = UInt64.MaxValue || LineOrder.keyOf order line <= keyMax then
            if not (buffer.TryAdd line) then
                run.MakeRoom()

                if not (buffer.TryAdd line) then
                    run.Spill()
                    buffer.TryAdd line |> ignore

            if buffer.Count >= sievedAt then
                sieve ()

    override run.FinishLines output =
        try
            sink.Start output
            sink.DoublesMarks <- run.IsFirstPiece && run.KeepsMark

            if spills.IsEmpty then
                writeTo sink
            else
                run.Spill()
                buffer.Clear()
                spills.MergeTo(sink, run.Cancellation)
                sink.Finish()
        finally
            clear ()
