/// What holds whatever happens, in whatever order.
module FsScheduler.Machine.Tests.SchedulerProperties

open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit.SchedulerActions
open FsScheduler.TestKit.SchedulerHistory
open FsScheduler.Machine.Tests.SchedulerRun

let private reachesEveryCorner =
    test "the histories are not vain: they reach every corner" {
        Histories.History()
        |> expectSeen
            Run
            [
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
                "claimed"
                "no space"
                "no room here"
                "held back"
                "taken up"
                "restarted while publishing"
                "dismissed"
                "dropped"
                "carried key"
                "carried file"
                "carried worker"
            ]
            1_000
    }

/// What is the same of two submissions, which each machine makes for itself.
let private plain (submission: Submission) =
    struct (submission.Name, submission.Priority, submission.Origin, submission.Payload)

let private anySubmission = submission "any" 0 Nothing None Content.empty

/// A step as it compares: each event and each effect, whatever machine it is of.
let private comparable (step: Step) : obj list = [
    for event in step.events do
        match event with
        | Event.Submitted(id, submission, pipeline) -> struct (id, plain submission, pipeline)
        | Event.Carried(Carried.Task carried) ->
            struct (plain carried.submission, { carried with submission = anySubmission })
        | other -> other

    for effect in step.effects do
        match effect with
        | Effect.ToPeer(PeerEffect.Assign(session, message, submission, payload)) ->
            struct (session, message, plain submission, payload)
        | Effect.ToPieces(PieceEffect.Cut(attempt, submission, payload, pieceSize)) ->
            struct (attempt, plain submission, payload, pieceSize)
        | Effect.ToDisk(DiskEffect.Publish(attempt, submission, payload)) ->
            struct (attempt, plain submission, payload)
        | Effect.ToDisk(DiskEffect.PublishOlder(attempt, submission, payload)) ->
            struct ("older", attempt, plain submission, payload)
        | Effect.ToDisk(DiskEffect.PublishError(id, submission, pastFailures)) ->
            struct (id, plain submission, pastFailures)
        | Effect.ToDisk(DiskEffect.ConfirmPublished(attempt, submission, hash)) ->
            struct (attempt, plain submission, hash)
        | other -> other
]

/// Looked at now and then, and at the end.
let isWhatEventsMake (property: string -> (Action list -> unit) -> Test) (newRun: unit -> Run) =
    property "the state that lived is what the events make of nothing" (fun history ->
        let check (run: Run) =
            if run.Steps.Count % 25 = 0 then
                run.ExpectRestored run.Restored

        let run = followOn (newRun ()) check history
        run.ExpectRestored run.Restored)

/// What holds however the machine is set.
let ofEvery (property: string -> (Action list -> unit) -> Test) (newRun: unit -> Run) = [
    property "the state is sound after every step" (fun history ->
        let check (run: Run) =
            Expect.equal (List.ofSeq (Invariants.violations run.Scheduler)) [] "violations"

        followOn (newRun ()) check history |> ignore)

    property "every queued task is eventually processed, and ends once" (fun history ->
        let run = followOn (newRun ()) ignoreRun history

        let submitted = [
            for event in run.Events do
                match event with
                | Event.Submitted(id, _, _) -> id
                | _ -> ()
        ]

        let ended = [
            for event in run.Events do
                match event with
                | Event.Completed(attempt, _) -> attempt.task
                | Event.Cancelled(id, _) -> id
                | _ -> ()
        ]

        let quarantined = [
            for task in TaskView.all run.Scheduler do
                Expect.equal task.state "quarantined" "nothing else remains"
                task.id
        ]

        Expect.equal
            (List.sort (ended @ quarantined))
            submitted
            "each has ended once or is in quarantine")

    property "two machines that take the same inputs decide the same" (fun history ->
        let run = followOn (newRun ()) ignoreRun history
        let other = newRun ()

        for step in run.Steps do
            if step.at - other.World.Now > 0L<ms> then
                other.World.Wait(step.at - other.World.Now)

            match step.input with
            | Some input -> other.Take input
            | None -> other.Restart()

            Expect.equal (comparable (Seq.last other.Steps)) (comparable step) "step")

    isWhatEventsMake property newRun

    property "the events alone tell where every task is" (fun history ->
        let mutable tasks = Map.empty

        let check (run: Run) =
            tasks <- List.fold evolve tasks (Seq.last run.Steps).events

            // What is being cut is not recorded.
            let cutting = set [ for struct (attempt, _) in run.World.Cutting -> attempt.task ]

            let recorded (task: TaskView) =
                let id, (state, attempt) = viewForEvents task
                id, ((if cutting.Contains id then "queued" else state), attempt)

            let view = TaskView.all run.Scheduler |> Seq.map recorded |> Map.ofSeq
            Expect.equal view tasks "tasks"

        followOn (newRun ()) check history |> ignore)

    property "every spooled payload is let go of exactly once" (fun history ->
        let run = followOn (newRun ()) ignoreRun history

        // What is in quarantine keeps its payload until somebody decides.
        for task in TaskView.all run.Scheduler do
            run.Take(Input.Cancel(task.id, client))

        let entered, released = spools run
        let kept = List.ofSeq run.Scheduler.Spools
        Expect.equal (List.sort (released @ kept)) (List.sort entered) "spooled payloads")
]

