/// The messages of every task. Written and read by hand, as UTF-8 bytes, so that most fields need no string.
module internal FsScheduler.Protocol.HotMessages

open System
open System.Buffers
open System.Text.Json
open FsScheduler.Core

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

let private writeAttempt writer (attempt: Attempt) =
    number writer Field.task (int64 attempt.task)
    number writer Field.attempt (int64 attempt.number)

let inline private measured (value: int64) : int64<'unit> =
    LanguagePrimitives.Int64WithMeasure value

let private count (fields: JsonObjectReader) line field =
    fields.Integer(line, field, 0L, ProtocolLimits.integerMax)

let private task (fields: JsonObjectReader) line : TaskId =
    measured (fields.Integer(line, Field.task, 1L, ProtocolLimits.integerMax))

let private readAttempt (fields: JsonObjectReader) line : Attempt = {
    task = task fields line
    number = int (fields.Integer(line, Field.attempt, 1L, int64 Int32.MaxValue))
}

let private duration (fields: JsonObjectReader) line field : Duration =
    measured (count fields line field)

let private size (fields: JsonObjectReader) line field : Size = measured (count fields line field)

let private optionalText (fields: JsonObjectReader) line field bytesMax =
    if fields.Has field then
        Some(fields.Text(line, field, bytesMax))
    else
        None

/// Whether a field is true; a missing field is false.
let private isSet (fields: JsonObjectReader) field = fields.Has field && fields.Bool field

// SUBMIT

let private writeSubmit writer (message: Submit) =
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

let private readSubmit (fields: JsonObjectReader) (line: ReadOnlySpan<byte>) : Submit = {
    ref = fields.Text(line, Field.ref, ProtocolLimits.refBytesMax)
    // A name of any length, up to a whole line: a bad one is answered with REJECTED, by the rules of `Submit`.
    name = fields.Text(line, Field.name, ProtocolLimits.lineBytesMax)
    pipeline = fields.Pipeline line
    priority =
        if fields.Has Field.priority then
            let most = int64 ProtocolLimits.priorityMax
            int (fields.Integer(line, Field.priority, -most, most))
        else
            0
    key = optionalText fields line Field.key ProtocolLimits.keyBytesMax
    want =
        if fields.Has Field.want then
            fields.Choice(line, Field.want, JsonNames.wants)
        else
            Want.Result
}

// RESULT

let private writeOutcome writer outcome =
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

let private readOutcome (fields: JsonObjectReader) line =
    if fields.Bool Field.ok then
        Succeeded
    else
        let error =
            if fields.Has Field.error then
                fields.CutText(line, Field.error)
            else
                ""

        let mayRetry = not (fields.Has Field.retry) || fields.Bool Field.retry

        if fields.Has Field.blame && fields.Choice(line, Field.blame, JsonNames.blames) then
            Unable error
        else
            Failed(error, mayRetry)

let private readResult (fields: JsonObjectReader) line =
    let attempt = readAttempt fields line

    match readOutcome fields line with
    | Succeeded when fields.Has Field.stored ->
        ToScheduler.Stored(attempt, size fields line Field.stored)
    | Failed(error, _)
    | Unable error when isSet fields Field.unshared -> ToScheduler.Unshared(attempt, error)
    | outcome -> ToScheduler.Result(attempt, outcome)

// PROCESS

let private writeProcess writer (message: Process) =
    writeAttempt writer message.attempt
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

let private readSharedFiles (fields: JsonObjectReader) line : SharedFiles = {
    source = fields.Text(line, Field.from, ProtocolLimits.sharedPathBytesMax)
    start = size fields line Field.start
    size = size fields line Field.size
    target = fields.Text(line, Field.into, ProtocolLimits.sharedPathBytesMax)
    version =
        if fields.Has Field.modifiedUs then
            ValueSome {
                length = size fields line Field.length
                modified = count fields line Field.modifiedUs
            }
        else
            ValueNone
}

let private readProcess (fields: JsonObjectReader) line : Process = {
    attempt = readAttempt fields line
    name = fields.Text(line, Field.name, TaskName.bytesMax)
    stages = fields.Stages line
    timeout = duration fields line Field.timeoutMs
    piece =
        if fields.Has Field.piece then
            ValueSome(int (fields.Integer(line, Field.piece, 0L, int64 Int32.MaxValue)))
        else
            ValueNone
    files =
        if fields.Has Field.from then
            ValueSome(readSharedFiles fields line)
        else
            ValueNone
}

// DONE

let private writeDone writer (message: Done) =
    if message.ref <> "" then
        text writer Field.ref message.ref

    number writer Field.task (int64 message.task)

    match message.error with
    | None -> isTrue writer Field.ok true
    | Some error ->
        isTrue writer Field.ok false
        cutText writer Field.error error

    word writer Field.outcome JsonNames.outcomes message.outcome
    number writer Field.attempts (int64 message.attempts)

