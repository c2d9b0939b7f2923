namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.IO
open Microsoft.Data.Sqlite
open FsScheduler.Core

/// How long finished tasks are remembered: whichever of the two is reached first.
type Retention = {
    age: Duration
    /// The journal's pages in use, and the results that are kept in files.
    bytes: Size
}

/// What a step has named for the next one to delete. Never changed: it is put back if the transaction is.
type internal Doomed = {
    tasks: int64[]
    /// Files of their results.
    files: string[]
    /// The last event of them.
    lastEvent: int64
}

/// How it stood before a transaction.
[<Struct>]
type internal RetirementMark = private { doomed: Doomed; tasks: int64 }

/// <summary>Forgets finished tasks, the oldest first, in steps so small that no commit waits long. What a step names is
/// deleted by the next one: whoever is being answered from it meanwhile still finds it.</summary>
/// <param name="connection">The writing one; every step is inside one of its transactions.</param>
/// <param name="folder">The state folder.</param>
/// <param name="retention">What is kept.</param>
/// <param name="sync">Unless it is off, tasks are remembered until their results are known to have reached the device.</param>
/// <param name="clock">Tells what is too old.</param>
[<Sealed>]
type Retirement
    (connection: SqliteConnection, folder: string, retention: Retention, sync: Sync, clock: Clock) =
    let stepMax = 5_000

    let none = { tasks = [||]; files = [||]; lastEvent = 0L }

    /// What the last step named.
    let mutable doomed = none
    let mutable tasks = Schema.scalar connection "SELECT count(*) FROM task"
    let scalar sql = Schema.scalar connection sql
    let execute sql = Schema.execute connection sql

    do execute "CREATE TEMP TABLE IF NOT EXISTS doomed(id INTEGER PRIMARY KEY)"

    let addMeta name more =
        JournalFile.addMeta connection name more

    /// Numbers are never given again, also when the rows that had them are gone.
    let rememberNumbers () =
        let struct (task, event, session) = JournalFile.highest connection
        JournalFile.setMeta connection "task" (int64 task)
        JournalFile.setMeta connection "event" event
        JournalFile.setMeta connection "session" (int64 session)

    let delete () =
        let these = doomed
        doomed <- none

        if these.tasks.Length > 0 then
            rememberNumbers ()
            execute "DELETE FROM temp.doomed"

            use insert =
                new Statement((nonNull connection.Handle), "INSERT INTO temp.doomed VALUES(?)")

            for id in these.tasks do
                insert.Int(1, id)
                insert.Run()

            let ids = "(SELECT id FROM temp.doomed)"

            addMeta
                "finished"
                (scalar $"SELECT count(*) FROM finished WHERE task IN {ids} AND outcome = 0")

            addMeta
                "cancelled"
                (scalar $"SELECT count(*) FROM finished WHERE task IN {ids} AND outcome = 1")

            execute $"DELETE FROM event WHERE number <= {these.lastEvent} AND task IN {ids}"
            execute $"DELETE FROM finished WHERE task IN {ids}"
            execute $"DELETE FROM task WHERE id IN {ids}"
            tasks <- tasks - int64 these.tasks.Length

        these.files

    /// Bytes in use, of the file and of results beside it.
    let used () =
        let pages = scalar "PRAGMA page_count" - scalar "PRAGMA freelist_count"

        pages * scalar "PRAGMA page_size"
        + scalar "SELECT coalesce(sum(bytes), 0) FROM finished WHERE spool IS NOT NULL"

    /// Signs of life of workers that no task speaks of any more.
    let deleteOldWorkers (cutoff: int64) =
        let oldest = scalar "SELECT number FROM task WHERE id = (SELECT min(id) FROM task)"

        if oldest > 0L then
            execute $"DELETE FROM event WHERE number < {oldest} AND task IS NULL AND at < {cutoff}"

    /// The next ones: the oldest, while they are too old or too much is used.
    let choose (spools: string[]) =
        let cutoff = clock.DateOf(clock.Now).ToUnixTimeMilliseconds() - int64 retention.age

        deleteOldWorkers cutoff

        let flushed =
            match sync with
            | Sync.Off -> Int64.MaxValue
            | Sync.Normal
            | Sync.Full -> JournalFile.flushedUpTo connection

        let over = used () - int64 retention.bytes

        let tooMany =
            if over <= 0L then
                0L
            else
                // As if all tasks took the same.
                1L + int64 (float over / float (used ()) * float tasks)

        let keys = List<struct (string * TaskId)>()
        let named = List<int64>()
        let files = List<string>()
        let mutable last = 0L

        use command =
            connection.CreateCommand(
                CommandText =
                    $"SELECT f.task, f.at, f.number, t.key, f.spool FROM finished f JOIN task t ON t.id = f.task
                      WHERE f.number <= {flushed} ORDER BY f.task LIMIT {stepMax}"
            )

        use rows = command.ExecuteReader()
        let mutable goOn = true

        while goOn && rows.Read() do
            goOn <- rows.GetInt64 1 < cutoff || int64 named.Count < tooMany

            if goOn then
                named.Add(rows.GetInt64 0)
                last <- max last (rows.GetInt64 2)

                if not (rows.IsDBNull 3) then
                    keys.Add(struct (rows.GetString 3, rows.GetInt64 0 * 1L<taskId>))

                if not (rows.IsDBNull 4) then
                    files.Add(Path.Combine(folder, "spool", rows.GetString 4))

        doomed <- { tasks = named.ToArray(); files = files.ToArray(); lastEvent = last }

        { keys = keys.ToArray(); spools = spools; more = named.Count = stepMax }

    /// How it stands: to be taken before a transaction, and put back if that fails.
    member internal _.Mark: RetirementMark = { doomed = doomed; tasks = tasks }

    /// As if nothing had happened since.
    member internal _.Restore(mark: RetirementMark) =
        doomed <- mark.doomed
        tasks <- mark.tasks

    /// Follows what is written.
    member _.Observe(events: IReadOnlyList<Event>) =
        for index in 0 .. events.Count - 1 do
            if events[index].IsSubmitted then
                tasks <- tasks + 1L

    /// Deletes what the last step named, and names the next ones.
    member _.Step() : Forgotten = delete () |> choose
