namespace FsScheduler.Protocol

open System
open System.Text
open System.Text.Json
open FsScheduler.Core

/// The name of a field: as text, as UTF-8 to compare with, and ready to be written.
[<Sealed>]
type internal Field(index: int, name: string) =
    /// Its place in an array of all fields.
    member _.Index = index
    member _.Name = name
    member val Utf8 = Encoding.UTF8.GetBytes name
    member val Encoded = JsonEncodedText.Encode name

module internal Field =

    let private known = ResizeArray<Field>()

    let private field name =
        let field = Field(known.Count, name)
        known.Add field
        field

    let kind = field "type"
    let bytes = field "bytes"
    let task = field "task"
    let attempt = field "attempt"
    let ok = field "ok"
    let error = field "error"
    let retry = field "retry"
    let name = field "name"
    let ref = field "ref"
    let pipeline = field "pipeline"
    let priority = field "priority"
    let key = field "key"
    let want = field "want"
    let stages = field "stages"
    let timeoutMs = field "timeoutMs"
    let piece = field "piece"
    let attempts = field "attempts"
    let code = field "code"
    let message = field "message"
    let protocol = field "protocol"
    let role = field "role"
    let token = field "token"
    let slots = field "slots"
    let session = field "session"
    let beatMs = field "beatMs"
    let lostAfterMs = field "lostAfterMs"
    let maxPayload = field "maxPayload"
    let maxResult = field "maxResult"
    let queued = field "queued"
    let running = field "running"
    let waiting = field "waiting"
    let publishing = field "publishing"
    let quarantined = field "quarantined"
    let finished = field "finished"
    let cancelled = field "cancelled"
    let idle = field "idle"
    let busy = field "busy"
    let uptimeMs = field "uptimeMs"
    let oldestMs = field "oldestMs"
    let workers = field "workers"
    let held = field "held"
    let failed = field "failed"
    let holding = field "holding"
    let keep = field "keep"
    let every = field "all"
    let worker = field "worker"
    let after = field "after"
    let most = field "most"
    let finished10s = field "finished10s"
    let finished60s = field "finished60s"
    let trouble = field "trouble"
    let awaited = field "awaited"
    let missing = field "missing"
    let heldBack = field "heldBack"
    let split = field "split"
    let sharedFiles = field "sharedFiles"
    let from = field "from"
    let start = field "start"
    let size = field "size"
    let into = field "to"
    let length = field "length"
    let modifiedUs = field "modifiedUs"
    let stored = field "stored"
    let unshared = field "unshared"
    let blame = field "blame"
    let states = field "states"
    let stage = field "stage"
    let more = field "more"

    let all = known.ToArray()

    // `JsonObjectReader` has two words of bits for them.
    if all.Length > 128 then
        failwith $"{all.Length} fields are more than there are bits for"

    // A perfect hash is not needed: at most three names share a bucket, and most have their own.
    let private bucketOf (name: ReadOnlySpan<byte>) =
        (name.Length + 3 * int name[0] + 5 * int name[name.Length - 1]) &&& 127

    let private buckets =
        let grouped =
            all
            |> Array.groupBy (fun field -> bucketOf (ReadOnlySpan field.Utf8))
            |> Map.ofArray

        Array.init 128 (fun bucket -> grouped |> Map.tryFind bucket |> Option.defaultValue [||])

    /// The index of the field of that name, or -1.
    let find (name: ReadOnlySpan<byte>) =
        if name.IsEmpty then
            -1
        else
            let bucket = buckets[bucketOf name]
            let mutable found = -1
            let mutable i = 0

            while i < bucket.Length do
                if name.SequenceEqual(ReadOnlySpan bucket[i].Utf8) then
                    found <- bucket[i].Index
                    i <- bucket.Length
                else
                    i <- i + 1

            found

