namespace FsScheduler.Machine

open FsScheduler.Core

/// Limits without an option: nobody has needed to set them yet.
module SchedulerLimits =

    /// Unfinished tasks; further submissions are refused as `busy`.
    let tasksMax = 10_000_000

    /// A task that was lost with this many workers is quarantined: the last worker ran nothing else.
    let lossesMax = 3

    /// After so many begun versions of a file in a row were superseded by a newer one, the version that runs may finish
    /// first: otherwise a file that changes faster than it is processed would never have a result.
    let overtakenMax = 2

    /// Files whose superseded versions are counted.
    let overtakenFilesMax = 10_000

    /// Failures remembered per task: the latest ones.
    let pastFailuresMax = 100

    /// Requests attached to one task beside its submitter; further ones are refused as `busy`.
    let waitersMax = 1_000

    /// Pieces of one payload: a larger payload is cut into larger pieces.
    let piecesMax = 4_096

    /// A piece that has run for less than this is never given to a second worker.
    let speculateAfter = 1_000L<ms>

    /// Parsed pipelines in the cache.
    let pipelinesMax = 1_000

    /// Finished tasks whose idempotency keys are remembered.
    let keysMax = 1_000_000

    /// Bytes of results that are remembered with the keys, where the journal does not keep results.
    let keptBytesMax = 256L * 1024L * 1024L * 1L<B>

    /// Workers listed in a STATUS.
    let workersListedMax = 200

    /// A task that has waited this long takes every `agingTurns`th turn of a worker, whatever the priority of others.
    let agingAfter = 30_000L<ms>
    let agingTurns = 8

    /// A worker that fails so often in a row, without a success in between, is held back.
    let failuresInARow = 3

    /// Delay before a held-back worker is tried with a task; doubled after each failed trial, up to `trialDelayMax`.
    let trialAfter = 1_000L<ms>
    let trialDelayMax = 60_000L<ms>

    /// A task that a worker was unable to run this many times counts as failed, if that worker runs others well.
    let inabilitiesMax = 3

    /// Circuit breakers, one for a worker and a list of stages; further failing workers are not held back.
    let breakersMax = 10_000

    /// Recently lost workers that are expected to reconnect; further ones are not waited for.
    let expectedMax = 1_000

    /// Workers that a task avoids: the latest ones that failed it.
    let failedByMax = 8

    /// A read of the journal that was asked for is answered within this time, or the machine knows the attempt that
    /// waits for the answer. Carried events are dropped no earlier.
    let readWithin = 1_000L<ms>

    /// Offers of workers, stages and programs; further ones are unknown to pipelines.
    let stagesMax = 10_000
