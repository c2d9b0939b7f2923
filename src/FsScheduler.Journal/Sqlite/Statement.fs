namespace FsScheduler.Journal

open System
open SQLitePCL

/// An error of SQLite: its extended result code and its message.
exception internal SqliteError of code: int * message: string

/// A prepared statement by SQLite's C interface, without the cost of ADO.NET for each row. Not thread-safe.
[<Sealed>]
type internal Statement(db: sqlite3, sql: string) =
    let fail code =
        raise (SqliteError(code, raw.sqlite3_errmsg(db).utf8_to_string()))

    let check code =
        if code <> raw.SQLITE_OK then
            fail code

    let mutable handle = Unchecked.defaultof<sqlite3_stmt>
    do check (raw.sqlite3_prepare_v2 (db, sql, &handle))

    let step () =
        match raw.sqlite3_step handle with
        | code when code = raw.SQLITE_ROW -> true
        | code when code = raw.SQLITE_DONE ->
            raw.sqlite3_reset handle |> ignore
            false
        | code ->
            let message = raw.sqlite3_errmsg(db).utf8_to_string()
            raw.sqlite3_reset handle |> ignore
            raise (SqliteError(code, message))

    /// Binds an integer to a parameter, from 1.
    member _.Int(parameter: int, value: int64) =
        check (raw.sqlite3_bind_int64 (handle, parameter, value))

    member _.Blob(parameter: int, bytes: ReadOnlySpan<byte>) =
        // An empty span would be bound as null.
        if bytes.IsEmpty then
            check (raw.sqlite3_bind_zeroblob (handle, parameter, 0))
        else
            check (raw.sqlite3_bind_blob (handle, parameter, bytes))

    member _.Utf8(parameter: int, bytes: ReadOnlySpan<byte>) =
        check (raw.sqlite3_bind_text (handle, parameter, bytes))

    /// Steps to the next row. False: there is none, and the statement can be run again.
    member _.Next() : bool = step ()

    member _.Run() =
        while step () do
            ()

    /// Ends a query before its last row.
    member _.Reset() = raw.sqlite3_reset handle |> ignore

    member _.GetInt(column: int) : int64 =
        raw.sqlite3_column_int64 (handle, column)

    member _.GetBlob(column: int) : ReadOnlySpan<byte> =
        raw.sqlite3_column_blob (handle, column)

    member _.GetText(column: int) : string =
        raw.sqlite3_column_text(handle, column).utf8_to_string()

    interface IDisposable with
        member _.Dispose() = handle.Dispose()
