namespace FsScheduler.Core

/// Whose fault a trouble is, and so what it counts for.
type Cause =
    /// The attempt failed: after so many, the task is in quarantine.
    | Fault
    /// Its worker was lost: after so many, the task is poison.
    | Loss
    /// Its worker left, having said so before, or was not seen again after a restart. Counts for nothing.
    | Departure
    /// The scheduler could not store its result, or its input was out of sight. Counts for nothing.
    | Disk
    /// Its worker could not run it, nor maybe anything else. Counts against the worker, and for nothing against the task.
    | Inability

/// One thing that went wrong with a task.
type Trouble = {
    attempt: int
    cause: Cause
    /// The stages that ran, or the first of them where that is not known.
    stages: string
    /// The name of the worker; empty when it was not a worker that failed.
    worker: string
    error: string
    at: Instant
}

/// What a stored result was: enough to tell later whether the disk still holds all of it.
[<Struct>]
type Proof = {
    size: Size
    /// XXH3, 64 bits.
    hash: uint64
}

/// What is left of a task that is done.
type Remainder =
    /// Its result went to its client, or nobody wanted it.
    | NothingLeft
    /// Its result is kept, for those who come with its key.
    | KeptResult of Payload
    /// Its result is a file of `resultados/`.
    | StoredResult of Proof

/// What arrives at the scheduler.
[<RequireQualifiedAccess>]
type Input =
    /// The pipeline is parsed here, because which stages are known is. Empty: the scheduler's own.
    | Submit of Submission * pipeline: string
    | Cancel of TaskId * by: SessionId
    | Retry of TaskId * by: SessionId
    /// With another pipeline: only of a file, which is submitted anew.
    | RetryWith of TaskId * pipeline: string * by: SessionId
    | Ask of by: SessionId
    | Join of SessionId * name: string * stages: string[]
    /// What a worker that has just joined still holds, from before the scheduler was started again.
    | Claim of SessionId * holding: Attempt[]
    | Ready of SessionId * slots: int
    /// A sign of life.
    | Heard of SessionId
    /// A connection has ended, a worker's or a client's.
    | Leave of SessionId
    | Report of SessionId * Attempt * Outcome * Payload
    /// The scheduler could not store the result that a worker sent.
    | Unstored of SessionId * Attempt * error: string
    /// The submission of an attempt, all of it, as the journal has it.
    | Recalled of Attempt * Submission
    /// The result has its final name.
    | Published of Attempt * Proof
    /// The result could not be stored.
    | Unpublished of Attempt * error: string
    /// The file that an attempt was to read, or has read, is no longer the version that its task was made from.
    | Withdraw of Attempt
    /// The answer to `Publish` where the file has changed since: the result is the publisher's to delete.
    | Outdated of Attempt
    /// The file is gone from `entrada/`.
    | Vanish of name: string
    /// The input of an attempt could not be read, so it was never given out.
    | Unreadable of Attempt * error: string
    /// The input of an attempt is not to be seen, and nobody said that it was deleted: a mount may have gone. The attempt
    /// was never given out, or its worker has answered.
    | OutOfSight of Attempt * error: string
    /// The answer to `Cut`: where each piece ends, in ascending order; the last is the size.
    | Cut of Attempt * cuts: Size[]
    /// The answer to `Join`: what the stages give for the whole.
    | Joined of Attempt * Payload
    /// The answer to `Join` where that is not to be had.
    | Unjoined of Attempt * error: string
    /// The answer to `Join` where there is no room for that, though there is for others.
    | NoRoom of Attempt * error: string
    /// Every task in quarantine.
    | RetryAll of by: SessionId
    | RetryAllWith of pipeline: string * by: SessionId
    /// The workers of this name, or the one of this session, get nothing new.
    | Drain of worker: string * by: SessionId
    /// The journal is about to forget these finished tasks, with what is kept for them: their keys are free again.
    | Forget of struct (string * TaskId)[]
    | Tick

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
    | Delayed of TaskId * Trouble * Duration
    /// Its time has come, or the older version of its file is out of its way; in the queue, at the back.
    | Woken of TaskId
    /// Lost with its worker; in the queue again, at the front.
    | Requeued of TaskId * Trouble
    /// A worker that has it since before a restart goes on with it.
    | Claimed of Attempt * SessionId
    | Quarantined of TaskId * Trouble
    /// Its result is the one that counts, and is being published.
    | Accepted of Attempt * Payload
    | Completed of Attempt * Remainder
    | Cancelled of TaskId * reason: string
    | Retried of TaskId
    /// The file, of which a version was submitted, is not there any more.
    | Gone of name: string
    | Joined of SessionId * name: string * stages: string[]
    | Left of SessionId * name: string * reason: string

/// What the world outside is asked to do.
[<RequireQualifiedAccess>]
type Effect =
    | Assign of SessionId * Process * Submission * Payload
    | Revoke of SessionId * Attempt
    /// Read what this task was submitted with, for `Recalled`.
    | Recall of Attempt
    /// Look for line ends in a payload, so that pieces of about this size end there, for `Cut`.
    | Cut of Attempt * Submission * Payload * pieceSize: Size
    /// Put the results of pieces together, in order: one behind the other, or by the merge of the stage that gave them,
    /// for `Joined`. The parts stay the machine's.
    | Join of Attempt * merge: Stage voption * parts: Payload[]
    /// The next part, counted from 0, of what `Join` will ask for without a merge: to put it behind those before it saves
    /// time then, and need not be done. The part stays the machine's.
    | Gather of Attempt * index: int * part: Payload
    /// What was gathered for this attempt is not joined any more.
    | Abandon of Attempt
    /// Welcome a worker, which may keep these of what it holds.
    | Welcome of SessionId * keep: Attempt[]
    /// Ask a worker to finish what it has and go.
    | Dismiss of SessionId
    /// The payload, if it is a file, is the receiver's to delete, unless it is kept.
    /// A later effect may discard one that is kept: open it before.
    | Reply of SessionId * FromScheduler * Payload * kept: bool
    /// Give the result its final name. From here on the payload is the publisher's.
    | Publish of Attempt * Submission * Payload
    /// The same, of a version of a file that would otherwise never have a result: it counts although the file has changed
    /// since.
    | PublishOlder of Attempt * Submission * Payload
    /// Its result has its final name already, since before a restart: do the rest, and say `Published`.
    | Settle of Attempt * Submission * Proof
    /// Tell, beside the results, why there is none.
    | PublishError of TaskId * Submission * Trouble list
    /// A payload that nobody needs any more.
    | Discard of Payload
    /// Tell whoever looks after the workers that so many tasks wait for a stage that none of them offers. Once, until one
    /// does.
    | Missing of stage: string * tasks: int
    /// Tell that the workers of this name only fail these stages, and are given them now and then only; and that they do them
    /// again.
    | HeldBack of worker: string * stages: string[] * error: string
    | TakenUp of worker: string * stages: string[]
    | Disconnect of SessionId * reason: string

/// What follows from inputs: events to record, then effects to let out. Cleared and used again.
[<Sealed>]
type Decisions() =
    member val Events = ResizeArray<Event>()
    member val Effects = ResizeArray<Effect>()

    member decisions.Clear() =
        decisions.Events.Clear()
        decisions.Effects.Clear()
