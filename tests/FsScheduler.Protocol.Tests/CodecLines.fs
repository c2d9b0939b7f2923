/// The lines of the protocol, each declared as a record that FSharp.SystemTextJson maps.
module FsScheduler.Protocol.Tests.CodecLines

open System.Text.Json
open System.Text.Json.Serialization

type HelloLine = {
    protocol: int
    role: string
    name: string
    stages: Skippable<string[]>
    token: Skippable<string>
    holding: Skippable<int64[][]>
    sharedFiles: Skippable<bool>
    bytes: Skippable<int64>
}

type EmptyLine = { bytes: Skippable<int64> }

type ReadyLine = { slots: int; bytes: Skippable<int64> }

type ResultLine = {
    task: int64
    attempt: int
    ok: bool
    error: Skippable<string>
    retry: Skippable<bool>
    stored: Skippable<int64>
    unshared: Skippable<bool>
    blame: Skippable<string>
    bytes: Skippable<int64>
}

type SubmitLine = {
    ref: string
    name: string
    pipeline: Skippable<string>
    priority: Skippable<int>
    key: Skippable<string>
    want: Skippable<string>
    bytes: Skippable<int64>
}

type TaskLine = { task: int64; bytes: Skippable<int64> }

type RetryLine = {
    task: Skippable<int64>
    pipeline: Skippable<string>
    all: Skippable<bool>
    bytes: Skippable<int64>
}

type DrainLine = { worker: string; bytes: Skippable<int64> }

type EventsLine = { task: Skippable<int64>; after: int64; most: int; bytes: Skippable<int64> }

type ListLine = {
    after: int64
    most: int
    states: Skippable<string[]>
    name: Skippable<string>
    stage: Skippable<string>
    bytes: Skippable<int64>
}

type ToSchedulerLine =
    | [<JsonPropertyName "HELLO">] HelloLine of HelloLine
    | [<JsonPropertyName "BEAT">] BeatLine of EmptyLine
    | [<JsonPropertyName "READY">] ReadyLine of ReadyLine
    | [<JsonPropertyName "RESULT">] ResultLine of ResultLine
    | [<JsonPropertyName "SUBMIT">] SubmitLine of SubmitLine
    | [<JsonPropertyName "STATUS">] StatusLine of EmptyLine
    | [<JsonPropertyName "CANCEL">] CancelLine of TaskLine
    | [<JsonPropertyName "RETRY">] RetryLine of RetryLine
    | [<JsonPropertyName "DRAIN">] DrainLine of DrainLine
    | [<JsonPropertyName "EXPLAIN">] ExplainLine of TaskLine
    | [<JsonPropertyName "EVENTS">] EventsLine of EventsLine
    | [<JsonPropertyName "LIST">] ListLine of ListLine
    | [<JsonPropertyName "STAGES">] StagesLine of EmptyLine
    | [<JsonPropertyName "FETCH">] FetchLine of TaskLine

type WelcomeLine = {
    protocol: int
    session: string
    beatMs: int64
    lostAfterMs: int64
    maxPayload: int64
    maxResult: int64
    keep: Skippable<int64[][]>
    bytes: Skippable<int64>
}

type ProcessLine = {
    task: int64
    attempt: int
    name: string
    stages: string[]
    timeoutMs: int64
    piece: Skippable<int>
    from: Skippable<string>
    start: Skippable<int64>
    size: Skippable<int64>
    ``to``: Skippable<string>
    length: Skippable<int64>
    modifiedUs: Skippable<int64>
    bytes: Skippable<int64>
}

type AttemptLine = { task: int64; attempt: int; bytes: Skippable<int64> }

type AcceptedLine = { ref: string; task: int64; bytes: Skippable<int64> }

type DoneLine = {
    ref: Skippable<string>
    task: int64
    ok: bool
    error: Skippable<string>
    outcome: string
    attempts: int
    bytes: Skippable<int64>
}

type RejectedLine = { ref: string; code: string; message: string; bytes: Skippable<int64> }

type WorkerLine = {
    session: int64
    name: string
    slots: int
    held: int
    finished: int64
    failed: int64
}

type ReportLine = {
    queued: int64
    running: int64
    waiting: int64
    publishing: int64
    split: Skippable<int64>
    quarantined: int64
    finished: int64
    cancelled: int64
    idle: int
    busy: int
    uptimeMs: int64
    oldestMs: int64
    finished10s: int64
    finished60s: int64
    trouble: Skippable<string>
    awaited: Skippable<string>
    missing: Skippable<string[]>
    heldBack: Skippable<string[]>
    workers: WorkerLine[]
    bytes: Skippable<int64>
}

type LastLine = { after: int64; bytes: Skippable<int64> }

type PageLine = { after: int64; more: Skippable<bool>; bytes: Skippable<int64> }

type FetchedLine = { task: int64; name: string; bytes: Skippable<int64> }

type ErrorLine = { code: string; message: string; bytes: Skippable<int64> }

type FromSchedulerLine =
    | [<JsonPropertyName "WELCOME">] WelcomeLine of WelcomeLine
    | [<JsonPropertyName "BEAT">] BeatLine of EmptyLine
    | [<JsonPropertyName "PROCESS">] ProcessLine of ProcessLine
    | [<JsonPropertyName "CANCEL">] AttemptLine of AttemptLine
    | [<JsonPropertyName "ACCEPTED">] AcceptedLine of AcceptedLine
    | [<JsonPropertyName "DONE">] DoneLine of DoneLine
    | [<JsonPropertyName "REJECTED">] RejectedLine of RejectedLine
    | [<JsonPropertyName "STATUS">] ReportLine of ReportLine
    | [<JsonPropertyName "DRAIN">] DismissLine of EmptyLine
    | [<JsonPropertyName "EXPLAIN">] ExplanationLine of TaskLine
    | [<JsonPropertyName "EVENTS">] LastLine of LastLine
    | [<JsonPropertyName "LIST">] PageLine of PageLine
    | [<JsonPropertyName "STAGES">] StageListLine of EmptyLine
    | [<JsonPropertyName "FETCH">] FetchedLine of FetchedLine
    | [<JsonPropertyName "ERROR">] ErrorLine of ErrorLine

let options =
    let options = JsonSerializerOptions()

    options.Converters.Add(
        JsonFSharpConverter(
            unionEncoding =
                (JsonUnionEncoding.InternalTag
                 ||| JsonUnionEncoding.NamedFields
                 ||| JsonUnionEncoding.UnwrapRecordCases),
            unionTagName = "type"
        )
    )

    options
