namespace FsScheduler.Core

/// What the scheduler's rules are set to.
type Settings = {
    /// For files, and for a SUBMIT that names none.
    pipeline: Pipeline
    /// What is known before a worker offers it: names of stages, and `exec:PROGRAM`.
    expected: string[]
    /// A task that has failed this often is put into quarantine; from 1.
    maxAttempts: int
    /// A running attempt is given up after this time.
    taskTimeout: Duration
    /// A worker that was silent for this long is lost.
    lostAfter: Duration
    /// How much of what is queued is held in memory; the rest is only in the journal, and recalled. The largest
    /// number where the journal cannot be read.
    memory: Size
    /// When the results of stages that wait for one further stage take so much, no task is begun that would come to wait
    /// there too.
    spoolBytes: Size
    /// Payloads in files that are larger than this are worked on in pieces of this size, where their stages allow it.
    split: Size
    /// A piece that takes so many times as long as most took is given to a second worker too; 0: never.
    speculate: float
    /// Where every worker that could run a task is held back for so long, the task is not waited with any more: it goes
    /// into quarantine. The largest number: it waits, and they are tried now and then.
    unableAfter: Duration
    /// Any number. The same seed and the same inputs give the same decisions.
    seed: uint64
}

module Settings =

    /// Of `memory`: everything is held there. Of `split`: nothing is split. Of `spoolBytes`: nothing is held back.
    let unlimited = System.Int64.MaxValue * 1L<B>

    /// Of `unableAfter`: tasks wait for a worker that can run them for as long as it takes.
    let patient: Duration = System.Int64.MaxValue * 1L<ms>

    /// What holds where nobody says otherwise: nothing is left to the journal, split, held back, speculated on or given up.
    let defaults (pipeline: Pipeline) : Settings = {
        pipeline = pipeline
        expected = [||]
        maxAttempts = 3
        taskTimeout = 300_000L<ms>
        lostAfter = 5_000L<ms>
        memory = unlimited
        spoolBytes = unlimited
        split = unlimited
        speculate = 0.0
        unableAfter = patient
        seed = 0UL
    }

/// Limits that nobody has needed to set yet.
module Limits =

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
    let troublesMax = 100

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