[<Tests>]
let tests =
    testList "the scheduler.whatever happens" [
        reachesEveryCorner
        yield! ofEvery property Run

        testList
            "also where tasks that nobody can run are given up"
            (ofEvery property (fun () -> Run { settings with unableAfter = 3_000L<ms> })
             |> List.take 5)

        testList "also where what waits is left to the journal" [
            isWhatEventsMake property (fun () -> Run { settings with memory = 100L<B> })
        ]

        property
            "what is left to the journal is recalled, and so is what a restart leaves to it"
            (fun history ->
                let run = Run { settings with memory = 100L<B> }

                let check (run: Run) =
                    Expect.isEmpty (Invariants.violations run.Scheduler) "violations"

                    for effect in (Seq.last run.Steps).effects do
                        match effect with
                        | Effect.ToPeer(PeerEffect.Assign(_, message, submission, payload)) ->
                            Expect.isFalse submission.IsJournaled "all of it"
                            Expect.notEqual message.name "" "name"
                            Expect.isFalse payload.IsJournaled "payload"
                        | Effect.ToDisk(DiskEffect.Publish(_, submission, _))
                        | Effect.ToDisk(DiskEffect.PublishOlder(_, submission, _)) ->
                            Expect.notEqual submission.Name "" "name of the result"
                        | _ -> ()

                run.Follow(history, check)
                run.Finish check)

        property "attempts are counted on, over any number of restarts" (fun history ->
            let run = follow ignoreRun history

            let given = [
                for event in run.Events do
                    match event with
                    | Event.Assigned(attempt, _, _) -> attempt
                    | _ -> ()
            ]

            Expect.hasLength (List.distinct given) given.Length "no attempt is given twice")

        testPropertyWithConfig
            config
            "clocks that were set neither stop a task nor make it wait longer"
            (fun (history: Action list) (jumps: int list) ->
                let run = Run()
                run.Follow(history, ignoreRun)
                let mutable jumps = jumps

                let jumped = [
                    for struct (number, at, event) in run.Recorded do
                        match jumps with
                        | jump :: rest ->
                            jumps <- rest
                            struct (number, at + 1L<ms> * int64 (jump * 100_000), event)
                        | [] -> struct (number, at, event)
                ]

                let scheduler = Scheduler settings
                scheduler.Restore(jumped, run.World.Now)

                scheduler.Resume(
                    System.Guid.Empty,
                    Dictionary(),
                    [||],
                    run.World.Now,
                    StepOutput()
                )

                let decisions = StepOutput()
                scheduler.Step(Input.Tick, run.World.Now + Backoff.delayMax + 1L<ms>, decisions)

                for task in TaskView.all scheduler do
                    Expect.notEqual task.state "waiting" "no delay is longer than the longest")

        property "everyone who was accepted hears the end, and success only once" (fun history ->
            let run = follow ignoreRun history
            let answers = Dictionary<string, ResizeArray<string option>>()
            let accepted = Dictionary<string, TaskId>()

            for step in run.Steps do
                if step.input.IsNone then
                    accepted.Clear() // nobody is connected any more

                for effect in step.effects do
                    match effect with
                    | Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Accepted(ref, id))) ->
                        accepted.Add(ref, id)
                    | Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Done outcome))
                    | Effect.ToPeer(PeerEffect.ReplyResult(_, FromScheduler.Done outcome, _))
                    | Effect.ToPeer(PeerEffect.ReplyKept(_, FromScheduler.Done outcome, _)) when
                        accepted.ContainsKey outcome.ref
                        ->
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
