namespace FsScheduler.Core

/// Limits that nobody has needed to set yet.
module SchedulerLimits =

    /// Tasks that are not finished; more are refused as `busy`.
    let tasksMax = 10_000_000

    /// A task that took down this many workers is quarantined: the last of them had nothing else to do.
    let lossesMax = 3

    /// After so many versions of a file in a row that were begun and then overtaken by a newer one, the version that is
    /// being worked on may finish, and the newest waits for it: else a file that changes faster than it is processed
    /// would never have a result.
    let overtakenMax = 2

    /// Files of which that is counted.
    let overtakenFilesMax = 10_000

    /// Troubles that are remembered of a task: the latest ones.
    let pastFailuresMax = 100

    /// Those who wait for one task, beside its submitter; more are refused as `busy`.
    let waitersMax = 1_000

    /// Pieces of one payload: larger ones are cut into larger pieces.
    let piecesMax = 4_096

    /// No piece is taken for slow that has run for less than this: starting a second one is not worth it.
    let speculateAfter = 1_000L<ms>

    /// Pipelines that are remembered as they were parsed.
    let pipelinesMax = 1_000

    /// Finished tasks whose keys are remembered.
    let keysMax = 1_000_000

    /// Bytes of results that are remembered with them, where the journal does not have them.
    let keptBytesMax = 256L * 1024L * 1024L * 1L<B>

    /// Workers that a STATUS lists.
    let workersListedMax = 200

    /// A task that has waited this long is served in turn with those of higher priority, once in `agingTurns`.
    let agingAfter = 30_000L<ms>
    let agingTurns = 8

    /// A worker that fails so often in a row, and does nothing in between, is held back.
    let failuresInARow = 3

    /// It is given a task again after this time, and after twice as long each time that it fails that too.
    let trialAfter = 1_000L<ms>
    let trialDelayMax = 60_000L<ms>

    /// From so many times on, a worker that does well otherwise and says that it cannot run a task fails it: the task is to
    /// blame.
    let inabilitiesMax = 3

    /// Workers and stages that are looked at because they fail; further ones are not held back.
    let conductsMax = 10_000

    /// Workers that were lost a moment ago; further ones are not expected back.
    let expectedMax = 1_000

    /// Of the workers that failed a task, the latest so many are avoided.
    let failedByMax = 8

    /// What was asked to be read of the journal is read by then, or is known to be waited for: what the machine awaits an
    /// answer to, and what messages are to be sent with.
    let readWithin = 1_000L<ms>

    /// What workers have offered; further stages and programs are not known.
    let stagesMax = 10_000
