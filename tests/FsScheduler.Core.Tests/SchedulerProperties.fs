/// What holds whatever happens, in whatever order.
module FsScheduler.Core.Tests.SchedulerProperties

open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Core.Tests.SchedulerHistory

/// Short, so that histories reach the timeouts.
let private settings = { settings with taskTimeout = 4_000L<ms> }

/// All that came of a history: every input with its outputs.
type private Run() =
    let scheduler = Scheduler settings
    let world = World()
    let steps = ResizeArray<struct (Input * Instant * Event list * Effect list)>()

    member _.Scheduler = scheduler
    member _.World = world
    member _.Steps = steps
    member _.Events = steps |> Seq.collect (fun struct (_, _, events, _) -> events)
    member _.Effects = steps |> Seq.collect (fun struct (_, _, _, effects) -> effects)

    member _.Take(input: Input) =
        let decisions = Decisions()
        scheduler.Step(input, world.Now, decisions)
        let events, effects = List.ofSeq decisions.Events, List.ofSeq decisions.Effects
        steps.Add(struct (input, world.Now, events, effects))
        world.Observe(input, events, effects)

    member run.Follow(history: Action list, check: Run -> unit) =
        for action in history do
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
                failwith $"not done after {rounds} rounds: %A{Invariants.view scheduler}"

            for struct (worker, attempt) in
                [
                    for worker, attempt in world.Outstanding do
                        if worker = helper then
                            struct (worker, attempt)
                ] do
                take (Input.Report(worker, attempt, Succeeded, world.Spool()))

            for attempt in List.ofSeq world.Publishing do
                take (Input.Published attempt)

            world.Wait 1_000L<ms>
            take (Input.Heard helper)
            take Input.Tick

let private follow check history =
    let run = Run()
    run.Follow(history, check)
    run.Finish check
    run

let private ignoreRun (_: Run) = ()

/// What the events alone say of each task.
let private evolve (tasks: Map<TaskId, string * int>) event =
    let enter state (id: TaskId) = Map.add id (state, snd tasks[id]) tasks

    match event with
    | Event.Submitted(id, _, _) -> Map.add id ("queued", 0) tasks
    | Event.Assigned(attempt, session, _) ->
        Map.add attempt.task ($"running on {session}", attempt.number) tasks
    | Event.Advanced(attempt, _, _) -> enter "queued" attempt.task
    | Event.Delayed(id, _, _) -> enter "delayed" id
    | Event.Requeued(id, _)
    | Event.Retried id -> enter "queued" id
    | Event.Quarantined(id, _) -> enter "quarantined" id
    | Event.Accepted(attempt, _) -> enter "publishing" attempt.task
    | Event.Completed attempt -> Map.remove attempt.task tasks
    | Event.Cancelled(id, _) -> Map.remove id tasks
    | Event.Joined _
    | Event.Left _ -> tasks

let private viewForEvents (fromEvents: Map<TaskId, string * int>) (task: TaskView) =
    let state =
        match task.state, task.worker with
        | "running", ValueSome session -> $"running on {session}"
        | ("queued" | "suspected" | "waiting"), _ when
            fst (Map.tryFind task.id fromEvents |> Option.defaultValue ("", 0)) = "delayed"
            ->
            "delayed" // No event tells that the delay is over: the moment did.
        | ("suspected" | "succeeding"), _ -> "queued"
        | state, _ -> state

    task.id, (state, task.attempt)

let private config = {
    FsCheckConfig.defaultConfig with
        maxTest = 400
        arbitrary = [ typeof<Histories> ]
}

let private property name (check: Action list -> unit) =
    testPropertyWithConfig config name check

let private spoolsOf payload =
    match payload with
    | Spooled(path, _) -> [ path ]
    | Packed
    | Bytes _
    | Input _ -> []

/// Every path that came in; and every path that was let go of, as often as it was.
let private spools (run: Run) =
    let entered = [
        for struct (input, _, _, _) in run.Steps do
            match input with
            | Input.Submit(submission, _) -> yield! spoolsOf submission.Payload
            | Input.Report(_, _, _, payload) -> yield! spoolsOf payload
            | _ -> ()
    ]

    let released = [
        for effect in run.Effects do
            match effect with
            | Effect.Discard payload
            | Effect.Publish(_, _, payload)
            | Effect.Reply(_, _, payload, false) -> yield! spoolsOf payload
            | _ -> ()
    ]

    entered, released

/// Results that are kept for those who come back with a key.
let private keptSpools (run: Run) =
    let keyed =
        set [
            for event in run.Events do
                match event with
                | Event.Submitted(id, submission, _) ->
                    match submission.Origin with
                    | Origin.Client(_, (Result | Nothing), Some _) -> id
                    | _ -> ()
                | _ -> ()
        ]

    [
        for struct (input, _, events, _) in run.Steps do
            match input with
            | Input.Report(_, attempt, _, payload) when
                keyed.Contains attempt.task && List.contains (Event.Completed attempt) events
                ->
                yield! spoolsOf payload
            | _ -> ()
    ]