/// One of the fixed words that a field may hold, and what it means.
[<Sealed>]
type internal JsonName<'meaning>(meaning: 'meaning, text: string) =
    member _.Meaning = meaning
    member _.Text = text
    member val Utf8 = Encoding.UTF8.GetBytes text
    member val Encoded = JsonEncodedText.Encode text

/// What a message is, whoever sends it.
[<RequireQualifiedAccess>]
type internal Kind =
    | Hello
    | Beat
    | Ready
    | Result
    | Submit
    | Status
    | Cancel
    | Retry
    | Drain
    | Explain
    | Events
    | List
    | Stages
    | Fetch
    | Welcome
    | Process
    | Accepted
    | Done
    | Rejected
    | Error

module internal JsonNames =

    /// The most frequent first: they are searched in this order.
    let kinds = [|
        JsonName(Kind.Submit, "SUBMIT")
        JsonName(Kind.Result, "RESULT")
        JsonName(Kind.Process, "PROCESS")
        JsonName(Kind.Accepted, "ACCEPTED")
        JsonName(Kind.Done, "DONE")
        JsonName(Kind.Beat, "BEAT")
        JsonName(Kind.Ready, "READY")
        JsonName(Kind.Hello, "HELLO")
        JsonName(Kind.Welcome, "WELCOME")
        JsonName(Kind.Status, "STATUS")
        JsonName(Kind.Cancel, "CANCEL")
        JsonName(Kind.Retry, "RETRY")
        JsonName(Kind.Drain, "DRAIN")
        JsonName(Kind.Explain, "EXPLAIN")
        JsonName(Kind.Events, "EVENTS")
        JsonName(Kind.List, "LIST")
        JsonName(Kind.Stages, "STAGES")
        JsonName(Kind.Fetch, "FETCH")
        JsonName(Kind.Rejected, "REJECTED")
        JsonName(Kind.Error, "ERROR")
    |]

    let phases = [|
        JsonName(Phase.Queued, "queued")
        JsonName(Phase.Suspected, "suspected")
        JsonName(Phase.Running, "running")
        JsonName(Phase.Split, "split")
        JsonName(Phase.Waiting, "waiting")
        JsonName(Phase.Publishing, "publishing")
        JsonName(Phase.Succeeding, "succeeding")
        JsonName(Phase.Quarantined, "quarantined")
        JsonName(Phase.Done, "done")
        JsonName(Phase.Cancelled, "cancelled")
    |]

    let wants = [|
        JsonName(Want.Result, "result")
        JsonName(Want.File, "file")
        JsonName(Want.Nothing, "none")
    |]

    /// Whether a failure is the worker's own, and says nothing of its task.
    let blames = [| JsonName(false, "task"); JsonName(true, "worker") |]

    let rejections = [|
        JsonName(RejectionCode.BadPipeline, "bad-pipeline")
        JsonName(RejectionCode.BadName, "bad-name")
        JsonName(RejectionCode.BadKey, "bad-key")
        JsonName(RejectionCode.Busy, "busy")
    |]

    let errors = [|
        JsonName(ErrorCode.BadFrame, "bad-frame")
        JsonName(ErrorCode.BadField, "bad-field")
        JsonName(ErrorCode.UnknownType, "unknown-type")
        JsonName(ErrorCode.TooLarge, "too-large")
        JsonName(ErrorCode.BadVersion, "bad-version")
        JsonName(ErrorCode.Unauthorized, "unauthorized")
        JsonName(ErrorCode.NotWelcome, "not-welcome")
        JsonName(ErrorCode.Timeout, "timeout")
    |]

    /// Whether the worker's or the client's role; the stages of a worker stand beside it.
    let roles = [| JsonName(true, "worker"); JsonName(false, "client") |]

    /// As it is written. Every meaning has a word.
    let encoded (words: JsonName<'meaning>[]) (meaning: 'meaning) =
        (words |> Array.find (fun word -> word.Meaning = meaning)).Encoded
