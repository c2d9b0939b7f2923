namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// A request that waits for the end of a task.
[<Struct>]
type internal Waiter = { session: SessionId; ref: string; want: Want }

/// A key in use: its task, and the outcome of the task.
type internal KeyEntry = {
    key: Key
    task: TaskId
    /// Where the result goes: a request that wants a stored result sent comes too late.
    want: Want
    /// The number of the event that has the key.
    mutable number: int64
    /// Requests that came later with the same key; the submitter is not among them.
    mutable waiters: ResizeArray<Waiter> | null
    mutable outcome: struct (Done * KeptContent) voption
    /// When the task ended.
    mutable finished: Instant
    /// When the result was first sent to a client.
    mutable delivered: Instant voption
}

/// <summary>The idempotency keys of unfinished tasks, and of the latest finished ones.</summary>
/// <param name="isJournaled">Whether the journal keeps the results, and bounds them.</param>
type internal IdempotencyKeys(isJournaled: bool) =
    let entries = Dictionary<string, KeyEntry>()
    let index = EventIndex<KeyEntry>()
    let finished = Queue<KeyEntry>()
    // Finished tasks whose results no client has fetched yet.
    let unfetched = Dictionary<TaskId, KeyEntry>()
    let mutable keptBytes = 0L<B>
    let mutable spooledBytes = 0L<B>

    let count result sign =
        let size = sign * KeptContent.size result

        if not isJournaled then
            keptBytes <- keptBytes + size

        if (KeptContent.file result).IsSome then
            spooledBytes <- spooledBytes + size

    let isCurrent (entry: KeyEntry) =
        match entries.TryGetValue entry.key.text with
        | true, current -> obj.ReferenceEquals(current, entry)
        | _ -> false

    let remove (entry: KeyEntry) result =
        entries.Remove entry.key.text |> ignore
        unfetched.Remove entry.task |> ignore
        count result -1L

    member _.Index = index

    /// Bytes of the kept results that are in files.
    member _.SpooledBytes = spooledBytes

    member _.Find(key: Key) : KeyEntry voption =
        match entries.TryGetValue key.text with
        | true, entry -> ValueSome entry
        | _ -> ValueNone

    /// Adds the key of a submission, which has this event number.
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
        index.Add(number, entry)
        entry

    /// A later event has the key too.
    member _.CarryTo(entry: KeyEntry, number: int64) =
        entry.number <- number
        index.Add(number, entry)

    /// Whether the key is in use, and this event is the latest that has it.
    member _.IsAt(entry: KeyEntry, number: int64) =
        entry.number = number && isCurrent entry

    /// Every key in use, with its task and outcome.
    member _.ToSeq() =
        entries.Values
        |> Seq.map (fun entry -> struct (entry.key, entry.task, entry.outcome))

    /// Keeps the outcome for later submissions with the key.
    member _.Finish(entry: KeyEntry, outcome: Done, result: KeptContent, at: Instant) =
        entry.outcome <- ValueSome(struct (outcome, result))
        entry.finished <- at
        finished.Enqueue entry
        count result 1L

        if entry.want = Result && outcome.error.IsNone then
            unfetched[entry.task] <- entry

    /// The result of a task has reached a client: the first time counts.
    member _.Deliver(task: TaskId, at: Instant) =
        match unfetched.TryGetValue task with
        | true, entry ->
            entry.delivered <- ValueSome at
            unfetched.Remove task |> ignore
        | _ -> ()

    /// Whether the outcome of a finished task is still to be kept: it ended, or was first delivered, after `keptSince`.
    member _.IsKept(entry: KeyEntry, keptSince: Instant) =
        let isNewer (at: Instant) = at - keptSince >= 0L<ms>

        match entry.delivered with
        | ValueSome at -> isNewer at
        | ValueNone -> unfetched.ContainsKey entry.task || isNewer entry.finished

    member _.ForgetWaiters(entry: KeyEntry) = entry.waiters <- null

    /// <summary>Forgets the keys of finished tasks that the journal drops.</summary>
    /// <param name="before">The journal drops the events before this number.</param>
    /// <returns>The results that were kept for these keys.</returns>
    member keys.Drop(before: int64) : KeptContent list = [
        let mutable next = index.TryTake before

        while next.IsSome do
            let struct (number, entry) = next.Value

            match entry.outcome with
            | ValueSome(struct (_, result)) when keys.IsAt(entry, number) ->
                remove entry result
                result
            | _ -> ()

            next <- index.TryTake before
    ]

    /// <summary>Forgets the oldest outcomes beyond the limits.</summary>
    /// <returns>The results that were kept for them.</returns>
    member _.Evict() : KeptContent list = [
        while finished.Count > SchedulerLimits.keysMax
              || keptBytes > SchedulerLimits.keptBytesMax do
            let oldest = finished.Dequeue()

            match oldest.outcome with
            | ValueSome(struct (_, result)) when isCurrent oldest ->
                remove oldest result
                result
            | _ -> () // forgotten before
    ]
