namespace FsScheduler.Core

open System.Collections.Generic

/// Somebody who waits for the end of a task.
[<Struct>]
type internal Waiter = { session: SessionId; ref: string; want: Want }

/// A key that was used: its task, and how that ended.
type internal KeyEntry = {
    key: Key
    task: TaskId
    /// Where the result was to go: whoever wants a stored one sent comes too late.
    want: Want
    /// The event that the journal has the key at.
    mutable number: int64
    /// Beside the submitter: those who came later with the same key.
    mutable waiters: ResizeArray<Waiter> | null
    mutable outcome: struct (Done * Payload) voption
    /// When the task ended.
    mutable finished: Instant
    /// When the result was first handed to somebody.
    mutable delivered: Instant voption
}

/// <summary>The keys in use, and the latest of those whose tasks are finished.</summary>
/// <param name="isJournaled">Results that are kept are the journal's, and bounded there.</param>
type internal IdempotencyKeys(isJournaled: bool) =
    let entries = Dictionary<string, KeyEntry>()
    let homes = Homes<KeyEntry>()
    let finished = Queue<KeyEntry>()
    // Those whose results nobody has fetched yet.
    let unfetched = Dictionary<TaskId, KeyEntry>()
    let mutable keptBytes = 0L<B>
    let mutable spooledBytes = 0L<B>

    let count payload sign =
        if not isJournaled then
            keptBytes <- keptBytes + sign * Payload.size payload

        match payload with
        | Spooled(_, size) -> spooledBytes <- spooledBytes + sign * size
        | Packed
        | Bytes _
        | Journaled
        | Recorded _
        | Input _
        | Slice _ -> ()

    let isCurrent (entry: KeyEntry) =
        match entries.TryGetValue entry.key.text with
        | true, current -> obj.ReferenceEquals(current, entry)
        | _ -> false

    let remove (entry: KeyEntry) payload =
        entries.Remove entry.key.text |> ignore
        unfetched.Remove entry.task |> ignore
        count payload -1L

    member _.Homes = homes

    /// What the results that are kept in files take.
    member _.SpooledBytes = spooledBytes

    member _.Find(key: Key) : KeyEntry voption =
        match entries.TryGetValue key.text with
        | true, entry -> ValueSome entry
        | _ -> ValueNone

    /// A key that comes with a task, at an event.
    member _.Add(key: Key, task: TaskId, want: Want, number: int64) : KeyEntry =
        let entry = {
            key = key
            task = task
            want = want
            number = number
            waiters = null
            outcome = ValueNone
            finished = Instant.zero
            delivered = ValueNone
        }

        entries[key.text] <- entry
        homes.Add(number, entry)
        entry

    /// The journal has the key at a later event too.
    member _.CarryTo(entry: KeyEntry, number: int64) =
        entry.number <- number
        homes.Add(number, entry)

    /// Whether the journal has this key, which is in use, at this event and at no later one.
    member _.IsAt(entry: KeyEntry, number: int64) =
        entry.number = number && isCurrent entry

    /// Every key in use, with its task and what is known of the end.
    member _.ToSeq() =
        entries.Values
        |> Seq.map (fun entry -> struct (entry.key, entry.task, entry.outcome))

    /// Keeps the outcome for those who come back with the key.
    member _.Finish(entry: KeyEntry, outcome: Done, payload: Payload, at: Instant) =
        entry.outcome <- ValueSome(struct (outcome, payload))
        entry.finished <- at
        finished.Enqueue entry
        count payload 1L

        if entry.want = Result && outcome.error.IsNone then
            unfetched[entry.task] <- entry

    /// The result of a task has reached somebody: the first time counts.
    member _.Deliver(task: TaskId, at: Instant) =
        match unfetched.TryGetValue task with
        | true, entry ->
            entry.delivered <- ValueSome at
            unfetched.Remove task |> ignore
        | _ -> ()

    /// Whether the outcome of a finished task is still to be kept, with a time up to which everything is kept.
    member _.IsKept(entry: KeyEntry, keptSince: Instant) =
        let isNewer (at: Instant) = at - keptSince >= 0L<ms>

        match entry.delivered with
        | ValueSome at -> isNewer at
        | ValueNone -> unfetched.ContainsKey entry.task || isNewer entry.finished

    /// All who waited know how it ended.
    member _.ForgetWaiters(entry: KeyEntry) = entry.waiters <- null

    /// <summary>Forgets the keys of finished tasks that the journal drops.</summary>
    /// <param name="before">It drops the events before this number.</param>
    /// <returns>What was kept of them.</returns>
    member keys.Drop(before: int64) : Payload list = [
        let mutable home = homes.TryTake before

        while home.IsSome do
            let struct (number, entry) = home.Value

            match entry.outcome with
            | ValueSome(struct (_, payload)) when keys.IsAt(entry, number) ->
                remove entry payload
                payload
            | _ -> ()

            home <- homes.TryTake before
    ]

    /// <summary>Forgets the oldest outcomes, where there are too many.</summary>
    /// <returns>The payloads of those.</returns>
    member _.Evict() : Payload list = [
        while finished.Count > SchedulerLimits.keysMax
              || keptBytes > SchedulerLimits.keptBytesMax do
            let oldest = finished.Dequeue()

            match oldest.outcome with
            | ValueSome(struct (_, payload)) when isCurrent oldest ->
                remove oldest payload
                payload
            | _ -> () // forgotten before
    ]
