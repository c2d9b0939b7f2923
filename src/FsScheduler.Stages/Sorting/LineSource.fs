namespace FsScheduler.Stages

open System
open System.Threading
open System.Threading.Tasks

/// Lines in order, one after the other, of something that is read in pieces.
[<AbstractClass>]
type internal LineSource
    (order: LineOrder, hasCounts: bool, lineBytesMax: int, readBytes: int, bytesAtFirst: int) =

    /// The most that a count and its tab add to a word.
    static let countBytesMax = 32

    let mutable buffer: byte[] = [||]
    /// The end of what has been read into the buffer.
    let mutable filled = 0
    /// No more will be read.
    let mutable hasEnded = false
    /// Where the next line begins, and how much of it is known to have no newline.
    let mutable next = 0
    let mutable searched = 0

    /// The current line, and the one before it, if there are any.
    let mutable start = -1
    let mutable length = 0
    let mutable previousStart = -1
    let mutable previousLength = 0

    member val Count = 1L with get, set
    member val Key = 0UL with get, set

    /// The current line has been dealt with, or there has been none yet.
    member val IsTaken = true with get, set

    /// There is no current line, and will be none.
    member val IsDone = false with get, set

    member _.BufferBytes = buffer.Length

    /// The current line; of a word with its count, the word.
    member _.Line = ReadOnlySpan(buffer, start, length)

    member _.HasPrevious = previousStart >= 0

    /// The line before the current one, if `KeepsPrevious`.
    member _.Previous = ReadOnlySpan(buffer, previousStart, previousLength)

    /// Reads the next bytes; none, if there are no more.
    abstract ReadAsync: Memory<byte> * CancellationToken -> ValueTask<int>

    /// Whether the line before the current one is of interest.
    abstract KeepsPrevious: bool

    /// Looks at the current line, which may be wrong.
    abstract Check: unit -> unit

    /// Raises what says that the lines are not what they should be.
    abstract Damaged: string -> unit

    /// The count before the tab; the line becomes the word behind it.
    member private source.TakeCount() =
        let line = source.Line
        let tab = line.IndexOf '\t'B
        let mutable count = 0L

        if
            tab < 1
            || line[0] = '0'B
            || line.Slice(0, tab).ContainsAnyExceptInRange('0'B, '9'B)
            || not (Int64.TryParse(line.Slice(0, tab), &count))
        then
            source.Damaged "a line does not begin with a count and a tab"

        source.Count <- count
        start <- start + tab + 1
        length <- length - tab - 1

    /// Goes to the next line, or to the end. Whether that was possible; if not, `FillAsync` has to come first.
    member source.TryAdvance() : bool =
        match buffer.AsSpan(searched, filled - searched).IndexOf '\n'B with
        | -1 when not hasEnded ->
            searched <- filled
            false
        | -1 ->
            if next < filled then
                source.Damaged "it does not end with a newline"

            source.IsDone <- true
            true
        | index ->
            previousStart <- start
            previousLength <- length
            start <- next
            length <- searched + index - next
            next <- searched + index + 1
            searched <- next

            if hasCounts then
                source.TakeCount()

            source.Key <- LineOrder.keyOf order source.Line
            source.IsTaken <- false
            source.Check()
            true

    /// Gives bytes of lines that are over back, and makes room for more.
    member private source.MakeRoom() =
        if filled - next > lineBytesMax + countBytesMax then
            source.Damaged $"a line is over {lineBytesMax / 1_048_576} MiB"

        let kept =
            if source.KeepsPrevious && start >= 0 then
                start
            else
                start <- -1
                next

        buffer.AsSpan(kept, filled - kept).CopyTo(buffer.AsSpan())
        start <- if start >= 0 then 0 else -1
        next <- next - kept
        searched <- searched - kept
        filled <- filled - kept
        previousStart <- -1

        if buffer.Length - filled < readBytes / 2 || buffer.Length = 0 then
            Array.Resize(&buffer, max bytesAtFirst (2 * buffer.Length))

    /// Reads more. The current line is forgotten, unless `KeepsPrevious`.
    member source.FillAsync(ct: CancellationToken) : ValueTask =
        source.MakeRoom()

        let took count =
            filled <- filled + count
            hasEnded <- count = 0

        let reading = source.ReadAsync(buffer.AsMemory filled, ct)

        if reading.IsCompletedSuccessfully then
            took reading.Result
            ValueTask.CompletedTask
        else
            ValueTask(
                task {
                    let! count = reading
                    took count
                }
            )

    /// Gives the buffer back. There is nothing more to read.
    member source.Close() =
        source.IsDone <- true
        buffer <- [||]
        filled <- 0

/// A run of lines in a spill file.
[<Struct>]
type internal Run = {
    file: SpillFile
    offset: int64
    bytes: int64
    /// Bytes of its longest line, with the newline.
    longestBytes: int
}

/// The lines of a run, which a stage of ours has written: they are as they should be.
[<Sealed>]
type internal RunSource(run: Run, order, hasCounts, spilling: Spilling) =
    inherit
        LineSource(
            order,
            hasCounts,
            spilling.lineBytesMax,
            spilling.readBytes,
            spilling.readBytes + run.longestBytes
        )

    let mutable read = 0L

    override _.KeepsPrevious = false
    override _.Check() = ()

    override _.Damaged fault =
        failwith $"a run of lines is damaged: {fault}"

    override _.ReadAsync(memory, _) =
        let wanted = int (min (int64 memory.Length) (run.bytes - read))
        let count = run.file.Read(memory.Span.Slice(0, wanted), run.offset + read)

        if wanted > 0 && count = 0 then
            failwith "a run of lines is shorter than it was"

        read <- read + int64 count
        ValueTask<int> count
