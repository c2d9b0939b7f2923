namespace FsScheduler.Journal

open System
open System.IO
open SQLitePCL

/// Opens the file of a journal to write. Changes nothing before the end of the journal is known to be whole.
module internal SqliteOpening =

    let private prepare (options: SqliteStoreOptions) (db: Database) =
        let path = options.path

        if not (SqliteFile.hasTables db) then
            SqliteFile.create db
        elif db.Scalar "PRAGMA application_id" <> int64 SqliteFile.applicationId then
            SqliteFile.refuse
                path
                "is a file of another program: move it away, and start with a new one"

        options.restrict path
        db.Execute "PRAGMA journal_mode = WAL"
        let synchronous = if options.flush then "FULL" else "OFF"
        db.Execute $"PRAGMA synchronous = {synchronous}"
        db.Execute "PRAGMA wal_autocheckpoint = 0"
        db.Execute "PRAGMA cache_size = -8192"
        db.Execute "PRAGMA temp_store = MEMORY"

        for file in [ path + "-wal"; path + "-shm" ] do
            options.restrict file

    /// Goes on after a loss: the numbers of the lost events are not given again.
    let private fill (db: Database) (mark: HighWaterMark) =
        let struct (next, first, _) = SqliteFile.last db
        let at = db.Scalar $"SELECT at FROM batch WHERE first = {first}"
        db.Execute "BEGIN IMMEDIATE"
        SqliteFile.insertAll db (SqliteFile.lostBatches next mark.next at)
        db.Execute "COMMIT"

    let private checkMark (options: SqliteStoreOptions) (db: Database) hasLog found =
        match found with
        | Found mark ->
            match SqliteFile.lossOf options.path db hasLog mark with
            | Some loss when options.acceptLoss || not mark.isFlushed ->
                options.log $"the journal {options.path} {loss}; going on without them"
                fill db mark
            | Some loss ->
                SqliteFile.refuse
                    options.path
                    $"{loss}. Put back what is missing, or start with --accept-loss to go on from what is there"
            | None -> ()
        | Missing
        | Unreadable ->
            let struct (next, _, _) = SqliteFile.last db

            if next > 1L then
                options.log
                    $"{HighWaterMark.pathOf options.path} is missing or cannot be read: whether the journal has lost its end is not known"

    let private openOnce (options: SqliteStoreOptions) hasLog found =
        let db = new Database(options.path, OpenMode.Create)

        try
            db.SetCheckpointOnClose false
            prepare options db
            SqliteFile.checkLast options.path db
            checkMark options db hasLog found
            db.SetCheckpointOnClose true
            // A killed process may have left writes that are not flushed.
            db.Checkpoint raw.SQLITE_CHECKPOINT_TRUNCATE |> ignore
            db
        with _ ->
            (db :> IDisposable).Dispose()
            reraise ()

    /// <summary>Opens a journal, or creates a new one.</summary>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The journal is damaged, has lost its end, or is of
    /// another version or program.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">The file cannot be opened or written.</exception>
    let openForWriting (options: SqliteStoreOptions) : Database =
        let path = options.path

        let lengthOf file =
            if File.Exists file then FileInfo(file).Length else 0L

        let hasLog = lengthOf (path + "-wal") > 0L
        let found = HighWaterMark.read path

        if lengthOf path > 0L then
            SqliteFile.checkHeader path
        elif not options.acceptLoss then
            match found with
            | Found mark when mark.next > 1L ->
                SqliteFile.refuse
                    path
                    $"is missing or empty, and had events up to number {mark.next - 1L}, as {HighWaterMark.pathOf path} says. Put it back, or start with --accept-loss to begin a new one"
            | _ when hasLog ->
                SqliteFile.refuse
                    path
                    $"is missing or empty, and its log {path}-wal is there. Put it back, or start with --accept-loss to begin a new one"
            | _ -> ()

        SqliteFile.guard path (fun () ->
            try
                openOnce options hasLog found
            with SqliteError(code, _) when SqliteFile.isFull code && SpaceReserve.release path ->
                openOnce options hasLog found)
