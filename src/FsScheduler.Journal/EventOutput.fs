namespace FsScheduler.Journal

open System
open System.IO
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open FsScheduler.Core
open FsScheduler.Machine

/// Data that events are written with but do not have.
type EventSources = {
    /// An instant as Unix milliseconds.
    toUnix: Instant -> int64
    /// The mark of a result that is about to be published.
    mark: Content -> ResultMark
    /// The submission of the event of this number.
    submission: int64 -> Submission
    /// The payload of the event of this number.
    payload: int64 -> byte[]
}

/// <summary>The JSON and payloads of batches, and how the parts that several events share are written.</summary>
/// <param name="sources">Reads what other events have.</param>
[<Sealed>]
type internal EventOutput(sources: EventSources) =
    let json = JsonBuffer()
    let payloads = ByteBuffer()

    /// Offset of the payloads of the present batch.
    let mutable payloadsFrom = 0

    // Most tasks have the pipeline of the task before.
    let mutable latest: Pipeline voption = ValueNone
    let mutable latestText: byte[] = Array.empty

    let number (name: byte[]) (value: int64) = json.Number(name, value)
    let text (name: byte[]) (value: string) = json.Text(name, value)

    let printed (pipeline: Pipeline) =
        match latest with
        | ValueSome same when obj.ReferenceEquals(same, pipeline) -> ()
        | _ ->
            let relaxed = JavaScriptEncoder.UnsafeRelaxedJsonEscaping
            let text = JsonEncodedText.Encode(Pipeline.print pipeline, relaxed)
            latestText <- Encoding.UTF8.GetBytes $"\"{text}\""
            latest <- ValueSome pipeline

        latestText

    let bytes name (content: ReadOnlySpan<byte>) =
        json.StartArray(name: byte[])
        json.Number(int64 (payloads.Length - payloadsFrom))
        json.Number(int64 content.Length)
        json.EndArray()
        payloads.Add content

    let file name (path: string) (size: Size) =
        json.StartObject(name: byte[])
        text EventNames.file (nonNull (Path.GetFileName path))
        number EventNames.bytes (int64 size)
        json.EndObject()

    /// Omitted where 0.
    let count name (value: int) =
        if value <> 0 then
            number name (int64 value)

    let content name (kept: KeptContent) =
        match kept with
        | Held(Bytes content) -> bytes name (ReadOnlySpan content)
        | Held(Spooled(path, size)) -> file name path size
        // The event of a task that ended without a result has no bytes.
        | Recorded(_, 0L<B>) -> bytes name ReadOnlySpan<byte>.Empty
        | Recorded(number, _) -> bytes name (ReadOnlySpan(sources.payload number))

    let fileVersion (version: FileVersion) =
        json.StartObject EventNames.input
        number EventNames.bytes (int64 version.size)
        number EventNames.modified version.modified

        if version.changed <> 0L then
            number EventNames.changed version.changed

        if version.inode <> 0L then
            number EventNames.inode version.inode

        json.EndObject()

    let submission (submission: Submission) =
        json.Text(EventNames.name, submission.NameBytes)

        match submission.Origin with
        | Folder -> text EventNames.origin "folder"
        | Piece(whole, index) ->
            number EventNames.whole (int64 whole)
            number EventNames.piece (int64 index)
        | Origin.Client(session, want, key) ->
            json.Text(EventNames.ref, submission.RefBytes)

            if session <> 0L<sessionId> then
                number EventNames.session (int64 session)

            if want <> Result then
                text EventNames.want (EventNames.wantName want)

            match key with
            | Some(key: Key) ->
                text EventNames.key key.text
                text EventNames.content key.content
            | None -> ()

        count EventNames.priority submission.Priority

        match submission.Payload with
        | Packed ->
            if submission.Packed.Length > 0 then
                bytes EventNames.payload submission.Packed.Span
        | Input version -> fileVersion version
        | Kept kept -> content EventNames.payload kept
        // Not written: these follow from the task.
        | Journaled
        | Slice _ -> ()

    let failure (failure: Failure) =
        number EventNames.attempt (int64 failure.attempt)
        text EventNames.cause (EventNames.causeName failure.cause)
        text EventNames.stages failure.stages

        if failure.worker <> "" then
            text EventNames.worker failure.worker

        text EventNames.error failure.error

    let task (id: TaskId) = number EventNames.task (int64 id)

    /// The number of a first attempt is omitted.
    let attempt (attempt: Attempt) =
        task attempt.task

        if attempt.number <> 1 then
            number EventNames.attempt (int64 attempt.number)

    let session (id: SessionId) = number EventNames.session (int64 id)
    let time name at = number name (sources.toUnix at)

    let names name (values: string[]) =
        json.StartArray(name: byte[])

        for value in values do
            json.Text value

        json.EndArray()

    let sizes name (values: Size[]) =
        json.StartArray(name: byte[])

        for value in values do
            json.Number(int64 value)

        json.EndArray()

    let contentHash (content: ContentHash) =
        number EventNames.bytes (int64 content.size)
        text EventNames.hash (content.hash.ToString "x16")

    let mark (mark: ResultMark) =
        match mark with
        | ResultMark.Unmarked -> ()
        | ResultMark.Holding content ->
            json.StartObject EventNames.mark
            contentHash content
            json.EndObject()
        | ResultMark.Written(size, modified) ->
            json.StartObject EventNames.mark
            number EventNames.bytes (int64 size)
            number EventNames.modified modified
            json.EndObject()

    let source (source: ResultSource) =
        match source with
        | OfFile file -> text EventNames.file (string file)
        | OfTask id -> task id

    member _.Json = json
    member _.Number(name, value) = number name value
    member _.Text(name, value) = text name value
    member _.Count(name, value) = count name value
    member _.Time(name, at) = time name at
    member _.Names(name, values) = names name values
    member _.Sizes(name, values) = sizes name values
    member _.Task id = task id
    member _.Attempt value = attempt value
    member _.Session id = session id
    member _.Pipeline(name, value) = json.Raw(name, printed value)
    member _.Content(name, value) = content name value
    member _.FileVersion value = fileVersion value
    member _.Submission value = submission value
    member _.Failure value = failure value
    member _.ContentHash content = contentHash content
    member _.Source value = source value

    /// Writes the mark of a result that is about to be published.
    member _.Mark(result: AcceptedResult) =
        match result with
        | AcceptedContent content -> mark (sources.mark content)
        | AcceptedMark known -> mark known

    /// The submission of a carried task, read from the journal where only the journal has it.
    member _.Whole(carried: CarriedTask) : Submission =
        match carried.submission.Origin with
        | Origin.Client _ when carried.submission.IsJournaled ->
            (sources.submission carried.submissionEvent).From carried.submission.Origin
        | Origin.Client _
        | Folder
        | Piece _ -> carried.submission

    member _.Payloads = payloads

    /// Begins the next batch.
    member _.Begin() =
        payloadsFrom <- payloads.Length
        json.StartArray()

    member _.Clear() =
        json.Clear()
        payloads.Clear()
