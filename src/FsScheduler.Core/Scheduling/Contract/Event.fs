namespace FsScheduler.Core

/// What has happened: the history of every task, to be recorded before anything of it shows.
[<RequireQualifiedAccess>]
type Event =
    | Submitted of TaskId * Submission * Pipeline
    /// Stages from the first to before the second index.
    | Assigned of Attempt * SessionId * stages: struct (int * int)
    /// Some stages are done; the result of this attempt is the payload of the next.
    | Advanced of Attempt * stage: int * Payload
    /// Its stages up to before that index are run on pieces, which end at these bytes; if there are others for pieces, these.
    /// Those that have no part yet are submitted next.
    | Split of Attempt * last: int * others: Pipeline voption * cuts: Size[]
    /// A piece is done: the part of the result that it gave.
    | Part of whole: TaskId * index: int * Payload
    /// A piece takes much longer than the others: a second task is submitted next that does the same.
    | Speculated of whole: TaskId * index: int * slow: TaskId
    /// Failed; to be tried again after a delay.
    | Delayed of TaskId * Failure * Duration
    /// Its time has come, or the older version of its file is out of its way; in the queue, at the back.
    | Woken of TaskId
    /// Lost with its worker; in the queue again, at the front.
    | Requeued of TaskId * Failure
    /// A worker that has it since before a restart goes on with it.
    | Claimed of Attempt * SessionId
    | Quarantined of TaskId * Failure
    /// Its result is the one that counts, and is being published.
    | Accepted of Attempt * AcceptedResult
    | Completed of Attempt * KeptOutcome
    | Cancelled of TaskId * reason: string
    | Retried of TaskId
    /// The file, of which a version was submitted, is not there any more.
    | Gone of name: string
    | Joined of SessionId * name: string * stages: string[]
    | Left of SessionId * name: string * reason: string
    /// A scheduler has begun to write this journal: the first event of each run.
    | Opened of owner: System.Guid
    | Noted of Note
    /// What an older event has, which is to be dropped.
    | Carried of Carried
    /// Everything that is needed of the events before this number is carried: they may go, and with them the keys of finished
    /// tasks that were not carried.
    | Dropped of before: int64 * Totals
