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
