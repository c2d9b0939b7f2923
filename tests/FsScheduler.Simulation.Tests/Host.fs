namespace FsScheduler.Simulation.Tests

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server

/// <summary>A journal that is looked at: the observers hear what is durable before anybody else does.</summary>
/// <param name="journal">The real one.</param>
/// <param name="durable">Told of each event.</param>
[<Sealed>]
type private WatchedJournal(journal: IJournal, durable: Event -> unit) =
    /// Completes when all that was appended is durable.
    member val Latest = Task.CompletedTask with get, set

    interface IJournal with
        member watched.AppendAsync(at, first, events) =
            let copy = Seq.toArray events

            let before = watched.Latest

            let appended: Task =
                task {
                    do! journal.AppendAsync(at, first, events)
                    do! before // both at once
                    Array.iter durable copy
                }

            watched.Latest <- appended
            ValueTask appended

        member _.ReadSubmission number = journal.ReadSubmission number
        member _.ReadPayload number = journal.ReadPayload number
        member _.DropAsync before = journal.DropAsync before
        member _.Size(keep, since) = journal.Size(keep, since)
        member _.DisposeAsync() = journal.DisposeAsync()

/// What the host of a world works with.
type HostWorld = {
    settings: Settings
    inputs: IInputFolder
    results: IResultFolder
    files: ISpool
    state: IStateFolder
    peers: SessionId -> IPeer
    cut: Cut
    reconsider: TaskName -> FileVersion -> unit
    /// Results that are put together are files above this.
    smallMax: Size
}

/// <summary>The host of a scheduler, on a timeline: its mailbox, its journal, which takes its time, and what is beside
/// them.</summary>
/// <param name="scene">Has the timeline.</param>
/// <param name="observer">Is told of each step.</param>
/// <param name="answers">Is told of each effect.</param>
/// <param name="world">What it works with.</param>
[<Sealed>]
type Host(scene: SimulationContext, observer: Observer, answers: Answers, world: HostWorld) =
    let turnMax = 64
    let climate = scene.climate
    let time = TimelineTime scene.timeline
    let clock = Clock time
    let scheduler = Scheduler world.settings
    let mutable asleepUntil = 0L<ms>

    let journal = new Journal(new MemoryStore(), SimHost.journalOptions)
    let watched = WatchedJournal(journal, answers.Durable)

    let host =
        SchedulerHost {
            settings = world.settings
            scheduler = scheduler
            owner = journal.Owner
            journal = watched
            inputs = world.inputs
            results = world.results
            files = world.files
            state = world.state
            merging = SimHost.merging
            smallMax = world.smallMax
            find = FindPeer(fun session -> world.peers session)
            onDone = OnDone.Keep
            sync = Sync.Off
            flush = ignore
            again = false
            tick = climate.tick
            retention = { age = 1_000_000_000L<ms>; bytes = Settings.unlimited }
            pace = MaintenancePace.Usual
            outage = StorageOutage NullLogger.Instance
            activity = ActivityLog(clock, NullLogger.Instance)
            clock = clock
            log = NullLogger.Instance
        }

    /// A number that tells cases apart, for the hash.
    let kindOf (case: obj) =
        TraceFormat.caseOf case
        |> Seq.fold (fun sum letter -> sum * 31L + int64 letter) 7L

    let count (kind: string) (case: obj) =
        scene.coverage.Count $"{kind}: {TraceFormat.caseOf case}"

    let look () =
        match Invariants.violations scheduler with
        | [] -> ()
        | all -> raise (Violation(String.concat "; " all))

    let released (effects: List<Effect>) =
        Seq.iter answers.Released effects
        host.Release effects

    let turns = BatchPipeline(host.InitialState, watched, Release released, clock)

    let decided input (events: Event seq) (effects: Effect seq) =
        for event in events do
            scene.Note(" event", kindOf event, event)
            count "event" event

        observer.Decided(input, events, effects)

        for effect in effects do
            scene.Note("  effect", kindOf effect, effect)
            count "effect" effect
            answers.Decided effect

    let step input =
        let decisions = turns.StepOutput
        let firstEvent = decisions.Events.Count
        let firstEffect = decisions.Effects.Count

        match input with
        | Input.Tick
        | Input.Heard _ -> ()
        | _ -> scene.Note("input ", kindOf input, input)

        count "input" input
        observer.Before input
        SimHost.checkMissing scheduler input
        turns.Take(Message.Inputs [| input |])

        let events =
            decisions.Events.GetRange(firstEvent, decisions.Events.Count - firstEvent)

        let effects =
            decisions.Effects.GetRange(firstEffect, decisions.Effects.Count - firstEffect)

        decided input events effects

        match input with
        | Input.Heard _
        | Input.Tick when events.Count = 0 && effects.Count = 0 -> () // moves no task and no worker
        | _ -> look ()

    let take (message: Message) =
        match message with
        | Message.Inputs inputs -> Array.iter step inputs
        | Message.Resume
        | Message.Ask _ -> turns.Take message

    /// The scheduler may be asleep, and a journal may take one batch at a time.
    let begun () : Task =
        task {
            let late = asleepUntil - scene.Now.sinceStart

            if late > 0L<ms> then
                do! Task.Delay(TimeSpan.FromMilliseconds(float (int64 late)), time)

            if not watched.Latest.IsCompleted then
                if climate.journalOverlaps then
                    scene.coverage.Count "seen: batch decided while the journal writes"
                else
                    do! watched.Latest
        }

    let mailbox =
        SimMailbox(
            turns,
            {
                posted = ignore
                looked = ignore
                begun = begun
                most = fun () -> turnMax - 1
                take = take
                decided = ignore
            }
        )

    let around = {
        maintenance = SimHost.upkeep ignore
        cut = world.cut
        heard = fun () -> Seq.empty
        awaited = fun () -> null
        reconsider = world.reconsider
        unfinished = fun _ _ -> ()
    }

    let runners = List<TimelineRunner>()

    /// Each has its own latency: the time, submissions that are read, pieces, retention, upkeep, and results.
    let latencies =
        Queue [| 1L<ms>; 3L<ms>; climate.pieceMax; 1L<ms>; 1L<ms>; climate.publishMax |]

    let run latest (work: unit -> Task) : Task =
        let runner = TimelineRunner(scene, latest)
        runners.Add runner
        runner.Within work

    let running = List<Task>()

    member _.Scheduler = scheduler

    member _.Post(input: Input) =
        (mailbox :> IMailbox).PostAsync([| input |], CancellationToken.None) |> ignore

    member _.Start() =
        let takes () =
            scene.chance.Time(0L<ms>, climate.journalMax)

        running.Add(run 1L<ms> (fun () -> SimHost.write journal time takes))
        running.Add(run 1L<ms> turns.ReleaseAsync)
        running.Add(run 3L<ms> mailbox.RunAsync)

        let start work = run (latencies.Dequeue()) work
        running.AddRange(host.Start(mailbox, around, start, CancellationToken.None))

    /// What has failed is raised.
    member _.Check() =
        for part in running do
            if part.IsFaulted then
                raise (nonNull (nonNull part.Exception).InnerException)

        for runner in runners do
            runner.Check()

    /// Stopped for a while, as by a debugger or a laptop's lid.
    member _.SleepUntil moment = asleepUntil <- max asleepUntil moment

    /// Where the tasks are, for the report.
    member _.CountStates() =
        for task in TaskView.all scheduler do
            scene.coverage.Count $"state: {task.state}"
