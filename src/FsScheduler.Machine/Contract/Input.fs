namespace FsScheduler.Machine

open FsScheduler.Core

/// How much of the history is kept.
[<Struct>]
type Cutoff = {
    /// Events before this number are to be dropped.
    before: int64
    /// A key is kept if its result was fetched, or the task ended without one to fetch, after this time.
    keptSince: Instant
    /// Whether the journal is too large: no key of a finished task is carried then.
    isTooMuch: bool
    /// About how many events are carried in one step.
    most: int
}

[<RequireQualifiedAccess>]
type Input =
    /// The machine parses the pipeline, because it knows which stages exist. Empty: the pipeline of the scheduler.
    | Submit of Submission * pipeline: string
    /// Of a file whose folder or name gives it a pipeline; its stages may be offered later.
    | SubmitFile of Submission * Pipeline
    | Cancel of TaskId * by: SessionId
    | Retry of TaskId * by: SessionId
    /// Retry with another pipeline: only a file, which is submitted anew.
    | RetryWith of TaskId * pipeline: string * by: SessionId
    | Ask of by: SessionId
    | Join of SessionId * name: string * stages: string[]
    /// The attempts that a worker that has just joined still holds from before a restart.
    | Claim of SessionId * holding: Attempt[]
    | Ready of SessionId * slots: int
    /// Any message of a worker: a sign of life.
    | Heard of SessionId
    /// A connection of a worker or a client has ended.
    | Leave of SessionId
    | Report of SessionId * Attempt * Outcome * Content
    /// The scheduler could not store the result that a worker sent.
    | Unstored of SessionId * Attempt * error: string
    /// The whole submission of an attempt, from the journal.
    | SubmissionLoaded of Attempt * Submission
    /// The result has its final name.
    | Published of Attempt * ContentHash
    /// The result could not be stored.
    | Unpublished of Attempt * error: string
    /// The file of an attempt is no longer the version that its task was made from.
    | FileChanged of Attempt
    /// The answer to `Publish` where the file has changed since; the publisher deletes the result.
    | Outdated of Attempt
    /// A file was deleted from `entrada/`.
    | FileDeleted of name: string
    /// The input of an attempt could not be read, so the attempt was not sent to its worker.
    | Unreadable of Attempt * error: string
    /// The input of an attempt is out of sight without a deletion event, as when a mount is gone. The attempt was not
    /// sent to its worker, or the worker has answered.
    | OutOfSight of Attempt * error: string
    /// The answer to `Cut`: where each piece ends, in bytes, ascending; the last is the size.
    | Cut of Attempt * cuts: Size[]
    /// The answer to `MergeParts`: the result of the stages for the whole.
    | PartsMerged of Attempt * Content
    /// The answer to `MergeParts` where merging failed.
    | MergeFailed of Attempt * error: string
    /// The answer to `MergeParts` where the disk has no room for this result, though it has for smaller ones.
    | NoRoom of Attempt * error: string
    /// Every task in quarantine.
    | RetryAll of by: SessionId
    | RetryAllWith of pipeline: string * by: SessionId
    /// The workers of this name, or the one of this session, get no new tasks.
    | Drain of worker: string * by: SessionId
    | Note of Note[]
    /// Retention: carries a bounded part of the state that is needed of the events before a number. Repeated until all
    /// is carried; some ticks later `JournalEffect.Drop` follows.
    | Retain of Cutoff
    | Tick
