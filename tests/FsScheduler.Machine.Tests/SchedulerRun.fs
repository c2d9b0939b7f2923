/// A history as it runs, and what can be told of it afterwards.
module FsScheduler.Machine.Tests.SchedulerRun

open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit.SchedulerActions
open FsScheduler.TestKit.SchedulerHistory

/// Short, so that histories reach the timeouts.
/// And results of 10 bytes fill what may wait for a stage after three of them.
let settings = { settings with taskTimeout = 4_000L<ms>; spoolBytes = 25L<B> }

/// What came in; None: the scheduler was started again.
type Step = { input: Input option; at: Instant; events: Event list; effects: Effect list }

/// All that came of a history.
type Run(settings: Settings, world: World) =
    let mutable scheduler = Scheduler settings
    let steps = ResizeArray<Step>()
    let submissions = Dictionary<TaskId, Submission>()
    let mutable dropped = 0L

    let add input (decisions: StepOutput) =
        let step = {
            input = input
            at = world.Now
            events = List.ofSeq decisions.Events
            effects = List.ofSeq decisions.Effects
        }

        steps.Add step

        for event in step.events do
            match event with
            | Event.Submitted(id, submission, _) -> submissions[id] <- submission
            | _ -> ()

        step

    new(settings) = Run(settings, World())
    new() = Run settings

    member _.Scheduler = scheduler
    member _.World = world
    member _.Steps = steps

    member _.Events = steps |> Seq.collect _.events
    member _.Effects = steps |> Seq.collect _.effects

    /// Everything, as a journal has it that nothing was dropped of.
    member _.All = [
        let mutable number = 0L

        for step in steps do
            for event in step.events do
                number <- number + 1L
                struct (number, step.at, event)
    ]

    /// As a journal has it.
    member run.Recorded =
        run.All |> List.filter (fun (struct (number, _, _)) -> number >= dropped)

    member run.Take(input: Input) =
        let decisions = StepOutput()
        scheduler.Step(input, world.Now, decisions)
        let step = add (Some input) decisions
        world.Observe(input, step.events, step.effects)

        for effect in step.effects do
            match effect with
            | Effect.ToJournal(JournalEffect.LoadSubmission(attempt, _)) ->
                run.Take(Input.SubmissionLoaded(attempt, submissions[attempt.task]))
            | Effect.ToJournal(JournalEffect.Drop before) -> dropped <- before
            | _ -> ()

    /// What events make of nothing.
    member private run.RestoredFrom(events) : Scheduler =
        let restored = Scheduler settings
        restored.Restore(events, world.Now)
        restored

    /// What the events that were not dropped make of nothing.
    member run.Restored: Scheduler = run.RestoredFrom run.Recorded

    /// The events make of nothing what lived, and so do those that were not dropped; but for what is being cut, which is not
    /// recorded.
    member run.ExpectRestored(restored: Scheduler) =
        if not (Description.isCutting scheduler) then
            let lived = Description.ofState scheduler

            Expect.equal
                (Description.ofState restored)
                lived
                "what lived is what the events make of nothing"

            if dropped > 0L then
                Expect.equal
                    (Description.ofState (run.RestoredFrom run.All))
                    lived
                    "and what they make where nothing was dropped yet"

    /// A new scheduler goes on from what was recorded.
    member run.Restart() =
        let restored = run.Restored
        run.ExpectRestored restored
        scheduler <- restored

        // Of what was being published, half has its name.
        let hash: ContentHash = { size = 1L<B>; hash = 1UL }

        let found =
            dict [
                for attempt in world.Publishing do
                    if int64 attempt.task % 2L = 0L then
                        attempt, hash
            ]

        world.Forget()
        let decisions = StepOutput()
        scheduler.Resume(System.Guid.Empty, Dictionary found, [||], world.Now, decisions)
        let step = add None decisions
        world.Events <- world.Events + int64 step.events.Length

        for effect in step.effects do
            match effect with
            | Effect.ToDisk(DiskEffect.ConfirmPublished(attempt, submission, proof')) ->
                Expect.equal proof' hash "what was found"
                Expect.equal submission.Name submissions[attempt.task].Name "of that task"
                world.Publishing.Add attempt
            | Effect.ToPieces(PieceEffect.MergeParts(attempt, _, _)) -> world.Joining.Add attempt
            | _ -> ()

        Expect.equal
            (set world.Publishing)
            (set found.Keys)
            "what has its name is settled, and nothing else"

        Expect.equal
            scheduler.Status.publishing
            (int64 world.Publishing.Count)
            "and nothing else is being published"

    member run.Follow(history: Action list, check: Run -> unit) =
        for action in history do
            if action = Restart then
                run.Restart()
                check run

            for input in world.Resolve action do
                run.Take input
                check run

    /// A worker that can do everything joins, stays and answers; all else falls silent.
    member run.Finish(check: Run -> unit) =
        let take input =
            run.Take input
            check run

        take (world.Join 15)
        let helper = Seq.last world.Workers.Keys
        take (Input.Ready(helper, 3))
        let mutable rounds = 0

        while not scheduler.IsDone do
            rounds <- rounds + 1

            if rounds > 1_000 then
                failwith $"not done after {rounds} rounds: %A{TaskView.all scheduler}"

            for struct (worker, attempt) in
                [
                    for worker, attempt in world.Outstanding do
                        if worker = helper then
                            struct (worker, attempt)
                ] do
                take (Input.Report(worker, attempt, Succeeded, world.Spool()))

            for attempt in List.ofSeq world.Publishing do
                take (Input.Published(attempt, hash))

            for struct (attempt, size) in List.ofSeq world.Cutting do
                take (Input.Cut(attempt, [| 5L<B>; size |]))

            for attempt in List.ofSeq world.Joining do
                take (Input.PartsMerged(attempt, world.Spool()))

            world.Wait 1_000L<ms>
            take (Input.Heard helper)
            take Input.Tick

let followOn (run: Run) check history =
    run.Follow(history, check)
    run.Finish check
    run

let follow check history = followOn (Run()) check history

let ignoreRun (_: Run) = ()

/// What the events alone say of each task.
let evolve (tasks: Map<TaskId, string * int>) event =
    let enter state (id: TaskId) = Map.add id (state, snd tasks[id]) tasks

    match event with
    | Event.Submitted(id, _, _) -> Map.add id ("queued", 0) tasks
    | Event.Assigned(attempt, session, _) ->
        Map.add attempt.task ($"running on {session}", attempt.number) tasks
    | Event.Advanced(attempt, _, _) -> enter "queued" attempt.task
    | Event.Split(attempt, _, _, _) -> Map.add attempt.task ("split", attempt.number) tasks
    | Event.Part _
    | Event.PartLost _
    | Event.Speculated _ -> tasks
    | Event.Delayed(id, _, _) -> enter "delayed" id
    | Event.Requeued(id, _)
    | Event.Retried id -> enter "queued" id
    | Event.Quarantined(id, _) -> enter "quarantined" id
    | Event.Accepted(attempt, _) -> enter "publishing" attempt.task
    | Event.Completed(attempt, _) -> Map.remove attempt.task tasks
    | Event.Cancelled(id, _) -> Map.remove id tasks
    | Event.Woken id -> enter "queued" id
    | Event.Claimed(attempt, session) ->
        Map.add attempt.task ($"running on {session}", attempt.number) tasks
    | Event.Gone _
    | Event.Joined _
    | Event.Left _
    | Event.Opened _
    | Event.Noted _
    | Event.Carried _
    | Event.Dropped _ -> tasks

let viewForEvents (task: TaskView) =
    let state =
        match task.state, task.worker with
        | "running", ValueSome session -> $"running on {session}"
        | "waiting", _ -> "delayed"
        | ("suspected" | "succeeding"), _ -> "queued"
        | state, _ -> state

    task.id, (state, task.attempt)

let config = {
    FsCheckConfig.defaultConfig with
        maxTest = 400
        arbitrary = [ typeof<Histories> ]
}

let property name (check: Action list -> unit) =
    testPropertyWithConfig config name check

/// Every path that came in; and every path that was let go of, as often as it was.
let spools (run: Run) =
    let entered = [
        for step in run.Steps do
            match step.input with
            | Some(Input.Submit(submission, _))
            | Some(Input.SubmitFile(submission, _)) ->
                yield! ValueOption.toList (Payload.file submission.Payload)
            | Some(Input.PartsMerged(_, result))
            | Some(Input.Report(_, _, _, result)) -> yield! ValueOption.toList (Content.file result)
            | _ -> ()
    ]

    let released = [
        for effect in run.Effects do
            match effect with
            | Effect.ToDisk(DiskEffect.Discard path) -> path
            | Effect.ToDisk(DiskEffect.Publish(_, _, result))
            | Effect.ToDisk(DiskEffect.PublishOlder(_, _, result))
            | Effect.ToPeer(PeerEffect.ReplyResult(_, _, result)) ->
                yield! ValueOption.toList (Content.file result)
            | _ -> ()
    ]

    entered, released

/// What is worth seeing at least once, by name: of a step, and of where the tasks are afterwards.
let private sightsOf (run: Run) (step: Step) = [
    for event in step.events do
        match event with
        | Event.Requeued(_,
                         {
                             error = "the scheduler was started again while its result was being published"
                         }) -> "restarted while publishing"
        | Event.Requeued _ -> "requeued"
        | Event.Split _ -> "split"
        | Event.Part _ -> "part"
        | Event.Speculated _ -> "speculated"
        | Event.Advanced _ -> "advanced"
        | Event.Quarantined(_, failure) ->
            "quarantined"

            if failure.error.Contains "number 3" then
                "poison"
        | Event.Retried _ -> "retried"
        | Event.Carried carried ->
            match carried with
            | Carried.Task { state = CarriedState.Split } -> "carried Split"
            | Carried.Task _ -> "carried task"
            | Carried.Part _ -> "carried part"
            | Carried.Key _ -> "carried key"
            | Carried.File _ -> "carried file"
            | Carried.Owner _ -> "carried owner"
            | Carried.Worker _ -> "carried worker"
        | Event.Dropped _ -> "dropped"
        | Event.Claimed _ -> "claimed"
        | Event.Cancelled(_, reason) -> reason
        | Event.Completed(attempt, _) when attempt.number > 3 -> "completed late"
        | Event.Delayed(_, failure, _) -> failure.error
        | Event.Left(_, _, reason) when reason.StartsWith "silent" -> "silent"
        | _ -> ()

    for effect in step.effects do
        match effect with
        | Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Rejected(_, code, _))) -> string code
        | Effect.ToPeer(PeerEffect.ReplyKept(_, _, Held(Spooled _))) -> "kept"
        | Effect.ToPeer(PeerEffect.Revoke _) -> "revoked"
        | Effect.ToPeer(PeerEffect.Dismiss _) -> "dismissed"
        | Effect.ToLog(LogEffect.HeldBack _) -> "held back"
        | Effect.ToLog(LogEffect.TakenUp _) -> "taken up"
        | _ -> ()

    for task in TaskView.all run.Scheduler do
        task.state
]

/// So many histories, which are always the same, see all of this; no more of them run than it takes.
let expectSeen
    (newRun: unit -> Run)
    (expected: string list)
    count
    (histories: Arbitrary<Action list>)
    =
    let missing = HashSet<string> expected

    let follow history =
        let mutable looked = 0

        let look (run: Run) =
            while looked < run.Steps.Count do
                missing.ExceptWith(sightsOf run run.Steps[looked])
                looked <- looked + 1

        newRun().Follow(history, look)

    Gen.sampleWithSeed (Rnd(1UL, 3UL)) 50 count histories.Generator
    |> Seq.takeWhile (fun _ -> missing.Count > 0)
    |> Seq.iter follow

    Expect.isEmpty missing "never seen"
