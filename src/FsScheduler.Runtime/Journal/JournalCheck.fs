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

    let private tables = [ "task"; "event"; "finished"; "delivered"; "file"; "meta"; "result" ]
    let private troublesMax = 20

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
                elif table = "file" || table = "meta" || table = "result" then
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
        | :? SqliteException as error when not (isOutside error.SqliteExtendedErrorCode) -> {
            troubles = [ error.Message ]
            rows = []
          }
        | SqliteTrouble(code, message) when not (isOutside code) -> {
            troubles = [ message ]
            rows = []
          }

    /// A scheduler that has written nothing but that it has begun leaves that in the log. Its number is that of the last
    /// opening, unless the log is gone.
    let private lostLog (connection: SqliteConnection) (path: string) =
        let meta name =
            Schema.scalar connection $"SELECT value FROM meta WHERE name = '{name}'"

        // An older scheduler did not note it.
        let isNoted =
            Schema.versionOf connection > 0
            && Schema.scalar connection "SELECT count(*) FROM meta WHERE name = 'begun'" > 0L

        if isNoted && meta "begun" <> meta "opened" then
            [
                $"{WriteAheadLog.pathOf path} is gone, and with it what was accepted last: put it back, if you have it"
            ]
        else
            []

    /// What there is, by tables.
    let private content (connection: SqliteConnection) =
        if Schema.versionOf connection = 0 then
            { troubles = structure connection; rows = [] }
        else
            let structure = structure connection

            let found = [
                for table in tables do
                    if JournalHead.hasTable connection table then
                        struct (table, sums connection table)
            ]

            {
                troubles =
                    structure
                    @ [
                        for struct (_, struct (troubles, _)) in found do
                            yield! troubles
                    ]
                rows = [ for struct (table, struct (_, right)) in found -> table, right ]
            }

    /// <summary>Reads all of it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isFlushed">Whether what was written is known to have been flushed: then a log that does not go on is
    /// a trouble.</param>
    let private look (path: string) (isFlushed: bool) : JournalReport =
        // Whoever opens the file makes a log, if there is none.
        let hasLog = WriteAheadLog.isThere path

        let trouble =
            match JournalHead.headerTrouble path with
            | Some trouble -> Some trouble
            | None when Schema.versionInHeader path > Schema.version ->
                JournalHead.newerTrouble path
            | None when isFlushed -> WriteAheadLog.trouble path JournalHead.pageBytes
            | None -> None

        match trouble with
        | Some trouble -> { troubles = [ trouble ]; rows = [] }
        | None ->
            connected path (fun connection ->
                match JournalHead.schemaTrouble connection with
                | Some trouble -> { troubles = [ trouble ]; rows = [] }
                | None ->
                    let content = content connection

                    if hasLog || not isFlushed then
                        content
                    else
                        { content with troubles = lostLog connection path @ content.troubles })

    /// A log without its file is all that was accepted last: SQLite would delete it.
    let private refuseLogAlone (path: string) =
        let file = FileInfo path

        if (not file.Exists || file.Length = 0L) && WriteAheadLog.isThere path then
            let log = WriteAheadLog.pathOf path

            raise (
                JournalRefused
                    $"{path} is missing or empty, and {log}, which belongs to it, is there: put the journal back, or move {log} away to begin with nothing. Nothing was changed."
            )

    /// <summary>Reads all of a journal.</summary>
    /// <param name="path">The file; nothing is written to it.</param>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">It is of a newer version, or only its log is there.</exception>
    /// <exception cref="T:System.IO.IOException">The disk or the system does not let it be read.</exception>
    let check (path: string) : JournalReport =
        let cannot (message: string) =
            raise (IOException $"the journal {path} cannot be read: {message}")

        refuseLogAlone path

        try
            look path true
        with
        | :? SqliteException as error -> cannot error.Message
        | SqliteTrouble(_, message) -> cannot message

    /// <summary>Refuses a journal that is not whole; one that is not there is.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isFlushed">Whether what was written is known to have been flushed.</param>
    /// <param name="log">Told how long it took.</param>
    /// <exception cref="T:FsScheduler.Runtime.JournalRefused">It is damaged, or of a newer version; nothing was changed.</exception>
    /// <exception cref="T:Microsoft.Data.Sqlite.SqliteException">The disk or the system does not let it be read.</exception>
    let verify (path: string) (isFlushed: bool) (log: ILogger) : unit =
        let watch = Stopwatch.StartNew()
        let folder = nonNull (Path.GetDirectoryName path)
        refuseLogAlone path

        if File.Exists path && FileInfo(path).Length > 0L then
            let report = look path isFlushed

            match report.troubles with
            | [] ->
                log.LogDebug(
                    "the journal is whole: {Rows} rows in {Milliseconds} ms",
                    List.sumBy snd report.rows,
                    watch.ElapsedMilliseconds
                )
            | first :: _ ->
                raise (
                    JournalRefused
                        $"the journal {path} is damaged: {first} ({report.troubles.Length} findings). Nothing was changed. 'fs-scheduler check --state {folder}' reports, and with --repair writes all that can be read into a new file."
                )
        // Noted by a scheduler that had a journal.
        elif File.Exists path && File.Exists(Path.Combine(folder, "boot")) then
            raise (
                JournalRefused
                    $"the journal {path} is empty, and was not: it was cut off. Put back a copy, or delete it to begin with nothing"
            )
