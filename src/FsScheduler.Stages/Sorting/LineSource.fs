namespace FsScheduler.Stages

open System
open System.Threading
open System.Threading.Tasks

/// <summary>Reads sorted lines one by one from bytes that come in pieces.</summary>
/// <param name="order">The order of the keys of the lines.</param>
/// <param name="hasCounts">Whether each line is a count, a tab and a word.</param>
/// <param name="lineBytesMax">Bytes of the longest line, without its newline and its count.</param>
/// <param name="readBytes">Bytes of one read; the buffer grows when less than half of these are
/// free.</param>
/// <param name="bytesAtFirst">Bytes of the buffer for the first read.</param>
[<AbstractClass>]
type internal LineSource
    (order: LineOrder, hasCounts: bool, lineBytesMax: int, readBytes: int, bytesAtFirst: int) =

    /// Bytes that a count and its tab add to a word, at most.
    static let countBytesMax = 32

    let mutable buffer: byte[] = [||]
    /// End of the bytes in the buffer.
    let mutable filled = 0
    /// `ReadAsync` has returned 0: no bytes follow.
    let mutable hasEnded = false
    /// Offset of the next line.
    let mutable next = 0
    /// The bytes from `next` up to here have no newline.
    let mutable searched = 0

    /// Offset and length of the current line, and of the line before; the offset is -1 without one.
    let mutable start = -1
    let mutable length = 0
    let mutable previousStart = -1
    let mutable previousLength = 0

    /// How often the word of the current line occurs; 1 for lines without counts.
    member val Count = 1L with get, set
    member val Key = 0UL with get, set

    /// Whether the caller has used the current line; true before the first line.
    member val IsTaken = true with get, set

    /// Whether the lines have ended: there is no current line.
    member val IsDone = false with get, set

    member _.BufferBytes = buffer.Length

    /// The current line without its newline; the word of a line with a count.
    member _.Line = ReadOnlySpan(buffer, start, length)

    member _.HasPrevious = previousStart >= 0

    /// The line before the current one, if `KeepsPrevious`.
    member _.Previous = ReadOnlySpan(buffer, previousStart, previousLength)

    /// Reads the next bytes, and returns how many; 0 at the end.
    abstract ReadAsync: Memory<byte> * CancellationToken -> ValueTask<int>

    /// Whether the current line is kept during `FillAsync`, to be `Previous` of the next line.
    abstract KeepsPrevious: bool

    /// Calls `Damaged` if the current line is not as it should be.
    abstract Check: unit -> unit

    /// Raises an exception: the lines are not as they should be, for the reason that the text says.
    abstract Damaged: string -> unit

    /// Parses the count, from 1 and without leading zeros; `Line` becomes the word after the tab.
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

    /// Goes to the next line, or to the end. False if `FillAsync` has to read more bytes first.
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

    /// Drops the bytes of earlier lines from the buffer, and makes room for the next read.
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

    /// Reads more bytes. The current line is dropped, unless `KeepsPrevious`.
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

    /// Releases the buffer. No lines follow.
    member source.Close() =
        source.IsDone <- true
        buffer <- [||]
        filled <- 0

/// A run: sorted lines in a spill file, as offset and length in bytes.
[<Struct>]
type internal Run = {
    file: SpillFile
    offset: int64
    bytes: int64
    /// Bytes of the longest line, with its newline.
    longestBytes: int
}

/// The lines of a run. They are not checked, because this process has written them.
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
        failwith $"a run in a spill file is damaged: {fault}"

    override _.ReadAsync(memory, _) =
        let wanted = int (min (int64 memory.Length) (run.bytes - read))
        let count = run.file.Read(memory.Span.Slice(0, wanted), run.offset + read)

        if wanted > 0 && count = 0 then
            failwith "a spill file is shorter than the run in it"

        read <- read + int64 count
        ValueTask<int> count