let private refOrNone (fields: JsonObjectReader) line =
    if fields.Has Field.ref then
        fields.Text(line, Field.ref, ProtocolLimits.refBytesMax)
    else
        ""

/// The outcome in a DONE without `outcome`, from an older scheduler: the error text alone tells a cancelled task.
let private outcomeBefore error =
    match error with
    | None -> TaskOutcome.Completed
    | Some "cancelled" -> TaskOutcome.Cancelled
    | Some _ -> TaskOutcome.Quarantined

let private readDone (fields: JsonObjectReader) (line: ReadOnlySpan<byte>) : Done =
    let error =
        if fields.Bool Field.ok then
            None
        elif fields.Has Field.error then
            Some(fields.CutText(line, Field.error))
        else
            Some ""

    {
        ref = refOrNone fields line
        task = task fields line
        attempts = int (fields.Integer(line, Field.attempts, 0L, int64 Int32.MaxValue))
        outcome =
            if fields.Has Field.outcome then
                fields.Choice(line, Field.outcome, JsonNames.outcomes)
            else
                outcomeBefore error
        error = error
    }

let private resultWord = JsonNames.encoded JsonNames.kinds HotKind.Result
let private submitWord = JsonNames.encoded JsonNames.kinds HotKind.Submit
let private beatWord = JsonNames.encoded JsonNames.kinds HotKind.Beat
let private processWord = JsonNames.encoded JsonNames.kinds HotKind.Process
let private acceptedWord = JsonNames.encoded JsonNames.kinds HotKind.Accepted
let private doneWord = JsonNames.encoded JsonNames.kinds HotKind.Done

/// <summary>Begins the line of a worker's or a client's message of every task.</summary>
/// <returns>The writer, inside the object; null: another type of message.</returns>
let tryWriteToScheduler
    (output: IBufferWriter<byte>)
    (message: ToScheduler)
    : Utf8JsonWriter | null =
    match message with
    | ToScheduler.Result(attempted, outcome) ->
        let writer = JsonOutput.start output resultWord
        writeAttempt writer attempted
        writeOutcome writer outcome
        writer
    | ToScheduler.Stored(attempted, size) ->
        let writer = JsonOutput.start output resultWord
        writeAttempt writer attempted
        writeOutcome writer Succeeded
        number writer Field.stored (int64 size)
        writer
    | ToScheduler.Unshared(attempted, error) ->
        let writer = JsonOutput.start output resultWord
        writeAttempt writer attempted
        writeOutcome writer (Failed(error, true))
        isTrue writer Field.unshared true
        writer
    | ToScheduler.Submit message ->
        let writer = JsonOutput.start output submitWord
        writeSubmit writer message
        writer
    | ToScheduler.Beat -> JsonOutput.start output beatWord
    | _ -> null // `ToSchedulerMessages` declares the others

/// As `tryWriteToScheduler`, for messages of the scheduler.
let tryWriteFromScheduler
    (output: IBufferWriter<byte>)
    (message: FromScheduler)
    : Utf8JsonWriter | null =
    match message with
    | FromScheduler.Process message ->
        let writer = JsonOutput.start output processWord
        writeProcess writer message
        writer
    | FromScheduler.Accepted(ref, task) ->
        let writer = JsonOutput.start output acceptedWord
        text writer Field.ref ref
        number writer Field.task (int64 task)
        writer
    | FromScheduler.Done message ->
        let writer = JsonOutput.start output doneWord
        writeDone writer message
        writer
    | FromScheduler.Beat -> JsonOutput.start output beatWord
    | _ -> null // `FromSchedulerMessages` declares the others

/// <summary>Reads a worker's or a client's message of every task.</summary>
/// <returns>None: only a scheduler sends this type.</returns>
let readToScheduler
    (fields: JsonObjectReader)
    (line: ReadOnlySpan<byte>)
    (kind: HotKind)
    : ToScheduler voption =
    match kind with
    | HotKind.Submit -> ValueSome(ToScheduler.Submit(readSubmit fields line))
    | HotKind.Result -> ValueSome(readResult fields line)
    | HotKind.Beat -> ValueSome ToScheduler.Beat
    | HotKind.Process
    | HotKind.Accepted
    | HotKind.Done -> ValueNone

/// <summary>Reads a scheduler's message of every task.</summary>
/// <returns>None: a scheduler does not send this type.</returns>
let readFromScheduler
    (fields: JsonObjectReader)
    (line: ReadOnlySpan<byte>)
    (kind: HotKind)
    : FromScheduler voption =
    match kind with
    | HotKind.Process -> ValueSome(FromScheduler.Process(readProcess fields line))
    | HotKind.Accepted ->
        let ref = fields.Text(line, Field.ref, ProtocolLimits.refBytesMax)
        ValueSome(FromScheduler.Accepted(ref, task fields line))
    | HotKind.Done -> ValueSome(FromScheduler.Done(readDone fields line))
    | HotKind.Beat -> ValueSome FromScheduler.Beat
    | HotKind.Submit
    | HotKind.Result -> ValueNone