/// What is worth seeing at least once, by name.
let private sights (run: Run) = [
    for event in run.Events do
        match event with
        | Event.Requeued _ -> "requeued"
        | Event.Advanced _ -> "advanced"
        | Event.Quarantined(_, trouble) ->
            "quarantined"

            if trouble.error.Contains "number 3" then
                "poison"
        | Event.Retried _ -> "retried"
        | Event.Cancelled(_, reason) -> reason
        | Event.Completed attempt when attempt.number > 3 -> "completed late"
        | Event.Delayed(_, trouble, _) -> trouble.error
        | Event.Left(_, _, reason) when reason.StartsWith "silent" -> "silent"
        | _ -> ()

    for effect in run.Effects do
        match effect with
        | Effect.Reply(_, FromScheduler.Rejected(_, code, _), _, _) -> $"%A{code}"
        | Effect.Reply(_, _, Spooled _, true) -> "kept"
        | Effect.Revoke _ -> "revoked"
        | _ -> ()

    for task in Invariants.view run.Scheduler do
        task.state
]

let private reachesEveryCorner =
    test "the histories are not vain: they reach every corner" {
        let mutable seen = Set.empty
        let gen = Histories.History().Generator
        let histories = Gen.sampleWithSeed (Rnd(1UL, 3UL)) 50 800 gen

        for history in histories do
            let see run =
                seen <- Set.union seen (set (sights run))

            Run().Follow(history, see)

        let expected =
            set [
                "requeued"
                "advanced"
                "quarantined"
                "poison"
                "retried"
                "cancelled"
                "superseded by a newer version of the file"
                "the file changed or went"
                "the file is gone"
                "completed late"
                "it failed"
                "disk full"
                "no such file"
                "not finished within 4000 ms"
                "silent"
                "BadKey"
                "kept"
                "revoked"
                "suspected"
                "succeeding"
                "waiting"
            ]

        let unseen = Set.difference expected seen
        Expect.isEmpty unseen $"never seen: %A{unseen}"
    }

let tests =
    testList "whatever happens" [
        reachesEveryCorner

        property "the state is sound after every step" (fun history ->
            let check (run: Run) =
                let violations = Invariants.violations run.Scheduler
                Expect.isEmpty violations "violations"

            follow check history |> ignore)

        property "every queued task is eventually processed, and ends once" (fun history ->
            let run = follow ignoreRun history

            let submitted = [
                for event in run.Events do
                    match event with
                    | Event.Submitted(id, _, _) -> id
                    | _ -> ()
            ]

            let ended = [
                for event in run.Events do
                    match event with
                    | Event.Completed attempt -> attempt.task
                    | Event.Cancelled(id, _) -> id
                    | _ -> ()
            ]

            let quarantined = [
                for task in Invariants.view run.Scheduler do
                    Expect.equal task.state "quarantined" "nothing else remains"
                    task.id
            ]

            Expect.equal
                (List.sort (ended @ quarantined))
                submitted
                "each has ended once or is in quarantine")

        property "two machines that take the same inputs decide the same" (fun history ->
            let run = follow ignoreRun history
            let other = Scheduler settings

            for struct (input, at, events, effects) in run.Steps do
                let decisions = Decisions()
                other.Step(input, at, decisions)
                Expect.equal (List.ofSeq decisions.Events) events "events"
                Expect.equal (List.ofSeq decisions.Effects) effects "effects")

        property "the machine and the plain model agree" (fun history ->
            let mutable model = SchedulerModelState.initial settings

            let check (run: Run) =
                let struct (input, at, events, _) = run.Steps[run.Steps.Count - 1]
                model <- SchedulerModel.step model input at events
                Expect.equal (Invariants.view run.Scheduler) (SchedulerModel.view model) "tasks"

            follow check history |> ignore)

        property "the events alone tell where every task is" (fun history ->
            let mutable tasks = Map.empty

            let check (run: Run) =
                let struct (_, _, events, _) = run.Steps[run.Steps.Count - 1]
                tasks <- List.fold evolve tasks events

                let view =
                    Invariants.view run.Scheduler |> Seq.map (viewForEvents tasks) |> Map.ofSeq

                Expect.equal view tasks "tasks"

            follow check history |> ignore)

        property "every spooled payload is let go of exactly once" (fun history ->
            let run = follow ignoreRun history

            // What is in quarantine keeps its payload until somebody decides.
            for task in Invariants.view run.Scheduler do
                run.Take(Input.Cancel(task.id, client))

            let entered, released = spools run
            let kept = keptSpools run
            Expect.equal (List.sort (released @ kept)) (List.sort entered) "spooled payloads")

        property "everyone who was accepted hears the end, and success only once" (fun history ->
            let run = follow ignoreRun history
            let answers = Dictionary<string, ResizeArray<string option>>()
            let accepted = Dictionary<string, TaskId>()

            for effect in run.Effects do
                match effect with
                | Effect.Reply(_, FromScheduler.Accepted(ref, id), _, _) -> accepted.Add(ref, id)
                | Effect.Reply(_, FromScheduler.Done outcome, _, _) ->
                    Expect.equal accepted[outcome.ref] outcome.task "the task of the request"

                    if not (answers.ContainsKey outcome.ref) then
                        answers[outcome.ref] <- ResizeArray()

                    answers[outcome.ref].Add outcome.error
                | _ -> ()

            for KeyValue(ref, id) in accepted do
                Expect.isTrue (answers.ContainsKey ref) $"{ref} is told about {id}"
                let successes = answers[ref] |> Seq.filter _.IsNone |> Seq.length
                Expect.isLessThanOrEqual successes 1 $"successes of {ref}"

                if successes = 1 then
                    Expect.isNone (Seq.last answers[ref]) "nothing comes after success")
    ]
