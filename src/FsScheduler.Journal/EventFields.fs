namespace FsScheduler.Journal

open System
open System.Buffers.Binary
open System.Collections.Generic
open System.IO
open System.Text
open System.Text.Json

/// The properties with numbers or strings, each with its slot in `EventFields`.
module internal Slot =
    let private slots = Dictionary<uint64, int>()

    /// The first eight bytes of a name, which differ for all names.
    let keyOf (name: ReadOnlySpan<byte>) : uint64 =
        let mutable key = 0UL

        for index in 0 .. min 8 name.Length - 1 do
            key <- (key <<< 8) ||| uint64 name[index]

        key

    let private slot (name: string) : int =
        let bytes = Encoding.UTF8.GetBytes name
        slots.Add(keyOf (ReadOnlySpan bytes), slots.Count)
        slots.Count - 1

    let attempt = slot "attempt"
    let attempts = slot "attempts"
    let before = slot "before"
    let bytes = slot "bytes"
    let cancelled = slot "cancelled"
    let cause = slot "cause"
    let completed = slot "completed"
    let content = slot "content"
    let delayMs = slot "delayMs"
    let delivered = slot "delivered"
    let error = slot "error"
    let event = slot "event"
    let failures = slot "failures"
    let file = slot "file"
    let finished = slot "finished"
    let first = slot "first"
    let hash = slot "hash"
    let isDone = slot "isDone"
    let key = slot "key"
    let known = slot "known"
    let last = slot "last"
    let lastSession = slot "lastSession"
    let lastTask = slot "lastTask"
    let losses = slot "losses"
    let name = slot "name"
    let older = slot "older"
    let on = slot "on"
    let origin = slot "origin"
    let owner = slot "owner"
    let piece = slot "piece"
    let pipeline = slot "pipeline"
    let place = slot "place"
    let priority = slot "priority"
    let reason = slot "reason"
    let ref = slot "ref"
    let session = slot "session"
    let since = slot "since"
    let slow = slot "slow"
    let stage = slot "stage"
    let stageEnd = slot "stageEnd"
    let stages = slot "stages"
    let state = slot "state"
    let task = slot "task"
    let until = slot "until"
    let upTo = slot "upTo"
    let want = slot "want"
    let what = slot "what"
    let whole = slot "whole"
    let worker = slot "worker"
    let count = slots.Count

    // A perfect hash table of the keys: a multiplier under which no two collide, so that a look-up has no loop.
    let private bits = 10
    let private table = Array.zeroCreate<struct (uint64 * int)>(1 <<< bits)

    let private placeOf (factor: uint64) (key: uint64) = int ((key * factor) >>> (64 - bits))

    let private factor =
        let isApart factor =
            slots.Keys |> Seq.distinctBy (placeOf factor) |> Seq.length = slots.Count

        Seq.initInfinite (fun index ->
            0x9E3779B97F4A7C15UL + 2UL * uint64 index * 0x632BE59BD9B4E019UL)
        |> Seq.find isApart

    do
        for KeyValue(key, slot) in slots do
            table[placeOf factor key] <- struct (key, slot + 1)

    /// The slot of a name by its first eight bytes; -1: no event has the name.
    let find (key: uint64) : int =
        let struct (found, slot) = table[placeOf factor key]
        if found = key then slot - 1 else -1

    /// The name of a slot, for error messages.
    let nameOf (slot: int) : string =
        let key =
            slots
            |> Seq.find (fun (KeyValue(_, other)) -> other = slot)
            |> fun (KeyValue(key, _)) -> key

        let bytes = Array.zeroCreate 8
        BinaryPrimitives.WriteUInt64BigEndian(Span bytes, key)
        Encoding.UTF8.GetString(bytes).Trim '\000'

/// The numbers and strings of one event, reusable. Strings are decoded on demand, and equal ones in a row only once.
[<Sealed>]
type internal EventFields() =
    let numbers = Array.zeroCreate<int64> Slot.count
    let starts = Array.zeroCreate<int> Slot.count
    let lengths = Array.zeroCreate<int> Slot.count
    let escaped = Array.zeroCreate<bool> Slot.count
    // The last string of each slot, and its bytes.
    let texts: string[] = Array.create Slot.count ""
    let textBytes: byte[][] = Array.create Slot.count Array.empty

    // The event that set each slot.
    let numberIn = Array.zeroCreate<int64> Slot.count
    let textIn = Array.zeroCreate<int64> Slot.count
    let mutable present = 0L
    let mutable source: byte[] = Array.empty

    let missing slot =
        raise (InvalidDataException $"no '{Slot.nameOf slot}'")

    let unescape (json: ReadOnlySpan<byte>) : string =
        let mutable reader = Utf8JsonReader json
        reader.Read() |> ignore
        nonNull (reader.GetString())

    let make slot : string =
        let start, length = starts[slot], lengths[slot]

        if escaped[slot] then
            unescape (ReadOnlySpan(source, start - 1, length + 2))
        else
            let bytes = ReadOnlySpan(source, start, length)

            if not (bytes.SequenceEqual(ReadOnlySpan textBytes[slot])) then
                textBytes[slot] <- bytes.ToArray()
                texts[slot] <- Encoding.UTF8.GetString bytes

            texts[slot]

    /// Begins the next event, which is in these bytes.
    member _.Clear(bytes: byte[]) =
        present <- present + 1L
        source <- bytes

    member _.SetNumber(slot: int, value: int64) =
        numbers[slot] <- value
        numberIn[slot] <- present

    /// Sets a string, without its quotes; it may have escapes.
    member _.SetText(slot: int, start: int, length: int, hasEscapes: bool) =
        textIn[slot] <- present
        starts[slot] <- start
        lengths[slot] <- length
        escaped[slot] <- hasEscapes

    member _.HasNumber(slot: int) = numberIn[slot] = present
    member _.HasText(slot: int) = textIn[slot] = present

    member _.Number(slot: int) : int64 =
        if numberIn[slot] = present then
            numbers[slot]
        else
            missing slot

    member _.NumberOr(slot: int, instead: int64) : int64 =
        if numberIn[slot] = present then numbers[slot] else instead

    member _.Text(slot: int) : string =
        if textIn[slot] = present then make slot else missing slot

    member _.TryText(slot: int) : string voption =
        if textIn[slot] = present then
            ValueSome(make slot)
        else
            ValueNone
