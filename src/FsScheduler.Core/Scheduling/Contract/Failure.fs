namespace FsScheduler.Core

/// Whose fault a failure is, and so what it counts for.
type Cause =
    /// The attempt failed: after so many, the task is in quarantine.
    | TaskError
    /// Its worker was lost: after so many, the task is poison.
    | WorkerLost
    /// Its worker left, having said so before, or was not seen again after a restart. Counts for nothing.
    | WorkerLeft
    /// The scheduler could not store its result, or its input was out of sight. Counts for nothing.
    | StorageError
    /// Its worker could not run it, nor maybe anything else. Counts against the worker, and for nothing against the task.
    | WorkerUnable

/// One thing that went wrong with a task.
type Failure = {
    attempt: int
    cause: Cause
    /// The stages that ran, or the first of them where that is not known.
    stages: string
    /// The name of the worker; empty when it was not a worker that failed.
    worker: string
    error: string
    at: Instant
}
