namespace FsScheduler.Stages

open System
open System.Runtime.InteropServices

/// Lines to be sorted in memory, at most `bytesMax` bytes. One array holds the texts from its
/// front, and the entries from its end.
[<Sealed>]
type internal LineBuffer(order: LineOrder, bytesMax: int) =

    static let entryBytes = sizeof<Entry>
    static let bytesMin = 4_096
    /// Bytes of the largest array that is kept for the next payload.
    static let keptBytesMax = 1_048_576

    let mutable bytes: byte[] = [||]
    let mutable used = 0
    let mutable count = 0

    let entriesOf (count: int) =
        MemoryMarshal.Cast<byte, Entry>(bytes.AsSpan(bytes.Length - entryBytes * count))

    let grow needed =
        // Four times larger: the smaller arrays, now garbage, add up to a third of the new one;
        // with twice, to all of it.
        let wanted = int (min (4L * int64 bytes.Length) (int64 bytesMax))

        let length =
            max (max needed wanted) (min bytesMin bytesMax) / entryBytes * entryBytes

        let larger = GC.AllocateUninitializedArray<byte> length
        bytes.AsSpan(0, used).CopyTo(larger.AsSpan())
        let tail = entryBytes * count
        bytes.AsSpan(bytes.Length - tail).CopyTo(larger.AsSpan(length - tail))
        bytes <- larger

    member _.Count = count

    /// Whether lines and entries take more than half of `bytesMax`.
    member _.IsHalfFull = used + entryBytes * count > bytesMax / 2

    /// Adds a line without its newline. False if there is no room; a first line always has room.
    member _.TryAdd(line: ReadOnlySpan<byte>) =
        // One entry more than added, because `grow` rounds down to whole entries.
        let needed = used + line.Length + 1 + entryBytes * (count + 2)

        if needed > bytesMax then
            false
        else
            if needed > bytes.Length then
                grow needed

            line.CopyTo(bytes.AsSpan used)
            bytes[used + line.Length] <- '\n'B
            count <- count + 1

            (entriesOf count)[0] <- {
                key = LineOrder.keyOf order line
                offset = used
                length = line.Length
            }

            used <- used + line.Length + 1
            true

    member _.Sort() =
        LineSort.sort bytes order (entriesOf count)

    /// The line at an index of the order, from 0. Only after `Sort`.
    member _.Line(index: int) =
        let entry = (entriesOf count)[index]
        ReadOnlySpan(bytes, entry.offset, entry.length)

    /// Keeps the first `kept` lines of the order. Only after `Sort`; the kept lines are not sorted.
    member _.KeepFirst(kept: int) =
        let entries = (entriesOf count).Slice(0, kept)
        entries.Sort(fun left right -> left.offset.CompareTo right.offset)
        used <- 0

        for index in 0 .. kept - 1 do
            let entry = entries[index]
            bytes.AsSpan(entry.offset, entry.length + 1).CopyTo(bytes.AsSpan used)

            entries[index] <- {
                entry with
                    offset = used
                    key = LineOrder.keyOf order (ReadOnlySpan(bytes, used, entry.length))
            }

            used <- used + entry.length + 1

        count <- kept
        entries.CopyTo(entriesOf kept)

    member _.Clear() =
        used <- 0
        count <- 0

        if bytes.Length > keptBytesMax then
            bytes <- [||]

    /// Removes all lines; unlike `Clear`, keeps an array of any size.
    member _.Empty() =
        used <- 0
        count <- 0
