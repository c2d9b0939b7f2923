namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.Simulation.Tests
open FsScheduler.Simulation.Tests.Crashes

/// When and how processes end.
type Plan =
    /// At this boundary, counted from the start of the run, and never again.
    | Once of boundary: int * cutsPower: bool
    /// So many times, anywhere; the disk misbehaves as well.
    | Often of crashes: int

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

    let pipeline =
        CrashStages.ofFiles
        |> Array.map (fun name ->
            match Stage.create name "" with
            | Ok stage -> stage
            | Error error -> invalidOp error)
        |> Pipeline.ofStages

    let settings = {
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
    let mutable isCalm = false
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

    // What happens outside.

    let connectWorker (worker: CrashWorker) =
        let session = outside.NewSession()
        worker.Session <- ValueSome session
        life.Post(Input.Join(session, worker.Name, worker.Stages))
        let holding = worker.Holding |> Seq.map _.attempt |> Seq.toArray

        if holding.Length > 0 then
            coverage.Count "seen: worker back with what it holds"

        life.Post(Input.Claim(session, holding))
        life.Post(Input.Ready(session, 2))

    let takeOne (holdings: List<Holding>) =
        let index = chance.Below holdings.Count
        let holding = holdings[index]
        holdings.RemoveAt index
        holding

    let finishOne (worker: CrashWorker) =
        match worker.Session with
        | ValueSome session when worker.IsWelcome && worker.Holding.Count > 0 ->
            let holding = takeOne worker.Holding

            // Some take long.
            if isCalm || int64 holding.attempt.task % 4L > 0L || chance.Percent 10 then
                life.Report(session, holding)
            else
                worker.Holding.Add holding
        | _ -> ()

    let actOfWorker () =
        let worker = outside.Workers[chance.Below outside.Workers.Count]

        match worker.Session with
        | ValueNone -> connectWorker worker
        | ValueSome session ->
            match chance.Below 100 with
            | roll when roll < 60 -> finishOne worker
            | roll when roll < 70 ->
                if worker.IsWelcome && worker.Holding.Count > 0 then
                    let outcome = Failed("no", chance.Percent 90)
                    let attempt = (takeOne worker.Holding).attempt
                    life.Post(Input.Report(session, attempt, outcome, Content.empty))
            | roll when roll < 78 ->
                if worker.Stale.Count > 0 then
                    coverage.Count "seen: late result"
                    life.Report(session, takeOne worker.Stale)
            | roll when roll < 82 ->
                life.Post(Input.Leave session)
                worker.Disconnect()
            | roll when roll < 84 ->
                life.Post(Input.Leave session)
                worker.Disconnect()
                worker.Holding.Clear()
            | _ -> life.Post(Input.Heard session)

    let connectClient () =
        if outside.Client.IsNone then
            outside.Client <- ValueSome(outside.NewSession())

    let submitWhere isWanted =
        match outside.Client with
        | ValueNone -> connectClient ()
        | ValueSome session ->
            match outside.Jobs |> Seq.tryFind (fun job -> not job.IsOver && isWanted job) with
            | Some job when not job.IsSent -> life.Submit(session, job)
            | _ -> ()

    let actOfClient () =
        match chance.Below 100 with
        | roll when roll < 80 -> submitWhere (fun job -> not job.IsSent)
        | roll when roll < 88 ->
            match outside.Client with
            | ValueSome session -> life.Post(Input.RetryAll session)
            | ValueNone -> ()
        | roll when roll < 92 ->
            match outside.Client with
            | ValueSome session ->
                let job = outside.Jobs[chance.Below outside.Jobs.Count]

                if job.Task > 0L<taskId> then
                    life.Post(Input.Cancel(job.Task, session))
            | ValueNone -> ()
        | roll when roll < 95 ->
            match outside.Client with
            | ValueSome session ->
                life.Post(Input.Leave session)
                outside.Client <- ValueNone

                for job in outside.Jobs do
                    if job.Key.IsNone && job.IsSent then
                        job.IsOver <- true

                    job.IsSent <- false
            | ValueNone -> ()
        | _ ->
            // Who has a key may ask again.
            match outside.Jobs |> Seq.tryFind (fun job -> job.IsOver && job.Key.IsSome) with
            | Some job ->
                coverage.Count "seen: asked again with a key"
                job.IsOver <- false
                job.IsSent <- false
            | None -> ()

    let actOfFolder () =
        let name = $"f{chance.Below(2 * size + 1)}"

        match outside.Files.TryGetValue name with
        | true, version when chance.Percent 70 -> outside.Files[name] <- version + 1L
        | true, _ ->
            outside.Files.Remove name |> ignore
            coverage.Count "fault: file vanished"
        | _ -> outside.Files[name] <- int64 (disk.Passed + 1) // never a version again

    /// Somebody takes a result away that a client has been told of.
    let takeAway () =
        match
            outside.Jobs
            |> Seq.tryFind (fun job -> job.Want = File && job.HasResult && not job.IsTakenAway)
        with
        | Some job ->
            job.IsTakenAway <- true
            let place = life.PlaceOf(job.Task, job.Name)

            for KeyValue(what, result) in Seq.toArray outside.Published do
                if result.place = place then
                    outside.Published.Remove what |> ignore

            disk.Delete("out/" + place)
        | None -> ()

    let advance (most: int) =
        timeline.Advance(int64 (chance.Below(most + 1)) * 1L<ms>)

    let actOutside () =
        match chance.Below 100 with
        | roll when roll < 45 -> actOfWorker ()
        | roll when roll < 75 -> actOfClient ()
        | roll when roll < 85 -> actOfFolder ()
        | roll when roll < 98 -> life.Scan()
        | _ -> takeAway ()

    let act () =
        if life.CanRun && chance.Percent 75 then
            life.RunOne()
        else
            // Now and then nothing happens for a while.
            advance (if chance.Percent 2 then 12_000 else 40)
            actOutside ()

    /// Others go on while somebody waits for the disk.
    let mutable isMeanwhile = false

    let meanwhile () =
        if isUp && not isMeanwhile && chance.Percent 8 then
            isMeanwhile <- true

            try
                if life.CanRun && chance.Percent 70 then
                    life.RunOne()
                else
                    actOutside ()
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
        isCalm <- true
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
            connectClient ()

            for job in Seq.toArray outside.Jobs do
                if not job.IsSent && not job.IsOver then
                    life.Submit(outside.Client.Value, job)

            for worker in outside.Workers do
                match worker.Session with
                | ValueNone -> connectWorker worker
                | ValueSome session -> life.Post(Input.Heard session)

            life.Scan()

            for _ in 1..10 do
                runUntilIdle ()

                for worker in outside.Workers do
                    finishOne worker

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
