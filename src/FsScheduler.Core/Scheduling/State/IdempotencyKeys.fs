namespace FsScheduler.Core

open System.Collections.Generic

/// Somebody who waits for the end of a task.
[<Struct>]
type internal Waiter = { session: SessionId; ref: string; want: Want }

/// A key that was used: its task, and how that ended.
type internal KeyEntry = {
    key: Key
    task: TaskId
    /// Whether its result is stored: whoever wants it sent comes too late.
    isStored: bool
    /// Beside the submitter: those who came later with the same key.
    mutable waiters: ResizeArray<Waiter> | null
    mutable outcome: struct (Done * Payload) voption
}

/// <summary>The keys in use, and the latest of those whose tasks are finished.</summary>
/// <param name="isJournaled">Results that are kept are the journal's, and bounded there.</param>
type internal IdempotencyKeys(isJournaled: bool) =
    let entries = Dictionary<string, KeyEntry>()
    let finished = Queue<KeyEntry>()
    let mutable keptBytes = 0L<B>

    let sizeOf payload =
        if isJournaled then 0L<B> else Payload.size payload

    member _.Find(key: Key) : KeyEntry voption =
        match entries.TryGetValue key.text with
        | true, entry -> ValueSome entry
        | _ -> ValueNone

    member _.Add(key: Key, task: TaskId, isStored: bool) =
        entries[key.text] <- {
            key = key
            task = task
            isStored = isStored
            waiters = null
            outcome = ValueNone
        }

    /// Forgets the key of a finished task, unless a later one uses it. What was kept is the journal's, which forgets it
    /// after that.
    member _.Forget(struct (key: string, task: TaskId)) =
        match entries.TryGetValue key with
        | true, { task = user; outcome = ValueSome(struct (_, payload)) } when user = task ->
            entries.Remove key |> ignore
            keptBytes <- keptBytes - sizeOf payload
        | _ -> ()

    /// Every key in use, with its task and what is known of the end.
    member _.ToSeq() =
        entries.Values
        |> Seq.map (fun entry -> struct (entry.key, entry.task, entry.outcome))

    /// Keeps the outcome for those who come back with the key.
    member _.Finish(entry: KeyEntry, outcome: Done, payload: Payload) =
        entry.outcome <- ValueSome(struct (outcome, payload))
        finished.Enqueue entry
        keptBytes <- keptBytes + sizeOf payload

    /// All who waited know how it ended.
    member _.ForgetWaiters(entry: KeyEntry) = entry.waiters <- null

    /// <summary>Forgets the oldest outcomes, where there are too many.</summary>
    /// <returns>The payloads of those.</returns>
    member _.Evict() : Payload list = [
        while finished.Count > Limits.keysMax || keptBytes > Limits.keptBytesMax do
            let oldest = finished.Dequeue()

            match entries.TryGetValue oldest.key.text, oldest.outcome with
            | (true, entry), ValueSome(struct (_, payload)) when obj.ReferenceEquals(entry, oldest) ->
                entries.Remove oldest.key.text |> ignore
                keptBytes <- keptBytes - sizeOf payload
                payload
            | _ -> () // forgotten before
    ]
