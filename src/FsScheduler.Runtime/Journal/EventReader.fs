namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open SQLitePCL
open FsScheduler.Core

/// Which rows of the tables are read.
type EventFilter = {
    /// Of `task`, by its columns.
    tasks: string
    /// Of `event`.
    events: string
    /// Of `finished`.
    finished: string
}

module EventFilter =

    /// What a scheduler needs to go on.
    let unfinished = {
        tasks = "key IS NOT NULL OR id NOT IN (SELECT task FROM finished)"
        // What was cancelled does not say after how many attempts: its events do.
        events =
            "task IS NULL OR task NOT IN (SELECT task FROM finished) OR task IN (SELECT f.task FROM finished f JOIN task t ON t.id = f.task WHERE f.outcome = 1 AND t.key IS NOT NULL)"
        finished = "task IN (SELECT id FROM task WHERE key IS NOT NULL)"
    }

    /// Everything up to a time, in Unix milliseconds.
    let until (at: int64) = {
        tasks = $"at <= {at}"
        events = $"at <= {at}"
        finished = $"at <= {at}"
    }

    /// One task.
    let ofTask (task: TaskId) = {
        tasks = $"id = {int64 task}"
        // Its events come after it was submitted, and before it ended.
        events =
            $"number > (SELECT number FROM task WHERE id = {int64 task}) AND number < coalesce((SELECT number FROM finished WHERE task = {int64 task}), 9223372036854775807) AND task = {int64 task}"
        finished = $"task = {int64 task}"
    }

    /// What came after an event, up to another one.
    let between (after: int64) (last: int64) = {
        tasks = $"number > {after} AND number <= {last}"
        events = $"number > {after} AND number <= {last}"
        finished = $"number > {after} AND number <= {last}"
    }

