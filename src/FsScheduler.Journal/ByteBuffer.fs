namespace FsScheduler.Journal

open System

/// A growing, reusable buffer of bytes.
[<Sealed>]
type internal ByteBuffer() =
    static let least = 65_536
    /// The largest buffer, in bytes, that `Clear` keeps.
    static let keptMax = 4 * 1024 * 1024
    let mutable bytes: byte[] = Array.zeroCreate least
    let mutable length = 0

    let grow more =
        let larger = Array.zeroCreate (max (length + more) (2 * bytes.Length))
        Buffer.BlockCopy(bytes, 0, larger, 0, length)
        bytes <- larger

    member _.Length = length

    /// The written bytes, valid until the next write.
    member _.Written = ReadOnlyMemory(bytes, 0, length)

    member _.Last = bytes[length - 1]

    member _.Clear() =
        length <- 0

        if bytes.Length > keptMax then
            bytes <- Array.zeroCreate least

    /// At least `most` free bytes; `Advance` tells how many of them were written.
    member _.Room(most: int) : Span<byte> =
        if bytes.Length - length < most then
            grow most

        Span(bytes, length, bytes.Length - length)

    member _.Advance(count: int) = length <- length + count

    member buffer.Add(value: byte) =
        if length = bytes.Length then
            grow 1

        bytes[length] <- value
        length <- length + 1

    member buffer.Add(some: ReadOnlySpan<byte>) =
        some.CopyTo(buffer.Room some.Length)
        length <- length + some.Length
