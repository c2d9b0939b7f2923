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

    /// The tasks that the last step named, and files of their results.
    let doomed = List<int64>()
    let doomedFiles = List<string>()
    let mutable lastEvent = 0L
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
        if doomed.Count > 0 then
            rememberNumbers ()
            execute "DELETE FROM temp.doomed"

            use insert =
                new Statement((nonNull connection.Handle), "INSERT INTO temp.doomed VALUES(?)")

            for id in doomed do
                insert.Int(1, id)
                insert.Run()

            let these = "(SELECT id FROM temp.doomed)"

            addMeta
                "finished"
                (scalar $"SELECT count(*) FROM finished WHERE task IN {these} AND outcome = 0")

            addMeta
                "cancelled"
                (scalar $"SELECT count(*) FROM finished WHERE task IN {these} AND outcome = 1")

            execute $"DELETE FROM event WHERE number <= {lastEvent} AND task IN {these}"
            execute $"DELETE FROM finished WHERE task IN {these}"
            execute $"DELETE FROM task WHERE id IN {these}"
            tasks <- tasks - int64 doomed.Count
            doomed.Clear()

        let files = doomedFiles.ToArray()
        doomedFiles.Clear()
        files

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

        use command =
            connection.CreateCommand(
                CommandText =
                    $"SELECT f.task, f.at, f.number, t.key, f.spool FROM finished f JOIN task t ON t.id = f.task
                      WHERE f.number <= {flushed} ORDER BY f.task LIMIT {stepMax}"
            )

        use rows = command.ExecuteReader()
        let mutable goOn = true
        lastEvent <- 0L

        while goOn && rows.Read() do
            goOn <- rows.GetInt64 1 < cutoff || int64 doomed.Count < tooMany

            if goOn then
                doomed.Add(rows.GetInt64 0)
                lastEvent <- max lastEvent (rows.GetInt64 2)

                if not (rows.IsDBNull 3) then
                    keys.Add(struct (rows.GetString 3, rows.GetInt64 0 * 1L<taskId>))

                if not (rows.IsDBNull 4) then
                    doomedFiles.Add(Path.Combine(folder, "spool", rows.GetString 4))

        { keys = keys.ToArray(); spools = spools; more = doomed.Count = stepMax }

    /// Follows what is written.
    member _.Observe(events: IReadOnlyList<Event>) =
        for index in 0 .. events.Count - 1 do
            if events[index].IsSubmitted then
                tasks <- tasks + 1L

    /// Deletes what the last step named, and names the next ones.
    member _.Step() : Forgotten = delete () |> choose
