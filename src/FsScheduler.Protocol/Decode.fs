/// From lines to messages.
module internal FsScheduler.Protocol.Decode

open System
open System.Buffers.Text
open System.Text.Json
open System.Text.Unicode
open FsScheduler.Core

/// The code unit of an escape such as `\u00e9` at that place, or NUL if there is none.
let private escapeAt (line: ReadOnlySpan<byte>) at =
    let mutable unit = 0us
    let mutable read = 0

    if
        at + 6 <= line.Length
        && line[at] = '\\'B
        && line[at + 1] = 'u'B
        && Utf8Parser.TryParse(line.Slice(at + 2, 4), &unit, &read, 'x')
        && read = 4
    then
        char unit
    else
        '\000'

/// Whether an escape in the line is half of a surrogate pair. Backslashes stand only in strings, so
/// that the line need not be parsed for it.
let private hasLoneSurrogate (line: ReadOnlySpan<byte>) =
    let mutable at = line.IndexOf '\\'B
    let mutable isLone = false

    while at >= 0 && not isLone do
        let unit = escapeAt line at

        let length =
            if Char.IsHighSurrogate unit && Char.IsLowSurrogate(escapeAt line (at + 6)) then
                12
            else
                isLone <- Char.IsSurrogate unit
                2

        let rest = line.Slice(min line.Length (at + length)).IndexOf '\\'B
        at <- if rest < 0 then -1 else at + length + rest

    isLone

let private frameError code message bytes : Result<'frame, FrameError> =
    Error { code = code; message = message; bytes = bytes }

/// Notes the fields of a line, or says why it is no JSON object.
let private note (fields: JsonObjectReader) (line: ReadOnlySpan<byte>) : string | null =
    if line.Length > ProtocolLimits.lineBytesMax then
        $"a line is at most {ProtocolLimits.lineBytesMax} bytes"
    elif not (Utf8.IsValid line) then
        "the line is not UTF-8"
    elif hasLoneSurrogate line then
        "the line has an escape that is half of a surrogate pair"
    else
        try
            let mutable reader = Utf8JsonReader(line, JsonReaderOptions(MaxDepth = 16))

            if not (reader.Read() && reader.TokenType = JsonTokenType.StartObject) then
                "the line is not a JSON object"
            else
                fields.Note &reader
                // Throws if anything but blanks follows.
                reader.Read() |> ignore
                null
        with :? JsonException as error ->
            $"the line is not one JSON object; see its byte {error.BytePositionInLine}"

let inline private measured (value: int64) : int64<'unit> =
    LanguagePrimitives.Int64WithMeasure value

let private count (fields: JsonObjectReader) line field =
    fields.Integer(line, field, 0L, ProtocolLimits.integerMax)

let private task (fields: JsonObjectReader) line : TaskId =
    measured (fields.Integer(line, Field.task, 1L, ProtocolLimits.integerMax))

