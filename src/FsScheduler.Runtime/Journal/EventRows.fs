namespace FsScheduler.Runtime

open System
open System.Buffers.Binary
open System.IO
open SQLitePCL
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// Where pieces end, as bytes of the journal.
module internal Cuts =

    let toBytes (cuts: Size[]) : byte[] =
        let bytes = Array.zeroCreate (8 * cuts.Length)

        cuts
        |> Array.iteri (fun index cut ->
            BinaryPrimitives.WriteInt64LittleEndian(Span(bytes, 8 * index, 8), int64 cut))

        bytes

    let ofBytes (bytes: byte[]) : Size[] =
        Array.init (bytes.Length / 8) (fun index ->
            1L<B>
            * BinaryPrimitives.ReadInt64LittleEndian(ReadOnlySpan(bytes, 8 * index, 8)))

/// What a version of a file has beside size and time, as bytes of the journal.
module internal FileIdentity =

    let toBytes (stamp: Stamp) : byte[] =
        let bytes = Array.zeroCreate 16
        BinaryPrimitives.WriteInt64LittleEndian(Span(bytes, 0, 8), stamp.changed)
        BinaryPrimitives.WriteInt64LittleEndian(Span(bytes, 8, 8), stamp.inode)
        bytes

    /// <param name="stamp">Size and time.</param>
    /// <param name="bytes">Empty in what was written before version 6.</param>
    let ofBytes (stamp: Stamp) (bytes: ReadOnlySpan<byte>) : Stamp =
        if bytes.Length = 16 then
            {
                stamp with
                    changed = BinaryPrimitives.ReadInt64LittleEndian(bytes.Slice(0, 8))
                    inode = BinaryPrimitives.ReadInt64LittleEndian(bytes.Slice(8, 8))
            }
        else
            stamp

