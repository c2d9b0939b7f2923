namespace FsScheduler.Machine

open FsScheduler.Core

/// The cause of a failure, which says what the failure counts against.
type Cause =
    /// The attempt failed: after `maxAttempts`, the task is quarantined.
    | TaskError
    /// The worker was lost: after `lossesMax` of these, the task is quarantined as poison.
    | WorkerLost
    /// The worker left as announced, or did not come back after a restart. Does not count.
    | WorkerLeft
    /// The scheduler could not store the result, or the input was out of sight. Does not count.
    | StorageError
    /// The worker could not run the attempt, perhaps no other either. Counts against the worker, not the task.
    | WorkerUnable

type Failure = {
    attempt: int
    cause: Cause
    /// The stages that ran, or the first of them where the others are unknown.
    stages: string
    /// The name of the worker; empty where no worker failed.
    worker: string
    error: string
    at: Instant
}
