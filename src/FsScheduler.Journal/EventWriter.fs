namespace FsScheduler.Journal

open System
open System.Buffers
open System.IO
open System.Text.Encodings.Web
open System.Text.Json
open FsScheduler.Core

/// What is written of events that the events themselves do not have.
type EventSources = {
    /// A time as Unix milliseconds.
    toUnix: Instant -> int64
    /// By what a result is known that is about to be published.
    mark: Payload -> ResultMark
    /// What a task was submitted with, of the event of this number.
    submission: int64 -> Submission
    /// The bytes that were recorded with the event of this number.
    payload: int64 -> byte[]
}

/// <summary>Writes events as JSON objects, with the bytes that they speak of beside them.</summary>
/// <param name="sources">For what is at other events.</param>
[<Sealed>]
type EventWriter(sources: EventSources) =
    let events = ArrayBufferWriter<byte> 65_536
    let payloads = ArrayBufferWriter<byte> 65_536

    let json =
        new Utf8JsonWriter(
            events,
            JsonWriterOptions(
                Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
                SkipValidation = true
            )
        )

    let mutable count = 0

    // Most tasks have the same pipeline.
    let mutable latest: Pipeline voption = ValueNone
    let mutable latestText = JsonEncodedText.Encode ""

    let number (name: JsonEncodedText) (value: int64) = json.WriteNumber(name, value)
    let text (name: JsonEncodedText) (value: string) = json.WriteString(name, value)

    /// Left out where it is 0.
    let count' name (value: int) =
        if value <> 0 then
            number name (int64 value)

    let pipelineText (pipeline: Pipeline) =
        match latest with
        | ValueSome same when obj.ReferenceEquals(same, pipeline) -> ()
        | _ ->
            latestText <-
                JsonEncodedText.Encode(
                    Pipeline.print pipeline,
                    JavaScriptEncoder.UnsafeRelaxedJsonEscaping
                )

            latest <- ValueSome pipeline

        latestText

    let pipeline (value: Pipeline) =
        json.WriteString(EventNames.pipeline, pipelineText value)

    let bytes name (content: ReadOnlySpan<byte>) =
        json.WriteStartObject(name: JsonEncodedText)
        number EventNames.at (int64 payloads.WrittenCount)
        number EventNames.bytes (int64 content.Length)
        json.WriteEndObject()
        payloads.Write content

    let file name (path: string) (size: Size) =
        json.WriteStartObject(name: JsonEncodedText)
        text EventNames.file (nonNull (Path.GetFileName path))
        number EventNames.bytes (int64 size)
        json.WriteEndObject()

    let payload name payload =
        match payload with
        | Bytes content -> bytes name (ReadOnlySpan content)
        | Spooled(path, size) -> file name path size
        // Of what ended without a result, its event has none.
        | Recorded(_, 0L<B>) -> bytes name ReadOnlySpan<byte>.Empty
        | Recorded(number, _) -> bytes name (ReadOnlySpan(sources.payload number))
        // Follows from the task that it is of.
        | Packed
        | Filed
        | Input _
        | Slice _ -> ()

    let stamp (stamp: Stamp) =
        json.WriteStartObject EventNames.input
        number EventNames.bytes (int64 stamp.size)
        number EventNames.modified stamp.modified

        if stamp.changed <> 0L then
            number EventNames.changed stamp.changed

        if stamp.inode <> 0L then
            number EventNames.inode stamp.inode

        json.WriteEndObject()

    let submission (submission: Submission) =
        text EventNames.name' submission.Name

        match submission.Origin with
        | Folder -> text EventNames.origin "folder"
        | Piece(whole, index) ->
            number EventNames.whole (int64 whole)
            number EventNames.piece (int64 index)
        | Origin.Client(session, want, key) ->
            text EventNames.ref submission.Ref

            if session <> 0L<sessionId> then
                number EventNames.session (int64 session)

            if want <> Result then
                text EventNames.want (EventNames.wantName want)

            match key with
            | Some(key: Key) ->
                text EventNames.key key.text
                text EventNames.content key.content
            | None -> ()

        count' EventNames.priority submission.Priority

        match submission.Payload with
        | Packed ->
            if submission.Packed.Length > 0 then
                bytes EventNames.payload submission.Packed.Span
        | Input version -> stamp version
        | other -> payload EventNames.payload other

    let trouble (trouble: Trouble) =
        number EventNames.attempt (int64 trouble.attempt)
        text EventNames.cause (EventNames.causeName trouble.cause)
        text EventNames.stages trouble.stages

        if trouble.worker <> "" then
            text EventNames.worker trouble.worker

        text EventNames.error trouble.error

    let task (id: TaskId) = number EventNames.task (int64 id)

    let attempt (attempt: Attempt) =
        task attempt.task
        number EventNames.attempt (int64 attempt.number)

    let session (id: SessionId) = number EventNames.session (int64 id)
    let time name at = number name (sources.toUnix at)

    let names name (values: string[]) =
        json.WriteStartArray(name: JsonEncodedText)

        for value in values do
            json.WriteStringValue value

        json.WriteEndArray()

    let sizes name (values: Size[]) =
        json.WriteStartArray(name: JsonEncodedText)

        for value in values do
            json.WriteNumberValue(int64 value)

        json.WriteEndArray()

    let hash (proof: Proof) =
        number EventNames.bytes (int64 proof.size)
        text EventNames.hash (proof.hash.ToString "x16")

    let mark (mark: ResultMark) =
        match mark with
        | Unmarked -> ()
        | Holding proof ->
            json.WriteStartObject EventNames.mark
            hash proof
            json.WriteEndObject()
        | ResultMark.Written(size, modified) ->
            json.WriteStartObject EventNames.mark
            number EventNames.bytes (int64 size)
            number EventNames.modified modified
            json.WriteEndObject()

    let source (source: ResultSource) =
        match source with
        | OfFile file -> text EventNames.file (string file)
        | OfTask id -> task id

    let note (note: Note) =
        match note with
        | Note.Owner(name, owner) ->
            text EventNames.what "owner"
            text EventNames.name' (string name)
            ValueOption.iter source owner
        | Note.Delivered id ->
            text EventNames.what "delivered"
            task id
        | Note.Flushed upTo ->
            text EventNames.what "flushed"
            number EventNames.upTo upTo
        | Note.Damaged file ->
            text EventNames.what "damaged"
            text EventNames.name' file

    let state (state: CarriedState) =
        let is (name: string) = text EventNames.state name

        match state with
        | CarriedState.Queued -> is "queued"
        | CarriedState.Suspected -> is "suspected"
        | CarriedState.Running session ->
            is "running"
            number EventNames.on (int64 session)
        | CarriedState.Split -> is "split"
        | CarriedState.Waiting until ->
            is "waiting"
            time EventNames.until until
        | CarriedState.Publishing -> is "publishing"
        | CarriedState.Succeeding older ->
            is "succeeding"
            number EventNames.older (int64 older)
        | CarriedState.Quarantined -> is "quarantined"

    let progress (progress: CarriedProgress) =
        number EventNames.attempt (int64 progress.attempt)
        count' EventNames.failures progress.failures
        count' EventNames.losses progress.losses
        count' EventNames.stage progress.stage
        count' EventNames.stageEnd progress.stageEnd
        ValueOption.iter (payload EventNames.result) progress.result

        if not progress.troubles.IsEmpty then
            json.WriteStartArray EventNames.troubles

            for each in progress.troubles do
                json.WriteStartObject()
                trouble each
                time EventNames.at each.at
                json.WriteEndObject()

            json.WriteEndArray()

        match progress.pieces with
        | ValueSome pieces ->
            json.WriteStartObject EventNames.pieces
            sizes EventNames.cuts pieces.cuts
            number EventNames.last (int64 pieces.last)
            json.WriteString(EventNames.pipeline, pipelineText pieces.pipeline)
            json.WriteEndObject()
        | ValueNone -> ()

    /// What is in the journal alone is read there, and written again.
    let whole (carried: CarriedTask) : Submission =
        match carried.submission.Origin with
        | Origin.Client _ when carried.submission.IsFiled ->
            (sources.submission carried.home).From carried.submission.Origin
        | Origin.Client _
        | Folder
        | Piece _ -> carried.submission

    let carried (carried: Carried) =
        match carried with
        | Carried.Task carried ->
            text EventNames.what "task"
            task carried.task
            submission (whole carried)
            pipeline carried.pipeline
            state carried.state
            time EventNames.since carried.since
            number EventNames.place carried.place
            ValueOption.iter progress carried.progress
        | Carried.Part(whole, index, part) ->
            text EventNames.what "part"
            task whole
            number EventNames.piece (int64 index)
            payload EventNames.payload part
        | Carried.Key key ->
            text EventNames.what "key"
            task key.task
            text EventNames.key key.key.text
            text EventNames.content key.key.content
            number EventNames.attempts (int64 key.attempts)
            Option.iter (text EventNames.error) key.error
            payload EventNames.payload key.result
            text EventNames.want (EventNames.wantName key.want)
            time EventNames.finished key.finished
            ValueOption.iter (time EventNames.delivered) key.delivered
        | Carried.File file ->
            text EventNames.what "file"
            task file.task
            text EventNames.name' file.name
            pipeline file.pipeline
            stamp file.version

            if file.isDone then
                json.WriteBoolean(EventNames.isDone, true)

            match file.unflushed with
            | ValueSome(struct (at, proof)) ->
                number EventNames.upTo at
                hash proof
            | ValueNone -> ()
        | Carried.Owner(name, owner) ->
            text EventNames.what "owner"
            text EventNames.name' (string name)
            source owner
        | Carried.Worker(id, name, stages) ->
            text EventNames.what "worker"
            session id
            text EventNames.worker name
            names EventNames.stages stages

    let is (name: string) = text EventNames.event name

    let write (event: Event) =
        match event with
        | Event.Submitted(id, submitted, stages) ->
            is "submitted"
            task id
            submission submitted
            pipeline stages
        | Event.Assigned(given, to', struct (first, last)) ->
            is "assigned"
            attempt given
            session to'
            count' EventNames.first first
            number EventNames.last (int64 last)
        | Event.Claimed(kept, by) ->
            is "claimed"
            attempt kept
            session by
        | Event.Advanced(given, stage, result) ->
            is "advanced"
            attempt given
            number EventNames.stage (int64 stage)
            payload EventNames.payload result
        | Event.Split(given, last, others, cuts) ->
            is "split"
            attempt given
            number EventNames.last (int64 last)
            ValueOption.iter pipeline others
            sizes EventNames.cuts cuts
        | Event.Part(whole, index, part) ->
            is "part"
            task whole
            number EventNames.piece (int64 index)
            payload EventNames.payload part
        | Event.Speculated(whole, index, slow) ->
            is "speculated"
            task whole
            number EventNames.piece (int64 index)
            number EventNames.slow (int64 slow)
        | Event.Delayed(id, failure, delay) ->
            is "delayed"
            task id
            trouble failure
            number EventNames.delay (int64 delay)
        | Event.Woken id ->
            is "woken"
            task id
        | Event.Requeued(id, failure) ->
            is "requeued"
            task id
            trouble failure
        | Event.Quarantined(id, failure) ->
            is "quarantined"
            task id
            trouble failure
        | Event.Retried id ->
            is "retried"
            task id
        | Event.Accepted(given, result) ->
            is "accepted"
            attempt given

            match result with
            | AcceptedPayload payload -> mark (sources.mark payload)
            | AcceptedMark known -> mark known
        | Event.Completed(given, remainder) ->
            is "completed"
            attempt given

            match remainder with
            | NothingLeft -> ()
            | KeptResult result -> payload EventNames.payload result
            | StoredResult proof -> hash proof
        | Event.Cancelled(id, reason) ->
            is "cancelled"
            task id
            text EventNames.reason reason
        | Event.Gone name ->
            is "gone"
            text EventNames.name' name
        | Event.Joined(id, name, stages) ->
            is "joined"
            session id
            text EventNames.worker name
            names EventNames.stages stages
        | Event.Left(id, name, reason) ->
            is "left"
            session id
            text EventNames.worker name
            text EventNames.reason reason
        | Event.Opened owner ->
            is "opened"
            json.WriteString(EventNames.owner, owner)
        | Event.Noted what ->
            is "noted"
            note what
        | Event.Carried what ->
            is "carried"
            carried what
        | Event.Dropped(before, totals) ->
            is "dropped"
            number EventNames.before before
            number EventNames.completed totals.completed
            number EventNames.cancelled totals.cancelled
            number EventNames.lastTask (int64 totals.lastTask)
            number EventNames.lastSession (int64 totals.lastSession)
            names EventNames.known totals.known

    /// Writes one event.
    member _.Write(event: Event) =
        if count = 0 then
            json.WriteStartArray()

        json.WriteStartObject()
        write event
        json.WriteEndObject()
        count <- count + 1

    /// How many were written since the last `Take`.
    member _.Count = count

    /// How many bytes those take, about.
    member _.Bytes =
        json.BytesCommitted + int64 json.BytesPending + int64 payloads.WrittenCount

    /// Takes what was written: the JSON array, and the payloads.
    member _.Take() : struct (byte[] * byte[]) =
        json.WriteEndArray()
        json.Flush()
        let taken = struct (events.WrittenSpan.ToArray(), payloads.WrittenSpan.ToArray())
        events.ResetWrittenCount()
        payloads.ResetWrittenCount()
        json.Reset()
        count <- 0
        taken

    /// Forgets what was written since the last `Take`, since it could not all be.
    member _.Clear() =
        json.Reset()
        events.ResetWrittenCount()
        payloads.ResetWrittenCount()
        count <- 0
