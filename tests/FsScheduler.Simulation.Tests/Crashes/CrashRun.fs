namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.Simulation.Tests
open FsScheduler.Simulation.Tests.Crashes

/// How a run went.
type CrashRun = {
    seed: uint64
    plan: Plan
    /// What was violated; nothing, if all is well.
    failure: string option
    coverage: Coverage
    trace: Trace
    /// How many boundaries it passed.
    boundaries: int
    tasks: int
}

/// <summary>A scheduler that is killed, or whose machine loses power, in the middle of whatever it does.</summary>
/// <param name="seed">All follows from it.</param>
/// <param name="plan">When it ends.</param>
/// <param name="size">How much there is to do: 1 for a handful of tasks.</param>
/// <param name="linesMax">How much of the trace is kept.</param>
[<Sealed>]
type private Crashing(seed: uint64, plan: Plan, size: int, linesMax: int) =
    let chance = Chance seed
    let coverage = Coverage()
    let trace = Trace linesMax
    let disk = SimDisk(chance, coverage)

    /// Payloads that are larger than one of these are split: each life has its own.
    let splits =
        chance.Pick [|
            [| Settings.unlimited |]
            [| 12L<B> |]
            [| 12L<B>; 30L<B>; Settings.unlimited |]
        |]

    let settings = CrashSettings.pick chance plan seed
    let isFlushing = settings.sync <> Sync.Off
    let store = new SimStore(disk, chance, coverage, isFlushing)
    let history = History store
    let outside = SimEnvironment()
    let timeline = Timeline()
    let time = TimelineTime timeline
    let clock = Clock time

    let world = {
        disk = disk
        store = store
        history = history
        state = SimState disk
        outside = outside
        timeline = timeline
        time = time
        clock = clock
        chance = chance
        coverage = coverage
        trace = trace
    }

    let mutable crashesLeft = 0
    let mutable life = Unchecked.defaultof<CrashLife>
    let mutable isUp = false
    let mutable piecesFail = 0

    let planCrash () =
        match plan with
        | Once(boundary, _) -> disk.CrashAt <- if crashesLeft > 0 then boundary else Int32.MaxValue
        | Often _ ->
            disk.CrashAt <-
                if crashesLeft > 0 then
                    // A start after a power cut finds much, and may end soon.
                    let within =
                        if not world.state.IsSameBoot && chance.Percent 50 then
                            25
                        else
                            150

                    disk.Passed + 1 + chance.Below within
                else
                    Int32.MaxValue

    /// Costs much: at some starts, which are always the same ones.
    let isCompared () =
        match plan with
        | Once _ -> disk.Passed % 32 = 0
        | Often _ -> seed % 4UL = 0UL

    let startWith (change: CrashSettings -> CrashSettings) =
        isUp <- false

        while not isUp do
            try
                disk.IsDown <- false
                let machine = { settings.machine with split = chance.Pick splits }
                life <- CrashLife(change { settings with machine = machine }, world, isCompared ())
                life.PiecesFail <- piecesFail
                isUp <- true
            with
            | Crash ->
                timeline.Clear()
                coverage.Count "seen: crash while starting"
                crashesLeft <- crashesLeft - 1
                planCrash ()
            | :? IOException when disk.IsFull -> disk.IsFull <- false // whoever starts it makes room

    let start () = startWith id

    let countRetaining () =
        if life.Scheduler.IsRetaining then
            coverage.Count "seen: crash while carrying"

        if store.IsDropping then
            coverage.Count "seen: crash while dropping"
        elif history.IsToDrop then
            coverage.Count "seen: crash between carrying and dropping"

    let down () =
        life.End()
        isUp <- false
        countRetaining ()
        store.IsDropping <- false
        crashesLeft <- crashesLeft - 1
        outside.Disconnect()
        timeline.Advance(chance.Time(0L<ms>, 3_000L<ms>))

        let cutsPower =
            match plan with
            | Once(_, cutsPower) -> cutsPower
            | Often _ -> isFlushing && chance.Percent 50

        if cutsPower then
            coverage.Count "fault: power cut"
            trace.Add(clock.Now, "the power is cut", 0L, disk.Passed)
            disk.Cut()
            store.Cut()
            history.Trim()
            world.state.IsSameBoot <- false
            CrashChecks.afterCut settings disk history outside
        else
            coverage.Count "fault: killed"
            trace.Add(clock.Now, "the process is killed", 0L, disk.Passed)

        planCrash ()
        start ()

    let advance (most: int) =
        timeline.Advance(int64 (chance.Below(most + 1)) * 1L<ms>)

    let others = CrashOthers(world, size, fun () -> life)

    let act () =
        if life.CanRun && chance.Percent 75 then
            life.RunOne()
        else
            // Now and then nothing happens for a while.
            advance (if chance.Percent 2 then 12_000 else 40)
            others.Act()

    /// Others go on while somebody waits for the disk.
    let mutable isMeanwhile = false

    let meanwhile () =
        if isUp && not isMeanwhile && chance.Percent 8 then
            isMeanwhile <- true

            try
                if life.CanRun && chance.Percent 70 then
                    life.RunOne()
                else
                    others.Act()
            finally
                isMeanwhile <- false

    let survive (action: unit -> unit) =
        try
            action ()
        with
        | Crash -> down ()
        | QueueLost _ ->
            must history.IsTaken $"the journal is lost, and nobody has taken it"
            coverage.Count "seen: fenced"
            disk.IsDown <- true
            down ()

    let intrude () =
        coverage.Count "fault: second scheduler"
        trace.Add(clock.Now, "a second scheduler opens the journal", 0L, disk.Passed)
        let owner = Guid(disk.Passed, 2s, 0s, Array.zeroCreate 8)

        let other =
            new Journal(store.Elsewhere, { SimHost.journalOptions with owner = owner })

        let first = store.Next
        history.Take(clock.Now, owner)
        let opened = [| Event.Opened owner |]
        (other :> IJournal).AppendAsync(clock.Now, first, opened) |> ignore
        must (other.Step()) $"the second scheduler cannot open the journal"

    let misbehave () =
        match plan with
        | Often _ ->
            if chance.PerMille 1 && not history.IsTaken then
                intrude ()

            if disk.IsFull then
                disk.IsFull <- not (chance.Percent 10)
            else
                disk.IsFull <- chance.PerMille 5
        | Once _ -> ()

    // The end.

    let isSettled () =
        let quarantined =
            HashSet [
                for task in TaskView.all life.Scheduler do
                    if task.state = "quarantined" then
                        task.id
            ]

        life.IsIdle
        && life.IsScanned
        && life.Scheduler.IsDone
        && outside.Jobs
           |> Seq.forall (fun job -> job.IsOver || quarantined.Contains job.Task)

    let runUntilIdle () =
        let mutable left = 100_000

        while life.CanRun do
            left <- left - 1
            must (left > 0) $"it does not come to rest"
            life.RunOne()

    /// Nothing goes wrong any more: everything comes to its end.
    let calm () =
        disk.CrashAt <- Int32.MaxValue
        disk.Meanwhile <- ignore
        disk.IsFull <- false
        disk.RenamesFail <- 0
        store.AnswersLost <- 0
        piecesFail <- 0
        life.PiecesFail <- 0
        others.IsCalm <- true
        let mutable rounds = 0

        while not (isSettled ()) do
            rounds <- rounds + 1

            if rounds > 400 then
                let left =
                    TaskView.all life.Scheduler
                    |> Seq.filter (fun task -> task.state <> "quarantined")
                    |> Seq.map (fun task -> $"task {task.id} ({task.name}) is {task.state}")

                let jobs = outside.Jobs |> Seq.filter (fun job -> not job.IsOver) |> Seq.map _.Name

                raise (
                    Violation
                        $"not done: {String.Join(',', left)}; jobs: {String.Join(',', jobs)}; scanned: {life.IsScanned}; {life.Unrest}"
                )

            timeline.Advance 1_000L<ms>
            others.ConnectClient()

            for job in Seq.toArray outside.Jobs do
                if not job.IsSent && not job.IsOver then
                    life.Submit(outside.Client.Value, job)

            for worker in outside.Workers do
                match worker.Session with
                | ValueNone -> others.ConnectWorker worker
                | ValueSome session -> life.Post(Input.Heard session)

            life.Scan()

            for _ in 1..10 do
                runUntilIdle ()

                for worker in outside.Workers do
                    others.FinishOne worker

            runUntilIdle ()

    let anew change =
        life.End()
        outside.Disconnect()
        startWith change

    /// Everything old is dropped, and then it starts once more.
    let renew () =
        let before = history.All |> Seq.length |> int64

        anew (fun settings -> {
            settings with
                retention = { age = 0L<ms>; bytes = 1_000_000_000L<B> }
                pace = {
                    look = TimeSpan.FromSeconds 1.0
                    period = TimeSpan.FromSeconds 1.0
                    retention = { carriedMax = 3; droppedMin = -1_000_000L }
                }
        })

        let isDropped () =
            history.All
            |> Seq.exists (fun recorded ->
                match recorded.event with
                | Event.Dropped(number, _) -> recorded.number > before && store.First >= number
                | _ -> false)

        let mutable rounds = 0

        while not (isDropped ()) do
            rounds <- rounds + 1
            must (rounds < 100) $"what is needed of old events is never carried"
            timeline.Advance 1_000L<ms>
            runUntilIdle ()

        anew id
        runUntilIdle ()

    member _.Run() : CrashRun =
        let failure =
            try
                outside.Populate(chance, size, settings.large)

                crashesLeft <-
                    match plan with
                    | Once(boundary, _) -> if boundary > 0 then 1 else 0
                    | Often crashes -> crashes

                planCrash ()

                match plan with
                | Often _ ->
                    disk.RenamesFail <- chance.Pick [| 0; 0; 10 |]
                    store.AnswersLost <- chance.Pick [| 0; 0; 5 |]
                    piecesFail <- chance.Pick [| 0; 0; 30 |]
                | Once _ -> ()

                start ()
                disk.Meanwhile <- meanwhile

                let steps =
                    match plan with
                    | Once _ -> 150
                    | Often _ -> 800 * size

                for _ in 1..steps do
                    misbehave ()
                    survive act

                survive calm
                survive calm // it may have found that it is not the only one
                renew ()
                CrashChecks.atTheEnd disk history outside life
                None
            with
            | Violation text -> Some text
            | error -> Some(string error)

        {
            seed = seed
            plan = plan
            failure = failure
            coverage = coverage
            trace = trace
            boundaries = disk.Passed
            tasks = Seq.length history.All
        }

module CrashRun =

    /// A handful of tasks. The same seed and plan give the same run.
    let small (seed: uint64) (plan: Plan) = Crashing(seed, plan, 1, 40).Run()

    /// More of them, and a few crashes; the last lines of what happened are kept.
    let largeKeeping (linesMax: int) (seed: uint64) =
        let chance = Chance(seed ^^^ 0x5DEECE66DUL)
        Crashing(seed, Often(1 + chance.Below 5), 1 + chance.Below 3, linesMax).Run()

    let large = largeKeeping 40
