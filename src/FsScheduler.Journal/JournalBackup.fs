namespace FsScheduler.Journal

open System
open System.IO
open SQLitePCL

/// A copy of a journal that is whole at a moment.
module JournalBackup =

    let private copy (source: Database) (target: Database) =
        let check (code: int) =
            if code <> raw.SQLITE_OK && code <> raw.SQLITE_DONE then
                raise (SqliteError(code, raw.sqlite3_errmsg(target.Handle).utf8_to_string()))

        use backup = raw.sqlite3_backup_init (target.Handle, "main", source.Handle, "main")

        if isNull (box backup) then
            check (raw.sqlite3_errcode target.Handle)

        // All of it in one step: between two, a scheduler that writes would make it begin again.
        check (raw.sqlite3_backup_step (backup, -1))

    /// <summary>Copies a journal into a new file, also while a scheduler writes it. The copy has a mark of its own beside
    /// it.</summary>
    /// <param name="path">The journal.</param>
    /// <param name="target">The new file.</param>
    /// <param name="restrict">Takes from others what they may do with a file.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The journal is not there or cannot be used, or the new file is
    /// there already.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">The journal cannot be read, or the new file not be
    /// written.</exception>
    let run (path: string) (target: string) (restrict: string -> unit) : unit =
        if File.Exists target then
            SqliteFile.refuse target "is there already: nothing was copied"

        let part = target + ".part"

        try
            JournalCheck.opened path (fun source _ _ ->
                SqliteFile.guard target (fun () ->
                    File.Delete part
                    use db = new Database(part, OpenMode.Create)
                    restrict part
                    copy source db
                    // What is read of it below would make a log.
                    db.Execute "PRAGMA journal_mode = DELETE"
                    SqliteFile.setMark target db))

            File.Move(part, target)
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            File.Delete part
            raise (StoreError(true, $"{target} cannot be written: {error.Message}"))
        | _ ->
            File.Delete part
            reraise ()
