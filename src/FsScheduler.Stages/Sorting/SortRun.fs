namespace FsScheduler.Stages

open System
open System.Buffers

/// A stage on whole lines. A last line without a newline is one like the others.
[<AbstractClass>]
type internal WholeLineRun(name: string, lineBytesMax: int) =
    inherit TextRun()

    /// The beginning of a line whose end has not come yet.
    let mutable held = Held.create ()

    let what = $"{name}: a line is"

    let hold (part: ReadOnlySpan<byte>) = Held.append held part lineBytesMax what

    abstract ResetLines: unit -> unit

    /// Takes a line, without its newline.
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

/// `uniq`: of equal lines that follow each other, the first.
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

/// <summary>`sort` and `top`: lines in an order. What does not fit into memory is sorted in runs, which are merged.</summary>
/// <param name="name">The stage, for messages.</param>
/// <param name="order">That of the lines.</param>
/// <param name="repeats">What becomes of equal lines.</param>
/// <param name="linesMax">How many lines there are in the result, at most; without a limit for descending orders.</param>
/// <param name="spilling">What does not fit into memory.</param>
[<Sealed>]
type internal SortRun
    (name: string, order: LineOrder, repeats: Repeats, linesMax: int64, spilling: Spilling) =
    inherit WholeLineRun(name, spilling.lineBytesMax)

    /// Lines that are looked through at once for those that come first.
    static let sievedLines = 4_096

    let buffer = LineBuffer(order, spilling.bufferBytesMax)
    let spills = Spills(order, repeats, linesMax, spilling)
    let sink = LineSink(repeats, linesMax)

    /// So many lines are worth a look at which of them are needed.
    let sievedAt =
        if linesMax < 1_048_576L then
            2 * int linesMax + sievedLines
        else
            Int32.MaxValue

    /// Lines with a greater key do not come in among the first.
    let mutable keyMax = UInt64.MaxValue

    let writeTo (target: LineSink) =
        buffer.Sort()
        let mutable index = 0

        while index < buffer.Count && not target.IsFull do
            target.Add(buffer.Line index, 1L)
            index <- index + 1

        target.Finish()

    /// Keeps only those that come first, of more lines than that.
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

    /// The lines with the greatest numbers are no longer the text.
    override _.KeepsMark = order <> LineOrder.Greatest

    override _.ResetLines() = clear ()

    /// There is no room for more lines.
    member private run.MakeRoom() =
        if linesMax < int64 buffer.Count then
            sieve ()

        // A sieve that leaves much would soon be needed again.
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
