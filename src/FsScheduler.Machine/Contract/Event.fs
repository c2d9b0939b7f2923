namespace FsScheduler.Machine

open FsScheduler.Core

/// What has happened: the history of every task, made durable before any effect of it is visible.
[<RequireQualifiedAccess>]
type Event =
    | Submitted of TaskId * Submission * Pipeline
    /// A worker was given the stages from the first to before the second index.
    | Assigned of Attempt * SessionId * stages: struct (int * int)
    /// The stages before this index are done; the result is the payload of the next stage.
    | Advanced of Attempt * stage: int * KeptContent
    /// The stages before `last` are run on pieces, which end at these bytes; `others` is the pipeline of the pieces
    /// where it is not these stages. Pieces without a part are submitted next.
    | Split of Attempt * last: int * others: Pipeline voption * cuts: Size[]
    /// A piece is finished, with this part of the result.
    | Part of whole: TaskId * index: int * KeptContent
    /// The file of a part was gone when the scheduler was started again.
    | PartLost of whole: TaskId * index: int
    /// A piece takes much longer than the others: a second task for it is submitted next.
    | Speculated of whole: TaskId * index: int * slow: TaskId
    /// Failed; retried after this delay.
    | Delayed of TaskId * Failure * Duration
    /// The delay is over, or the older version of the file has ended: the task goes to the back of its queue.
    | Woken of TaskId
    /// Lost with its worker: the task goes to the front of its queue.
    | Requeued of TaskId * Failure
    /// A worker that has held the attempt since before a restart goes on with it.
    | Claimed of Attempt * SessionId
    | Quarantined of TaskId * Failure
    /// The result is the current one, and is being published.
    | Accepted of Attempt * AcceptedResult
    | Completed of Attempt * KeptOutcome
    | Cancelled of TaskId * reason: string
    | Retried of TaskId
    /// A file of which a version was submitted is deleted.
    | Gone of name: string
    | Joined of SessionId * name: string * stages: string[]
    | Left of SessionId * name: string * reason: string
    /// A scheduler begins to write this journal: the first event of each run.
    | Opened of owner: System.Guid
    | Noted of Note
    /// State of an older event, which is to be dropped.
    | Carried of Carried
    /// The needed state of the events before this number is carried: they may be dropped, and with them the keys of
    /// finished tasks that were not carried.
    | Dropped of before: int64 * Totals