/// <summary>Reads rows as the events that they were. What a payload was, its reference says; bytes are not read.</summary>
/// <param name="db">A connection that nobody else uses meanwhile.</param>
/// <param name="spool">The folder of spooled payloads.</param>
/// <param name="isLean">Names and references of what waits are left in the journal too, for a scheduler; else they are
/// read, for people.</param>
[<Sealed>]
type EventReader(db: sqlite3, spool: string, isLean: bool) =
    let pipelines = Dictionary<string, Pipeline>()
    // Made when they are first needed, and used again.
    let oneTask = lazy (new Statement(db, "SELECT * FROM task WHERE id = ?"))

    let onePayload =
        lazy (new Statement(db, "SELECT payload FROM event WHERE number = ?"))

    let oneResult =
        lazy (new Statement(db, "SELECT payload FROM finished WHERE number = ?"))

    let pipelineOf text =
        match pipelines.TryGetValue text with
        | true, pipeline -> pipeline
        | _ ->
            match Pipeline.parseRecorded text with
            | Ok pipeline ->
                pipelines[text] <- pipeline
                pipeline
            | Error error ->
                raise (IOException $"the journal has the pipeline '{text}': {error.message}")

    let nameOf text =
        match TaskName.parse text with
        | Ok name -> name
        | Error reason -> raise (IOException $"the journal has the name '{text}': {reason}")

    let spooled (row: Statement) name bytes =
        Spooled(Path.Combine(spool, row.GetText name), row.GetInt bytes * 1L<B>)

    // One value serves all submissions of a kind without a key.
    let origins = [|
        for want in [ Result; File; Nothing ] -> Origin.Client(0L<sessionId>, want, None)
    |]

    let pieceOf (ref: string) =
        let number (text: string) =
            match Int64.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture) with
            | true, number -> number
            | false, _ -> raise (IOException $"the journal has a piece that is called '{ref}'")

        match ref.Split '.' with
        | [| whole; index |] -> Origin.Piece(number whole * 1L<taskId>, int (number index))
        | _ -> raise (IOException $"the journal has a piece that is called '{ref}'")

    let originOf (row: Statement) =
        let code = int (row.GetInt 6)

        if code = WantCode.folder then
            Origin.Folder
        elif code = WantCode.piece then
            pieceOf (row.GetText 4)
        elif row.IsNull 12 then
            origins[code - 1]
        else
            Origin.Client(
                0L<sessionId>,
                WantCode.toWant code,
                Some { text = row.GetText 12; content = row.GetText 13 }
            )

    let submissionOf (row: Statement) payload isWhole =
        let origin = originOf row

        let submission =
            Submission.Create(
                nameOf (row.GetText 3),
                row.GetText 4,
                int (row.GetInt 5),
                origin,
                payload
            )

        if isWhole then submission else submission.File()

    let inputOf (row: Statement) =
        let stamp = Stamp.ofTime (row.GetInt 10 * 1L<B>) (row.GetInt 11)
        Input(FileIdentity.ofBytes stamp (row.GetBlob 8))

    /// A spooled payload stays known as a file, so that nobody deletes it: only bytes are filed.
    let lean (row: Statement) =
        match originOf row with
        | Origin.Folder -> submissionOf row (inputOf row) true
        // Its range follows from the task that it is a piece of.
        | Origin.Piece _ -> submissionOf row Filed true
        | Origin.Client _ when not (row.IsNull 9) -> submissionOf row (spooled row 9 10) true
        | Origin.Client _ -> submissionOf row Filed (not isLean)

    let submitted (row: Statement) =
        Event.Submitted(row.GetInt 0 * 1L<taskId>, lean row, pipelineOf (row.GetText 7))

    /// `Recorded`, for bytes that `payload` has at that event.
    let remains (row: Statement) blob spool bytes number =
        if not (row.IsNull spool) then
            ValueSome(spooled row spool bytes)
        elif not (row.IsNull blob) then
            ValueSome(Recorded(number, int64 (row.GetBlob blob).Length * 1L<B>))
        else
            ValueNone

    let causeOf code =
        match code with
        | 1L -> Fault
        | 2L -> Loss
        | 3L -> Departure
        | 4L -> Disk
        | _ -> Inability

    let happened (row: Statement) (number: int64) (at: Instant) =
        let task = row.GetInt 3 * 1L<taskId>
        let attempt = { task = task; number = int (row.GetInt 4) }
        let session = row.GetInt 5 * 1L<sessionId>

        let trouble () = {
            attempt = attempt.number
            cause = causeOf (row.GetInt 8)
            stages = row.GetText 11
            worker = row.GetText 10
            error = row.GetText 12
            at = at
        }

        match enum<EventKind>(int (row.GetInt 2)) with
        | EventKind.Assigned ->
            Event.Assigned(attempt, session, struct (int (row.GetInt 6), int (row.GetInt 7)))
        | EventKind.Claimed -> Event.Claimed(attempt, session)
        | EventKind.Advanced ->
            let payload = ValueOption.defaultValue Payload.empty (remains row 13 14 15 number)
            Event.Advanced(attempt, int (row.GetInt 6), payload)
        | EventKind.Split ->
            let others =
                if row.IsNull 11 then
                    ValueNone
                else
                    ValueSome(pipelineOf (row.GetText 11))

            let cuts = Cuts.ofBytes (row.GetBlob(13).ToArray())
            Event.Split(attempt, int (row.GetInt 7), others, cuts)
        | EventKind.Part ->
            let part = ValueOption.defaultValue Payload.empty (remains row 13 14 15 number)
            Event.Part(task, int (row.GetInt 6), part)
        | EventKind.Speculated ->
            Event.Speculated(task, int (row.GetInt 6), row.GetInt 7 * 1L<taskId>)
        | EventKind.Delayed -> Event.Delayed(task, trouble (), row.GetInt 9 * 1L<ms>)
        | EventKind.Woken -> Event.Woken task
        | EventKind.Requeued -> Event.Requeued(task, trouble ())
        | EventKind.Quarantined -> Event.Quarantined(task, trouble ())
        | EventKind.Accepted -> Event.Accepted(attempt, Payload.empty)
        | EventKind.Retried -> Event.Retried task
        | EventKind.Gone -> Event.Gone(row.GetText 12)
        | EventKind.Joined ->
            let stages = row.GetText(11).Split(',', StringSplitOptions.RemoveEmptyEntries)

            Event.Joined(session, row.GetText 10, stages)
        | EventKind.Left -> Event.Left(session, row.GetText 10, row.GetText 12)
        | kind -> raise (IOException $"event {number} of the journal is of the unknown kind {kind}")

    let ended (row: Statement) (number: int64) =
        let task = row.GetInt 0 * 1L<taskId>

        if row.GetInt 4 = 0L then
            let remainder =
                match remains row 8 9 6 number with
                | ValueSome payload -> KeptResult payload
                | ValueNone when row.IsNull 7 -> NothingLeft
                | ValueNone ->
                    StoredResult { size = row.GetInt 6 * 1L<B>; hash = uint64 (row.GetInt 7) }

            Event.Completed({ task = task; number = int (row.GetInt 3) }, remainder)
        else
            Event.Cancelled(task, row.GetText 5)

    /// <summary>The events that a filter leaves, in order.</summary>
    /// <param name="filter">What is read.</param>
    /// <param name="toInstant">A Unix time in milliseconds, as a moment of the clock that the events are for.</param>
    member _.Read
        (filter: EventFilter, toInstant: int64 -> Instant)
        : seq<struct (int64 * Instant * Event)> =
        seq {
            use tasks =
                new Statement(db, $"SELECT * FROM task WHERE {filter.tasks} ORDER BY id")

            use events =
                new Statement(db, $"SELECT * FROM event WHERE {filter.events} ORDER BY number")

            use ends =
                new Statement(db, $"SELECT * FROM finished WHERE {filter.finished} ORDER BY number")

            let none = Int64.MaxValue

            let numberOf (row: Statement) column =
                if row.Next() then row.GetInt column else none

            let mutable task = numberOf tasks 1
            let mutable event = numberOf events 0
            let mutable ending = numberOf ends 1

            while min task (min event ending) < none do
                if task < event && task < ending then
                    struct (task, toInstant (tasks.GetInt 2), submitted tasks)
                    task <- numberOf tasks 1
                elif event < ending then
                    let at = toInstant (events.GetInt 1)
                    struct (event, at, happened events event at)
                    event <- numberOf events 0
                else
                    struct (ending, toInstant (ends.GetInt 2), ended ends ending)
                    ending <- numberOf ends 1
        }

    /// What a task was submitted with, all of it.
    member _.Submission(task: TaskId) : Submission voption =
        let row = oneTask.Value
        row.Reset()
        row.Int(1, int64 task)

        if not (row.Next()) then
            ValueNone
        else
            let payload =
                if not (row.IsNull 11) then inputOf row
                elif not (row.IsNull 9) then spooled row 9 10
                elif not (row.IsNull 8) then Bytes(row.GetBlob(8).ToArray())
                else Payload.empty

            let submission = submissionOf row payload true
            row.Reset()
            ValueSome submission

    /// The bytes that an event was recorded with.
    member _.Payload(number: int64) : byte[] voption =
        let first (row: Statement) =
            row.Reset()
            row.Int(1, number)

            let bytes =
                if row.Next() && not (row.IsNull 0) then
                    ValueSome(row.GetBlob(0).ToArray())
                else
                    ValueNone

            row.Reset()
            bytes

        match first onePayload.Value with
        | ValueSome bytes -> ValueSome bytes
        | ValueNone -> first oneResult.Value

    interface IDisposable with
        member _.Dispose() =
            for statement in [ oneTask; onePayload; oneResult ] do
                if statement.IsValueCreated then
                    (statement.Value :> IDisposable).Dispose()
