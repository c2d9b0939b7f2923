namespace FsScheduler.Runtime

open System
open System.IO
open System.Threading
open Microsoft.Data.Sqlite
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// The file of a journal: how it is opened, and what is asked of it.
module JournalFile =

    /// The name of the file in the state folder.
    let name = "journal.db"

    let pathIn (folder: string) = Path.Combine(folder, name)

    /// A Unix time in milliseconds as a moment of a clock; before its making, it is negative.
    let toInstant (clock: Clock) =
        let start = clock.DateOf(Instant.zero).ToUnixTimeMilliseconds()
        fun (at: int64) -> { sinceStart = (at - start) * 1L<ms> }

    /// Pages that the write-ahead log may have before they are moved: 32 MiB.
    let private checkpointPages = 4_096
    let private pageBytes = JournalHead.pageBytes

    /// How long is waited before a disk that took nothing is asked again.
    let betweenTries = TimeSpan.FromSeconds 1.0

    let private isFull code =
        code &&& 0xff = SQLitePCL.raw.SQLITE_FULL
        // The index of the write-ahead log, which is made at the opening, finds no room.
        || code = SQLitePCL.raw.SQLITE_IOERR_SHMSIZE

    /// <summary>Does what belongs to opening a journal; while the disk is full, that waits.</summary>
    /// <param name="holdup">Told meanwhile.</param>
    /// <param name="path">The file.</param>
    /// <param name="action">Does all of it or nothing, and so can be tried again.</param>
    /// <exception cref="T:System.IO.IOException">Anything else is wrong.</exception>
    let whileFull (holdup: Holdup) (path: string) (action: unit -> 'T) : 'T =
        let place = $"the journal {path}"

        let attempt () =
            try
                Ok(action ())
            with
            | SqliteTrouble(code, message) -> Error(struct (code, message))
            | :? SqliteException as error ->
                Error(struct (error.SqliteExtendedErrorCode, error.Message))

        let rec tryAgain () =
            match attempt () with
            | Ok value ->
                holdup.End place
                value
            | Error(struct (code, message)) when isFull code ->
                holdup.Begin(place, message)
                Thread.Sleep betweenTries
                tryAgain ()
            | Error(struct (code, message)) ->
                raise (IOException $"{place} cannot be used: {message} (SQLite error {code})")

        tryAgain ()

    /// <summary>Opens a journal, new or old, checks it and makes it of this version.</summary>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">It is damaged, or of a newer version; nothing was changed.</exception>
    /// <exception cref="T:System.IO.IOException">It cannot be opened or written.</exception>
    let openForWriting
        (path: string)
        (sync: Sync)
        (holdup: Holdup)
        (log: ILogger)
        : SqliteConnection =
        whileFull holdup path (fun () -> JournalCheck.verify path (sync <> Sync.Off) log)

        let connection =
            whileFull holdup path (fun () ->
                JournalConnection.openAs path SqliteOpenMode.ReadWriteCreate)

        try
            let synchronous =
                match sync with
                | Sync.Off -> "OFF"
                | Sync.Normal
                | Sync.Full -> "FULL"

            whileFull holdup path (fun () ->
                Schema.execute connection $"PRAGMA page_size = {pageBytes}"
                Schema.execute connection "PRAGMA journal_mode = WAL"
                Schema.execute connection $"PRAGMA synchronous = {synchronous}"
                Schema.execute connection $"PRAGMA wal_autocheckpoint = {checkpointPages}"
                Schema.execute connection "PRAGMA cache_size = -8192"
                Schema.execute connection "PRAGMA temp_store = MEMORY"
                Schema.migrate connection)

            // SQLite makes its files as the umask says, and the log like the file that it belongs to.
            for file in [ path; path + "-wal"; path + "-shm" ] do
                Rights.close file |> ignore

            connection
        with _ ->
            connection.Dispose()
            reraise ()

    /// An empty journal of this version.
    let openNew (path: string) : SqliteConnection =
        let connection = JournalConnection.openAs path SqliteOpenMode.ReadWriteCreate
        Schema.execute connection $"PRAGMA page_size = {pageBytes}"
        Schema.migrate connection
        Rights.close path |> ignore
        connection

    /// <summary>Opens what may be damaged.</summary>
    /// <exception cref="T:System.IO.IOException">It cannot be opened at all.</exception>
    let openToRepair (path: string) : SqliteConnection =
        try
            let connection = JournalConnection.openAs path SqliteOpenMode.ReadOnly
            // Else a file that was cut off is not read at all.
            Schema.execute connection "PRAGMA writable_schema = ON"
            Schema.scalar connection "SELECT count(*) FROM sqlite_master" |> ignore
            connection
        with :? SqliteException as error ->
            raise (IOException error.Message)

    /// <summary>Opens a journal to read what is durable, also while a scheduler writes it.</summary>
    /// <exception cref="T:System.IO.IOException">It cannot be opened.</exception>
    let openForReading (path: string) : SqliteConnection =
        try
            let connection = JournalConnection.openAs path SqliteOpenMode.ReadOnly
            Schema.execute connection "PRAGMA cache_size = -2048"
            connection
        with :? SqliteException as error ->
            raise (IOException $"the journal {path} cannot be read: {error.Message}")

    let private metaOf connection name =
        Schema.scalar connection $"SELECT value FROM meta WHERE name = '{name}'"

    /// What the journal knows beside its rows: numbers by name.
    let setMeta (connection: SqliteConnection) (name: string) (value: int64) =
        use row =
            new Statement(
                nonNull connection.Handle,
                "INSERT INTO meta VALUES(?,?,?) ON CONFLICT(name) DO UPDATE SET value = excluded.value, sum = excluded.sum"
            )

        row.Text(1, name)
        row.Int(2, value)
        row.Sum 3
        row.Run()

    /// Adds to such a number; from 0.
    let addMeta connection name (more: int64) =
        setMeta connection name (metaOf connection name + more)

    let private checkpoint (connection: SqliteConnection) how =
        Schema.execute connection $"PRAGMA wal_checkpoint({how})"

    /// <summary>Flushes what an earlier run has left, before anything is deleted or told because of it: a killed process
    /// may not have. Then notes that this run has begun, so that a log that somebody takes away is missed.</summary>
    /// <param name="connection">The only one.</param>
    /// <param name="now">In Unix milliseconds.</param>
    /// <remarks>Each step can be the last one: where `opened` stands in the file and `begun` does not, the log, which is
    /// never empty then, has it.</remarks>
    let noteBegin (connection: SqliteConnection) (now: int64) =
        if Schema.scalar connection "SELECT count(*) FROM meta WHERE name = 'begun'" = 0L then
            setMeta connection "begun" (metaOf connection "opened")

        // No frame of an earlier run is left in the log, where it could be taken for one of this.
        checkpoint connection "TRUNCATE"
        setMeta connection "opened" now
        checkpoint connection "FULL"
        setMeta connection "begun" now

    /// What a journal is that was not opened since.
    let noteWhole (connection: SqliteConnection) =
        setMeta connection "begun" (metaOf connection "opened")

    /// Results of events up to this number have reached the device.
    let setFlushed connection number = setMeta connection "flushed" number

    let flushedUpTo connection = metaOf connection "flushed"

    let private most connection column table =
        Schema.scalar connection $"SELECT max({column}) FROM {table}"

    /// The highest task, event and session that were ever recorded.
    let highest (connection: SqliteConnection) : struct (TaskId * int64 * SessionId) =
        let task = max (metaOf connection "task") (most connection "id" "task")

        let event =
            [
                metaOf connection "event"
                most connection "number" "event"
                Schema.scalar
                    connection
                    "SELECT number FROM task WHERE id = (SELECT max(id) FROM task)"
                most connection "number" "finished"
            ]
            |> List.max

        let session = max (metaOf connection "session") (most connection "session" "event")
        struct (task * 1L<taskId>, event, session * 1L<sessionId>)

    /// Numbers are never given again, also when the rows that had them are gone.
    let rememberNumbers (connection: SqliteConnection) =
        let struct (task, event, session) = highest connection
        setMeta connection "task" (int64 task)
        setMeta connection "event" event
        setMeta connection "session" (int64 session)

    /// Done and cancelled, ever.
    let ended (connection: SqliteConnection) : struct (int64 * int64) =
        let count outcome =
            Schema.scalar connection $"SELECT count(*) FROM finished WHERE outcome = {outcome}"

        struct (count 0 + metaOf connection "finished", count 1 + metaOf connection "cancelled")

    /// The version of each file that was taken.
    let files (connection: SqliteConnection) : struct (string * Stamp)[] =
        use command =
            connection.CreateCommand(
                CommandText =
                    "SELECT name, bytes, modified, coalesce(changed, 0), coalesce(inode, 0) FROM file"
            )

        use rows = command.ExecuteReader()

        [|
            while rows.Read() do
                struct (rows.GetString 0,
                        {
                            size = rows.GetInt64 1 * 1L<B>
                            modified = rows.GetInt64 2
                            changed = rows.GetInt64 3
                            inode = rows.GetInt64 4
                        })
        |]

    /// What was done with each file, in the newest of its tasks up to one, if that is done.
    let donePipelines (connection: SqliteConnection) (upTo: TaskId) : struct (string * string)[] =
        use command =
            connection.CreateCommand(
                CommandText =
                    $"SELECT t.name, t.pipeline
                      FROM (SELECT max(id) AS id FROM task WHERE want = {WantCode.folder} AND id <= {int64 upTo}
                        GROUP BY name) newest
                      JOIN task t ON t.id = newest.id
                      JOIN finished f ON f.task = t.id AND f.outcome = 0"
            )

        use rows = command.ExecuteReader()

        [|
            while rows.Read() do
                struct (rows.GetString 0, rows.GetString 1)
        |]

    /// Results of files stored since the last flush.
    let unverified (connection: SqliteConnection) : Unverified[] =
        use command =
            connection.CreateCommand(
                CommandText =
                    // Only of the newest version of a file: a newer one has, or will have, a result of its own.
                    $"WITH recent AS (SELECT task, bytes, hash FROM finished WHERE hash IS NOT NULL
                        AND number > {flushedUpTo connection})
                      SELECT newest.name, recent.bytes, recent.hash
                      FROM (SELECT name, max(id) AS id FROM task WHERE want = {WantCode.folder}
                        AND id >= (SELECT min(task) FROM recent) GROUP BY name) newest
                      JOIN recent ON recent.task = newest.id"
            )

        use rows = command.ExecuteReader()

        [|
            while rows.Read() do
                {
                    name = rows.GetString 0
                    proof = { size = rows.GetInt64 1 * 1L<B>; hash = uint64 (rows.GetInt64 2) }
                }
        |]

    /// Results that were accepted, of tasks that are not finished.
    let accepted (connection: SqliteConnection) : Accepted[] =
        use command =
            connection.CreateCommand(
                CommandText =
                    $"SELECT e.task, e.attempt, t.name, e.payload, e.spool, e.bytes, t.want
                      FROM event e JOIN task t ON t.id = e.task
                      WHERE e.kind = {int EventKind.Accepted} AND e.payload IS NOT NULL
                      AND NOT EXISTS (SELECT 1 FROM finished f WHERE f.task = e.task)"
            )

        use rows = command.ExecuteReader()

        [|
            while rows.Read() do
                {
                    attempt = { task = rows.GetInt64 0 * 1L<taskId>; number = rows.GetInt32 1 }
                    name = rows.GetString 2
                    isOfFile = rows.GetInt32 6 = WantCode.folder
                    mark =
                        ResultMark.ofBytes
                            (rows.GetFieldValue<byte[]> 3)
                            (rows.GetInt64 5 * 1L<B>)
                            (rows.IsDBNull 4)
                }
        |]

    /// Whose the results of some names are.
    let resultOwners (connection: SqliteConnection) : struct (TaskName * ResultSource)[] =
        use command =
            connection.CreateCommand(CommandText = "SELECT name, source, task FROM result")

        use rows = command.ExecuteReader()

        [|
            while rows.Read() do
                match TaskName.parse (rows.GetString 0) with
                | Error _ -> ()
                | Ok name when rows.IsDBNull 1 ->
                    struct (name, OfTask(rows.GetInt64 2 * 1L<taskId>))
                | Ok name ->
                    match TaskName.parse (rows.GetString 1) with
                    | Ok file -> struct (name, OfFile file)
                    | Error _ -> ()
        |]

    /// Notes whose they are from now on.
    let rememberOwners (connection: SqliteConnection) (owners: ResultOwner[]) =
        use row =
            new Statement(
                nonNull connection.Handle,
                "INSERT OR REPLACE INTO result VALUES(?,?,?,?)"
            )

        use gone =
            new Statement(nonNull connection.Handle, "DELETE FROM result WHERE name = ?")

        for owner in owners do
            match owner.owner with
            | ValueNone ->
                gone.Text(1, string owner.name)
                gone.Run()
            | ValueSome source ->
                row.Text(1, string owner.name)

                match source with
                | OfFile file ->
                    row.Text(2, string file)
                    row.Null 3
                | OfTask task ->
                    row.Null 2
                    row.Int(3, int64 task)

                row.Sum 4
                row.Run()

    /// That version of a file is to be taken again.
    let forgetFile (connection: SqliteConnection) (name: string) =
        use command =
            connection.CreateCommand(CommandText = "DELETE FROM file WHERE name = $name")

        command.Parameters.AddWithValue("$name", name) |> ignore
        command.ExecuteNonQuery() |> ignore

    /// What the workers of all sessions were called that the journal remembers.
    let workerNames (connection: SqliteConnection) : struct (SessionId * string)[] =
        use command =
            connection.CreateCommand(
                CommandText =
                    $"SELECT session, worker FROM event WHERE kind = {int EventKind.Joined}"
            )

        use rows = command.ExecuteReader()

        [|
            while rows.Read() do
                struct (rows.GetInt64 0 * 1L<sessionId>, rows.GetString 1)
        |]

    /// The number of the last of so many events after one.
    let lastOf (connection: SqliteConnection) (after: int64) (most: int) : int64 =
        // Submissions have the order of their ids.
        let rec firstAfter low high =
            if low >= high then
                low
            else
                let middle = low + (high - low) / 2L

                let number =
                    Schema.scalar
                        connection
                        $"SELECT number FROM task WHERE id >= {middle} ORDER BY id LIMIT 1"

                if number > after then
                    firstAfter low middle
                else
                    firstAfter (middle + 1L) high

        let first = firstAfter 1L (1L + Schema.scalar connection "SELECT max(id) FROM task")

        let last =
            Schema.scalar
                connection
                $"SELECT max(number) FROM (SELECT number FROM (
                    SELECT * FROM (SELECT number FROM task WHERE id >= {first} ORDER BY id LIMIT {most})
                    UNION ALL SELECT * FROM (SELECT number FROM event WHERE number > {after} ORDER BY number LIMIT {most})
                    UNION ALL SELECT * FROM (SELECT number FROM finished WHERE number > {after} ORDER BY number LIMIT {most}))
                  ORDER BY number LIMIT {most})"

        max after last

    let private dateOf (instant: Instant) =
        DateTimeOffset.FromUnixTimeMilliseconds(int64 instant.sinceStart)

    /// Events with their dates, the first of them.
    let dated (reader: EventReader) filter count =
        reader.Read(filter, fun at -> { sinceStart = at * 1L<ms> })
        |> Seq.truncate count
        |> Seq.map (fun struct (number, at, event) -> struct (number, dateOf at, event))
        |> Seq.toArray
