namespace FsScheduler.Runtime

open System
open Microsoft.Data.Sqlite
open FsScheduler.Core

/// The journal cannot be used: what is wrong with it, and what to do.
exception JournalRefused of message: string

/// What an event is called in the journal, by number. Numbers are never given another meaning.
[<RequireQualifiedAccess>]
type EventKind =
    | Assigned = 1
    | Claimed = 2
    | Advanced = 3
    | Delayed = 4
    | Woken = 5
    | Requeued = 6
    | Quarantined = 7
    | Accepted = 8
    | Retried = 9
    | Gone = 10
    | Joined = 11
    | Left = 12
    | Split = 13
    | Part = 14
    | Speculated = 15

/// Whose a task is, as a number of the journal. Numbers are never given another meaning.
module WantCode =

    let folder = 0
    let result = 1

    /// Then `ref` is TASK.INDEX: which piece it is, from 0, of which task.
    let piece = 4

    let ofOrigin origin =
        match origin with
        | Origin.Folder -> folder
        | Origin.Client(_, Result, _) -> result
        | Origin.Client(_, File, _) -> 2
        | Origin.Client(_, Nothing, _) -> 3
        | Origin.Piece _ -> piece

    let toWant code =
        match code with
        | 1 -> Result
        | 2 -> File
        | _ -> Nothing

