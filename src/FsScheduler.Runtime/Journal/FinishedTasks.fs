namespace FsScheduler.Runtime

open System
open Microsoft.Data.Sqlite
open FsScheduler.Core

/// A task that is done or was cancelled, as the journal has it until it is forgotten.
type FinishedTask = {
    task: TaskId
    name: string
    pipeline: string
    /// The attempt that did it; 0: unknown.
    attempt: int
    isDone: bool
    /// Why it was cancelled.
    reason: string
    at: DateTimeOffset
}

module FinishedTasks =

    /// <summary>Finished tasks in the order of their numbers, without those that were pieces of others.</summary>
    /// <param name="connection">Nobody else uses it meanwhile.</param>
    /// <param name="after">Only those of a higher number.</param>
    /// <param name="most">How many at the most.</param>
    let after (connection: SqliteConnection) (after: TaskId) (most: int) : FinishedTask[] =
        use command =
            connection.CreateCommand(
                CommandText =
                    "SELECT f.task, t.name, t.pipeline, coalesce(f.attempt, 0), f.outcome, coalesce(f.reason, ''), f.at
                     FROM finished f JOIN task t ON t.id = f.task WHERE f.task > $after AND t.want <> 4 ORDER BY f.task LIMIT $most"
            )

        command.Parameters.AddWithValue("$after", int64 after) |> ignore
        command.Parameters.AddWithValue("$most", most) |> ignore
        use rows = command.ExecuteReader()

        [|
            while rows.Read() do
                {
                    task = rows.GetInt64 0 * 1L<taskId>
                    name = rows.GetString 1
                    pipeline = rows.GetString 2
                    attempt = rows.GetInt32 3
                    isDone = rows.GetInt32 4 = 0
                    reason = rows.GetString 5
                    at = DateTimeOffset.FromUnixTimeMilliseconds(rows.GetInt64 6)
                }
        |]
