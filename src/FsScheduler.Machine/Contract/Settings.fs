namespace FsScheduler.Machine

open FsScheduler.Core

/// The settings of the scheduler's rules.
type Settings = {
    /// The pipeline of files, and of a SUBMIT that names none.
    pipeline: Pipeline
    /// Offers that pipelines may name before a worker makes them: stage names, and `exec:PROGRAM`.
    expected: string[]
    /// A task that has failed this often is quarantined; from 1.
    maxAttempts: int
    /// A running attempt is revoked after this time.
    taskTimeout: Duration
    /// A worker that is silent for longer is lost.
    lostAfter: Duration
    /// How much of the queued submissions is held in memory; the journal alone has the others, which are loaded when
    /// needed. `unlimited` where the journal cannot be read.
    memory: Size
    /// When the results that wait for one stage take this much, no task is begun that would come to wait there too.
    spoolBytes: Size
    /// Larger payloads in files are worked on in pieces of this size, where their stages allow it.
    split: Size
    /// A piece that takes this many times the median is given to a second worker too; 0: never.
    speculate: float
    /// A task whose possible workers are all held back for this long is quarantined. `patient`: the task waits, and
    /// they are tried now and then.
    unableAfter: Duration
    /// Seeds the jitter of delays: the same seed and the same inputs give the same decisions.
    seed: uint64
}

module Settings =

    /// Of `memory`: all is held there. Of `split`: nothing is split. Of `spoolBytes`: no task is held back.
    let unlimited = System.Int64.MaxValue * 1L<B>

    /// Of `unableAfter`: tasks wait without limit.
    let patient: Duration = System.Int64.MaxValue * 1L<ms>

    /// Defaults: all in memory, nothing split, held back, speculated on or given up.
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
