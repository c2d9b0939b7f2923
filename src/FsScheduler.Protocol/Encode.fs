/// From messages to lines.
module internal FsScheduler.Protocol.Encode

open System
open System.Buffers
open System.Text
open System.Text.Encodings.Web
open System.Text.Json
open FsScheduler.Core

/// Texts in any script stay as short as they are; nothing of this is ever put into HTML unescaped.
let private encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping

let private newline = [| '\n'B |]

[<AbstractClass; Sealed>]
type private Writer private () =

    [<ThreadStatic; DefaultValue>]
    static val mutable private ofThread: Utf8JsonWriter | null

    /// One line is written after the other: one instance for each thread will do.
    static member OfThread(output: IBufferWriter<byte>) =
        match Writer.ofThread with
        | null ->
            let options = JsonWriterOptions(Encoder = encoder, SkipValidation = true)
            let writer = new Utf8JsonWriter(output, options)
            Writer.ofThread <- writer
            writer
        | writer ->
            writer.Reset output
            writer

let private kindWord kind = JsonNames.encoded JsonNames.kinds kind

let private hello = kindWord Kind.Hello
let private beat = kindWord Kind.Beat
let private ready = kindWord Kind.Ready
let private result = kindWord Kind.Result
let private submit = kindWord Kind.Submit
let private status = kindWord Kind.Status
let private cancel = kindWord Kind.Cancel
let private retry = kindWord Kind.Retry
let private drain = kindWord Kind.Drain
let private explain = kindWord Kind.Explain
let private events = kindWord Kind.Events
let private list = kindWord Kind.List
let private stages = kindWord Kind.Stages
let private fetch = kindWord Kind.Fetch
let private welcome = kindWord Kind.Welcome
let private processing = kindWord Kind.Process
let private accepted = kindWord Kind.Accepted
let private finished = kindWord Kind.Done
let private rejected = kindWord Kind.Rejected
let private error = kindWord Kind.Error

let private start output (kind: JsonEncodedText) =
    let writer = Writer.OfThread output
    writer.WriteStartObject()
    writer.WriteString(Field.kind.Encoded, kind)
    writer

let private finish (writer: Utf8JsonWriter) (output: IBufferWriter<byte>) (bytes: Size) =
    if bytes > 0L<B> then
        writer.WriteNumber(Field.bytes.Encoded, int64 bytes)

    writer.WriteEndObject()
    writer.Flush()
    // The bounds of every field see to it; a longer line would be our own bug.
    if writer.BytesCommitted >= int64 ProtocolLimits.lineBytesMax then
        failwith $"a line of {writer.BytesCommitted} bytes"

    output.Write(ReadOnlySpan newline)

let private number (writer: Utf8JsonWriter) (field: Field) (value: int64) =
    writer.WriteNumber(field.Encoded, value)

let private text (writer: Utf8JsonWriter) (field: Field) (value: string) =
    writer.WriteString(field.Encoded, value)

let private cutText (writer: Utf8JsonWriter) (field: Field) (value: string) =
    writer.WriteString(field.Encoded, ProtocolLimits.cut ProtocolLimits.textCharsMax value)

let private word (writer: Utf8JsonWriter) (field: Field) words meaning =
    writer.WriteString(field.Encoded, JsonNames.encoded words meaning)

let private isTrue (writer: Utf8JsonWriter) (field: Field) (value: bool) =
    writer.WriteBoolean(field.Encoded, value)

let private texts (writer: Utf8JsonWriter) (field: Field) (values: string[]) =
    writer.WriteStartArray field.Encoded

    for value in values do
        writer.WriteStringValue value

    writer.WriteEndArray()

let private attempt writer (attempt: Attempt) =
    number writer Field.task (int64 attempt.task)
    number writer Field.attempt (int64 attempt.number)

/// Nothing, if there are none.
let private attempts (writer: Utf8JsonWriter) (field: Field) (values: Attempt[]) =
    if values.Length > 0 then
        writer.WriteStartArray field.Encoded

        for value in Seq.truncate ProtocolLimits.holdingMax values do
            writer.WriteStartArray()
            writer.WriteNumberValue(int64 value.task)
            writer.WriteNumberValue value.number
            writer.WriteEndArray()

        writer.WriteEndArray()

let private helloFields writer (message: Hello) =
    number writer Field.protocol (int64 message.protocol)

    match message.role with
    | Client -> word writer Field.role JsonNames.roles false
    | Worker stages ->
        word writer Field.role JsonNames.roles true
        Option.iter (texts writer Field.stages) stages

    text writer Field.name message.name
    Option.iter (text writer Field.token) message.token

    if message.role <> Client then
        attempts writer Field.holding message.holding

        if message.sharedFiles then
            isTrue writer Field.sharedFiles true

let private submitFields writer (message: Submit) =
    text writer Field.ref message.ref
    text writer Field.name message.name

    if message.pipeline <> "" then
        text writer Field.pipeline message.pipeline

    if message.priority <> 0 then
        number writer Field.priority (int64 message.priority)

    match message.key with
    | Some key -> text writer Field.key key
    | None -> ()

    match message.want with
    | Want.Result -> ()
    | want -> word writer Field.want JsonNames.wants want

