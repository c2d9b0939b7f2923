namespace FsScheduler.Journal

open System
open System.IO
open SQLitePCL

/// Copies a journal while it may be written.
module JournalBackup =

    let private copy (source: Database) (target: Database) =
        let check (code: int) =
            if code <> raw.SQLITE_OK && code <> raw.SQLITE_DONE then
                raise (SqliteError(code, raw.sqlite3_errmsg(target.Handle).utf8_to_string()))

        use backup = raw.sqlite3_backup_init (target.Handle, "main", source.Handle, "main")

        if isNull (box backup) then
            check (raw.sqlite3_errcode target.Handle)

        // One step for all pages: between two, the writes of a scheduler would restart the copy.
        check (raw.sqlite3_backup_step (backup, -1))

    /// <summary>Copies a journal into a new file, with a mark of its own, also while a scheduler writes it.</summary>
    /// <param name="path">The journal.</param>
    /// <param name="target">The new file.</param>
    /// <param name="restrict">Removes the rights of other users on a file.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The journal cannot be used, or the new file
    /// exists.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">A file cannot be read or written.</exception>
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
                    // In WAL mode, reading the copy for its mark would make a WAL.
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
