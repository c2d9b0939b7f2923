namespace FsScheduler.Stages

open System
open System.IO
open System.Threading
open System.Threading.Tasks

/// What the results of pieces are to each other.
[<RequireQualifiedAccess>]
type PartsPlace =
    /// All of them, and the result is that of the payload.
    | All
    /// Those from the beginning of the payload; the result is to be merged again.
    | First
    /// Those of other pieces; the result is to be merged again.
    | Later

/// <summary>The result of the first piece, of a stage that changes the order of lines.</summary>
/// <remarks>U+FEFF in front of it would be the byte order mark of the payload, or the beginning of the line that came to
/// be the first. So those of the line are written twice: an odd number in a row has the mark before it.</remarks>
[<Sealed>]
type internal MarkedPart private (marksLeft: int64, read: byte[], rest: Stream) =
    inherit Stream()

    let mutable marks = marksLeft * int64 ByteOrderMark.length
    let mutable offset = 0

    static let readBytes = 4_095

    /// <summary>Takes the mark away, and what is written twice is there once.</summary>
    /// <param name="part">Read to its end, by whoever reads what is returned.</param>
    /// <param name="ct">Ends it.</param>
    /// <returns>Whether there was a mark, and the lines.</returns>
    static member OpenAsync(part: Stream, ct: CancellationToken) : Task<struct (bool * Stream)> =
        task {
            let buffer = Array.zeroCreate<byte> readBytes
            let mutable count = 0L
            let mutable length = 0
            let mutable goesOn = true

            while goesOn do
                let! filled = part.ReadAtLeastAsync(buffer.AsMemory(), readBytes, false, ct)
                let found = ByteOrderMark.count (ReadOnlySpan(buffer, 0, filled))
                count <- count + int64 found
                goesOn <- found * ByteOrderMark.length = readBytes

                if not goesOn then
                    let taken = found * ByteOrderMark.length
                    length <- filled - taken
                    buffer.AsSpan(taken, length).CopyTo(buffer.AsSpan())

            return
                struct (count % 2L = 1L,
                        new MarkedPart(count / 2L, buffer[.. length - 1], part) :> Stream)
        }

    override _.ReadAsync(memory: Memory<byte>, ct: CancellationToken) : ValueTask<int> =
        if memory.IsEmpty then
            ValueTask<int> 0
        elif marks > 0L then
            let count = int (min marks (int64 memory.Length))

            for index in 0 .. count - 1 do
                memory.Span[index] <-
                    match (marks - int64 index) % 3L with
                    | 0L -> 0xEFuy
                    | 2L -> 0xBBuy
                    | _ -> 0xBFuy

            marks <- marks - int64 count
            ValueTask<int> count
        elif offset < read.Length then
            let count = min memory.Length (read.Length - offset)
            read.AsSpan(offset, count).CopyTo memory.Span
            offset <- offset + count
            ValueTask<int> count
        else
            rest.ReadAsync(memory, ct)

    override _.CanRead = true
    override _.CanSeek = false
    override _.CanWrite = false
    override _.Length = raise (NotSupportedException())

    override _.Position
        with get () = raise (NotSupportedException())
        and set _ = raise (NotSupportedException())

    override part.Read(buffer: byte[], offset: int, count: int) =
        part
            .ReadAsync(buffer.AsMemory(offset, count), CancellationToken.None)
            .AsTask()
            .GetAwaiter()
            .GetResult()

    override _.Flush() = ()
    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())
    override _.Write(_: byte[], _: int, _: int) = raise (NotSupportedException())
