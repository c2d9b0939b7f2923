namespace FsScheduler.Journal

open FsScheduler.Core
open FsScheduler.Machine

/// The property names in the JSON of events, for `EventWriter` and `EventReader`.
module internal EventNames =

    let private property (text: string) = JsonBuffer.Name text

    let event = property "event"
    let what = property "what"
    let task = property "task"
    let attempt = property "attempt"
    let session = property "session"
    let name = property "name"
    let ref = property "ref"
    let pipeline = property "pipeline"
    let priority = property "priority"
    let origin = property "origin"
    let want = property "want"
    let key = property "key"
    let content = property "content"
    let whole = property "whole"
    let piece = property "piece"
    let slow = property "slow"
    let payload = property "payload"
    let result = property "result"
    let input = property "input"
    let at = property "at"
    let bytes = property "bytes"
    let file = property "file"
    let modified = property "modified"
    let changed = property "changed"
    let inode = property "inode"
    let first = property "first"
    let last = property "last"
    let stage = property "stage"
    let cuts = property "cuts"
    let cause = property "cause"
    let stages = property "stages"
    let worker = property "worker"
    let error = property "error"
    let delay = property "delayMs"
    let mark = property "mark"
    let hash = property "hash"
    let reason = property "reason"
    let owner = property "owner"
    let upTo = property "upTo"
    let before = property "before"
    let completed = property "completed"
    let cancelled = property "cancelled"
    let lastTask = property "lastTask"
    let lastSession = property "lastSession"
    let known = property "known"
    let state = property "state"
    let on = property "on"
    let until = property "until"
    let older = property "older"
    let since = property "since"
    let place = property "place"
    let failures = property "failures"
    let losses = property "losses"
    let stageEnd = property "stageEnd"
    let pastFailures = property "troubles"
    let pieces = property "pieces"
    let attempts = property "attempts"
    let finished = property "finished"
    let delivered = property "delivered"
    let isDone = property "isDone"

    let private causes = [|
        TaskError, "fault"
        WorkerLost, "loss"
        WorkerLeft, "departure"
        StorageError, "disk"
        WorkerUnable, "inability"
    |]

    let causeName (cause: Cause) =
        causes |> Array.find (fun (known, _) -> known = cause) |> snd

    let tryCause (text: string) =
        causes |> Array.tryFind (fun (_, name) -> name = text) |> Option.map fst

    let wantName (want: Want) =
        match want with
        | Result -> "result"
        | File -> "file"
        | Nothing -> "nothing"

    let tryWant (text: string) =
        match text with
        | "result" -> Some Result
        | "file" -> Some File
        | "nothing" -> Some Nothing
        | _ -> None
