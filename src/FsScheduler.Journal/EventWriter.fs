namespace FsScheduler.Journal

open System
open FsScheduler.Core
open FsScheduler.Machine

/// Offsets and lengths of a written batch in the buffers of its writer.
[<Struct>]
type internal WrittenBatch = { events: struct (int * int); payloads: struct (int * int) }

/// <summary>Writes events as JSON objects, and their payloads beside them. Usual values are omitted: the number of a
/// first attempt, and the last stage of an assignment of one stage.</summary>
/// <param name="sources">Reads what other events have.</param>
[<Sealed>]
type EventWriter(sources: EventSources) =
    let out = EventOutput sources
    let json = out.Json
    let mutable count = 0
    // Where the present batch begins.
    let mutable eventsFrom = 0
    let mutable payloadsFrom = 0

    let number (name: byte[]) (value: int64) = json.Number(name, value)
    let text (name: byte[]) (value: string) = json.Text(name, value)

    let note (note: Note) =
        match note with
        | Note.Owner(name, owner) ->
            text EventNames.what "owner"
            text EventNames.name (string name)
            ValueOption.iter out.Source owner
        | Note.Delivered id ->
            text EventNames.what "delivered"
            out.Task id
        | Note.Flushed upTo ->
            text EventNames.what "flushed"
            number EventNames.upTo upTo
        | Note.Damaged file ->
            text EventNames.what "damaged"
            text EventNames.name file

    let is (name: string) = text EventNames.event name

    let write (event: Event) =
        match event with
        | Event.Submitted(id, submitted, stages) ->
            is "submitted"
            out.Task id
            out.Submission submitted
            out.Pipeline(EventNames.pipeline, stages)
        | Event.Assigned(given, session, struct (first, last)) ->
            is "assigned"
            out.Attempt given
            out.Session session
            out.Count(EventNames.first, first)

            if last <> first + 1 then
                number EventNames.last (int64 last)
        | Event.Claimed(kept, by) ->
            is "claimed"
            out.Attempt kept
            out.Session by
        | Event.Advanced(given, stage, result) ->
            is "advanced"
            out.Attempt given
            number EventNames.stage (int64 stage)
            out.Content(EventNames.payload, result)
        | Event.Split(given, last, others, cuts) ->
            is "split"
            out.Attempt given
            number EventNames.last (int64 last)

            others
            |> ValueOption.iter (fun others -> out.Pipeline(EventNames.pipeline, others))

            out.Sizes(EventNames.cuts, cuts)
        | Event.Part(whole, index, part) ->
            is "part"
            out.Task whole
            number EventNames.piece (int64 index)
            out.Content(EventNames.payload, part)
        | Event.PartLost(whole, index) ->
            is "lost"
            out.Task whole
            number EventNames.piece (int64 index)
        | Event.Speculated(whole, index, slow) ->
            is "speculated"
            out.Task whole
            number EventNames.piece (int64 index)
            number EventNames.slow (int64 slow)
        | Event.Delayed(id, failure, delay) ->
            is "delayed"
            out.Task id
            out.Failure failure
            number EventNames.delay (int64 delay)
        | Event.Woken id ->
            is "woken"
            out.Task id
        | Event.Requeued(id, failure) ->
            is "requeued"
            out.Task id
            out.Failure failure
        | Event.Quarantined(id, failure) ->
            is "quarantined"
            out.Task id
            out.Failure failure
        | Event.Retried id ->
            is "retried"
            out.Task id
        | Event.Accepted(given, result) ->
            is "accepted"
            out.Attempt given
            out.Mark result
        | Event.Completed(given, remainder) ->
            is "completed"
            out.Attempt given

            match remainder with
            | NothingKept -> ()
            | KeptResult result -> out.Content(EventNames.payload, result)
            | StoredResult content -> out.ContentHash content
        | Event.Cancelled(id, reason) ->
            is "cancelled"
            out.Task id
            text EventNames.reason reason
        | Event.Gone name ->
            is "gone"
            text EventNames.name name
        | Event.Joined(id, name, stages) ->
            is "joined"
            out.Session id
            text EventNames.worker name
            out.Names(EventNames.stages, stages)
        | Event.Left(id, name, reason) ->
            is "left"
            out.Session id
            text EventNames.worker name
            text EventNames.reason reason
        | Event.Opened owner ->
            is "opened"
            text EventNames.owner (string owner)
        | Event.Noted what ->
            is "noted"
            note what
        | Event.Carried what ->
            is "carried"
            CarriedWriter.write out what
        | Event.Dropped(before, totals) ->
            is "dropped"
            number EventNames.before before
            number EventNames.completed totals.completed
            number EventNames.cancelled totals.cancelled
            number EventNames.lastTask (int64 totals.lastTask)
            number EventNames.lastSession (int64 totals.lastSession)
            out.Names(EventNames.known, totals.known)

    /// Writes one event.
    member _.Write(event: Event) =
        if count = 0 then
            out.Begin()

        json.StartObject()
        write event
        json.EndObject()
        count <- count + 1

    /// <summary>Ends a batch; the next event begins another one in the same buffers.</summary>
    /// <returns>For `Events` and `Payloads`.</returns>
    member internal _.End() : WrittenBatch =
        json.EndArray()

        let batch = {
            events = struct (eventsFrom, json.Length - eventsFrom)
            payloads = struct (payloadsFrom, out.Payloads.Length - payloadsFrom)
        }

        eventsFrom <- json.Length
        payloadsFrom <- out.Payloads.Length
        count <- 0
        batch

    /// How many bytes were written since the last `Clear`.
    member internal _.Length = json.Length + out.Payloads.Length

    /// The JSON of a batch, valid until the next write.
    member internal _.Events(batch: WrittenBatch) : ReadOnlyMemory<byte> =
        let struct (from, length) = batch.events
        json.Written.Slice(from, length)

    /// The payloads of a batch, valid until the next write.
    member internal _.Payloads(batch: WrittenBatch) : ReadOnlyMemory<byte> =
        let struct (from, length) = batch.payloads
        out.Payloads.Written.Slice(from, length)

    /// Ends and takes the only batch: its JSON array, and its payloads.
    member writer.Take() : struct (byte[] * byte[]) =
        let batch = writer.End()

        let taken =
            struct ((writer.Events batch).ToArray(), (writer.Payloads batch).ToArray())

        writer.Clear()
        taken

    /// Forgets all batches, also one that was written in part.
    member _.Clear() =
        out.Clear()
        eventsFrom <- 0
        payloadsFrom <- 0
        count <- 0
