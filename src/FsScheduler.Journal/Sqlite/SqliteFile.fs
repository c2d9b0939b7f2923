namespace FsScheduler.Journal

open System
open System.Buffers.Binary
open System.IO
open SQLitePCL

/// Options of a journal in an SQLite file.
type SqliteStoreOptions = {
    /// The file; its WAL, mark and reserve are beside it.
    path: string
    /// Whether an append is flushed to the disk. If not, it survives the end of the process, but not of the machine.
    flush: bool
    /// Whether to go on when the end of the journal is lost.
    acceptLoss: bool
    /// Removes the rights of other users on a file of the journal.
    restrict: string -> unit
    /// Logs a sentence for the operator.
    log: string -> unit
    /// Told why the WAL grows, and None when it shrinks again. Called by the appending thread.
    checkpointBlocked: string option -> unit
    /// The size of the WAL, in bytes, from which `checkpointBlocked` is called.
    logBytesMax: int64
}

module SqliteStoreOptions =

    let defaults (path: string) : SqliteStoreOptions = {
        path = path
        flush = true
        acceptLoss = false
        restrict = ignore
        log = ignore
        checkpointBlocked = ignore
        logBytesMax = 64L * 1024L * 1024L
    }

/// The file format of a journal, and how a file is checked.
module internal SqliteFile =

    let applicationId = 0x46735363 // "FsSc"
    let version = 1
    let pageBytes = 8_192

    let recover =
        "put the right file back, or see what can be saved with 'fs-scheduler check'"

    let refuse (path: string) (what: string) : 'T =
        raise (JournalRefused $"the journal {path} {what}")

    /// Whether a retry may succeed: the disk is full or fails, or the file is locked or may not be written.
    let private passes code =
        match code &&& 0xff with
        | 5 // SQLITE_BUSY
        | 8 // SQLITE_READONLY
        | 10 // SQLITE_IOERR
        | 13 // SQLITE_FULL
        | 14 -> true // SQLITE_CANTOPEN
        | _ -> false

    /// Whether the disk has no room.
    let isFull code =
        code &&& 0xff = raw.SQLITE_FULL
        // The shared memory of the WAL finds no space.
        || code = raw.SQLITE_IOERR_SHMSIZE

    /// The exception of the journal for an error of SQLite.
    let errorOf (path: string) (code: int) (message: string) : exn =
        match code &&& 0xff with
        | 11 // SQLITE_CORRUPT
        | 26 -> // SQLITE_NOTADB
            JournalRefused $"the journal {path} is damaged: {message}; {recover}"
        | _ -> StoreError(passes code, $"the journal {path}: {message} (SQLite error {code})")

    /// Runs an action; an error of SQLite becomes an exception of the journal.
    let guard (path: string) (action: unit -> 'T) : 'T =
        try
            action ()
        with SqliteError(code, message) ->
            raise (errorOf path code message)

    let private header (path: string) : byte[] =
        use file =
            new FileStream(
                path,
                FileMode.Open,
                FileAccess.Read,
                FileShare.ReadWrite ||| FileShare.Delete
            )

        let bytes = Array.zeroCreate 100
        let length = file.ReadAtLeast(Span bytes, 100, false)
        Array.truncate length bytes

    /// <summary>Refuses a file that is no journal of this version, without changing any file.</summary>
    /// <param name="path">A file that this process does not have open: closing it releases the locks of every
    /// handle.</param>
    let checkHeader (path: string) : unit =
        let head =
            try
                header path
            with
            | :? IOException
            | :? UnauthorizedAccessException as error ->
                raise (StoreError(true, $"the journal {path}: {error.Message}"))

        let number at =
            BinaryPrimitives.ReadInt32BigEndian(ReadOnlySpan(head, at, 4))

        if head.Length > 0 then
            if
                head.Length < 100
                || not (head.AsSpan().StartsWith(ReadOnlySpan "SQLite format 3\000"B))
            then
                refuse path $"is damaged or is something else: it does not begin as one; {recover}"

            let id = number 68
            let found = number 60

            if id = applicationId && found > version then
                refuse
                    path
                    $"is of version {found}, and this program knows version {version}: use the program that made it, or a newer one"

            if id <> applicationId && (id <> 0 || found <> 0) then
                refuse
                    path
                    "is of a version that was never released, or of another program: move it away, and start with a new one"

    /// The number after the last batch, and the first number and the sum of that batch; (1, 0, 0) without a batch.
    let last (db: Database) : struct (int64 * int64 * int64) =
        use rows =
            db.Prepare "SELECT first + count, first, sum FROM batch ORDER BY first DESC LIMIT 1"

        if rows.Next() then
            let found = struct (rows.GetInt 0, rows.GetInt 1, rows.GetInt 2)
            rows.Reset()
            found
        else
            struct (1L, 0L, 0L)

    /// The batch of a row; refused if it is damaged.
    let whole (path: string) (struct (batch: Batch, _) as row) : Batch =
        if not (BatchRow.isWhole row) then
            refuse
                path
                $"is damaged: the batch at event {batch.first}, of {BatchRow.timeText batch.at}, is not what was written; {recover}"

        batch

    /// Refuses a journal whose last batch is damaged: numbers continue from that batch.
    let checkLast (path: string) (db: Database) : unit =
        use rows = db.Prepare $"{BatchRow.selection} ORDER BY first DESC LIMIT 1"

        if rows.Next() then
            whole path (BatchRow.read rows) |> ignore
            rows.Reset()

    /// Whether the batch of a mark is there, was dropped, or was replaced by a repair.
    let private knows (db: Database) (mark: HighWaterMark) =
        use rows =
            db.Prepare
                $"SELECT first, sum, owner = zeroblob(16) FROM batch WHERE first <= {mark.first} ORDER BY first DESC LIMIT 1"

        if rows.Next() then
            let isSame = rows.GetInt 0 = mark.first && rows.GetInt 1 = mark.sum
            let isLost = rows.GetInt 2 = 1L
            rows.Reset()
            isSame || isLost
        else
            true

    /// What the journal has lost, by its mark.
    let lossOf (path: string) (db: Database) (hasLog: bool) (mark: HighWaterMark) : string option =
        let struct (next, _, _) = last db

        if next < mark.next then
            let why =
                if hasLog then
                    "it is an old copy, or its log is damaged or that of another time"
                else
                    $"its log {path}-wal is missing or empty, or it is an old copy"

            Some $"ends before event {next}, and had {mark.next - next} more events: {why}"
        elif not (knows db mark) then
            Some $"is not the one that was here before: its batch at event {mark.first} is another"
        else
            None

    /// Batches in place of lost events, so that their numbers are not given again.
    let lostBatches (first: int64) (next: int64) (at: int64) : Batch list = [
        let most = int64 Int32.MaxValue

        for begins in first..most .. next - 1L do
            Batch.lost begins (int (min most (next - begins))) at
    ]

    let create (db: Database) : unit =
        db.Execute $"PRAGMA page_size = {pageBytes}"
        db.Execute "BEGIN"
        db.Execute $"PRAGMA application_id = {applicationId}"
        db.Execute $"PRAGMA user_version = {version}"

        for table in BatchRow.schema do
            db.Execute table

        db.Execute "COMMIT"

    let hasTables (db: Database) : bool =
        db.Scalar "SELECT count(*) FROM sqlite_master" > 0L

    /// Inserts batches, within a transaction.
    let insertAll (db: Database) (batches: Batch seq) : unit =
        use insert = db.Prepare BatchRow.insertion

        for batch in batches do
            BatchRow.write insert batch (Batch.sum batch)

    /// The mark of the journal as it is; none: the journal is empty.
    let markOf (db: Database) (isFlushed: bool) : HighWaterMark voption =
        match last db with
        | struct (_, 0L, _) -> ValueNone
        | struct (next, first, sum) ->
            ValueSome { first = first; next = next; sum = sum; isFlushed = isFlushed }

    /// Writes the mark of a new and flushed journal.
    let setMark (path: string) (db: Database) : unit =
        match markOf db true with
        | ValueSome mark -> HighWaterMark.write path mark
        | ValueNone -> ()

    /// Opens a file to read, without changing the file or its WAL, even when it is closed.
    let private openWith (first: string) (path: string) : Database =
        let db = new Database(path, OpenMode.Read)

        try
            db.SetCheckpointOnClose false
            db.Execute first
            db.Execute "PRAGMA cache_size = -2048"
            db
        with _ ->
            (db :> IDisposable).Dispose()
            reraise ()

    let openToRead (path: string) : Database =
        openWith "PRAGMA temp_store = MEMORY" path

    /// Opens a file that may be truncated. `writable_schema` has to come before any read.
    let openToSalvage (path: string) : Database =
        openWith "PRAGMA writable_schema = ON" path
