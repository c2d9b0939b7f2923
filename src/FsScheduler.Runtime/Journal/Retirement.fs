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
    /// All of their events are between these two.
    firstEvent: int64
    lastEvent: int64
}

/// What is done with a finished task.
[<RequireQualifiedAccess>]
type private Verdict =
    | Doom
    | Keep
    /// Neither with it nor with those after it.
    | End

/// How it stood before a transaction.
[<Struct>]
type internal RetirementMark = private {
    doomed: Doomed
    tasks: int64
    position: int64
    loose: LooseMark
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

    let none = { tasks = [||]; files = [||]; firstEvent = 0L; lastEvent = 0L }

    let loose = LooseEvents connection

    /// What the last step named.
    let mutable doomed = none
    let mutable tasks = Schema.scalar connection "SELECT count(*) FROM task"

    /// The last task that was looked at for its age; 0: the next step begins with the oldest. Results that nobody has
    /// fetched are passed over, however many there are.
    let mutable position = 0L
    let scalar sql = Schema.scalar connection sql
    let execute sql = Schema.execute connection sql

    do execute "CREATE TEMP TABLE IF NOT EXISTS doomed(id INTEGER PRIMARY KEY)"

    let addMeta name more =
        JournalFile.addMeta connection name more

    let delete () =
        let these = doomed
        doomed <- none

        if these.tasks.Length > 0 then
            JournalFile.rememberNumbers connection
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

            execute
                $"DELETE FROM event WHERE number > {these.firstEvent} AND number < {these.lastEvent} AND task IN {ids}"

            execute $"DELETE FROM finished WHERE task IN {ids}"
            execute $"DELETE FROM delivered WHERE task IN {ids}"
            execute $"DELETE FROM task WHERE id IN {ids}"
            tasks <- tasks - int64 these.tasks.Length

        these.files

    /// Bytes in use, of the file and of results beside it.
    let used () =
        let pages = scalar "PRAGMA page_count" - scalar "PRAGMA freelist_count"

        pages * scalar "PRAGMA page_size"
        + scalar "SELECT coalesce(sum(bytes), 0) FROM finished WHERE spool IS NOT NULL"

    /// How many of the oldest are too many, as if all tasks took the same.
    let surplus () =
        let used = used ()
        let over = used - int64 retention.bytes

        if over <= 0L then
            0L
        else
            1L + int64 (float over / float used * float tasks)

    let flushed () =
        match sync with
        | Sync.Off -> Int64.MaxValue
        | Sync.Normal
        | Sync.Full -> JournalFile.flushedUpTo connection

    /// <summary>Names tasks that are finished.</summary>
    /// <param name="after">They come after this one.</param>
    /// <param name="most">How many are looked at.</param>
    /// <param name="judge">Tells what becomes of one, by when it ended and when its result was fetched: the same, if
    /// nobody is to fetch it; null, if nobody has.</param>
    /// <param name="spools">What the step before has freed.</param>
    /// <returns>The last one that was looked at; 0, if there are no more.</returns>
    let name after most (judge: int64 -> Nullable<int64> -> Verdict) spools =
        let keys = List<struct (string * TaskId)>()
        let named = List<int64>()
        let files = List<string>()
        let mutable first = Int64.MaxValue
        let mutable last = 0L
        let mutable count = 0L
        let mutable upTo = after

        use command =
            connection.CreateCommand(
                CommandText =
                    $"SELECT f.task, f.at, f.number, t.number, t.key, f.spool,
                        CASE WHEN t.key IS NOT NULL AND t.want = {WantCode.result} AND f.outcome = 0
                        THEN d.at ELSE f.at END
                      FROM finished f JOIN task t ON t.id = f.task LEFT JOIN delivered d ON d.task = f.task
                      WHERE f.task > {after} AND f.number <= {flushed ()} ORDER BY f.task LIMIT {most}"
            )

        use rows = command.ExecuteReader()
        let mutable goOn = true

        while goOn && rows.Read() do
            let fetched =
                if rows.IsDBNull 6 then
                    Nullable()
                else
                    Nullable(rows.GetInt64 6)

            match judge (rows.GetInt64 1) fetched with
            | Verdict.End -> goOn <- false
            | verdict ->
                count <- count + 1L
                upTo <- rows.GetInt64 0

                if verdict = Verdict.Doom then
                    named.Add upTo
                    first <- min first (rows.GetInt64 3)
                    last <- max last (rows.GetInt64 2)

                    if not (rows.IsDBNull 4) then
                        keys.Add(struct (rows.GetString 4, upTo * 1L<taskId>))

                    if not (rows.IsDBNull 5) then
                        files.Add(Path.Combine(folder, "spool", rows.GetString 5))

        if named.Count > 0 then
            doomed <- {
                tasks = named.ToArray()
                files = files.ToArray()
                firstEvent = first
                lastEvent = last
            }

        let forgotten = { keys = keys.ToArray(); spools = spools; more = named.Count > 0 }

        struct (forgotten, (if goOn && count = most then upTo else 0L))

    /// The oldest, whatever they are.
    let nameOldest count spools =
        let struct (forgotten, _) =
            name 0L (min count (int64 stepMax)) (fun _ _ -> Verdict.Doom) spools

        forgotten

    /// Those that are too old, or whose results were fetched too long ago.
    let nameOld cutoff spools =
        let judge at (fetched: Nullable<int64>) =
            if at >= cutoff then
                Verdict.End
            elif fetched.HasValue && fetched.Value < cutoff then
                Verdict.Doom
            else
                Verdict.Keep

        let struct (forgotten, upTo) = name position (int64 stepMax) judge spools
        position <- upTo
        { forgotten with more = forgotten.more && upTo > 0L }

    /// The next ones: the oldest, while they are too old or too much is used.
    let choose (spools: string[]) =
        let cutoff = clock.DateOf(clock.Now).ToUnixTimeMilliseconds() - int64 retention.age
        let hasMoreLoose = loose.Forget(cutoff, surplus () > 0L)

        match surplus () with
        | 0L ->
            let forgotten = nameOld cutoff spools
            { forgotten with more = forgotten.more || hasMoreLoose }
        // No task is forgotten for what is forgotten next.
        | _ when hasMoreLoose -> { keys = [||]; spools = spools; more = true }
        | count -> nameOldest count spools

    /// How it stands: to be taken before a transaction, and put back if that fails.
    member internal _.Mark: RetirementMark = {
        doomed = doomed
        tasks = tasks
        position = position
        loose = loose.Mark
    }

    /// As if nothing had happened since.
    member internal _.Restore(mark: RetirementMark) =
        doomed <- mark.doomed
        tasks <- mark.tasks
        position <- mark.position
        loose.Restore mark.loose

    /// Follows what is written.
    member _.Observe(events: IReadOnlyList<Event>) =
        for index in 0 .. events.Count - 1 do
            match events[index] with
            | Event.Submitted _ -> tasks <- tasks + 1L
            | Event.Gone _ -> loose.Count()
            | _ -> ()

    /// Deletes what the last step named, and names the next ones.
    member _.Step() : Forgotten = delete () |> choose
