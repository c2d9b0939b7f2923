namespace FsScheduler.Simulation.Tests.Crashes

open System
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.Simulation.Tests

/// When and how processes end.
type Plan =
    /// At this boundary, counted from the start of the run, and never again.
    | Once of boundary: int * cutsPower: bool
    /// So many times, anywhere; the disk misbehaves as well.
    | Often of crashes: int

/// How a run is set.
type CrashSettings = {
    machine: Settings
    sync: Sync
    /// Inputs go when they are done.
    deletes: bool
    /// Percent of payloads and results that are files.
    large: int
    /// Results that are put together are files above this.
    smallMax: Size
    retention: Retention
    pace: MaintenancePace
}

module CrashSettings =

    /// Sizes and times so small that a few tasks reach every corner.
    let pick (chance: Chance) (plan: Plan) (seed: uint64) : CrashSettings =
        let pipeline =
            CrashStages.ofFiles
            |> Array.map (fun name ->
                match Stage.create name "" with
                | Ok stage -> stage
                | Error error -> invalidOp error)
            |> Pipeline.ofStages

        {
            machine = {
                Settings.defaults pipeline with
                    expected = CrashStages.all
                    taskTimeout = 60_000L<ms>
                    memory = (if chance.Percent 50 then 100L<B> else Settings.unlimited)
                    spoolBytes = chance.Pick [| 1L<B>; 100L<B>; Settings.unlimited |]
                    speculate = 1.5
                    seed = seed
            }
            sync =
                (match plan with
                 | Once(_, cutsPower) when cutsPower -> true
                 | Once _ -> chance.Percent 50
                 | Often _ -> chance.Percent 85)
                |> fun isFlushing ->
                    if not isFlushing then Sync.Off
                    elif chance.Percent 25 then Sync.Full
                    else Sync.Normal
            deletes = chance.Percent 25
            large = chance.Pick [| 0; 30; 100 |]
            smallMax = chance.Pick [| 0L<B>; 30L<B>; Settings.unlimited |]
            retention = {
                age = chance.Pick [| 300L<ms>; 1_000L<ms>; 1_000_000L<ms> |]
                bytes = chance.Pick [| 0L<B>; 2_000L<B>; 1_000_000_000L<B> |]
            }
            pace = {
                look = TimeSpan.FromMilliseconds(float (chance.Pick [| 100; 400; 2_000 |]))
                period = TimeSpan.FromMilliseconds(float (chance.Pick [| 100; 400; 2_000 |]))
                retention = {
                    carriedMax = chance.Pick [| 1; 3; 1_000 |]
                    droppedMin = chance.Pick [| -50L; 0L; 16L |]
                }
            }
        }

/// What outlives the process.
type CrashWorld = {
    disk: SimDisk
    store: SimStore
    history: History
    state: SimState
    outside: SimEnvironment
    timeline: Timeline
    time: TimelineTime
    clock: Clock
    chance: Chance
    coverage: Coverage
    trace: Trace
}
