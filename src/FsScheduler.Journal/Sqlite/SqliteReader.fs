namespace FsScheduler.Journal

open System
open System.Collections.Generic

/// <summary>Reads a journal through its own connection, from any thread.</summary>
/// <param name="path">The file.</param>
[<Sealed>]
type internal SqliteReader(path: string) =
    let guard action = SqliteFile.guard path action
    let db = guard (fun () -> SqliteFile.openToRead path)

    /// The most batches and bytes of one query. The first query reads one batch, since many callers want no more.
    let batchesMax = 64
    let bytesMax = 1024 * 1024

    /// Bytes of a row beside events and payloads.
    let rowBytes = 64L

    /// Batches that are examined for one cutoff.
    let walkMax = 4_096

    let check row = SqliteFile.whole path row

    let some (from: int64) (most: int) (bytes: ByteBuffer) =
        lock db (fun () ->
            guard (fun () ->
                let found = List<struct (Batch * int64)>()
                bytes.Clear()

                use rows =
                    db.Prepare
                        $"{BatchRow.selection} WHERE first >= coalesce(
                            (SELECT first FROM (SELECT first, count FROM batch WHERE first <= {from} ORDER BY first DESC LIMIT 1)
                            WHERE first = {from} OR first + count > {from}), {from}) ORDER BY first LIMIT {most}"

                while bytes.Length < bytesMax && rows.Next() do
                    found.Add(BatchRow.readInto bytes rows)

                rows.Reset()
                found))

    /// Whether no event is left before a number: those before it were dropped.
    let isOldest (number: int64) =
        lock db (fun () -> guard (fun () -> db.Scalar "SELECT min(first) FROM batch" >= number))

    let find (first: int64) (db: Database) =
        use rows = db.Prepare $"{BatchRow.selection} WHERE first = {first}"

        if rows.Next() then
            let row = BatchRow.read rows
            rows.Reset()
            ValueSome row
        else
            ValueNone

    let cutoff used keep since first =
        use rows =
            db.Prepare
                $"SELECT first, at, octet_length(events) + octet_length(payloads) FROM batch ORDER BY first LIMIT {walkMax}"

        let mutable cutoff = first
        let mutable bytes = used
        let mutable goOn = true

        while goOn && rows.Next() do
            cutoff <- rows.GetInt 0

            if bytes > keep || rows.GetInt 1 < since then
                bytes <- bytes - rows.GetInt 2 - rowBytes
            else
                goOn <- false

        rows.Reset()
        cutoff

    member _.ReadLock: obj = db

    /// The batch that begins at a number, read by another connection.
    member _.Find(first: int64, db: Database) : Batch voption =
        find first db |> ValueOption.map check

    member _.Read(from: int64) : seq<Batch> =
        seq {
            let bytes = ByteBuffer()
            let mutable most = 1
            let mutable from = max 1L from
            let mutable goOn = true

            while goOn do
                let rows = some from most bytes
                most <- min batchesMax (2 * most)
                goOn <- false

                for row in rows do
                    let batch = check row

                    // A gap before the first batch is no damage: those batches were dropped.
                    if batch.first > from && not (isOldest batch.first) then
                        SqliteFile.refuse
                            path
                            $"is damaged: events {from} to {batch.first - 1L}, before {BatchRow.timeText batch.at}, are missing; {SqliteFile.recover}"

                    yield batch
                    from <- Batch.next batch
                    goOn <- true
        }

    member _.Size(keep: int64, since: int64) : StoreSize =
        lock db (fun () ->
            guard (fun () ->
                let pages = db.Scalar "PRAGMA page_count" - db.Scalar "PRAGMA freelist_count"
                let used = pages * int64 SqliteFile.pageBytes
                let struct (next, _, _) = SqliteFile.last db

                let first =
                    match db.Scalar "SELECT min(first) FROM batch" with
                    | 0L -> next
                    | first -> first

                {
                    bytes = used
                    first = first
                    next = next
                    cutoff = cutoff used keep since first
                }))

    interface IDisposable with
        member _.Dispose() =
            lock db (fun () -> (db :> IDisposable).Dispose())
