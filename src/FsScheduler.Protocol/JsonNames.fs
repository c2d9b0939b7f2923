namespace FsScheduler.Protocol

open System
open System.Text
open System.Text.Json
open FsScheduler.Core

/// The name of a field in the messages of every task (`HotKind`): as text, as UTF-8 to compare with, and encoded to
/// write.
[<Sealed>]
type internal Field(index: int, name: string) =
    /// The index of the field in `Field.all`.
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
    let outcome = field "outcome"
    let from = field "from"
    let start = field "start"
    let size = field "size"
    let into = field "to"
    let length = field "length"
    let modifiedUs = field "modifiedUs"
    let stored = field "stored"
    let unshared = field "unshared"
    let blame = field "blame"

    let all = known.ToArray()

    // `JsonObjectReader` has one bit of a 64-bit word for each field.
    if all.Length > 64 then
        failwith $"{all.Length} fields are more than the 64 that JsonObjectReader holds"

    // No perfect hash: at most three names share a bucket, and most have their own.
    let private bucketOf (name: ReadOnlySpan<byte>) =
        (name.Length + 3 * int name[0] + 5 * int name[name.Length - 1]) &&& 127

    let private buckets =
        let grouped =
            all
            |> Array.groupBy (fun field -> bucketOf (ReadOnlySpan field.Utf8))
            |> Map.ofArray

        Array.init 128 (fun bucket -> grouped |> Map.tryFind bucket |> Option.defaultValue [||])

    /// The index of the field of a name; -1: no field has this name.
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

/// One of the fixed words that a field may hold, and its meaning.
[<Sealed>]
type internal JsonName<'meaning>(meaning: 'meaning, text: string) =
    member _.Meaning = meaning
    member _.Text = text
    member val Utf8 = Encoding.UTF8.GetBytes text
    member val Encoded = JsonEncodedText.Encode text

/// The types of the messages of every task, which are read and written without allocation.
[<RequireQualifiedAccess>]
type internal HotKind =
    | Submit
    | Result
    | Process
    | Accepted
    | Done
    | Beat

module internal JsonNames =

    /// The most frequent first, since they are searched in this order.
    let kinds = [|
        JsonName(HotKind.Submit, "SUBMIT")
        JsonName(HotKind.Result, "RESULT")
        JsonName(HotKind.Process, "PROCESS")
        JsonName(HotKind.Accepted, "ACCEPTED")
        JsonName(HotKind.Done, "DONE")
        JsonName(HotKind.Beat, "BEAT")
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

    /// Whether a failure is the worker's, not the task's.
    let blames = [| JsonName(false, "task"); JsonName(true, "worker") |]

    let outcomes = [|
        JsonName(TaskOutcome.Completed, "completed")
        JsonName(TaskOutcome.Quarantined, "quarantined")
        JsonName(TaskOutcome.Cancelled, "cancelled")
    |]

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

    /// Whether the role is a worker's. Its stages are in another field.
    let roles = [| JsonName(true, "worker"); JsonName(false, "client") |]

    /// The word of a meaning, encoded to write. Every meaning has a word.
    let encoded (words: JsonName<'meaning>[]) (meaning: 'meaning) =
        (words |> Array.find (fun word -> word.Meaning = meaning)).Encoded