let private outcomeFields writer outcome =
    match outcome with
    | Succeeded -> isTrue writer Field.ok true
    | Failed(error, mayRetry) ->
        isTrue writer Field.ok false
        cutText writer Field.error error

        if not mayRetry then
            isTrue writer Field.retry false
    | Unable error ->
        isTrue writer Field.ok false
        cutText writer Field.error error
        word writer Field.blame JsonNames.blames true

let toScheduler (output: IBufferWriter<byte>) (message: ToScheduler) (bytes: Size) =
    let writer =
        match message with
        | ToScheduler.Result(attempted, outcome) ->
            let writer = start output result
            attempt writer attempted
            outcomeFields writer outcome
            writer
        | ToScheduler.Stored(attempted, size) ->
            let writer = start output result
            attempt writer attempted
            outcomeFields writer Succeeded
            number writer Field.stored (int64 size)
            writer
        | ToScheduler.Unshared(attempted, error) ->
            let writer = start output result
            attempt writer attempted
            outcomeFields writer (Failed(error, true))
            isTrue writer Field.unshared true
            writer
        | ToScheduler.Submit message ->
            let writer = start output submit
            submitFields writer message
            writer
        | ToScheduler.Beat -> start output beat
        | ToScheduler.Ready slots ->
            let writer = start output ready
            number writer Field.slots (int64 slots)
            writer
        | ToScheduler.Hello message ->
            let writer = start output hello
            helloFields writer message
            writer
        | ToScheduler.Status -> start output status
        | ToScheduler.Cancel task ->
            let writer = start output cancel
            number writer Field.task (int64 task)
            writer
        | ToScheduler.Retry task ->
            let writer = start output retry
            number writer Field.task (int64 task)
            writer
        | ToScheduler.RetryWith(task, with') ->
            let writer = start output retry
            number writer Field.task (int64 task)
            text writer Field.pipeline with'
            writer
        | ToScheduler.RetryAll ->
            let writer = start output retry
            isTrue writer Field.every true
            writer
        | ToScheduler.RetryAllWith with' ->
            let writer = start output retry
            isTrue writer Field.every true
            text writer Field.pipeline with'
            writer
        | ToScheduler.Drain worker ->
            let writer = start output drain
            text writer Field.worker worker
            writer
        | ToScheduler.Explain task ->
            let writer = start output explain
            number writer Field.task (int64 task)
            writer
        | ToScheduler.Events query ->
            let writer = start output events

            match query.task with
            | Some task -> number writer Field.task (int64 task)
            | None -> ()

            number writer Field.after query.after
            number writer Field.most (int64 query.most)
            writer
        | ToScheduler.List query ->
            let writer = start output list
            number writer Field.after (int64 query.after)
            number writer Field.most (int64 query.most)

            if query.phases.Length > 0 then
                writer.WriteStartArray Field.states.Encoded

                for phase in query.phases do
                    writer.WriteStringValue(JsonNames.encoded JsonNames.phases phase)

                writer.WriteEndArray()

            query.name |> Option.iter (text writer Field.name)
            query.stage |> Option.iter (text writer Field.stage)
            writer
        | ToScheduler.Stages -> start output stages
        | ToScheduler.Fetch task ->
            let writer = start output fetch
            number writer Field.task (int64 task)
            writer

    finish writer output bytes

let private welcomeFields writer (message: Welcome) =
    number writer Field.protocol (int64 message.protocol)
    text writer Field.session message.session
    number writer Field.beatMs (int64 message.beat)
    number writer Field.lostAfterMs (int64 message.lostAfter)
    number writer Field.maxPayload (int64 message.maxPayload)
    number writer Field.maxResult (int64 message.maxResult)
    attempts writer Field.keep message.keep

let private processFields writer (message: Process) =
    attempt writer message.attempt
    text writer Field.name message.name
    texts writer Field.stages message.stages
    number writer Field.timeoutMs (int64 message.timeout)

    match message.piece with
    | ValueSome piece -> number writer Field.piece (int64 piece)
    | ValueNone -> ()

    match message.files with
    | ValueSome files ->
        text writer Field.from files.source
        number writer Field.start (int64 files.start)
        number writer Field.size (int64 files.size)
        text writer Field.into files.target

        match files.version with
        | ValueSome version ->
            number writer Field.length (int64 version.length)
            number writer Field.modifiedUs version.modified
        | ValueNone -> ()
    | ValueNone -> ()

let private doneFields writer (message: Done) =
    if message.ref <> "" then
        text writer Field.ref message.ref

    number writer Field.task (int64 message.task)

    match message.error with
    | None -> isTrue writer Field.ok true
    | Some error ->
        isTrue writer Field.ok false
        cutText writer Field.error error

    number writer Field.attempts (int64 message.attempts)

/// The most bytes that a name may take in a STATUS, so that 200 workers fit: each takes at most 136
/// bytes beside its name, everything else at most 4,000.
let private reportNameBytesMax = 170

/// The most bytes that the name of a missing stage may take in a STATUS.
let private missingBytesMax = 50

/// The most bytes that a worker which is held back, and why, may take in a STATUS.
let private heldBackBytesMax = 180

/// The most bytes that the trouble may take in a STATUS.
let private troubleBytesMax = 520

/// The same of the file that is waited for.
let private awaitedBytesMax = 280

/// As much of the text as takes no more than `bytesMax` bytes in JSON.
let private fit (bytesMax: int) (text: string) =
    let mutable length = 0
    let mutable bytes = 0
    let mutable runes = text.EnumerateRunes()

    while bytes <= bytesMax && runes.MoveNext() do
        let rune = runes.Current

        bytes <-
            bytes
            + if encoder.WillEncode rune.Value then
                  6 * rune.Utf16SequenceLength
              else
                  rune.Utf8SequenceLength

        if bytes <= bytesMax then
            length <- length + rune.Utf16SequenceLength

    text.Substring(0, length)

let private workerFields (writer: Utf8JsonWriter) (worker: WorkerReport) =
    writer.WriteStartObject()
    number writer Field.session (int64 worker.session)
    text writer Field.name (fit reportNameBytesMax worker.name)
    number writer Field.slots (int64 worker.slots)
    number writer Field.held (int64 worker.held)
    number writer Field.finished worker.finished
    number writer Field.failed worker.failed
    writer.WriteEndObject()

let private statusFields (writer: Utf8JsonWriter) (report: StatusReport) =
    number writer Field.queued report.queued
    number writer Field.running report.running
    number writer Field.waiting report.waiting
    number writer Field.publishing report.publishing

    if report.split > 0L then
        number writer Field.split report.split

    number writer Field.quarantined report.quarantined
    number writer Field.finished report.finished
    number writer Field.cancelled report.cancelled
    number writer Field.idle (int64 report.idle)
    number writer Field.busy (int64 report.busy)
    number writer Field.uptimeMs (int64 report.uptime)
    number writer Field.oldestMs (int64 report.oldest)
    number writer Field.finished10s report.finished10s
    number writer Field.finished60s report.finished60s

    match report.trouble with
    | Some trouble -> text writer Field.trouble (fit troubleBytesMax trouble)
    | None -> ()

    match report.awaited with
    | Some awaited -> text writer Field.awaited (fit awaitedBytesMax awaited)
    | None -> ()

    if report.missing.Length > 0 then
        report.missing
        |> Array.truncate ProtocolLimits.missingMax
        |> Array.map (fit missingBytesMax)
        |> texts writer Field.missing

    if report.heldBack.Length > 0 then
        report.heldBack
        |> Array.truncate ProtocolLimits.heldBackMax
        |> Array.map (fit heldBackBytesMax)
        |> texts writer Field.heldBack

    writer.WriteStartArray Field.workers.Encoded

    for worker in Seq.truncate ProtocolLimits.workersMax report.workers do
        workerFields writer worker

    writer.WriteEndArray()

let fromScheduler (output: IBufferWriter<byte>) (message: FromScheduler) (bytes: Size) =
    let writer =
        match message with
        | FromScheduler.Process message ->
            let writer = start output processing
            processFields writer message
            writer
        | FromScheduler.Accepted(ref, task) ->
            let writer = start output accepted
            text writer Field.ref ref
            number writer Field.task (int64 task)
            writer
        | FromScheduler.Done message ->
            let writer = start output finished
            doneFields writer message
            writer
        | FromScheduler.Beat -> start output beat
        | FromScheduler.Cancel attempted ->
            let writer = start output cancel
            attempt writer attempted
            writer
        | FromScheduler.Welcome message ->
            let writer = start output welcome
            welcomeFields writer message
            writer
        | FromScheduler.Rejected(ref, code, message) ->
            let writer = start output rejected
            text writer Field.ref ref
            word writer Field.code JsonNames.rejections code
            cutText writer Field.message message
            writer
        | FromScheduler.Status report ->
            let writer = start output status
            statusFields writer report
            writer
        | FromScheduler.Drain -> start output drain
        | FromScheduler.Explanation task ->
            let writer = start output explain
            number writer Field.task (int64 task)
            writer
        | FromScheduler.Events last ->
            let writer = start output events
            number writer Field.after last
            writer
        | FromScheduler.List(last, more) ->
            let writer = start output list
            number writer Field.after (int64 last)

            if more then
                isTrue writer Field.more true

            writer
        | FromScheduler.Stages -> start output stages
        | FromScheduler.Fetch(task, name) ->
            let writer = start output fetch
            number writer Field.task (int64 task)
            text writer Field.name name
            writer
        | FromScheduler.Error(code, message) ->
            let writer = start output error
            word writer Field.code JsonNames.errors code
            cutText writer Field.message message
            writer

    finish writer output bytes
