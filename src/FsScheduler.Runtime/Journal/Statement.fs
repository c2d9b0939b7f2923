namespace FsScheduler.Runtime

open System
open System.Buffers
open System.Buffers.Binary
open System.IO
open System.IO.Hashing
open System.Text
open SQLitePCL

/// What went wrong in SQLite, with its code.
exception SqliteTrouble of code: int * message: string

/// The sum of a row: 32 bits over everything in it, so that one bit that has flipped shows.
[<Sealed>]
type RowSum() =
    let mutable buffer = Array.zeroCreate<byte> 4_096
    let mutable length = 0

    let room more =
        if length + more > buffer.Length then
            Array.Resize(&buffer, max (length + more) (2 * buffer.Length))

    let tag (column: int) (kind: byte) =
        buffer[length] <- byte column
        buffer[length + 1] <- kind
        length <- length + 2

    member _.Clear() = length <- 0

    member _.Add(column: int, value: int64) =
        room 10
        tag column 1uy
        BinaryPrimitives.WriteInt64LittleEndian(Span(buffer, length, 8), value)
        length <- length + 8

    member _.Add(column: int, bytes: ReadOnlySpan<byte>) =
        room (10 + bytes.Length)
        tag column 2uy
        BinaryPrimitives.WriteInt64LittleEndian(Span(buffer, length, 8), int64 bytes.Length)
        bytes.CopyTo(Span(buffer, length + 8, bytes.Length))
        length <- length + 8 + bytes.Length

    /// Of the columns that were added.
    member _.Value: int64 =
        int64 (uint32 (XxHash3.HashToUInt64(ReadOnlySpan(buffer, 0, length))))

/// <summary>A prepared statement, without the cost of ADO.NET for each row. Not for two threads at once.</summary>
/// <param name="db">An open connection's handle.</param>
/// <param name="sql">One statement.</param>
/// <remarks>The columns of an insertion stand in the order of the table, so that the sum of a row is the same whether it
/// is written or read. What is null counts for nothing in it.</remarks>
[<Sealed>]
type Statement(db: sqlite3, sql: string) =
    let check code =
        if code <> raw.SQLITE_OK then
            raise (SqliteTrouble(code, raw.sqlite3_errmsg(db).utf8_to_string()))

    let mutable handle = Unchecked.defaultof<sqlite3_stmt>
    do check (raw.sqlite3_prepare_v2 (db, sql, &handle))
    let mutable text = Array.zeroCreate<byte> 1_024
    let sum = RowSum()

    /// An integer at a parameter, counted from 1; it is part of the row's sum, under that number.
    member _.Int(parameter: int, value: int64) =
        check (raw.sqlite3_bind_int64 (handle, parameter, value))
        sum.Add(parameter, value)

    member _.Blob(parameter: int, bytes: ReadOnlySpan<byte>) =
        check (raw.sqlite3_bind_blob (handle, parameter, bytes))
        sum.Add(parameter, bytes)

    member _.Utf8(parameter: int, bytes: ReadOnlySpan<byte>) =
        check (raw.sqlite3_bind_text (handle, parameter, bytes))
        sum.Add(parameter, bytes)

    member statement.Text(parameter: int, value: string) =
        let most = Encoding.UTF8.GetMaxByteCount value.Length

        if most > text.Length then
            text <- Array.zeroCreate (2 * most)

        let length = Encoding.UTF8.GetBytes(value, Span text)
        statement.Utf8(parameter, ReadOnlySpan(text, 0, length))

    member _.Null(parameter: int) =
        check (raw.sqlite3_bind_null (handle, parameter))

    /// The sum of what was bound since the last run, at the last parameter.
    member _.Sum(parameter: int) =
        check (raw.sqlite3_bind_int64 (handle, parameter, sum.Value))

    /// Runs it, with what is bound, and makes it ready for the next row.
    member _.Run() =
        let code = raw.sqlite3_step handle
        sum.Clear()

        if code <> raw.SQLITE_DONE && code <> raw.SQLITE_ROW then
            let message = raw.sqlite3_errmsg(db).utf8_to_string()
            raw.sqlite3_reset handle |> ignore
            raise (SqliteTrouble(raw.sqlite3_extended_errcode db, message))

        check (raw.sqlite3_reset handle)

    /// The next row of what it selects. False: that was all.
    member _.Next() : bool =
        match raw.sqlite3_step handle with
        | code when code = raw.SQLITE_ROW -> true
        | code when code = raw.SQLITE_DONE ->
            raw.sqlite3_reset handle |> ignore
            false
        | code ->
            let message = raw.sqlite3_errmsg(db).utf8_to_string()
            raw.sqlite3_reset handle |> ignore
            raise (SqliteTrouble(code, message))

    /// Ends a selection before its last row.
    member _.Reset() =
        sum.Clear()
        raw.sqlite3_reset handle |> ignore

    member _.IsNull(column: int) =
        raw.sqlite3_column_type (handle, column) = raw.SQLITE_NULL

    member _.GetInt(column: int) : int64 =
        raw.sqlite3_column_int64 (handle, column)

    member _.GetBlob(column: int) : ReadOnlySpan<byte> =
        raw.sqlite3_column_blob (handle, column)

    member statement.GetText(column: int) : string =
        // As bytes: the other way marshals twice.
        Encoding.UTF8.GetString(statement.GetBlob column)

    /// Whether the row's last column is the sum of the others.
    member statement.IsSumRight() : bool =
        let columns = raw.sqlite3_column_count handle
        sum.Clear()

        for column in 0 .. columns - 2 do
            match raw.sqlite3_column_type (handle, column) with
            | kind when kind = raw.SQLITE_NULL -> ()
            | kind when kind = raw.SQLITE_INTEGER -> sum.Add(column + 1, statement.GetInt column)
            | _ -> sum.Add(column + 1, statement.GetBlob column)

        let isRight = sum.Value = statement.GetInt(columns - 1)
        sum.Clear()
        isRight

    /// Binds the row that it stands at to the parameters of another statement, one for each column.
    member statement.CopyTo(target: Statement) =
        for column in 0 .. raw.sqlite3_column_count handle - 1 do
            match raw.sqlite3_column_type (handle, column) with
            | kind when kind = raw.SQLITE_NULL -> target.Null(column + 1)
            | kind when kind = raw.SQLITE_INTEGER -> target.Int(column + 1, statement.GetInt column)
            | kind when kind = raw.SQLITE_TEXT -> target.Utf8(column + 1, statement.GetBlob column)
            | _ -> target.Blob(column + 1, statement.GetBlob column)

    interface IDisposable with
        member _.Dispose() = handle.Dispose()
