namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Simulation.Tests

/// An event with its number and its time.
[<Struct>]
type Recorded = { number: int64; at: Instant; event: Event }

/// What is written as one: all of it or nothing.
type Transaction =
    | Append of Recorded list
    /// Finished tasks are forgotten.
    | Retire of TaskId list
    /// Results of events up to this one have reached the device.
    | Flushed of number: int64
    /// A file is to be taken again.
    | TakeAgain of name: string

/// The journal as `SqliteJournal` keeps it: transactions, of which the device has the first so many.
[<Sealed>]
type SimJournal(disk: SimDisk, chance: Chance, isFlushing: bool) =
    let transactions = List<Transaction>()
    /// When the large results that were accepted were written, by event.
    let marks = Dictionary<int64, int64>()
    let mutable durable = 0

    let taskOf event =
        match event with
        | Event.Submitted(id, _, _)
        | Event.Delayed(id, _, _)
        | Event.Woken id
        | Event.Requeued(id, _)
        | Event.Quarantined(id, _)
        | Event.Retried id
        | Event.Cancelled(id, _)
        | Event.Part(id, _, _)
        | Event.Speculated(id, _, _) -> ValueSome id
        | Event.Split(attempt, _, _, _)
        | Event.Assigned(attempt, _, _)
        | Event.Advanced(attempt, _, _)
        | Event.Claimed(attempt, _)
        | Event.Accepted(attempt, _)
        | Event.Completed(attempt, _) -> ValueSome attempt.task
        | Event.Gone _
        | Event.Joined _
        | Event.Left _ -> ValueNone

    let isEnd event =
        match event with
        | Event.Completed _
        | Event.Cancelled _ -> true
        | _ -> false

    /// Everything, also of tasks that are forgotten.
    member _.All = [
        for transaction in transactions do
            match transaction with
            | Append recorded -> yield! recorded
            | Retire _
            | Flushed _
            | TakeAgain _ -> ()
    ]

    member private _.Retired =
        HashSet [
            for transaction in transactions do
                match transaction with
                | Retire tasks -> yield! tasks
                | _ -> ()
        ]

    /// What is still known.
    member journal.Known =
        let retired = journal.Retired

        journal.All
        |> List.filter (fun recorded ->
            match taskOf recorded.event with
            | ValueSome id -> not (retired.Contains id)
            | ValueNone -> true)

    member _.Commit(transaction: Transaction) =
        disk.Boundary()
        disk.NeedRoom()
        disk.Boundary() // what is half written has no valid sums, and is not there
        transactions.Add transaction

        match transaction with
        | Append recorded ->
            for recorded in recorded do
                match recorded.event with
                | Event.Accepted(_, Spooled(path, _)) ->
                    match disk.Find path with
                    | null -> ()
                    | file -> marks[recorded.number] <- file.Modified
                | _ -> ()
        | Retire _
        | Flushed _
        | TakeAgain _ -> ()

        disk.Boundary()

        if isFlushing then
            durable <- transactions.Count

        disk.Boundary()

    /// A commit, with which everything before it is flushed.
    member _.Open() =
        disk.Boundary()

        if isFlushing then
            durable <- transactions.Count

        disk.Boundary()

    /// The power goes: what was not flushed ends somewhere.
    member _.Cut() =
        let kept = durable + chance.Below(transactions.Count - durable + 1)
        transactions.RemoveRange(kept, transactions.Count - kept)

    member journal.Ended =
        HashSet [
            for recorded in journal.All do
                if isEnd recorded.event then
                    ValueOption.get (taskOf recorded.event)
        ]

    member private journal.Submissions =
        dict [
            for recorded in journal.All do
                match recorded.event with
                | Event.Submitted(id, submission, _) -> id, submission
                | _ -> ()
        ]

    member journal.Submission(id: TaskId) = journal.Submissions[id]

    member journal.Payload(number: int64) : string =
        let recorded = journal.All |> List.find (fun recorded -> recorded.number = number)

        match recorded.event with
        | Event.Advanced(_, _, Bytes bytes)
        | Event.Part(_, _, Bytes bytes)
        | Event.Completed(_, KeptResult(Bytes bytes)) -> Content.ofBytes bytes
        | other -> raise (Violation $"%A{other} has no payload")

    /// As `EventReader` gives it to a scheduler: what is finished is left out, but for tasks with keys.
    member journal.Recover() =
        let ended = journal.Ended

        let keyed =
            HashSet [
                for KeyValue(id, submission) in journal.Submissions do
                    match submission.Origin with
                    | Origin.Client(_, _, Some _) -> id
                    | _ -> ()
            ]

        let cancelled =
            HashSet [
                for recorded in journal.All do
                    match recorded.event with
                    | Event.Cancelled(id, _) -> id
                    | _ -> ()
            ]

        let isNeeded event =
            match taskOf event with
            | ValueNone -> true
            | ValueSome id when not (ended.Contains id) -> true
            | ValueSome id ->
                keyed.Contains id && (event.IsSubmitted || isEnd event || cancelled.Contains id)

        let lean number event =
            match event with
            | Event.Advanced(attempt, stage, Bytes bytes) ->
                let size = int64 bytes.Length * 1L<B>
                Event.Advanced(attempt, stage, Payload.Recorded(number, size))
            | Event.Submitted(id, submission, pipeline) ->
                match submission.Origin, submission.Payload with
                | Origin.Client _, Packed -> Event.Submitted(id, submission.File(), pipeline)
                // Its range follows from the task that it is a piece of.
                | Origin.Piece(whole, index), _ ->
                    Event.Submitted(id, submission.Piece(whole, index, Filed), pipeline)
                | _ -> event
            | _ -> event

        seq {
            for recorded in journal.Known do
                if isNeeded recorded.event then
                    let event = lean recorded.number recorded.event
                    struct (recorded.number, recorded.at, event)
        }

    /// Files of results that are kept for these.
    member journal.KeptFiles(tasks: TaskId seq) = [
        for recorded in journal.Known do
            match recorded.event with
            | Event.Completed(attempt, KeptResult(Spooled(path, _))) when
                Seq.contains attempt.task tasks
                ->
                path
            | _ -> ()
    ]

    /// The version of each file that was taken.
    member _.Files =
        let files = Dictionary<string, Stamp>()

        for transaction in transactions do
            match transaction with
            | Append recorded ->
                for recorded in recorded do
                    match recorded.event with
                    | Event.Submitted(_, submission, _) ->
                        match submission.Payload with
                        | Payload.Input stamp -> files[submission.Name] <- stamp
                        | _ -> ()
                    | Event.Gone name -> files.Remove name |> ignore
                    | _ -> ()
            | TakeAgain name -> files.Remove name |> ignore
            | Retire _
            | Flushed _ -> ()

        files

    member _.FlushedUpTo =
        transactions
        |> Seq.fold
            (fun last transaction ->
                match transaction with
                | Flushed number -> number
                | _ -> last)
            0L

    /// Results of files that were stored since, by the name of the file; not where there is a newer version, which will
    /// have a result of its own.
    member journal.Unverified =
        let submissions = journal.Submissions
        let latest = Dictionary<string, TaskId>()
        let proofs = Dictionary<TaskId, Proof>()

        for recorded in journal.Known do
            match recorded.event with
            | Event.Submitted(id, submission, _) when submission.Origin = Origin.Folder ->
                latest[submission.Name] <- id
            | Event.Completed(attempt, StoredResult proof) when
                recorded.number > journal.FlushedUpTo
                && submissions[attempt.task].Origin = Origin.Folder
                ->
                proofs[attempt.task] <- proof
            | _ -> ()

        [
            for KeyValue(name, id) in latest do
                match proofs.TryGetValue id with
                | true, proof -> name, proof
                | _ -> ()
        ]

    /// <summary>Results that were accepted, of tasks that are not finished, and that have their names.</summary>
    /// <param name="isSameBoot">Large files may be trusted.</param>
    /// <param name="targetOf">The name of a result.</param>
    member journal.Found(isSameBoot: bool, targetOf: string -> string) =
        let submissions = journal.Submissions
        let ended = journal.Ended

        dict [
            for recorded in journal.Known do
                match recorded.event with
                | Event.Accepted(attempt, payload) when not (ended.Contains attempt.task) ->
                    match disk.Find(targetOf submissions[attempt.task].Name), payload with
                    | null, _ -> ()
                    | file, Bytes bytes when file.Content = Content.ofBytes bytes ->
                        attempt, Content.proofOf file.Content
                    | file, Spooled _ when
                        isSameBoot && marks.GetValueOrDefault(recorded.number, -1L) = file.Modified
                        ->
                        attempt, Content.proofOf file.Content
                    | _ -> ()
                | _ -> ()
        ]

    /// The highest task, event and session.
    member journal.Highest =
        let mutable task, event, session = 0L<taskId>, 0L, 0L<sessionId>

        for recorded in journal.All do
            event <- max event recorded.number

            match recorded.event with
            | Event.Submitted(id, _, _) -> task <- max task id
            | Event.Joined(id, _, _) -> session <- max session id
            | _ -> ()

        struct (task, event, session)

    /// Done and cancelled.
    member journal.Counts =
        let count isSo =
            journal.All
            |> Seq.filter (fun recorded -> isSo recorded.event)
            |> Seq.length
            |> int64

        struct (count _.IsCompleted, count _.IsCancelled)
