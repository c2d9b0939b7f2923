namespace FsScheduler.Conformance

open System.Threading.Tasks

/// One thing that is checked, on a worker that was started for it.
type Check = {
    /// As `--only` takes it.
    id: string
    /// What a worker does that passes.
    checks: string
    /// Returns when the worker has passed; throws `Unfit` or `Inapplicable`.
    run: TestScheduler -> Task<unit>
}
