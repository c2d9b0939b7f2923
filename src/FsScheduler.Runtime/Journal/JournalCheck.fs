namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open Microsoft.Data.Sqlite
open Microsoft.Extensions.Logging
open SQLitePCL

/// What was found in a journal.
type JournalReport = {
    /// What is wrong, as sentences; empty: all is well.
    troubles: string list
    /// Rows that can be read and are right, by table.
    rows: (string * int64) list
}

/// Whether a journal is whole, and what can be read of one that is not.
module JournalCheck =

    let private tables = [ "task"; "event"; "finished"; "file"; "meta" ]
    let private troublesMax = 20

    /// What the header says of the size. A file that was cut off would be read as if its last pages were empty.
    let private sizeTrouble (path: string) =
        use file =
            new FileStream(
                path,
                FileMode.Open,
                FileAccess.Read,
                FileShare.ReadWrite ||| FileShare.Delete
            )

        let header: byte[] = Array.zeroCreate 100
        let read = file.ReadAtLeast(Span header, 100, false)

        let number offset length =
            Seq.fold
                (fun value byte -> value * 256L + int64 byte)
                0L
                header[offset .. offset + length - 1]

        if read < 100 || Text.Encoding.ASCII.GetString(header, 0, 15) <> "SQLite format 3" then
            Some "it is no SQLite file: its header is not there"
        else
            let page =
                match number 16 2 with
                | 1L -> 65_536L
                | size -> size

            let pages = number 28 4
            let log = FileInfo(path + "-wal")

            // While there is a log, the newest size may stand there.
            if file.Length < pages * page && not (log.Exists && log.Length > 0L) then
                Some
                    $"it has {file.Length} bytes and should have {pages * page}: its end is missing"
            elif file.Length % page <> 0L then
                Some
                    $"it has {file.Length} bytes, which is no whole number of pages: its last page is torn"
            else
                None

    let private structure (connection: SqliteConnection) =
        use command =
            connection.CreateCommand(CommandText = $"PRAGMA integrity_check({troublesMax})")

        use rows = command.ExecuteReader()

        [
            while rows.Read() do
                match rows.GetString 0 with
                | "ok" -> ()
                | trouble -> trouble
        ]

    /// Rows whose sum is not right, and how many are.
    let private sums (connection: SqliteConnection) table =
        use rows = new Statement((nonNull connection.Handle), $"SELECT * FROM {table}")
        let mutable right = 0L
        let wrong = List<int64>()

        try
            while rows.Next() do
                if rows.IsSumRight() then
                    right <- right + 1L
                elif wrong.Count < troublesMax then
                    wrong.Add(rows.GetInt 0)
        with SqliteTrouble(_, message) ->
            wrong.Add -1L

        let troubles = [
            for row in wrong do
                if row < 0L then
                    $"table {table} cannot be read to its end"
                elif table = "file" || table = "meta" then
                    $"a row of table {table} is not what was written"
                else
                    $"row {row} of table {table} is not what was written"
        ]

        struct (troubles, right)

    /// Whether it is the disk or the system that fails, and not the file that is wrong.
    let private isOutside code =
        match code &&& 0xff with
        | 3 // SQLITE_PERM
        | 5 // SQLITE_BUSY
        | 7 // SQLITE_NOMEM
        | 13 // SQLITE_FULL
        | 14 // SQLITE_CANTOPEN
        | 23 -> true // SQLITE_AUTH
        | _ -> code = raw.SQLITE_IOERR_SHMSIZE || code = raw.SQLITE_IOERR_SHMOPEN

    let private connected path (look: SqliteConnection -> JournalReport) =
        try
            use connection = JournalConnection.openAs path SqliteOpenMode.ReadOnly
            look connection
        with
        | :? SqliteException as error when not (isOutside error.SqliteExtendedErrorCode) ->
            { troubles = [ error.Message ]; rows = [] }
        | SqliteTrouble(code, message) when not (isOutside code) -> {
            troubles = [ message ]
            rows = []
          }

    let private look (path: string) : JournalReport =
        let version = Schema.versionInHeader path

        if version > Schema.version then
            raise (Schema.tooNew version)

        match sizeTrouble path with
        | Some trouble -> { troubles = [ trouble ]; rows = [] }
        | None ->
            connected path (fun connection ->
                let structure = structure connection

                if version = 0 then
                    { troubles = structure; rows = [] }
                else
                    let found = [ for table in tables -> struct (table, sums connection table) ]

                    {
                        troubles =
                            structure
                            @ [
                                for struct (_, struct (troubles, _)) in found do
                                    yield! troubles
                            ]
                        rows = [ for struct (table, struct (_, right)) in found -> table, right ]
                    })

    /// <summary>Reads all of a journal.</summary>
    /// <param name="path">The file; nothing is written to it.</param>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">It is of a newer version.</exception>
    /// <exception cref="T:System.IO.IOException">The disk or the system does not let it be read.</exception>
    let check (path: string) : JournalReport =
        let cannot (message: string) =
            raise (IOException $"the journal {path} cannot be read: {message}")

        try
            look path
        with
        | :? SqliteException as error -> cannot error.Message
        | SqliteTrouble(_, message) -> cannot message

    /// <summary>Refuses a journal that is not whole.</summary>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">It is damaged, or of a newer version.</exception>
    /// <exception cref="T:Microsoft.Data.Sqlite.SqliteException">The disk or the system does not let it be read.</exception>
    let verify (path: string) (log: ILogger) : unit =
        let watch = Stopwatch.StartNew()
        let report = look path

        match report.troubles with
        | [] ->
            log.LogDebug(
                "the journal is whole: {Rows} rows in {Milliseconds} ms",
                List.sumBy snd report.rows,
                watch.ElapsedMilliseconds
            )
        | first :: _ ->
            let folder = Path.GetDirectoryName path

            raise (
                JournalRefused
                    $"the journal {path} is damaged: {first} ({report.troubles.Length} findings). Nothing was changed. 'fs-scheduler check --state {folder}' reports, and with --repair writes all that can be read into a new file."
            )
