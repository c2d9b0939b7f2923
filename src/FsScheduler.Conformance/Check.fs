namespace FsScheduler.Conformance

open System.Threading.Tasks

/// A check, on a worker that is started for it.
type Check = {
    /// The name for `--only`.
    id: string
    /// What a passing worker does.
    checks: string
    /// Returns when the worker has passed; throws `Unfit` or `Inapplicable`.
    run: TestScheduler -> Task<unit>
}
