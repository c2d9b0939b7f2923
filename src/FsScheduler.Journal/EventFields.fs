namespace FsScheduler.Journal

open System
open System.Buffers.Binary
open System.Collections.Generic
open System.IO
open System.Text.Json

/// The properties of events that are numbers or strings, each with its place in `EventFields`.
module internal Slot =
    let private slots = Dictionary<uint64, int>()

    /// The first eight bytes of a name, by which each is told from the others.
    let keyOf (name: ReadOnlySpan<byte>) : uint64 =
        let mutable key = 0UL

        for index in 0 .. min 8 name.Length - 1 do
            key <- (key <<< 8) ||| uint64 name[index]

        key

    let private slot (name: string) : int =
        let bytes = Text.Encoding.UTF8.GetBytes name
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

    /// -1: no event has it.
    let find (name: ReadOnlySpan<byte>) : int =
        match slots.TryGetValue(keyOf name) with
        | true, slot -> slot
        | _ -> -1

    /// The name of a slot, for messages.
    let nameOf (slot: int) : string =
        let key =
            slots
            |> Seq.find (fun (KeyValue(_, other)) -> other = slot)
            |> fun (KeyValue(key, _)) -> key

        let bytes = Array.zeroCreate 8
        BinaryPrimitives.WriteUInt64BigEndian(Span bytes, key)
        Text.Encoding.UTF8.GetString(bytes).Trim '\000'

/// The numbers and strings of one event. Used again for the next.
[<Sealed>]
type internal EventFields() =
    let numbers = Array.zeroCreate<int64> Slot.count
    let texts: (string | null)[] = Array.create Slot.count null

    // In which event each was set.
    let numberIn = Array.zeroCreate<int64> Slot.count
    let textIn = Array.zeroCreate<int64> Slot.count
    let mutable present = 0L

    let missing slot =
        raise (InvalidDataException $"no '{Slot.nameOf slot}'")

    /// Forgets what there was.
    member _.Clear() = present <- present + 1L

    member _.SetNumber(slot: int, value: int64) =
        numbers[slot] <- value
        numberIn[slot] <- present

    /// The string at which a reader stands; the one of an event before, where that is the same.
    member _.SetText(slot: int, reader: byref<Utf8JsonReader>) =
        textIn[slot] <- present

        match texts[slot] with
        | null -> texts[slot] <- reader.GetString()
        | before ->
            if not (reader.ValueTextEquals before) then
                texts[slot] <- reader.GetString()

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
        if textIn[slot] = present then
            nonNull texts[slot]
        else
            missing slot

    member _.TryText(slot: int) : string voption =
        if textIn[slot] = present then
            ValueSome(nonNull texts[slot])
        else
            ValueNone
