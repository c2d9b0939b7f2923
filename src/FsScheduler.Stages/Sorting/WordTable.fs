namespace FsScheduler.Stages

open System
open System.Runtime.InteropServices
open System.IO.Hashing

/// A slot of the hash table: the hash of a word, and the offset of its record in the arena; offset
/// 0 for an empty slot.
[<Struct>]
type private Slot = { hash: uint32; place: int }

/// <summary>Counts words in bounded memory.</summary>
/// <param name="bytesMax">Bytes of the words, with 12 for each; only a single word may take
/// more.</param>
/// <param name="wordsMax">The most words, a power of two.</param>
[<Sealed>]
type internal WordTable(bytesMax: int, wordsMax: int) =

    // A record in the arena: the count, the length of the word, the word.
    static let countBytes = sizeof<int64>
    static let headBytes = countBytes + sizeof<int>
    static let slotsMin = 1_024
    static let arenaMin = 4_096
    /// Slots of the largest table that is kept for the next payload.
    static let keptSlotsMax = 16_384
    /// Random, so that nobody can write a payload whose words all have the same hash.
    static let seed = Random.Shared.NextInt64()

    let seed = seed
    let mutable slots = Array.zeroCreate<Slot> slotsMin
    let mutable arena = Array.zeroCreate<byte> arenaMin
    /// End of the records. The first record is not at 0, the offset of empty slots.
    let mutable used = sizeof<int>
    let mutable count = 0
    let mutable entries: Entry[] = [||]
    /// Never read: keeps the compiler from leaving out the loads of `Prefetch`.
    let mutable touched = 0uy

    let wordAt place =
        let length =
            MemoryMarshal.Read<int>(ReadOnlySpan(arena, place + countBytes, sizeof<int>))

        ReadOnlySpan(arena, place + headBytes, length)

    let growSlots () =
        let larger = Array.zeroCreate<Slot>(2 * slots.Length)
        let mask = larger.Length - 1

        for slot in slots do
            if slot.place > 0 then
                let mutable index = int slot.hash &&& mask

                while larger[index].place > 0 do
                    index <- (index + 1) &&& mask

                larger[index] <- slot

        slots <- larger

    let growArena needed =
        let doubled = int (min (2L * int64 arena.Length) (int64 bytesMax))
        let larger = GC.AllocateUninitializedArray<byte>(max needed doubled)
        arena.AsSpan(0, used).CopyTo(larger.AsSpan())
        arena <- larger

    let add (word: ReadOnlySpan<byte>) =
        let mutable once = 1L
        let mutable length = word.Length
        MemoryMarshal.Write(arena.AsSpan used, &once)
        MemoryMarshal.Write(arena.AsSpan(used + countBytes), &length)
        word.CopyTo(arena.AsSpan(used + headBytes))
        used <- used + headBytes + word.Length
        count <- count + 1

    member _.Hash(word: ReadOnlySpan<byte>) : uint32 =
        uint32 (XxHash3.HashToUInt64(word, seed))

    /// Loads the slots and records of a batch of words into the cache. These loads do not depend on
    /// each other, so the processor waits for memory twice a batch, not twice a word.
    member _.Prefetch(hashes: ReadOnlySpan<uint32>, places: Span<int>) =
        for index in 0 .. hashes.Length - 1 do
            places[index] <- slots[int hashes[index] &&& (slots.Length - 1)].place

        for index in 0 .. hashes.Length - 1 do
            touched <- touched ^^^ arena[places[index]]

    /// Counts a word. False if there is no room; a word in the table, and a first word, always have
    /// room.
    member _.TryCount(word: ReadOnlySpan<byte>, hash: uint32) : bool =
        let mask = slots.Length - 1
        let mutable index = int hash &&& mask

        while slots[index].place > 0
              && not (slots[index].hash = hash && word.SequenceEqual(wordAt slots[index].place)) do
            index <- (index + 1) &&& mask

        let place = slots[index].place

        if place > 0 then
            let counted = &MemoryMarshal.AsRef<int64>(arena.AsSpan(place, countBytes))
            counted <- counted + 1L
            true
        elif count > 0 && (count = wordsMax || word.Length > bytesMax - used - headBytes) then
            false
        else
            let needed = used + headBytes + word.Length

            if needed > arena.Length then
                growArena needed

            slots[index] <- { hash = hash; place = used }
            add word

            if 2 * count > slots.Length then
                growSlots ()

            true

    /// Writes the words and their counts to `target`, sorted by code points, and finishes `target`.
    member _.WriteTo(target: LineSink) =
        if entries.Length < count then
            entries <- Array.zeroCreate count

        let mutable place = sizeof<int>

        for index in 0 .. count - 1 do
            let word = wordAt place

            entries[index] <- {
                key = LineKey.ofText word
                offset = place + headBytes
                length = word.Length
            }

            place <- place + headBytes + word.Length

        let sorted = entries.AsSpan(0, count)
        LineSort.sort arena LineOrder.Text sorted

        for entry in sorted do
            target.Add(
                ReadOnlySpan(arena, entry.offset, entry.length),
                MemoryMarshal.Read<int64>(ReadOnlySpan(arena, entry.offset - headBytes, countBytes))
            )

        target.Finish()

    /// Removes all words; unlike `Clear`, keeps the memory for more words.
    member _.Empty() =
        Array.Clear slots
        used <- sizeof<int>
        count <- 0

        if arena.Length > bytesMax then
            arena <- Array.zeroCreate arenaMin

    member table.Clear() =
        if slots.Length > keptSlotsMax then
            slots <- Array.zeroCreate slotsMin
            entries <- [||]
            arena <- Array.zeroCreate arenaMin

        if arena.Length > 1_048_576 then
            arena <- Array.zeroCreate arenaMin

        if count > 0 then
            table.Empty()
