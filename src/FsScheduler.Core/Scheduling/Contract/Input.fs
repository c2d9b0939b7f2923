namespace FsScheduler.Core

/// How much of the past is kept.
[<Struct>]
type Cutoff = {
    /// Events before this number are to go.
    before: int64
    /// Keys of tasks whose results were fetched, or that nobody was to fetch, are kept if that was after this time.
    keptSince: Instant
    /// Whether the journal takes too much: no key of a finished task is carried then.
    isTooMuch: bool
    /// How many events are carried in one turn, about.
    most: int
}

/// What arrives at the scheduler.
[<RequireQualifiedAccess>]
type Input =
    /// The pipeline is parsed here, because which stages are known is. Empty: the scheduler's own.
    | Submit of Submission * pipeline: string
    /// Of a file whose folder or name gives it a pipeline; its stages may be offered later.
    | SubmitFile of Submission * Pipeline
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
    | SubmissionLoaded of Attempt * Submission
    /// The result has its final name.
    | Published of Attempt * ContentHash
    /// The result could not be stored.
    | Unpublished of Attempt * error: string
    /// The file that an attempt was to read, or has read, is no longer the version that its task was made from.
    | FileChanged of Attempt
    /// The answer to `Publish` where the file has changed since: the result is the publisher's to delete.
    | Outdated of Attempt
    /// The file is gone from `entrada/`.
    | FileDeleted of name: string
    /// The input of an attempt could not be read, so it was never given out.
    | Unreadable of Attempt * error: string
    /// The input of an attempt is not to be seen, and nobody said that it was deleted: a mount may have gone. The attempt
    /// was never given out, or its worker has answered.
    | OutOfSight of Attempt * error: string
    /// The answer to `Cut`: where each piece ends, in ascending order; the last is the size.
    | Cut of Attempt * cuts: Size[]
    /// The answer to `MergeParts`: what the stages give for the whole.
    | PartsMerged of Attempt * Payload
    /// The answer to `MergeParts` where that is not to be had.
    | MergeFailed of Attempt * error: string
    /// The answer to `MergeParts` where there is no room for that, though there is for others.
    | NoRoom of Attempt * error: string
    /// Every task in quarantine.
    | RetryAll of by: SessionId
    | RetryAllWith of pipeline: string * by: SessionId
    /// The workers of this name, or the one of this session, get nothing new.
    | Drain of worker: string * by: SessionId
    | Note of Note[]
    /// The events before a number are to be dropped. Carries a bounded part of what is needed of them; to be said again until
    /// all of it is carried. Some ticks later `JournalEffect.Drop` follows.
    | Retain of Cutoff
    | Tick
