namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Simulation.Tests

/// An event with its number and its time.
[<Struct>]
type Recorded = { number: int64; at: Instant; event: Event }

/// <summary>Everything that was ever recorded, also what the journal has dropped, to compare it with.</summary>
/// <param name="store">Has the batches of the journal.</param>
[<Sealed>]
type History(store: SimStore) =
    let recorded = List<Recorded>()
    let assigned = Dictionary<Attempt, int64>()
    let accepted = Dictionary<Attempt, int64>()
    let submitted = Dictionary<TaskId, int64>()
    let ended = Dictionary<TaskId, int64>()
    let mutable isTaken = false

    /// The bytes that an event was decided with.
    let rec bytesAt (number: int64) : byte[] voption =
        let ofPayload payload =
            match payload with
            | Held(Bytes bytes) -> ValueSome bytes
            | Recorded(other, _) when other < number -> bytesAt other
            | _ -> ValueNone

        if number < 1L || number > int64 recorded.Count then
            ValueNone
        else
            match recorded[int number - 1].event with
            | Event.Advanced(_, _, payload)
            | Event.Part(_, _, payload)
            | Event.Completed(_, KeptResult payload)
            | Event.Carried(Carried.Part(_, _, payload))
            | Event.Carried(Carried.Key { result = payload })
            | Event.Carried(Carried.Task { progress = ValueSome { result = ValueSome payload } }) ->
                ofPayload payload
            | _ -> ValueNone

    let number each =
        match each.event with
        | Event.Submitted(id, _, _) -> submitted[id] <- each.number
        | Event.Assigned(attempt, _, _)
        | Event.Claimed(attempt, _) -> assigned.TryAdd(attempt, each.number) |> ignore
        | Event.Accepted(attempt, _) -> accepted[attempt] <- each.number
        | Event.Completed({ task = id }, _)
        | Event.Quarantined(id, _)
        | Event.Cancelled(id, _) -> ended.TryAdd(id, each.number) |> ignore // it may end again after a retry
        | _ -> ()

    let forget (numbers: Dictionary<'key, int64>) after =
        for KeyValue(key, number) in Seq.toArray numbers do
            if number > after then
                numbers.Remove key |> ignore

    let isDurable (numbers: Dictionary<'key, int64>) key =
        match numbers.TryGetValue key with
        | true, number -> number < store.DurableUpTo
        | _ -> false

    let drops before event =
        match event with
        | Event.Dropped(other, _) -> other >= before
        | _ -> false

    /// Everything, also what is dropped.
    member _.All: Recorded seq = recorded

    /// A scheduler starts: what never came to be, or was lost with the power, is not recorded.
    member _.Trim() =
        isTaken <- false
        let kept = int store.Next - 1

        if recorded.Count > kept then
            recorded.RemoveRange(kept, recorded.Count - kept)
            forget submitted (int64 kept)
            forget assigned (int64 kept)
            forget accepted (int64 kept)
            forget ended (int64 kept)

    /// What one turn has decided, and has yet to be written.
    member _.Add(at: Instant, first: int64, events: IReadOnlyList<Event>) =
        for position in 0 .. events.Count - 1 do
            let each = { number = first + int64 position; at = at; event = events[position] }

            if not isTaken && each.number = int64 recorded.Count + 1L then
                recorded.Add each
                number each

    /// Another scheduler opens the journal, and writes that.
    member history.Take(at: Instant, owner: Guid) =
        history.Trim()
        history.Add(at, store.Next, [| Event.Opened owner |])
        isTaken <- true

    /// Whether another scheduler has opened the journal.
    member _.IsTaken = isTaken

    /// Whether what was decided last is written.
    member _.IsWritten = isTaken || store.Next = int64 recorded.Count + 1L

    /// Whether an attempt was given out, as far as the device knows; and so on.
    member _.IsAssigned(attempt: Attempt) = isDurable assigned attempt
    member _.IsAccepted(attempt: Attempt) = isDurable accepted attempt
    member _.IsSubmitted(id: TaskId) = isDurable submitted id
    member _.IsEnded(id: TaskId) = isDurable ended id

    /// Events before a number are dropped.
    member history.Drop(before: int64) =
        must
            (Seq.exists (fun recorded -> drops before recorded.event) recorded)
            $"events before {before} are dropped, and nothing says that they may"

        must
            (recorded
             |> Seq.exists (fun recorded ->
                 drops before recorded.event && recorded.number < store.DurableUpTo))
            $"events before {before} are dropped, and that they may is not durable"

    /// Whether what may be dropped is there.
    member _.IsToDrop =
        match Seq.tryHead ((store :> IJournalStore).Read 0L) with
        | Some first ->
            Seq.exists (fun recorded -> drops (Batch.next first) recorded.event) recorded
        | None -> false

    /// What a task was submitted with.
    member history.Submission(id: TaskId) : Submission =
        history.All
        |> Seq.pick (fun recorded ->
            match recorded.event with
            | Event.Submitted(other, submission, _) when other = id -> Some submission
            | _ -> None)

    /// That this is what the task of an event was submitted with.
    member history.CheckSubmission(number: int64, found: Submission) =
        let id =
            match recorded[int number - 1].event with
            | Event.Submitted(id, _, _) -> id
            | Event.Carried(Carried.Task carried) -> carried.task
            | other -> raise (Violation $"event {number} has no submission: {other}")

        let was = history.Submission id

        must
            (found.Name = was.Name
             && found.Ref = was.Ref
             && found.Priority = was.Priority
             && found.Packed.Span.SequenceEqual was.Packed.Span)
            $"event {number} has another submission than that of task {id}"

    /// That these are the bytes that an event has.
    member _.CheckPayload(number: int64, found: byte[]) =
        match bytesAt number with
        | ValueSome was -> must (was = found) $"event {number} has another payload"
        | ValueNone -> raise (Violation $"event {number} has a payload, and had none")

    /// The version of each file that was taken.
    member history.Files: Dictionary<string, FileVersion> =
        let files = Dictionary<string, FileVersion>()

        for recorded in history.All do
            match recorded.event with
            | Event.Submitted(_, submission, _) ->
                match submission.Payload with
                | Payload.Input stamp -> files[submission.Name] <- stamp
                | _ -> ()
            | Event.Gone name
            | Event.Noted(Note.Damaged name) -> files.Remove name |> ignore
            | _ -> ()

        files

    member history.FlushedUpTo: int64 =
        history.All
        |> Seq.fold
            (fun last recorded ->
                match recorded.event with
                | Event.Noted(Note.Flushed number) -> max last number
                | _ -> last)
            0L

    /// Results of files that may not have reached the device, by the name of the file; not where there is a newer version,
    /// which will have a result of its own.
    member history.Unflushed: struct (string * ContentHash) list =
        let latest = Dictionary<TaskId, string>()

        let hashes =
            SortedDictionary<string, struct (int64 * ContentHash)>(StringComparer.Ordinal)

        let forget name =
            hashes.Remove name |> ignore

            for KeyValue(id, other) in Seq.toArray latest do
                if other = name then
                    latest.Remove id |> ignore

        for recorded in history.All do
            match recorded.event with
            | Event.Submitted(id, submission, _) when submission.Payload.IsInput ->
                forget submission.Name
                latest[id] <- submission.Name
            | Event.Completed(attempt, StoredResult hash) when latest.ContainsKey attempt.task ->
                hashes[latest[attempt.task]] <- struct (recorded.number, hash)
            | Event.Gone name
            | Event.Noted(Note.Damaged name) -> forget name
            | _ -> ()

        let flushed = history.FlushedUpTo

        [
            for KeyValue(name, struct (number, hash)) in hashes do
                if number > flushed then
                    struct (name, hash)
        ]

    /// Whose the names are that were noted.
    member history.Owners: Map<TaskName, ResultSource> =
        history.All
        |> Seq.fold
            (fun owners recorded ->
                match recorded.event with
                | Event.Noted(Note.Owner(name, ValueSome source)) -> Map.add name source owners
                | Event.Noted(Note.Owner(name, ValueNone)) -> Map.remove name owners
                | _ -> owners)
            Map.empty

    /// When a task ended, and whether it is done.
    member history.EndOf(id: TaskId) : struct (Instant * bool) voption =
        history.All
        |> Seq.tryPick (fun recorded ->
            match recorded.event with
            | Event.Completed(attempt, _) when attempt.task = id ->
                Some(struct (recorded.at, true))
            | Event.Cancelled(other, _) when other = id -> Some(struct (recorded.at, false))
            | _ -> None)
        |> ValueOption.ofOption

    /// The highest task, event and session.
    member history.Highest: struct (TaskId * int64 * SessionId) =
        let mutable task, event, session = 0L<taskId>, 0L, 0L<sessionId>

        for recorded in history.All do
            event <- max event recorded.number

            match recorded.event with
            | Event.Submitted(id, _, _) -> task <- max task id
            | Event.Joined(id, _, _) -> session <- max session id
            | _ -> ()

        struct (task, event, session)

    /// Done and cancelled.
    member history.Counts: struct (int64 * int64) =
        let count isSo =
            history.All
            |> Seq.filter (fun recorded -> isSo recorded.event)
            |> Seq.length
            |> int64

        struct (count _.IsCompleted, count _.IsCancelled)

/// <summary>A journal that is looked at: whatever is written, read and dropped is as it has to be.</summary>
/// <param name="journal">The real one.</param>
/// <param name="history">Knows what has to be.</param>
/// <param name="decided">Told of each event.</param>
[<Sealed>]
type WatchedJournal(journal: IJournal, history: History, decided: Event -> unit) =
    interface IJournal with
        member _.AppendAsync(at, first, events) =
            history.Add(at, first, events)
            Seq.iter decided events
            journal.AppendAsync(at, first, events)

        member _.ReadSubmission number =
            let found = journal.ReadSubmission number
            history.CheckSubmission(number, found)
            found

        member _.ReadPayload number =
            let found = journal.ReadPayload number
            history.CheckPayload(number, found)
            found

        member _.DropAsync before =
            history.Drop before
            journal.DropAsync before

        member _.Size(keep, since) = journal.Size(keep, since)
        member _.DisposeAsync() = journal.DisposeAsync()
