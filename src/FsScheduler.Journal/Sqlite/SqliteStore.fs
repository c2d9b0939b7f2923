namespace FsScheduler.Journal

open System
open System.Collections.Generic

/// The prepared statements of the writing connection.
type private WriteStatements(db: Database) =
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

    /// Runs an action in a transaction.
    member _.Transact(action: unit -> 'T) : 'T =
        try
            start.Run()
            let value = action ()
            // Space for all of the WAL, so that a checkpoint succeeds on a disk that has become full.
            db.Reserve(one pages 0L * int64 SqliteFile.pageBytes)
            commit.Run()
            value
        with _ ->
            try
                db.Execute "ROLLBACK"
            with SqliteError _ ->
                () // some errors have rolled back already

            reraise ()

    interface IDisposable with
        member _.Dispose() =
            for statement in [ insert; start; commit; last; pages ] do
                (statement :> IDisposable).Dispose()

/// <summary>A journal in an SQLite file, with a row for each batch.</summary>
/// <exception cref="T:FsScheduler.Journal.JournalRefused">The journal is damaged, has lost its end, or is of another
/// version or program; no file was changed.</exception>
/// <exception cref="T:FsScheduler.Journal.StoreError">The file cannot be opened.</exception>
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

    let statements = guard (fun () -> new WriteStatements(db))
    let mark = new MarkWriter(path)

    let checkpointer =
        WalCheckpointer(
            db,
            reader.ReadLock,
            path,
            options.logBytesMax,
            options.restrict,
            options.checkpointBlocked
        )

    let setMark (batch: Batch) sum =
        mark.Set {
            first = batch.first
            next = Batch.next batch
            sum = sum
            isFlushed = options.flush
        }

    do
        SpaceReserve.make path options.restrict

        guard (fun () -> SqliteFile.markOf db options.flush)
        |> ValueOption.iter mark.Set

    /// Whether equal batches are in the file.
    let isThere (batches: IReadOnlyList<Batch>) =
        batches
        |> Seq.forall (fun batch ->
            match reader.Find(batch.first, db) with
            | ValueSome found -> Batch.sum found = Batch.sum batch
            | ValueNone -> false)

    /// Inserts batches, and returns the sum of the last one.
    let append (batches: IReadOnlyList<Batch>) =
        let mutable next = statements.Next
        let mutable sum = 0L

        for batch in batches do
            if batch.first <> next then
                raise (
                    QueueLost
                        $"the journal {path} goes on at event {next} and not at {batch.first}: another scheduler has written to it"
                )

            sum <- Batch.sum batch
            statements.Insert(batch, sum)
            next <- Batch.next batch

        sum

    let transact action =
        try
            statements.Transact action
        with SqliteError(code, _) when SqliteFile.isFull code && checkpointer.Relieve() ->
            statements.Transact action

    let drop before most =
        let old = List<int64>()
        let next = statements.Next

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

    member _.Path = path

    interface IJournalStore with
        member _.Append batches =
            lock db (fun () ->
                guard (fun () ->
                    if batches.Count > 0 then
                        let isTaken = statements.Next <> batches[0].first

                        if not (isTaken && isThere batches) then
                            let sum = transact (fun () -> append batches)
                            setMark batches[batches.Count - 1] sum
                            checkpointer.Wrote(Seq.sumBy Batch.length batches)))

        member _.Read from = reader.Read from

        member _.Drop(before, most) =
            lock db (fun () ->
                guard (fun () ->
                    let hasMore = transact (fun () -> drop before most)
                    checkpointer.Wrote 0L
                    hasMore))

        member _.Size(keep, since) = reader.Size(keep, since)

        member _.Dispose() =
            lock db (fun () ->
                (mark :> IDisposable).Dispose()
                (reader :> IDisposable).Dispose()
                (statements :> IDisposable).Dispose()
                (db :> IDisposable).Dispose())

/// A journal to read only, while a scheduler may write it.
module SqliteJournal =

    let private onlyRead () =
        invalidOp "this journal is open for reading only"

    /// <summary>Opens a journal to read, also while a scheduler writes it.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The file is no journal of this version.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">The file cannot be opened.</exception>
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
