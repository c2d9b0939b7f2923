namespace FsScheduler.Stages

open System
open System.IO
open System.Threading
open System.Threading.Tasks

/// Which pieces of a payload the parts of a merge are of.
[<RequireQualifiedAccess>]
type PartsPlace =
    /// All pieces: the merge gives the result of the payload.
    | All
    /// The first pieces, but not all: the merge gives a part, which is merged again.
    | First
    /// Pieces without the first: the merge gives a part, which is merged again.
    | Later

/// <summary>The lines of the first part of `sort` or `uniq`, without the byte order mark.</summary>
/// <remarks>U+FEFF at the beginning of such a part is the byte order mark of the payload, or
/// belongs to the line that is now the first. To tell these apart, the stage writes each U+FEFF at
/// the beginning of that line twice: an odd number of U+FEFF includes the mark.</remarks>
[<Sealed>]
type internal MarkedPart private (marksLeft: int64, read: byte[], rest: Stream) =
    inherit Stream()

    let mutable marks = marksLeft * int64 ByteOrderMark.length
    let mutable offset = 0

    static let readBytes = 4_095

    /// <summary>Reads the beginning of a part: removes the mark and every second U+FEFF.</summary>
    /// <param name="part">The part, read to its end by the returned stream, not closed.</param>
    /// <param name="ct">Cancels this call, not later reads.</param>
    /// <returns>Whether the part had a byte order mark, and a stream of its lines.</returns>
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
