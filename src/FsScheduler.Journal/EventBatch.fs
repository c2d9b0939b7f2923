namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open FsScheduler.Core

/// The events of a batch.
module EventBatch =

    let private damaged (batch: Batch) number reason =
        let at = DateTimeOffset.FromUnixTimeMilliseconds batch.at

        raise (JournalRefused $"event {number} of the journal, of {at:u}, cannot be read: {reason}")

    /// Where the object of each event begins, in bytes from the beginning of the batch's JSON.
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

    /// The JSON of one of its events.
    let json (batch: Batch) (offsets: int[]) (index: int) : ReadOnlyMemory<byte> =
        let start = offsets[index]

        let ending =
            if index + 1 < offsets.Length then
                offsets[index + 1] - 1
            else
                batch.events.Length - 1

        batch.events.Slice(start, ending - start)

    /// Reads one object of JSON.
    let readOne
        (reader: EventReader)
        (batch: Batch)
        number
        at
        (json: ReadOnlyMemory<byte>)
        : Event =
        try
            let mutable tokens = Utf8JsonReader(json.Span)
            tokens.Read() |> ignore
            reader.Read(&tokens, number, at)
        with
        | :? JsonException as error -> damaged batch number error.Message
        | :? InvalidDataException as error -> damaged batch number error.Message
        | :? InvalidOperationException as error -> damaged batch number error.Message
        | :? FormatException as error -> damaged batch number error.Message

    /// <summary>Reads all of its events.</summary>
    /// <param name="reader">Makes them.</param>
    /// <param name="toInstant">The time of the batch, from Unix milliseconds.</param>
    /// <param name="batch">The batch.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">It holds something else than events.</exception>
    let read
        (reader: EventReader)
        (toInstant: int64 -> Instant)
        (batch: Batch)
        : struct (int64 * Instant * Event)[] =
        let at = toInstant batch.at
        let events = Array.zeroCreate (if Batch.isLost batch then 0 else batch.count)
        let mutable index = 0

        try
            let mutable tokens = Utf8JsonReader(batch.events.Span)
            tokens.Read() |> ignore

            while tokens.Read() && tokens.TokenType = JsonTokenType.StartObject do
                let number = batch.first + int64 index
                events[index] <- struct (number, at, reader.Read(&tokens, number, at))
                index <- index + 1
        with
        | :? JsonException as error -> damaged batch (batch.first + int64 index) error.Message
        | :? InvalidDataException as error ->
            damaged batch (batch.first + int64 index) error.Message
        | :? InvalidOperationException as error ->
            damaged batch (batch.first + int64 index) error.Message
        | :? FormatException as error -> damaged batch (batch.first + int64 index) error.Message
        | :? IndexOutOfRangeException ->
            damaged batch batch.first "there are more events than it says"

        if index <> events.Length then
            damaged batch batch.first $"the batch has {index} events, and not {batch.count}"

        events

/// The task that an event is of.
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

    /// None: it is of no task.
    let find (event: Event) : TaskId voption =
        match event with
        | Event.Submitted(id, _, _)
        | Event.Delayed(id, _, _)
        | Event.Woken id
        | Event.Requeued(id, _)
        | Event.Quarantined(id, _)
        | Event.Part(id, _, _)
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
