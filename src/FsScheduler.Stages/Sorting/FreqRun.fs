namespace FsScheduler.Stages

open System
open System.Buffers

/// `freq`: how often each word occurs. When the words outgrow memory, they are written to disk as
/// runs with counts, and the counts of all runs are added up.
[<Sealed>]
type internal FreqRun(spilling: Spilling) =
    inherit TextRun()

    static let batch = 32

    static let firstBytes =
        let stops = Array.create 256 false

        for value in "\t\n\v\f\r "B do
            stops[int value] <- true

        for value in [ 0xC2; 0xE1; 0xE2; 0xE3 ] do
            stops[value] <- true

        stops

    /// By byte: whether White_Space may begin with it; some other characters share these bytes.
    let stops = firstBytes

    /// Words of the current text that wait to be counted as a batch; see `WordTable.Prefetch`.
    let starts = Array.zeroCreate<int> batch
    let lengths = Array.zeroCreate<int> batch
    let hashes = Array.zeroCreate<uint32> batch
    let places = Array.zeroCreate<int> batch
    let mutable waiting = 0

    // Half of the memory for the words, half for their slots and entries, 32 bytes a word.
    let table =
        WordTable(
            spilling.bufferBytesMax / 2,
            max
                1
                (int (
                    Numerics.BitOperations.RoundUpToPowerOf2(uint32 (spilling.bufferBytesMax / 64))
                ))
        )

    let spills = Spills(LineOrder.Text, Repeats.Count, Int64.MaxValue, spilling)
    let sink = LineSink(Repeats.Count, Int64.MaxValue)

    /// The beginning of a word that may go on in the next text.
    let mutable held = Held.create ()

    let hold (part: ReadOnlySpan<byte>) =
        Held.append held part spilling.lineBytesMax "freq: a word is"

    let clear () =
        Held.clear &held
        waiting <- 0
        table.Clear()
        spills.Clear()
        sink.Clear()

    /// Bytes before the first White_Space, or of the whole text.
    let wordLength (text: ReadOnlySpan<byte>) =
        let mutable length = 0
        let mutable goesOn = true

        while goesOn do
            while length < text.Length && not stops[int text[length]] do
                length <- length + 1

            if length < text.Length && Blanks.firstLength (text.Slice length) = 0 then
                length <- length + 1
            else
                goesOn <- false

        length

    member private run.Spill() =
        table.WriteTo(spills.Begin())
        table.Empty()
        spills.Add run.Cancellation

    member private run.Count(word: ReadOnlySpan<byte>, hash) =
        if not (table.TryCount(word, hash)) then
            run.Spill()
            table.TryCount(word, hash) |> ignore

    member private run.CountHeld() =
        run.Count(held.WrittenSpan, table.Hash held.WrittenSpan)
        Held.clear &held

    member private run.CountWaiting(text: ReadOnlySpan<byte>) =
        table.Prefetch(ReadOnlySpan(hashes, 0, waiting), places.AsSpan())

        for index in 0 .. waiting - 1 do
            run.Count(text.Slice(starts[index], lengths[index]), hashes[index])

        waiting <- 0

    override _.KeepsMark = false

    override _.ResetText() = clear ()

    override run.PushText(text, _) =
        let mutable at = 0

        while at < text.Length do
            let length = wordLength (text.Slice at)
            let word = text.Slice(at, length)
            at <- at + length

            if at = text.Length then
                hold word
            elif held.WrittenCount > 0 then
                hold word
                run.CountHeld()
            elif length > 0 then
                starts[waiting] <- at - length
                lengths[waiting] <- length
                hashes[waiting] <- table.Hash word
                waiting <- waiting + 1

                if waiting = batch then
                    run.CountWaiting text

            if at < text.Length then
                at <- at + Blanks.firstLength (text.Slice at)

        run.CountWaiting text

    override run.FinishText output =
        try
            if held.WrittenCount > 0 then
                run.CountHeld()

            sink.Start output

            if spills.IsEmpty then
                table.WriteTo sink
            else
                run.Spill()
                table.Clear()
                spills.MergeTo(sink, run.Cancellation)
                sink.Finish()
        finally
            clear ()
