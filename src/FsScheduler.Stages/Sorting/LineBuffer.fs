namespace FsScheduler.Stages

open System
open System.Runtime.InteropServices

/// Lines in memory, to be put in order: their texts from the front of an array, their entries from its end.
[<Sealed>]
type internal LineBuffer(order: LineOrder, bytesMax: int) =

    static let entryBytes = sizeof<Entry>
    static let bytesMin = 4_096
    /// A larger array is not kept for the next payload.
    static let keptBytesMax = 1_048_576

    let mutable bytes: byte[] = [||]
    let mutable used = 0
    let mutable count = 0

    let entriesOf (count: int) =
        MemoryMarshal.Cast<byte, Entry>(bytes.AsSpan(bytes.Length - entryBytes * count))

    let grow needed =
        // By four: what is left behind on the way to the largest array is a third of it, not all of it.
        let wanted = int (min (4L * int64 bytes.Length) (int64 bytesMax))

        let length =
            max (max needed wanted) (min bytesMin bytesMax) / entryBytes * entryBytes

        let larger = GC.AllocateUninitializedArray<byte> length
        bytes.AsSpan(0, used).CopyTo(larger.AsSpan())
        let tail = entryBytes * count
        bytes.AsSpan(bytes.Length - tail).CopyTo(larger.AsSpan(length - tail))
        bytes <- larger

    member _.Count = count

    /// Whether the lines take more than half of what they may.
    member _.IsHalfFull = used + entryBytes * count > bytesMax / 2

    /// Whether there was room for the line. There always is if there are no others.
    member _.TryAdd(line: ReadOnlySpan<byte>) =
        // One entry more, because an array has a whole number of them.
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

    /// The line at a place of the order, once they are sorted.
    member _.Line(index: int) =
        let entry = (entriesOf count)[index]
        ReadOnlySpan(bytes, entry.offset, entry.length)

    /// Keeps so many lines of those that come first, once they are sorted.
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

    /// Forgets the lines, and keeps the array for more of them.
    member _.Empty() =
        used <- 0
        count <- 0
