namespace FsScheduler.Journal

open System
open System.Runtime.InteropServices
open SQLitePCL

module private Native =

    /// SQLITE_FCNTL_SIZE_HINT and SQLITE_FCNTL_CHUNK_SIZE.
    let sizeHint = 5
    let chunkSize = 6

    [<DllImport("e_sqlite3", CallingConvention = CallingConvention.Cdecl)>]
    extern int sqlite3_file_control(nativeint db, nativeint name, int operation, int64& value)

[<RequireQualifiedAccess>]
type internal OpenMode =
    | Read
    | Write
    | Create

/// <summary>An open SQLite file. Not thread-safe.</summary>
/// <exception cref="T:FsScheduler.Journal.SqliteError">The file cannot be opened.</exception>
[<Sealed>]
type internal Database(path: string, mode: OpenMode) =
    static let noCheckpointOnClose = 1006 // SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE

    /// Turns off SQLite's mutexes, two for each call otherwise. Called before the first use of SQLite.
    static let withoutLocks =
        lazy
            (Batteries_V2.Init()
             raw.sqlite3_shutdown () |> ignore
             raw.sqlite3_config raw.SQLITE_CONFIG_MULTITHREAD |> ignore
             raw.sqlite3_initialize () |> ignore)

    let mutable db = Unchecked.defaultof<sqlite3>
    /// Bytes of disk space that are allocated for the file.
    let mutable reserved = 0L

    let check code =
        if code <> raw.SQLITE_OK then
            raise (SqliteError(code, raw.sqlite3_errmsg(db).utf8_to_string()))

    do
        withoutLocks.Force()

        let flags =
            match mode with
            | OpenMode.Read -> raw.SQLITE_OPEN_READONLY
            | OpenMode.Write -> raw.SQLITE_OPEN_READWRITE
            | OpenMode.Create -> raw.SQLITE_OPEN_READWRITE ||| raw.SQLITE_OPEN_CREATE

        let code = raw.sqlite3_open_v2 (path, &db, flags, Unchecked.defaultof<string>)

        if code <> raw.SQLITE_OK then
            let message = raw.sqlite3_errstr(code).utf8_to_string()

            if not (isNull (box db)) then
                db.Dispose()

            raise (SqliteError(code, message))

        raw.sqlite3_extended_result_codes (db, 1) |> ignore

    member _.Handle = db

    member _.Prepare(sql: string) : Statement = new Statement(db, sql)

    member database.Execute(sql: string) =
        use statement = database.Prepare sql
        statement.Run()

    /// The first column of the first row; 0 without a row.
    member database.Scalar(sql: string) : int64 =
        use statement = database.Prepare sql
        if statement.Next() then statement.GetInt 0 else 0L

    /// Whether closing the last connection checkpoints the WAL: not where a file is only read.
    member _.SetCheckpointOnClose(isOn: bool) =
        let mutable ignored = 0

        raw.sqlite3_db_config (db, noCheckpointOnClose, (if isOn then 0 else 1), &ignored)
        |> check

    /// Allocates disk space for the file, rounded up, without changing its content, so that the WAL can be checkpointed
    /// on a disk that has become full.
    member _.Reserve(bytes: int64) =
        if bytes > reserved then
            let mutable chunk = 262_144L

            Native.sqlite3_file_control (
                db.DangerousGetHandle(),
                IntPtr.Zero,
                Native.chunkSize,
                &chunk
            )
            |> ignore

            let mutable size = (bytes + chunk - 1L) / chunk * chunk

            match
                Native.sqlite3_file_control (
                    db.DangerousGetHandle(),
                    IntPtr.Zero,
                    Native.sizeHint,
                    &size
                )
            with
            | 0 -> reserved <- size
            | code -> raise (SqliteError(code, "no room for the file"))

    /// <summary>Checkpoints the WAL: moves pages from it into the file.</summary>
    /// <param name="mode">SQLITE_CHECKPOINT_PASSIVE or SQLITE_CHECKPOINT_TRUNCATE.</param>
    /// <returns>SQLite's result code; the pages in the WAL; how many of them are moved.</returns>
    member _.Checkpoint(mode: int) : struct (int * int * int) =
        let mutable log = 0
        let mutable moved = 0
        let code = raw.sqlite3_wal_checkpoint_v2 (db, "main", mode, &log, &moved)
        struct (code, log, moved)

    interface IDisposable with
        member _.Dispose() = db.Dispose()
