namespace FsScheduler.Simulation.Tests

open FsScheduler.Core
open FsScheduler.Machine

/// What kind of world a seed makes. Percentages are of each occasion; "a minute" is per worker or link.
type FaultProfile = {
    workers: int
    slotsMax: int
    stages: string[]
    /// How likely a worker is to know a stage.
    capablePercent: int
    clients: int
    submissions: int
    files: int
    /// Changes to files, a minute.
    changes: int
    /// Time during which things go wrong.
    faultsFor: Duration
    delayMax: Duration
    journalMax: Duration
    /// Whether the next batch is decided while the journal still writes the last one.
    journalOverlaps: bool
    tick: Duration
    beat: Duration
    lostAfter: Duration
    taskTimeout: Duration
    maxAttempts: int
    workMax: Duration
    publishMax: Duration
    /// How long it takes to cut a payload, or to put parts together.
    pieceMax: Duration
    split: Size
    speculate: float
    /// Of a link, a minute.
    resets: int
    silences: int
    stalls: int
    /// Of a worker, a minute.
    crashes: int
    breakages: int
    drains: int
    readies: int
    /// Of the scheduler's process, a minute.
    pauses: int
    hangPercent: int
    slowPercent: int
    failPercent: int
    refusePercent: int
    poisonPercent: int
    duplicatePercent: int
    unreadablePercent: int
    unpublishedPercent: int
    uncutPercent: int
    unjoinedPercent: int
    spooledPercent: int
    /// The size that spooled results are said to have: large ones are forgotten sooner. 0: what they have.
    spooledSize: Size
    /// From so much on, a stage has enough before it.
    spoolBytes: Size
    keyPercent: int
    cancelPercent: int
    retryPercent: int
}

module FaultProfile =

    /// Some of every kind, in any order, each once.
    let private drawStages (chance: Chance) =
        let kinds = [|
            [| "lower"; "squeeze"; "trim"; "upper" |]
            [| "sort"; "uniq"; "freq"; "words" |]
            [| "s1"; "s2"; "s3"; "s4" |]
            [| "each1"; "each2"; "each3"; "each4" |]
            [| "tally1"; "tally2"; "tally3"; "tally4" |]
        |]

        Array.init (chance.Between(1, 4)) (fun index ->
            kinds[chance.Pick [| 0; 0; 1; 2; 3; 4 |]][index])

    let draw (chance: Chance) : FaultProfile =
        let rate high =
            match chance.Below 4 with
            | 0 -> 0
            | 1 -> max 1 (high / 8)
            | 2 -> max 1 (high / 3)
            | _ -> high

        let lostAfter = chance.Time(2_000L<ms>, 6_000L<ms>)
        let split = chance.Pick [| Settings.unlimited; 20L<B>; 20L<B>; 50L<B>; 120L<B> |]

        {
            workers = chance.Between(1, 6)
            slotsMax = chance.Between(1, 4)
            stages = drawStages chance
            capablePercent = chance.Pick [| 40; 70; 100 |]
            clients = chance.Between(0, 3)
            submissions = chance.Between(1, 16)
            files = chance.Between(1, 8)
            changes = chance.Pick [| 0; 5; 30; 120 |]
            faultsFor = chance.Time(5_000L<ms>, 40_000L<ms>)
            delayMax = chance.Pick [| 2L<ms>; 20L<ms>; 300L<ms>; 1_500L<ms> |]
            journalMax = chance.Pick [| 0L<ms>; 5L<ms>; 50L<ms>; 800L<ms> |]
            journalOverlaps = chance.Percent 60
            tick = chance.Time(200L<ms>, 900L<ms>)
            beat = 1_000L<ms>
            lostAfter = lostAfter
            taskTimeout = chance.Time(2_000L<ms>, 12_000L<ms>)
            maxAttempts = chance.Between(1, 5)
            workMax = chance.Pick [| 5L<ms>; 100L<ms>; 1_500L<ms>; 4_000L<ms> |]
            publishMax = chance.Pick [| 1L<ms>; 30L<ms>; 2_000L<ms>; 8_000L<ms> |]
            pieceMax = chance.Pick [| 1L<ms>; 100L<ms>; 3_000L<ms>; 9_000L<ms> |]
            split = split
            speculate = chance.Pick [| 0.0; 1.5; 3.0 |]
            resets = rate 12
            silences = rate 6
            stalls = rate 8
            crashes = rate 10
            breakages = rate 3
            drains = rate 5
            readies = rate 30
            pauses = rate 4
            hangPercent = rate 12
            slowPercent = rate 20
            failPercent = rate 40
            refusePercent = rate 6
            poisonPercent = rate 12
            duplicatePercent = rate 25
            unreadablePercent = rate 10
            unpublishedPercent = rate 30
            uncutPercent = rate 30
            unjoinedPercent = rate 60
            spooledPercent = rate 80
            spooledSize =
                if split < Settings.unlimited then
                    0L<B>
                else
                    chance.Pick [| 1_000L<B>; 100_000_000L<B> |]
            spoolBytes = chance.Pick [| 1L<B>; 200L<B>; Settings.unlimited |]
            keyPercent = rate 90
            cancelPercent = rate 20
            retryPercent = rate 60
        }

/// What all parts of a run share.
type SimulationContext = {
    climate: FaultProfile
    chance: Chance
    timeline: Timeline
    trace: Trace
    coverage: Coverage
    /// Whether things still go wrong; when they no longer do, everything has to come to its end.
    mutable faulty: bool
} with

    member scene.Now = scene.timeline.Now

    /// Whether something goes wrong this time.
    member scene.Fault(percent: int, what: string) =
        let happens = scene.faulty && scene.chance.Percent percent

        if happens then
            scene.coverage.Count("fault: " + what)

        happens

    /// Whether something that happens so often a minute happens in this second.
    member scene.Fate(perMinute: int, what: string) =
        let happens = scene.faulty && scene.chance.Below 60 < perMinute

        if happens then
            scene.coverage.Count("fault: " + what)

        happens

    member scene.Note(what: string, number: int64, detail: obj) =
        scene.trace.Add(scene.Now, what, number, detail)
