namespace FsScheduler.Runtime

open Microsoft.Data.Sqlite

/// How it stood before a transaction.
[<Struct>]
type internal LooseMark = private { gone: int64; upTo: int64 }

/// <summary>Forgets events that are of no task: files that went away, workers that came and left.</summary>
/// <param name="connection">The writing one; every step is inside one of its transactions.</param>
[<Sealed>]
type internal LooseEvents(connection: SqliteConnection) =
    let stepMax = 10_000
    /// Files that went away, of which is known while the journal takes too much.
    let goneKept = 1_000L
    let scalar sql = Schema.scalar connection sql
    let execute sql = Schema.execute connection sql

    /// What earlier runs had: none of their sessions comes back.
    let struct (_, lastEvent, lastSession) = JournalFile.highest connection

    let mutable gone =
        scalar $"SELECT count(*) FROM event WHERE kind = {int EventKind.Gone}"

    /// Up to this event, no file that went away is left.
    let mutable upTo = 0L

    /// <summary>Looks at the events after those that it has looked at, so that each is looked at once.</summary>
    /// <returns>Whether there is more to look at.</returns>
    let forgetGone (cutoff: int64) (isTooMuch: bool) =
        let mutable surplus = if isTooMuch then gone - goneKept else 0L
        let first = upTo
        let mutable looked = 0
        let mutable found = 0L
        let mutable goOn = true

        do
            use command =
                connection.CreateCommand(
                    CommandText =
                        $"SELECT number, at, kind FROM event WHERE number > {first} ORDER BY number LIMIT {stepMax}"
                )

            use rows = command.ExecuteReader()

            while goOn && rows.Read() do
                goOn <- rows.GetInt64 1 < cutoff || surplus > 0L

                if goOn then
                    looked <- looked + 1
                    upTo <- rows.GetInt64 0

                    if rows.GetInt32 2 = int EventKind.Gone then
                        found <- found + 1L
                        surplus <- surplus - 1L

        if found > 0L then
            JournalFile.rememberNumbers connection

            execute
                $"DELETE FROM event WHERE number > {first} AND number <= {upTo} AND kind = {int EventKind.Gone}"

            gone <- gone - found

        goOn && looked = stepMax

    /// A worker that has left before the oldest task came is named by no event of one that is remembered; so is one of an
    /// earlier run, once no task of that is left.
    let forgetWorkers (cutoff: int64) =
        let oldest =
            match scalar "SELECT number FROM task WHERE id = (SELECT min(id) FROM task)" with
            | 0L -> System.Int64.MaxValue
            | number -> number

        let left =
            $"session IN (SELECT session FROM event WHERE number < {oldest} AND kind = {int EventKind.Left} AND at < {cutoff})"

        let earlier =
            if oldest > lastEvent then
                $"session <= {int64 lastSession} AND at < {cutoff}"
            else
                "0"

        let these = $"number < {oldest} AND task IS NULL AND ({left} OR {earlier})"

        if scalar $"SELECT EXISTS (SELECT 1 FROM event WHERE {these})" = 1L then
            JournalFile.rememberNumbers connection
            execute $"DELETE FROM event WHERE {these}"

    member _.Mark: LooseMark = { gone = gone; upTo = upTo }

    member _.Restore(mark: LooseMark) =
        gone <- mark.gone
        upTo <- mark.upTo

    /// One more file that went away is recorded.
    member _.Count() = gone <- gone + 1L

    /// <summary>Forgets what is too old, and files that went away also while too much is used: all but the latest of
    /// them.</summary>
    /// <param name="cutoff">In Unix milliseconds: what is older is too old.</param>
    /// <param name="isTooMuch">Whether the journal takes too much.</param>
    /// <returns>Whether there is more of it to forget at once.</returns>
    member _.Forget(cutoff: int64, isTooMuch: bool) : bool =
        forgetWorkers cutoff
        forgetGone cutoff isTooMuch