/// The tables of the journal, and how an older file becomes a newer one.
module Schema =

    /// In the order of the versions: the first makes version 1 of an empty file, and so on. A journal is known by them: what
    /// has been released is never changed.
    let internal steps = [|
        // Version 1. A task is submitted once and ends once, so these two stand in tables of their own, by task;
        // everything else that happens to it in between is appended to `event`. Every index is paid for with each
        // task, so there is one, for those who ask what happened since. The `payload` of what was accepted is its mark:
        // see `ResultMark`.
        """
        CREATE TABLE task(
            id INTEGER PRIMARY KEY, number INTEGER NOT NULL, at INTEGER NOT NULL,
            name TEXT NOT NULL, ref TEXT NOT NULL, priority INTEGER NOT NULL, want INTEGER NOT NULL,
            pipeline TEXT NOT NULL, payload BLOB, spool TEXT, bytes INTEGER, modified INTEGER,
            key TEXT, content TEXT, sum INTEGER NOT NULL);
        CREATE TABLE event(
            number INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind INTEGER NOT NULL,
            task INTEGER, attempt INTEGER, session INTEGER, first INTEGER, last INTEGER,
            cause INTEGER, delay INTEGER, worker TEXT, stages TEXT, error TEXT,
            payload BLOB, spool TEXT, bytes INTEGER, sum INTEGER NOT NULL);
        CREATE TABLE finished(
            task INTEGER PRIMARY KEY, number INTEGER NOT NULL, at INTEGER NOT NULL,
            attempt INTEGER, outcome INTEGER NOT NULL, reason TEXT, bytes INTEGER, hash INTEGER,
            payload BLOB, spool TEXT, sum INTEGER NOT NULL);
        CREATE INDEX ends ON finished(number);
        CREATE TABLE file(
            name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, modified INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
        """
        // Version 2. For people.
        """
        CREATE VIEW history AS
            SELECT number, strftime('%Y-%m-%d %H:%M:%f', at / 1000.0, 'unixepoch') AS time, id AS task,
                'submitted' AS event, NULL AS attempt, NULL AS worker, name || ' | ' || pipeline AS text
            FROM task
            UNION ALL
            SELECT e.number, strftime('%Y-%m-%d %H:%M:%f', e.at / 1000.0, 'unixepoch'), e.task,
                CASE e.kind WHEN 1 THEN 'assigned' WHEN 2 THEN 'claimed' WHEN 3 THEN 'advanced' WHEN 4 THEN 'delayed'
                    WHEN 5 THEN 'woken' WHEN 6 THEN 'requeued' WHEN 7 THEN 'quarantined' WHEN 8 THEN 'accepted'
                    WHEN 9 THEN 'retried' WHEN 10 THEN 'gone' WHEN 11 THEN 'joined' WHEN 12 THEN 'left' END,
                e.attempt,
                coalesce(e.worker, (SELECT j.worker FROM event j WHERE j.kind = 11 AND j.session = e.session)),
                coalesce(e.error, e.stages)
            FROM event e
            UNION ALL
            SELECT number, strftime('%Y-%m-%d %H:%M:%f', at / 1000.0, 'unixepoch'), task,
                CASE outcome WHEN 0 THEN 'completed' ELSE 'cancelled' END, attempt, NULL, reason
            FROM finished
            ORDER BY 1;
        """
        // Version 3. When the result that is kept of a task was first handed to somebody.
        """
        CREATE TABLE delivered(task INTEGER PRIMARY KEY, at INTEGER NOT NULL, sum INTEGER NOT NULL);
        """
        // Version 4. Tasks that are worked on in pieces: `first` is the index of a piece, `last` of a speculated one the
        // task that is slow, and the `payload` of what was split is where each piece ends, 8 bytes each.
        """
        DROP VIEW history;
        CREATE VIEW history AS
            SELECT number, strftime('%Y-%m-%d %H:%M:%f', at / 1000.0, 'unixepoch') AS time, id AS task,
                'submitted' AS event, NULL AS attempt, NULL AS worker,
                CASE want WHEN 4 THEN name || ' (piece ' || ref || ') | ' || pipeline ELSE name || ' | ' || pipeline END AS text
            FROM task
            UNION ALL
            SELECT e.number, strftime('%Y-%m-%d %H:%M:%f', e.at / 1000.0, 'unixepoch'), e.task,
                CASE e.kind WHEN 1 THEN 'assigned' WHEN 2 THEN 'claimed' WHEN 3 THEN 'advanced' WHEN 4 THEN 'delayed'
                    WHEN 5 THEN 'woken' WHEN 6 THEN 'requeued' WHEN 7 THEN 'quarantined' WHEN 8 THEN 'accepted'
                    WHEN 9 THEN 'retried' WHEN 10 THEN 'gone' WHEN 11 THEN 'joined' WHEN 12 THEN 'left'
                    WHEN 13 THEN 'split' WHEN 14 THEN 'part' WHEN 15 THEN 'speculated' END,
                e.attempt,
                coalesce(e.worker, (SELECT j.worker FROM event j WHERE j.kind = 11 AND j.session = e.session)),
                CASE e.kind WHEN 13 THEN length(e.payload) / 8 || ' pieces'
                    WHEN 14 THEN 'piece ' || e.first
                    WHEN 15 THEN 'piece ' || e.first || ', beside task ' || e.last
                    ELSE coalesce(e.error, e.stages) END
            FROM event e
            UNION ALL
            SELECT number, strftime('%Y-%m-%d %H:%M:%f', at / 1000.0, 'unixepoch'), task,
                CASE outcome WHEN 0 THEN 'completed' ELSE 'cancelled' END, attempt, NULL, reason
            FROM finished
            ORDER BY 1;
        """
        // Version 5. The `stages` of what was split are those of its pieces, where they are others than its own.
        """
        DROP VIEW history;
        CREATE VIEW history AS
            SELECT number, strftime('%Y-%m-%d %H:%M:%f', at / 1000.0, 'unixepoch') AS time, id AS task,
                'submitted' AS event, NULL AS attempt, NULL AS worker,
                CASE want WHEN 4 THEN name || ' (piece ' || ref || ') | ' || pipeline ELSE name || ' | ' || pipeline END AS text
            FROM task
            UNION ALL
            SELECT e.number, strftime('%Y-%m-%d %H:%M:%f', e.at / 1000.0, 'unixepoch'), e.task,
                CASE e.kind WHEN 1 THEN 'assigned' WHEN 2 THEN 'claimed' WHEN 3 THEN 'advanced' WHEN 4 THEN 'delayed'
                    WHEN 5 THEN 'woken' WHEN 6 THEN 'requeued' WHEN 7 THEN 'quarantined' WHEN 8 THEN 'accepted'
                    WHEN 9 THEN 'retried' WHEN 10 THEN 'gone' WHEN 11 THEN 'joined' WHEN 12 THEN 'left'
                    WHEN 13 THEN 'split' WHEN 14 THEN 'part' WHEN 15 THEN 'speculated' END,
                e.attempt,
                coalesce(e.worker, (SELECT j.worker FROM event j WHERE j.kind = 11 AND j.session = e.session)),
                CASE e.kind WHEN 13 THEN length(e.payload) / 8 || ' pieces' || coalesce(' | ' || e.stages, '')
                    WHEN 14 THEN 'piece ' || e.first
                    WHEN 15 THEN 'piece ' || e.first || ', beside task ' || e.last
                    ELSE coalesce(e.error, e.stages) END
            FROM event e
            UNION ALL
            SELECT number, strftime('%Y-%m-%d %H:%M:%f', at / 1000.0, 'unixepoch'), task,
                CASE outcome WHEN 0 THEN 'completed' ELSE 'cancelled' END, attempt, NULL, reason
            FROM finished
            ORDER BY 1;
        """
        // Version 6. Whose the result of a name is, where that is not the file of the same name: another file, by its
        // `source`, or a `task` of a client. A version of a file has its ctime and its inode too; of a task that is an input
        // they are the `payload`, 8 bytes each. In older rows they are not known: null counts for nothing in a sum.
        """
        CREATE TABLE result(name TEXT PRIMARY KEY, source TEXT, task INTEGER, sum INTEGER NOT NULL) WITHOUT ROWID;
        ALTER TABLE file RENAME TO older;
        CREATE TABLE file(
            name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, modified INTEGER NOT NULL,
            changed INTEGER, inode INTEGER, sum INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO file SELECT name, bytes, modified, NULL, NULL, sum FROM older;
        DROP TABLE older;
        """
    |]

    /// The version that this scheduler writes.
    let version = steps.Length

    let execute (connection: SqliteConnection) (sql: string) =
        use command = connection.CreateCommand(CommandText = sql)
        command.ExecuteNonQuery() |> ignore

    let scalar (connection: SqliteConnection) (sql: string) : int64 =
        use command = connection.CreateCommand(CommandText = sql)

        match command.ExecuteScalar() with
        | :? int64 as value -> value
        | _ -> 0L

    /// What a file's header says of its version, without opening it as a database: then nothing beside it is made.
    let versionInHeader (path: string) : int =
        let header: byte[] = Array.zeroCreate 100

        use file =
            new IO.FileStream(
                path,
                IO.FileMode.Open,
                IO.FileAccess.Read,
                IO.FileShare.ReadWrite ||| IO.FileShare.Delete
            )

        if file.ReadAtLeast(Span header, 100, false) < 100 then
            0
        else
            System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(ReadOnlySpan(header, 60, 4))

    /// The version of a file; 0: it is new.
    let versionOf (connection: SqliteConnection) =
        int (scalar connection "PRAGMA user_version")

    /// What to tell whoever comes with a file of a newer version.
    let tooNew found =
        JournalRefused
            $"the journal is of version {found}, and this fs-scheduler knows versions up to {version}: use the newer fs-scheduler that wrote it, or another folder with --state. Nothing was changed."

    /// Makes the file of this version. All of it or nothing.
    let migrate (connection: SqliteConnection) =
        let found = versionOf connection

        if found > version then
            raise (tooNew found)

        if found < version then
            execute connection "BEGIN IMMEDIATE"

            try
                for step in found .. version - 1 do
                    execute connection steps[step]

                execute connection $"PRAGMA user_version = {version}"
                execute connection "COMMIT"
            with _ ->
                try
                    execute connection "ROLLBACK"
                with :? SqliteException ->
                    () // some errors have rolled it back already

                reraise ()

    /// Makes a new file of an older version.
    let internal migrateTo (connection: SqliteConnection) target =
        for step in versionOf connection .. target - 1 do
            execute connection steps[step]

        execute connection $"PRAGMA user_version = {target}"
