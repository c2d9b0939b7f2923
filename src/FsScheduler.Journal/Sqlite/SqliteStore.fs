namespace FsScheduler.Journal

open System
open System.Collections.Generic

/// The statements of the connection that writes.
type private Writing(db: Database) =
    let insert = db.Prepare BatchRow.insertion
    let start = db.Prepare "BEGIN IMMEDIATE"
    let commit = db.Prepare "COMMIT"

    let last = db.Prepare "SELECT first + count FROM batch ORDER BY first DESC LIMIT 1"

    let pages = db.Prepare "PRAGMA page_count"

    let one (statement: Statement) absent =
        if statement.Next() then
            let value = statement.GetInt 0
            statement.Reset()
            value
        else
            absent

    member _.Insert(batch, sum) = BatchRow.write insert batch sum

    /// The number that the next batch begins with.
    member _.Next = one last 1L

    /// Does all of something or nothing.
    member _.Transact(action: unit -> 'T) : 'T =
        try
            start.Run()
            let value = action ()
            // Room for all that the log has, so that it can be moved on a disk that has become full.
            db.Reserve(one pages 0L * int64 SqliteFile.pageBytes)
            commit.Run()
            value
        with _ ->
            try
                db.Execute "ROLLBACK"
            with SqliteError _ ->
                () // Some errors have rolled it back already.

            reraise ()

    interface IDisposable with
        member _.Dispose() =
            for statement in [ insert; start; commit; last; pages ] do
                (statement :> IDisposable).Dispose()

/// <summary>A journal in an SQLite file: a row for each batch.</summary>
/// <exception cref="T:FsScheduler.Journal.JournalRefused">It is damaged, has lost its end, or is of another version or
/// program; nothing was changed.</exception>
/// <exception cref="T:FsScheduler.Journal.StoreError">It cannot be opened.</exception>
[<Sealed>]
type SqliteStore(options: SqliteStoreOptions) =
    let path = options.path
    let db = SqliteOpening.openForWriting options
    let guard action = SqliteFile.guard path action

    let reader =
        try
            new SqliteReader(path)
        with _ ->
            (db :> IDisposable).Dispose()
            reraise ()

    let writing = guard (fun () -> new Writing(db))
    let mark = new MarkWriter(path)

    let keeper =
        LogKeeper(db, reader.Gate, path, options.logBytesMax, options.restrict, options.held)

    let setMark (batch: Batch) sum =
        mark.Set {
            first = batch.first
            next = Batch.next batch
            sum = sum
            isFlushed = options.flush
        }

    do
        Reserve.make path options.restrict

        guard (fun () -> SqliteFile.markOf db options.flush)
        |> ValueOption.iter mark.Set

    /// Whether these batches are there exactly so.
    let isThere (batches: IReadOnlyList<Batch>) =
        batches
        |> Seq.forall (fun batch ->
            match reader.Find(batch.first, db) with
            | ValueSome found -> Batch.sum found = Batch.sum batch
            | ValueNone -> false)

    /// Writes them; the sum of the last.
    let append (batches: IReadOnlyList<Batch>) =
        let mutable next = writing.Next
        let mutable sum = 0L

        for batch in batches do
            if batch.first <> next then
                raise (
                    QueueLost
                        $"the journal {path} goes on at event {next} and not at {batch.first}: another scheduler has written to it"
                )

            sum <- Batch.sum batch
            writing.Insert(batch, sum)
            next <- Batch.next batch

        sum

    let transact action =
        try
            writing.Transact action
        with SqliteError(code, _) when SqliteFile.isFull code && keeper.Relieve() ->
            writing.Transact action

    let drop before most =
        let old = List<int64>()
        let next = writing.Next

        use rows =
            db.Prepare $"SELECT first + count FROM batch ORDER BY first LIMIT {int64 most + 1L}"

        while rows.Next() do
            let ends = rows.GetInt 0

            if ends <= before && ends < next then
                old.Add ends

        let hasMore = old.Count > most
        let count = min old.Count most

        if count > 0 then
            db.Execute $"DELETE FROM batch WHERE first < {old[count - 1]}"

        hasMore

    /// The file.
    member _.Path = path

    interface IJournalStore with
        member _.Append batches =
            lock db (fun () ->
                guard (fun () ->
                    if batches.Count > 0 then
                        let isTaken = writing.Next <> batches[0].first

                        if not (isTaken && isThere batches) then
                            let sum = transact (fun () -> append batches)
                            setMark batches[batches.Count - 1] sum
                            keeper.Wrote(Seq.sumBy Batch.length batches)))

        member _.Read from = reader.Read from

        member _.Drop(before, most) =
            lock db (fun () ->
                guard (fun () ->
                    let hasMore = transact (fun () -> drop before most)
                    keeper.Wrote 0L
                    hasMore))

        member _.Size(keep, since) = reader.Size(keep, since)

        member _.Dispose() =
            lock db (fun () ->
                (mark :> IDisposable).Dispose()
                (reader :> IDisposable).Dispose()
                (writing :> IDisposable).Dispose()
                (db :> IDisposable).Dispose())

/// The journal of a scheduler that may be running, to be read alone.
module SqliteJournal =

    let private onlyRead () =
        invalidOp "this journal was opened to be read"

    /// <summary>Opens a journal to be read, also while a scheduler writes it.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">It is something else, or of another version.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">It cannot be opened.</exception>
    let openToRead (path: string) : IJournalStore =
        SqliteFile.checkHeader path
        let reader = new SqliteReader(path)

        {
            new IJournalStore with
                member _.Append _ = onlyRead ()
                member _.Drop(_, _) = onlyRead ()
                member _.Read from = reader.Read from


                member _.Size(keep, since) = reader.Size(keep, since)
                member _.Dispose() = (reader :> IDisposable).Dispose()
        }
