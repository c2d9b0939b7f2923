namespace FsScheduler.Journal

open System

/// Bytes that grow. Used again for the next.
[<Sealed>]
type internal ByteBuffer() =
    static let least = 65_536
    /// A buffer that became larger is not kept.
    static let keptMax = 4 * 1024 * 1024
    let mutable bytes: byte[] = Array.zeroCreate least
    let mutable length = 0

    let grow more =
        let larger = Array.zeroCreate (max (length + more) (2 * bytes.Length))
        Buffer.BlockCopy(bytes, 0, larger, 0, length)
        bytes <- larger

    member _.Length = length

    /// All that was written; good until more is.
    member _.Written = ReadOnlyMemory(bytes, 0, length)

    member _.Last = bytes[length - 1]

    member _.Clear() =
        length <- 0

        if bytes.Length > keptMax then
            bytes <- Array.zeroCreate least

    /// Room for at least so many bytes. Those that are used are to be told to `Advance`.
    member _.Room(most: int) : Span<byte> =
        if bytes.Length - length < most then
            grow most

        Span(bytes, length, bytes.Length - length)

    member _.Advance(count: int) = length <- length + count

    member buffer.Add(one: byte) =
        if length = bytes.Length then
            grow 1

        bytes[length] <- one
        length <- length + 1

    member buffer.Add(some: ReadOnlySpan<byte>) =
        some.CopyTo(buffer.Room some.Length)
        length <- length + some.Length