/// <summary>Writes events as rows. One owner, inside its transactions.</summary>
/// <param name="db">The writing connection.</param>
[<Sealed>]
type EventRows(db: sqlite3) =
    let task =
        new Statement(db, "INSERT INTO task VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")

    let event =
        new Statement(db, "INSERT INTO event VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")

    // What every task has: it binds fewer columns.
    let assigned =
        new Statement(
            db,
            "INSERT INTO event(number,at,kind,task,attempt,session,first,last,sum) VALUES(?,?,?,?,?,?,?,?,?)"
        )

    let finished =
        new Statement(db, "INSERT INTO finished VALUES(?,?,?,?,?,?,?,?,?,?,?)")

    let file =
        new Statement(
            db,
            "INSERT INTO file VALUES(?,?,?,?,?,?) ON CONFLICT(name) DO UPDATE SET bytes=excluded.bytes, modified=excluded.modified, changed=excluded.changed, inode=excluded.inode, sum=excluded.sum"
        )

    let gone = new Statement(db, "DELETE FROM file WHERE name = ?")

    // A task that is forgotten meanwhile gets none.
    let delivered =
        new Statement(
            db,
            "INSERT OR IGNORE INTO delivered SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM finished WHERE task = ?1)"
        )

    let fileName (path: string) = nonNull (Path.GetFileName path)

    let payload (row: Statement) blob spool bytes payload =
        match payload with
        | Bytes content ->
            row.Blob(blob, ReadOnlySpan content)
            row.Null spool
            row.Null bytes
        | Spooled(path, size) ->
            row.Null blob
            row.Text(spool, fileName path)
            row.Int(bytes, int64 size)
        | Slice(_, _, size) ->
            row.Null blob
            row.Null spool
            row.Int(bytes, int64 size)
        | Packed
        | Filed
        | Recorded _
        | Input _ ->
            row.Null blob
            row.Null spool
            row.Null bytes

    let submitted number at (id: TaskId) (submission: Submission) pipeline =
        task.Int(1, int64 id)
        task.Int(2, number)
        task.Int(3, at)
        task.Text(4, submission.Name)

        match submission.Origin with
        | Origin.Piece(whole, index) -> task.Text(5, $"{whole}.{index}")
        | Origin.Folder
        | Origin.Client _ -> task.Text(5, submission.Ref)

        task.Int(6, int64 submission.Priority)
        task.Int(7, int64 (WantCode.ofOrigin submission.Origin))
        task.Text(8, Pipeline.print pipeline)

        match submission.Payload with
        | Packed ->
            task.Blob(9, submission.Packed.Span)
            task.Null 10
            task.Null 11
            task.Null 12
        | Input stamp ->
            task.Blob(9, ReadOnlySpan(FileIdentity.toBytes stamp))
            task.Null 10
            task.Int(11, int64 stamp.size)
            task.Int(12, stamp.modified)
        | other ->
            payload task 9 10 11 other
            task.Null 12

        match submission.Origin with
        | Origin.Client(_, _, Some key) ->
            task.Text(13, key.text)
            task.Text(14, key.content)
        | Origin.Client(_, _, None)
        | Origin.Piece _
        | Origin.Folder ->
            task.Null 13
            task.Null 14

        task.Sum 15
        task.Run()

        match submission.Origin, submission.Payload with
        | Origin.Folder, Input stamp ->
            file.Text(1, submission.Name)
            file.Int(2, int64 stamp.size)
            file.Int(3, stamp.modified)
            file.Int(4, stamp.changed)
            file.Int(5, stamp.inode)
            file.Sum 6
            file.Run()
        | _ -> ()

    let begin' number at (kind: EventKind) =
        event.Int(1, number)
        event.Int(2, at)
        event.Int(3, int64 (int kind))

        for parameter in 4..16 do
            event.Null parameter

    let end' () =
        event.Sum 17
        event.Run()

    let ofTask number at kind (task: TaskId) =
        begin' number at kind
        event.Int(4, int64 task)

    let ofAttempt number at kind (attempt: Attempt) =
        ofTask number at kind attempt.task
        event.Int(5, int64 attempt.number)

    let causeCode cause =
        match cause with
        | Fault -> 1L
        | Loss -> 2L
        | Departure -> 3L
        | Disk -> 4L
        | Inability -> 5L

    /// Columns in order: the sum depends on it.
    let ofTrouble number at kind (task: TaskId) (trouble: Trouble) (delay: Duration voption) =
        ofAttempt number at kind { task = task; number = trouble.attempt }
        event.Int(9, causeCode trouble.cause)

        match delay with
        | ValueSome delay -> event.Int(10, int64 delay)
        | ValueNone -> ()

        event.Text(11, trouble.worker)
        event.Text(12, trouble.stages)
        event.Text(13, trouble.error)
        end' ()

    let ended number at (task: TaskId) (attempt: int voption) outcome =
        finished.Int(1, int64 task)
        finished.Int(2, number)
        finished.Int(3, at)

        match attempt with
        | ValueSome attempt -> finished.Int(4, int64 attempt)
        | ValueNone -> finished.Null 4

        finished.Int(5, outcome)

        for parameter in 6..10 do
            finished.Null parameter

    /// <summary>Writes one event.</summary>
    /// <param name="number">Its number.</param>
    /// <param name="at">When, in Unix milliseconds.</param>
    /// <param name="happened">The event.</param>
    member _.Write(number: int64, at: int64, happened: Event) =
        match happened with
        | Event.Submitted(id, submission, pipeline) -> submitted number at id submission pipeline
        | Event.Assigned(attempt, session, struct (first, last)) ->
            assigned.Int(1, number)
            assigned.Int(2, at)
            assigned.Int(3, int64 (int EventKind.Assigned))
            assigned.Int(4, int64 attempt.task)
            assigned.Int(5, int64 attempt.number)
            assigned.Int(6, int64 session)
            assigned.Int(7, int64 first)
            assigned.Int(8, int64 last)
            assigned.Sum 9
            assigned.Run()
        | Event.Claimed(attempt, session) ->
            ofAttempt number at EventKind.Claimed attempt
            event.Int(6, int64 session)
            end' ()
        | Event.Advanced(attempt, stage, result) ->
            ofAttempt number at EventKind.Advanced attempt
            event.Int(7, int64 stage)
            payload event 14 15 16 result
            end' ()
        | Event.Split(attempt, last, others, cuts) ->
            ofAttempt number at EventKind.Split attempt
            event.Int(8, int64 last)

            others
            |> ValueOption.iter (fun pipeline -> event.Text(12, Pipeline.print pipeline))

            event.Blob(14, ReadOnlySpan(Cuts.toBytes cuts))
            end' ()
        | Event.Part(whole, index, part) ->
            ofTask number at EventKind.Part whole
            event.Int(7, int64 index)
            payload event 14 15 16 part
            end' ()
        | Event.Speculated(whole, index, slow) ->
            ofTask number at EventKind.Speculated whole
            event.Int(7, int64 index)
            event.Int(8, int64 slow)
            end' ()
        | Event.Delayed(task, trouble, delay) ->
            ofTrouble number at EventKind.Delayed task trouble (ValueSome delay)
        | Event.Woken task ->
            ofTask number at EventKind.Woken task
            end' ()
        | Event.Requeued(task, trouble) ->
            ofTrouble number at EventKind.Requeued task trouble ValueNone
        | Event.Quarantined(task, trouble) ->
            ofTrouble number at EventKind.Quarantined task trouble ValueNone
        | Event.Accepted(attempt, result) ->
            ofAttempt number at EventKind.Accepted attempt

            match ResultMark.ofPayload result with
            | ValueSome mark ->
                event.Blob(14, ReadOnlySpan(ResultMark.toBytes mark))

                match result with
                | Spooled(path, _) -> event.Text(15, fileName path)
                | _ -> ()

                event.Int(16, int64 mark.Size)
            | ValueNone -> ()

            end' ()
        | Event.Retried task ->
            ofTask number at EventKind.Retried task
            end' ()
        | Event.Gone name ->
            gone.Text(1, name)
            gone.Run()
            begin' number at EventKind.Gone
            event.Text(13, name)
            end' ()
        | Event.Joined(session, name, stages) ->
            begin' number at EventKind.Joined
            event.Int(6, int64 session)
            event.Text(11, name)
            event.Text(12, String.Join(',', stages))
            end' ()
        | Event.Left(session, name, reason) ->
            begin' number at EventKind.Left
            event.Int(6, int64 session)
            event.Text(11, name)
            event.Text(13, reason)
            end' ()
        | Event.Completed(attempt, remainder) ->
            ended number at attempt.task (ValueSome attempt.number) 0L

            match remainder with
            | NothingLeft -> ()
            | StoredResult proof ->
                finished.Int(7, int64 proof.size)
                finished.Int(8, int64 proof.hash)
            | KeptResult(Spooled(path, size)) ->
                finished.Int(7, int64 size)
                finished.Text(10, fileName path)
            | KeptResult(Bytes bytes) -> finished.Blob(9, ReadOnlySpan bytes)
            | KeptResult(Packed | Filed | Recorded _ | Input _ | Slice _) -> ()

            finished.Sum 11
            finished.Run()
        | Event.Cancelled(task, reason) ->
            ended number at task ValueNone 1L
            finished.Text(6, reason)
            finished.Sum 11
            finished.Run()

    /// <summary>Writes that a result that is kept has reached somebody; only the first time counts.</summary>
    /// <param name="id">The task.</param>
    /// <param name="at">When, in Unix milliseconds.</param>
    member _.WriteDelivered(id: TaskId, at: int64) =
        delivered.Int(1, int64 id)
        delivered.Int(2, at)
        delivered.Sum 3
        delivered.Run()

    interface IDisposable with
        member _.Dispose() =
            for statement in [ task; event; assigned; finished; file; gone; delivered ] do
                (statement :> IDisposable).Dispose()