let private attempt (fields: JsonObjectReader) line : Attempt = {
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

let private attempts (fields: JsonObjectReader) line field =
    if fields.Has field then
        fields.Attempts(line, field)
    else
        [||]

/// Absent means false.
let private isSet (fields: JsonObjectReader) field = fields.Has field && fields.Bool field

let private hello (fields: JsonObjectReader) (line: ReadOnlySpan<byte>) : Hello =
    let protocol =
        int (fields.Integer(line, Field.protocol, int64 Int32.MinValue, int64 Int32.MaxValue))

    if protocol <> ProtocolLimits.protocolVersion then
        // In another version the other fields may mean something else, or be gone.
        {
            protocol = protocol
            role = Client
            name = ""
            token = None
            holding = [||]
            sharedFiles = false
        }
    else
        let isWorker = fields.Choice(line, Field.role, JsonNames.roles)

        let role =
            if not isWorker then
                Client
            elif fields.Has Field.stages then
                let stages = fields.Stages line

                if not (ProtocolLimits.areOffers stages) then
                    fields.Refuse(
                        Field.stages,
                        $"at most {ProtocolLimits.stagesMax} names of stages, each at most \
                          {ProtocolLimits.stageNameBytesMax} of letters, digits, '-', '_' and '.', a letter or digit first; \
                          or 'exec:PROGRAM', 'exec-file:PROGRAM', 'exec-lines:PROGRAM'"
                    )

                Worker(Some stages)
            else
                Worker None

        {
            protocol = protocol
            role = role
            name = fields.Text(line, Field.name, ProtocolLimits.peerNameBytesMax)
            token = optionalText fields line Field.token ProtocolLimits.tokenBytesMax
            holding =
                if isWorker then
                    attempts fields line Field.holding
                else
                    [||]
            sharedFiles = isWorker && isSet fields Field.sharedFiles
        }

let private outcome (fields: JsonObjectReader) line =
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

let private result (fields: JsonObjectReader) line =
    let attempt = attempt fields line

    match outcome fields line with
    | Succeeded when fields.Has Field.stored ->
        ToScheduler.Stored(attempt, size fields line Field.stored)
    | Failed(error, _)
    | Unable error when isSet fields Field.unshared -> ToScheduler.Unshared(attempt, error)
    | outcome -> ToScheduler.Result(attempt, outcome)

let private submit (fields: JsonObjectReader) (line: ReadOnlySpan<byte>) : Submit = {
    ref = fields.Text(line, Field.ref, ProtocolLimits.refBytesMax)
    // Only the line bounds it here: a bad name is REJECTED, by whoever knows what a good one is.
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

let private welcome (fields: JsonObjectReader) line : Welcome = {
    protocol = int (fields.Integer(line, Field.protocol, 1L, int64 Int32.MaxValue))
    session = fields.Text(line, Field.session, ProtocolLimits.sessionBytesMax)
    beat = duration fields line Field.beatMs
    lostAfter = duration fields line Field.lostAfterMs
    maxPayload = size fields line Field.maxPayload
    maxResult = size fields line Field.maxResult
    keep = attempts fields line Field.keep
}

let private sharedFiles (fields: JsonObjectReader) line : SharedFiles = {
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

let private processing (fields: JsonObjectReader) line : Process = {
    attempt = attempt fields line
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
            ValueSome(sharedFiles fields line)
        else
            ValueNone
}

let private refOrNone (fields: JsonObjectReader) line =
    if fields.Has Field.ref then
        fields.Text(line, Field.ref, ProtocolLimits.refBytesMax)
    else
        ""

let private finished (fields: JsonObjectReader) line : Done = {
    ref = refOrNone fields line
    task = task fields line
    attempts = int (fields.Integer(line, Field.attempts, 0L, int64 Int32.MaxValue))
    error =
        if fields.Bool Field.ok then
            None
        elif fields.Has Field.error then
            Some(fields.CutText(line, Field.error))
        else
            Some ""
}

let private worker (fields: JsonObjectReader) line : WorkerReport = {
    session = measured (fields.Integer(line, Field.session, 1L, ProtocolLimits.integerMax))
    name = fields.Text(line, Field.name, ProtocolLimits.peerNameBytesMax)
    slots = int (fields.Integer(line, Field.slots, 0L, int64 ProtocolLimits.slotsMax))
    held = int (fields.Integer(line, Field.held, 0L, int64 Int32.MaxValue))
    finished = count fields line Field.finished
    failed = count fields line Field.failed
}

let private workers (fields: JsonObjectReader) (line: ReadOnlySpan<byte>) : WorkerReport[] =
    let array = fields.Raw(line, Field.workers, JsonTokenType.StartArray)
    let reports = ResizeArray<WorkerReport>()
    let mutable isGood = not array.IsEmpty

    if isGood then
        let each = JsonObjectReader()
        let mutable reader = Utf8JsonReader array
        reader.Read() |> ignore

        while isGood && reader.Read() && reader.TokenType <> JsonTokenType.EndArray do
            if
                reader.TokenType = JsonTokenType.StartObject
                && reports.Count < ProtocolLimits.workersMax
            then
                each.Note &reader
                reports.Add(worker each array)
                isGood <- isNull each.Problem
            else
                isGood <- false

    if not isGood then
        fields.Refuse(
            Field.workers,
            $"an array of at most {ProtocolLimits.workersMax} reports of workers"
        )

    reports.ToArray()

let private status (fields: JsonObjectReader) (line: ReadOnlySpan<byte>) : StatusReport = {
    queued = count fields line Field.queued
    running = count fields line Field.running
    waiting = count fields line Field.waiting
    publishing = count fields line Field.publishing
    split =
        if fields.Has Field.split then
            count fields line Field.split
        else
            0L
    quarantined = count fields line Field.quarantined
    finished = count fields line Field.finished
    cancelled = count fields line Field.cancelled
    idle = int (fields.Integer(line, Field.idle, 0L, int64 Int32.MaxValue))
    busy = int (fields.Integer(line, Field.busy, 0L, int64 Int32.MaxValue))
    uptime = duration fields line Field.uptimeMs
    oldest = duration fields line Field.oldestMs
    finished10s = count fields line Field.finished10s
    finished60s = count fields line Field.finished60s
    trouble =
        if fields.Has Field.trouble then
            Some(fields.CutText(line, Field.trouble))
        else
            None
    awaited =
        if fields.Has Field.awaited then
            Some(fields.CutText(line, Field.awaited))
        else
            None
    missing =
        if fields.Has Field.missing then
            fields.Texts(line, Field.missing)
        else
            [||]
    heldBack =
        if fields.Has Field.heldBack then
            fields.Texts(line, Field.heldBack)
        else
            [||]
    workers = workers fields line
}

let private retryPipeline (fields: JsonObjectReader) line : string =
    fields.Text(line, Field.pipeline, ProtocolLimits.pipelineBytesMax)

let private query (fields: JsonObjectReader) line : EventQuery = {
    task =
        if fields.Has Field.task then
            Some(task fields line)
        else
            None
    after =
        if fields.Has Field.after then
            count fields line Field.after
        else
            0L
    most =
        if fields.Has Field.most then
            int (fields.Integer(line, Field.most, 1L, int64 ProtocolLimits.eventsMax))
        else
            1_000
}

let private phases (fields: JsonObjectReader) line : Phase[] =
    if not (fields.Has Field.states) then
        [||]
    else
        let found =
            fields.Texts(line, Field.states)
            |> Array.map (fun text ->
                JsonNames.phases |> Array.tryFind (fun word -> word.Text = text))

        if found.Length > JsonNames.phases.Length || Array.exists Option.isNone found then
            let known = JsonNames.phases |> Array.map _.Text |> String.concat ", "
            fields.Refuse(Field.states, $"an array of at most {JsonNames.phases.Length} of {known}")

        found |> Array.choose id |> Array.map _.Meaning

let private taskQuery (fields: JsonObjectReader) line : TaskQuery = {
    after =
        if fields.Has Field.after then
            measured (count fields line Field.after)
        else
            0L<taskId>
    most =
        if fields.Has Field.most then
            int (fields.Integer(line, Field.most, 1L, int64 ProtocolLimits.listedMax))
        else
            1_000
    phases = phases fields line
    name = optionalText fields line Field.name TaskName.bytesMax
    stage = optionalText fields line Field.stage ProtocolLimits.programBytesMax
}

/// The message, unless one of its fields was refused on the way.
let private complete (fields: JsonObjectReader) bytes message =
    match fields.Problem with
    | null -> Ok { message = message; bytes = bytes }
    | problem -> frameError ErrorCode.BadField problem bytes

/// What a line is, and the size of its payload. Without the size nobody knows where the next frame
/// begins, so that a bad one is the end; with it, all else that is wrong can be stepped over.
let private opened
    (fields: JsonObjectReader)
    (line: ReadOnlySpan<byte>)
    : Result<Frame<Kind>, FrameError> =
    match note fields line with
    | null ->
        let bytes =
            if fields.Has Field.bytes then
                size fields line Field.bytes
            else
                0L<B>

        match fields.Problem with
        | null ->
            let struct (isKnown, kind) =
                fields.ChoiceOr(line, Field.kind, JsonNames.kinds, Kind.Beat)

            if isKnown then
                Ok { message = kind; bytes = bytes }
            else
                let text = fields.CutText(line, Field.kind)

                match fields.Problem with
                | null ->
                    let name = ProtocolLimits.cut 50 text
                    frameError ErrorCode.UnknownType $"unknown type '{name}'" bytes
                | problem -> frameError ErrorCode.BadField problem bytes
        | problem -> frameError ErrorCode.BadFrame problem 0L<B>
    | problem -> frameError ErrorCode.BadFrame problem 0L<B>

let private notFrom (sender: string) (kind: Kind) bytes =
    let word = JsonNames.kinds |> Array.find (fun word -> word.Meaning = kind)
    frameError ErrorCode.NotWelcome $"{word.Text} is not for a {sender} to send" bytes

let toScheduler (line: ReadOnlySpan<byte>) : Result<Frame<ToScheduler>, FrameError> =
    let fields = JsonObjectReader.OfThread

    match opened fields line with
    | Error error -> Error error
    | Ok { message = kind; bytes = bytes } ->
        match kind with
        | Kind.Submit -> complete fields bytes (ToScheduler.Submit(submit fields line))
        | Kind.Result -> complete fields bytes (result fields line)
        | Kind.Beat -> complete fields bytes ToScheduler.Beat
        | Kind.Ready ->
            let slots =
                int (fields.Integer(line, Field.slots, 0L, int64 ProtocolLimits.slotsMax))

            complete fields bytes (ToScheduler.Ready slots)
        | Kind.Hello -> complete fields bytes (ToScheduler.Hello(hello fields line))
        | Kind.Status -> complete fields bytes ToScheduler.Status
        | Kind.Cancel -> complete fields bytes (ToScheduler.Cancel(task fields line))
        | Kind.Retry when fields.Has Field.every ->
            if not (fields.Bool Field.every) then
                fields.Refuse(Field.every, "true, or absent")

            if fields.Has Field.pipeline then
                complete fields bytes (ToScheduler.RetryAllWith(retryPipeline fields line))
            else
                complete fields bytes ToScheduler.RetryAll
        | Kind.Retry when fields.Has Field.pipeline ->
            let task = task fields line
            complete fields bytes (ToScheduler.RetryWith(task, retryPipeline fields line))
        | Kind.Retry -> complete fields bytes (ToScheduler.Retry(task fields line))
        | Kind.Drain ->
            let worker = fields.Text(line, Field.worker, ProtocolLimits.peerNameBytesMax)
            complete fields bytes (ToScheduler.Drain worker)
        | Kind.Explain -> complete fields bytes (ToScheduler.Explain(task fields line))
        | Kind.Events -> complete fields bytes (ToScheduler.Events(query fields line))
        | Kind.List -> complete fields bytes (ToScheduler.List(taskQuery fields line))
        | Kind.Stages -> complete fields bytes ToScheduler.Stages
        | Kind.Fetch -> complete fields bytes (ToScheduler.Fetch(task fields line))
        | Kind.Welcome
        | Kind.Process
        | Kind.Accepted
        | Kind.Done
        | Kind.Rejected
        | Kind.Error -> notFrom "worker or client" kind bytes

let fromScheduler (line: ReadOnlySpan<byte>) : Result<Frame<FromScheduler>, FrameError> =
    let fields = JsonObjectReader.OfThread

    match opened fields line with
    | Error error -> Error error
    | Ok { message = kind; bytes = bytes } ->
        match kind with
        | Kind.Process -> complete fields bytes (FromScheduler.Process(processing fields line))
        | Kind.Accepted ->
            let ref = fields.Text(line, Field.ref, ProtocolLimits.refBytesMax)
            complete fields bytes (FromScheduler.Accepted(ref, task fields line))
        | Kind.Done -> complete fields bytes (FromScheduler.Done(finished fields line))
        | Kind.Beat -> complete fields bytes FromScheduler.Beat
        | Kind.Cancel -> complete fields bytes (FromScheduler.Cancel(attempt fields line))
        | Kind.Welcome -> complete fields bytes (FromScheduler.Welcome(welcome fields line))
        | Kind.Rejected ->
            let ref = fields.Text(line, Field.ref, ProtocolLimits.refBytesMax)
            let code = fields.Choice(line, Field.code, JsonNames.rejections)
            let message = fields.CutText(line, Field.message)
            complete fields bytes (FromScheduler.Rejected(ref, code, message))
        | Kind.Error ->
            let code = fields.Choice(line, Field.code, JsonNames.errors)
            let message = fields.CutText(line, Field.message)
            complete fields bytes (FromScheduler.Error(code, message))
        | Kind.Status -> complete fields bytes (FromScheduler.Status(status fields line))
        | Kind.Drain -> complete fields bytes FromScheduler.Drain
        | Kind.Explain -> complete fields bytes (FromScheduler.Explanation(task fields line))
        | Kind.Events -> complete fields bytes (FromScheduler.Events(count fields line Field.after))
        | Kind.List ->
            let last = measured (count fields line Field.after)
            complete fields bytes (FromScheduler.List(last, isSet fields Field.more))
        | Kind.Stages -> complete fields bytes FromScheduler.Stages
        | Kind.Fetch ->
            let name = fields.Text(line, Field.name, TaskName.bytesMax)
            complete fields bytes (FromScheduler.Fetch(task fields line, name))
        | Kind.Hello
        | Kind.Ready
        | Kind.Result
        | Kind.Submit
        | Kind.Retry -> notFrom "scheduler" kind bytes
