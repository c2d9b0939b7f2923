namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.IO
open System.Runtime.InteropServices
open System.Text.Json
open FsScheduler.Core
open FsScheduler.Machine

module EventBatch =

    let private damaged (batch: Batch) number reason =
        let at = DateTimeOffset.FromUnixTimeMilliseconds batch.at

        raise (JournalRefused $"event {number} of the journal, of {at:u}, cannot be read: {reason}")

    /// The offset of each event in the JSON of a batch.
    let offsets (batch: Batch) : int[] =
        let starts = Array.zeroCreate batch.count
        let mutable reader = Utf8JsonReader(batch.events.Span)
        let mutable index = 0
        reader.Read() |> ignore

        while reader.Read() && reader.TokenType = JsonTokenType.StartObject do
            if index < starts.Length then
                starts[index] <- int reader.TokenStartIndex

            index <- index + 1
            reader.Skip()

        if index <> batch.count && not (Batch.isLost batch) then
            damaged batch batch.first $"the batch has {index} events, and not {batch.count}"

        starts

    /// The JSON of one event of a batch.
    let json (batch: Batch) (offsets: int[]) (index: int) : ReadOnlyMemory<byte> =
        let start = offsets[index]

        let ending =
            if index + 1 < offsets.Length then
                offsets[index + 1] - 1
            else
                batch.events.Length - 1

        batch.events.Slice(start, ending - start)

    let private arrayOf (json: ReadOnlyMemory<byte>) : ArraySegment<byte> =
        match MemoryMarshal.TryGetArray json with
        | true, segment -> segment
        | _ -> ArraySegment(json.ToArray())

    /// The exceptions of an `EventReader` at something else than an event.
    let private (|NoEvent|_|) (error: exn) =
        match error with
        | :? JsonException
        | :? InvalidDataException
        | :? InvalidOperationException
        | :? FormatException
        | :? OverflowException
        | :? KeyNotFoundException -> Some error.Message
        | _ -> None

    /// Reads one event.
    let readOne
        (reader: EventReader)
        (batch: Batch)
        number
        at
        (json: ReadOnlyMemory<byte>)
        : Event =
        let bytes = arrayOf json

        let upTo = bytes.Offset + bytes.Count
        let mutable ending = 0

        try
            reader.Read(nonNull bytes.Array, bytes.Offset, upTo, number, at, &ending)
        with NoEvent reason ->
            damaged batch number reason

    /// <summary>Reads all events of a batch.</summary>
    /// <param name="reader">Reads the events.</param>
    /// <param name="toInstant">An instant from Unix milliseconds.</param>
    /// <param name="batch">The batch.</param>
    /// <param name="into">Has room for `batch.count` events.</param>
    /// <returns>How many events were read: none, of a lost batch.</returns>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The batch holds something else than events.</exception>
    let fill
        (reader: EventReader)
        (toInstant: int64 -> Instant)
        (batch: Batch)
        (into: struct (int64 * Instant * Event)[])
        : int =
        let at = toInstant batch.at
        let count = if Batch.isLost batch then 0 else batch.count
        let mutable index = 0
        let segment = arrayOf batch.events
        let bytes = nonNull segment.Array
        let upTo = segment.Offset + segment.Count
        let mutable next = segment.Offset

        try
            // An array of objects: `[`, and behind each object a comma or the `]`.
            let mutable goOn = next + 1 < upTo && bytes[next] = '['B && bytes[next + 1] <> ']'B

            while goOn do
                if index = count then
                    raise (InvalidDataException "there are more events than the batch says")

                let number = batch.first + int64 index
                let event = reader.Read(bytes, next + 1, upTo, number, at, &next)
                into[index] <- struct (number, at, event)
                index <- index + 1
                goOn <- next < upTo && bytes[next] = ','B

            if index > 0 && (next <> upTo - 1 || bytes[next] <> ']'B) then
                raise (InvalidDataException "the JSON of the batch does not end")
        with NoEvent reason ->
            damaged batch (batch.first + int64 index) reason

        if index <> count then
            damaged batch batch.first $"the batch has {index} events, and not {batch.count}"

        count

    /// `fill` into a new array.
    let read
        (reader: EventReader)
        (toInstant: int64 -> Instant)
        (batch: Batch)
        : struct (int64 * Instant * Event)[] =
        let events = Array.zeroCreate (if Batch.isLost batch then 0 else batch.count)
        fill reader toInstant batch events |> ignore
        events

/// The task of an event.
module EventTask =

    let private ofNote (note: Note) =
        match note with
        | Note.Delivered id -> ValueSome id
        | Note.Owner _
        | Note.Flushed _
        | Note.Damaged _ -> ValueNone

    let private ofCarried (carried: Carried) =
        match carried with
        | Carried.Task task -> ValueSome task.task
        | Carried.Part(whole, _, _) -> ValueSome whole
        | Carried.Key key -> ValueSome key.task
        | Carried.File _
        | Carried.Owner _
        | Carried.Worker _ -> ValueNone

    /// None: the event belongs to no task.
    let find (event: Event) : TaskId voption =
        match event with
        | Event.Submitted(id, _, _)
        | Event.Delayed(id, _, _)
        | Event.Woken id
        | Event.Requeued(id, _)
        | Event.Quarantined(id, _)
        | Event.Part(id, _, _)
        | Event.PartLost(id, _)
        | Event.Speculated(id, _, _)
        | Event.Cancelled(id, _)
        | Event.Retried id -> ValueSome id
        | Event.Assigned(attempt, _, _)
        | Event.Claimed(attempt, _)
        | Event.Advanced(attempt, _, _)
        | Event.Accepted(attempt, _)
        | Event.Split(attempt, _, _, _)
        | Event.Completed(attempt, _) -> ValueSome attempt.task
        | Event.Noted note -> ofNote note
        | Event.Carried carried -> ofCarried carried
        | Event.Gone _
        | Event.Joined _
        | Event.Left _
        | Event.Opened _
        | Event.Dropped _ -> ValueNone
