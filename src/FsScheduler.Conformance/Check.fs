namespace FsScheduler.Conformance

open System.Threading.Tasks

/// A check of a worker, for which a process of the worker is started.
type Check = {
    /// The name for `--only`.
    id: string
    /// What a worker does that passes, as the end of a sentence.
    checks: string
    /// Returns when the worker has passed; throws `CheckFailed` or `CheckNotApplicable`.
    run: TestScheduler -> Task<unit>
}
