namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Simulation.Tests

/// An event with its number and its time.
[<Struct>]
type Recorded = { number: int64; at: Instant; event: Event }

/// <summary>The journal as `Journal` keeps it, in batches; and beside it everything that was ever recorded, also what is
/// dropped, to compare it with.</summary>
/// <param name="disk">Has the results that are marked.</param>
/// <param name="store">Has the batches.</param>
[<Sealed>]
type SimJournal(disk: SimDisk, store: SimStore) =
    let batches: IJournalStore = store
    let spool = "spool"
    let toUnix (at: Instant) = int64 at.sinceStart
    let toInstant (at: int64) = { sinceStart = at * 1L<ms> }
    let recorded = List<Recorded>()
    let mutable reading = JournalReading(batches, spool, toInstant)

    /// Who may write: whoever has opened it last.
    let mutable owner = Guid.Empty

    let must isSo text =
        if not isSo then
            raise (Violation text)

    /// What never came to be, or was lost with the power, is not recorded.
    let trim () =
        let kept = int store.Next - 1

        if recorded.Count > kept then
            recorded.RemoveRange(kept, recorded.Count - kept)

    /// The bytes that an event was decided with.
    let rec bytesAt (number: int64) : byte[] voption =
        let ofPayload payload =
            match payload with
            | Bytes bytes -> ValueSome bytes
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

    /// What is being written may have what is carried in it already.
    let bytesOf number (recorded: Recorded) =
        match recorded.event with
        | Event.Advanced(_, _, Bytes bytes)
        | Event.Part(_, _, Bytes bytes)
        | Event.Completed(_, KeptResult(Bytes bytes)) when recorded.number = number -> Some bytes
        | _ -> None

    let mutable writing: Recorded list = []

    let mark payload : ResultMark =
        match payload with
        | Bytes bytes -> Holding(Content.proofOf (Content.ofBytes bytes))
        | Spooled(path, size) ->
            match disk.Find path with
            | null -> Unmarked
            | file -> ResultMark.Written(size, file.Modified)
        | _ -> Unmarked

    let writer =
        EventWriter {
            toUnix = toUnix
            mark = mark
            submission = fun number -> reading.Submission number
            payload =
                fun number ->
                    match writing |> List.tryPick (bytesOf number) with
                    | Some bytes -> bytes
                    | None -> reading.Payload number
        }

    let encode by (events: Recorded list) : Batch =
        writer.Clear()

        for recorded in events do
            writer.Write recorded.event

        let struct (json, payloads) = writer.Take()
        let first = List.head events

        {
            first = first.number
            count = events.Length
            at = toUnix first.at
            owner = by
            events = ReadOnlyMemory json
            payloads = ReadOnlyMemory payloads
        }

    let drops before event =
        match event with
        | Event.Dropped(other, _) -> other >= before
        | _ -> false

    /// Everything, also what is dropped.
    member _.All: Recorded seq =
        trim ()
        recorded

    /// <summary>Writes what some turns have decided, as one transaction.</summary>
    /// <param name="by">Who writes.</param>
    /// <param name="turns">The events of each; there are some.</param>
    member _.Append(by: Guid, turns: Recorded list list) =
        trim ()

        writing <- List.concat turns

        for each in writing do
            if each.number = int64 recorded.Count + 1L then
                recorded.Add each

        batches.Append [| for turn in turns -> encode by turn |]
        must (by = owner) "a scheduler writes to the journal that another one has opened"

    /// What is needed of the events before a number is carried: some of their batches go. Whether there are more.
    member journal.Drop(before: int64, most: int) : bool =
        must
            (journal.All |> Seq.exists (fun recorded -> drops before recorded.event))
            $"events before {before} are dropped, and nothing says that they may"

        batches.Drop(before, most)

    /// Whether what may be dropped is there.
    member journal.IsToDrop =
        match Seq.tryHead (batches.Read 0L) with
        | Some first ->
            journal.All
            |> Seq.exists (fun recorded -> drops (Batch.next first) recorded.event)
        | None -> false

    /// Whether another scheduler has opened it.
    member val IsTaken = false with get, set

    member journal.Open(by: Guid) =
        store.Open()
        owner <- by
        journal.IsTaken <- false
        reading <- JournalReading(batches, spool, toInstant)

    /// Another scheduler opens it as well, and writes that.
    member journal.Intrude(at: Instant) =
        trim ()
        journal.IsTaken <- true
        let number = store.Next
        owner <- Guid(int number, 0s, 0s, Array.zeroCreate 8)
        let event = { number = number; at = at; event = Event.Opened owner }
        store.Intrude(encode owner [ event ])
        recorded.Add event

    /// What the journal has, as a scheduler reads it that starts.
    member _.Recover() : struct (int64 * Instant * Event)[] =
        let reader = EventReader(spool, true, toInstant)

        [|
            for batch in batches.Read 0L do
                yield! EventBatch.read reader toInstant batch
        |]

    /// <summary>How much there is.</summary>
    /// <param name="keep">Bytes that are to be left.</param>
    member _.Size(keep: int64) = batches.Size(keep, Int64.MinValue)

    /// What a task was submitted with.
    member journal.Submission(id: TaskId) : Submission =
        journal.All
        |> Seq.pick (fun recorded ->
            match recorded.event with
            | Event.Submitted(other, submission, _) when other = id -> Some submission
            | _ -> None)

    /// <summary>What a task was submitted with, read from the journal.</summary>
    /// <exception cref="T:System.IO.IOException">It was dropped.</exception>
    member journal.ReadSubmission(id: TaskId, number: int64) : Submission =
        let found = reading.Submission number
        let was = journal.Submission id

        must
            (found.Name = was.Name
             && found.Ref = was.Ref
             && found.Priority = was.Priority
             && found.Packed.Span.SequenceEqual was.Packed.Span)
            $"event {number} has another submission than that of task {id}"

        found

    /// <summary>The bytes that an event has, read from the journal.</summary>
    /// <exception cref="T:System.IO.IOException">They were dropped.</exception>
    member _.Payload(number: int64) : string =
        let bytes = reading.Payload number

        match bytesAt number with
        | ValueSome was -> must (was = bytes) $"event {number} has another payload"
        | ValueNone -> raise (Violation $"event {number} has a payload, and had none")

        Content.ofBytes bytes

    /// The version of each file that was taken.
    member journal.Files: Dictionary<string, Stamp> =
        let files = Dictionary<string, Stamp>()

        for recorded in journal.All do
            match recorded.event with
            | Event.Submitted(_, submission, _) ->
                match submission.Payload with
                | Payload.Input stamp -> files[submission.Name] <- stamp
                | _ -> ()
            | Event.Gone name
            | Event.Noted(Note.Damaged name) -> files.Remove name |> ignore
            | _ -> ()

        files

    member journal.FlushedUpTo: int64 =
        journal.All
        |> Seq.fold
            (fun last recorded ->
                match recorded.event with
                | Event.Noted(Note.Flushed number) -> max last number
                | _ -> last)
            0L

    /// Results of files that may not have reached the device, by the name of the file; not where there is a newer version,
    /// which will have a result of its own.
    member journal.Unflushed: struct (string * Proof) list =
        let latest = Dictionary<TaskId, string>()

        let proofs =
            SortedDictionary<string, struct (int64 * Proof)>(StringComparer.Ordinal)

        let forget name =
            proofs.Remove name |> ignore

            for KeyValue(id, other) in Seq.toArray latest do
                if other = name then
                    latest.Remove id |> ignore

        for recorded in journal.All do
            match recorded.event with
            | Event.Submitted(id, submission, _) when submission.Payload.IsInput ->
                forget submission.Name
                latest[id] <- submission.Name
            | Event.Completed(attempt, StoredResult proof) when latest.ContainsKey attempt.task ->
                proofs[latest[attempt.task]] <- struct (recorded.number, proof)
            | Event.Gone name
            | Event.Noted(Note.Damaged name) -> forget name
            | _ -> ()

        let flushed = journal.FlushedUpTo

        [
            for KeyValue(name, struct (number, proof)) in proofs do
                if number > flushed then
                    struct (name, proof)
        ]

    /// Whose the names are that were noted.
    member journal.Owners: Map<TaskName, ResultSource> =
        journal.All
        |> Seq.fold
            (fun owners recorded ->
                match recorded.event with
                | Event.Noted(Note.Owner(name, ValueSome source)) -> Map.add name source owners
                | Event.Noted(Note.Owner(name, ValueNone)) -> Map.remove name owners
                | _ -> owners)
            Map.empty

    /// When a task ended, and whether it is done.
    member journal.EndOf(id: TaskId) : struct (Instant * bool) voption =
        journal.All
        |> Seq.tryPick (fun recorded ->
            match recorded.event with
            | Event.Completed(attempt, _) when attempt.task = id ->
                Some(struct (recorded.at, true))
            | Event.Cancelled(other, _) when other = id -> Some(struct (recorded.at, false))
            | _ -> None)
        |> ValueOption.ofOption

    /// The highest task, event and session.
    member journal.Highest: struct (TaskId * int64 * SessionId) =
        let mutable task, event, session = 0L<taskId>, 0L, 0L<sessionId>

        for recorded in journal.All do
            event <- max event recorded.number

            match recorded.event with
            | Event.Submitted(id, _, _) -> task <- max task id
            | Event.Joined(id, _, _) -> session <- max session id
            | _ -> ()

        struct (task, event, session)

    /// Done and cancelled.
    member journal.Counts: struct (int64 * int64) =
        let count isSo =
            journal.All
            |> Seq.filter (fun recorded -> isSo recorded.event)
            |> Seq.length
            |> int64

        struct (count _.IsCompleted, count _.IsCancelled)
