namespace FsScheduler.Journal

open FsScheduler.Core

/// The names of properties in the JSON of events: what `EventWriter` writes and `EventReader` reads.
module internal EventNames =

    let private name (text: string) = JsonBuffer.Name text

    let event = name "event"
    let what = name "what"
    let task = name "task"
    let attempt = name "attempt"
    let session = name "session"
    let name' = name "name"
    let ref = name "ref"
    let pipeline = name "pipeline"
    let priority = name "priority"
    let origin = name "origin"
    let want = name "want"
    let key = name "key"
    let content = name "content"
    let whole = name "whole"
    let piece = name "piece"
    let slow = name "slow"
    let payload = name "payload"
    let result = name "result"
    let input = name "input"
    let at = name "at"
    let bytes = name "bytes"
    let file = name "file"
    let modified = name "modified"
    let changed = name "changed"
    let inode = name "inode"
    let first = name "first"
    let last = name "last"
    let stage = name "stage"
    let cuts = name "cuts"
    let cause = name "cause"
    let stages = name "stages"
    let worker = name "worker"
    let error = name "error"
    let delay = name "delayMs"
    let mark = name "mark"
    let hash = name "hash"
    let reason = name "reason"
    let owner = name "owner"
    let upTo = name "upTo"
    let before = name "before"
    let completed = name "completed"
    let cancelled = name "cancelled"
    let lastTask = name "lastTask"
    let lastSession = name "lastSession"
    let known = name "known"
    let state = name "state"
    let on = name "on"
    let until = name "until"
    let older = name "older"
    let since = name "since"
    let place = name "place"
    let failures = name "failures"
    let losses = name "losses"
    let stageEnd = name "stageEnd"
    let pastFailures = name "troubles"
    let pieces = name "pieces"
    let attempts = name "attempts"
    let finished = name "finished"
    let delivered = name "delivered"
    let isDone = name "isDone"

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
