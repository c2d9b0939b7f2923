/// A worker that only fails: who gets what it failed, when it is held back, and what it is given then.
module FsScheduler.Core.Tests.SchedulerHoldBackTests

open Expecto
open FsScheduler.Core
open FsScheduler.TestKit.SchedulerFixture

let private cannot = Unable "no room here"
let private failed = Failed("it failed", true)

/// Workers 1, 2… run `a` on so many slots, and tasks `x1`, `x2`… were submitted.
let private started (settings: Settings) workers slots tasks =
    let machine = Machine settings

    for number in 1..workers do
        machine.Worker(number, [ "a" ], slots) |> ignore

    machine.SubmitAll [ for i in 1..tasks -> $"x{i}" ]
    machine

let private heldBack effects =
    effects
    |> List.choose (function
        | Effect.ToLog(LogEffect.HeldBack(worker, stages, _)) -> Some(worker, List.ofArray stages)
        | _ -> None)

let private takenUp effects =
    effects
    |> List.choose (function
        | Effect.ToLog(LogEffect.TakenUp(worker, _)) -> Some worker
        | _ -> None)

/// Worker 1 fails the tasks that it is given, one after the other, so often; worker 2 has one task and keeps it.
let private failInARow outcome count (machine: Machine) =
    let mutable said = []

    for task in [ 1; 3; 4; 5; 6; 7 ] |> List.take count do
        let _, effects = machine.Report(1, attempt task 1, outcome, Content.empty)
        said <- said @ effects

    said

let private preference =
    testList "a task that a worker has failed" [
        test "waits for another one that is busy, and goes to it" {
            let machine = started settings 2 1 2
            machine.Fail(1, attempt 1 1) |> ignore
            let _, effects = machine.Pass(10_000L<ms>, [ session 1; session 2 ])
            Expect.isEmpty (assignments effects) "worker 1 is idle, and not given it again"
            let _, effects = machine.Succeed(2, attempt 2 1)
            Expect.equal (assignments effects) [ 2L, 1L, 2 ] "the other one"
        }

        test "does not wait for ever" {
            let machine = started settings 2 1 2
            machine.Fail(1, attempt 1 1) |> ignore
            let _, effects = machine.Pass(32_000L<ms>, [ session 1; session 2 ])
            Expect.equal (assignments effects) [ 1L, 1L, 2 ] "after half a minute"
        }

        test "waits on where the one that failed it only fails, though that one is to be tried" {
            let machine = started settings 2 1 4
            let said = failInARow failed 3 machine
            Expect.equal (heldBack said) [ "w1", [ "a" ] ] "and has failed all that waits"
            let _, effects = machine.Pass(60_000L<ms>, [ session 1; session 2 ])
            Expect.isEmpty (assignments effects) "the other one is busy, and nobody else"
        }

        test "goes to the one that failed it where no other runs its stage" {
            let machine = started settings 1 1 1
            machine.Worker(2, [ "b" ], 1) |> ignore
            machine.Fail(1, attempt 1 1) |> ignore
            let _, effects = machine.Pass(1_000L<ms>, [ session 1; session 2 ])
            Expect.equal (assignments effects) [ 1L, 1L, 2 ] "at once"
        }

        for name, leave in
            [
                "takes no more", (fun (machine: Machine) -> machine.Take(Input.Ready(session 2, 0)))
                "is asked to go", (fun machine -> machine.Take(Input.Drain("w2", client)))
            ] do
            test $"goes to the one that failed it when the other {name}" {
                let machine = started settings 2 1 2
                machine.Fail(1, attempt 1 1) |> ignore
                machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore
                let _, effects = leave machine
                Expect.contains (assignments effects) (1L, 1L, 2) "nobody else is there"
            }

        test "waits a moment for one that is lost, and may come back" {
            let machine = started settings 2 1 2
            machine.Fail(1, attempt 1 1) |> ignore
            machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore
            let _, effects = machine.Lose 2

            Expect.equal
                (assignments effects)
                [ 1L, 2L, 2 ]
                "what it had, and not what worker 1 has failed"

            machine.Succeed(1, attempt 2 2) |> ignore
            let _, effects = machine.Pass(3_000L<ms>, [ session 1 ])
            Expect.isEmpty (assignments effects) "not yet"
            let _, effects = machine.Pass(3_000L<ms>, [ session 1 ])
            Expect.equal (assignments effects) [ 1L, 1L, 2 ] "it does not come"
        }

        test "is not given to the one that failed it because that is back first after a restart" {
            let recorded = ResizeArray()
            let start = Instant.zero

            let take (scheduler: Scheduler) input at =
                let decisions = StepOutput()
                scheduler.Step(input, at, decisions)

                for event in decisions.Events do
                    recorded.Add(struct (int64 recorded.Count + 1L, at, event))

                List.ofSeq decisions.Effects

            let join scheduler number name at =
                take scheduler (Input.Join(session number, name, [| "a" |])) at |> ignore
                take scheduler (Input.Ready(session number, 1)) at

            let before = Scheduler settings
            join before 1 "w1" start |> ignore
            join before 2 "w2" start |> ignore
            let submitted = submission "x1" 0 Result None (bytes "x1")
            take before (Input.Submit(submitted, "")) start |> ignore
            let failure = Input.Report(session 1, attempt 1 1, failed, Content.empty)
            take before failure start |> ignore

            let after = Scheduler settings
            after.Restore(recorded, start)

            after.Resume(
                System.Guid.Empty,
                System.Collections.Generic.Dictionary(),
                start,
                StepOutput()
            )

            join after 3 "w1" (instant 100L<ms>) |> ignore

            Expect.isEmpty (assignments (take after Input.Tick (instant 1_000L<ms>))) "not to w1"

            Expect.equal
                (assignments (join after 4 "w2" (instant 1_100L<ms>)))
                [ 4L, 1L, 2 ]
                "but to w2"
        }

        test "that is lost with it, too" {
            let machine = started settings 2 1 2
            machine.Lose 1 |> ignore
            machine.Do(Input.Join(session 3, "w1", [| "a" |]))
            let _, effects = machine.Take(Input.Ready(session 3, 1))
            Expect.isEmpty (assignments effects) "it is the same one, by its name"
            let _, effects = machine.Succeed(2, attempt 2 1)
            Expect.equal (assignments effects) [ 2L, 1L, 2 ] "the other one"
        }

        test "is kept, when it is suspected, for one that has not, though that one is busy" {
            let machine = started settings 3 1 3
            machine.Lose 1 |> ignore
            machine.Do(Input.Join(session 4, "w1", [| "a" |]))
            machine.Do(Input.Ready(session 4, 1))
            let _, effects = machine.Succeed(2, attempt 2 1)
            Expect.equal (assignments effects) [ 2L, 1L, 2 ] "not to the one that was lost with it"
            let _, effects = machine.Lose 2
            Expect.isEmpty (assignments effects) "it took down two workers, and one of them is idle"
            let _, effects = machine.Succeed(3, attempt 3 1)
            Expect.equal (assignments effects) [ 3L, 1L, 3 ] "the third one"
        }

        test "loses no attempt where two of three fail everything at once" {
            let machine = started settings 3 1 60

            for _ in 1..200 do
                for task in TaskView.all machine.Scheduler do
                    match task.worker with
                    | ValueSome worker when worker < 3L<sessionId> ->
                        let of' = { task = task.id; number = task.attempt }
                        machine.Fail(int worker, of') |> ignore
                    | _ -> ()

                machine.Pass(1_000L<ms>, [ session 1; session 2; session 3 ]) |> ignore

                for task in TaskView.all machine.Scheduler do
                    if task.worker = ValueSome(session 3) then
                        machine.Succeed(3, { task = task.id; number = task.attempt }) |> ignore

            Expect.equal machine.Scheduler.Quarantined 0 "in quarantine"
            Expect.equal machine.Scheduler.Status.finished 60L "done"
        }
    ]

let private inability =
    testList "a worker that cannot run a task" [
        test "fails it for nothing: it is never in quarantine because of that" {
            let machine = started settings 1 1 1

            for number in 1..12 do
                machine.Report(1, attempt 1 number, cannot, Content.empty) |> ignore
                machine.Pass(61_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal (snd machine.States[0]) "running" "tried again and again"
            machine.Succeed(1, attempt 1 13) |> ignore
            Expect.isEmpty machine.States "done"
        }

        test "is held back after three times, of any tasks, whoever else is there" {
            let machine = started settings 1 1 3

            Expect.equal
                (machine.Report(1, attempt 1 1, cannot, Content.empty) |> snd |> heldBack)
                []
                "once"

            machine.Report(1, attempt 2 1, cannot, Content.empty) |> ignore

            Expect.equal
                (machine.Report(1, attempt 3 1, cannot, Content.empty) |> snd |> heldBack)
                [ "w1", [ "a" ] ]
                "three times"

            Expect.equal machine.Scheduler.Status.heldBack [| "w1 for 'a': no room here" |] "status"
        }

        test "says nothing of one of its name that is given less of the same tasks" {
            let machine = Machine settings
            machine.Worker(1, [ "a"; "b" ], 1) |> ignore

            for number in 1..3 do
                machine.Submit($"x{number}", pipeline = "a | b") |> ignore
                machine.Report(1, attempt number 1, cannot, Content.empty) |> ignore

            machine.Pass(500L<ms>, [ session 1 ]) |> ignore
            machine.Do(Input.Join(session 2, "w1", [| "a" |]))
            let _, effects = machine.Take(Input.Ready(session 2, 1))
            Expect.equal (assignments effects) [ 2L, 3L, 2 ] "the first that was woken, for a alone"
        }

        test "is no such worker where it does others and never this one: then it is the task" {
            let machine = started settings 1 1 1
            let mutable number = 1
            let mutable others = 1

            while machine.Scheduler.Quarantined = 0 && number < 20 do
                machine.Report(1, attempt 1 number, cannot, Content.empty) |> ignore
                others <- others + 1
                machine.Submit $"y{others}" |> ignore
                machine.Succeed(1, attempt others 1) |> ignore
                machine.Pass(61_000L<ms>, [ session 1 ]) |> ignore
                number <- number + 1

            Expect.equal machine.Scheduler.Quarantined 1 "in quarantine"
            Expect.equal number 6 "two for nothing, and then as often as it may fail"
        }

        test "is tried with what it has not failed: a few such tasks keep nobody from the others" {
            let machine = started { settings with unableAfter = 5_000L<ms> } 1 2 24
            let mutable seconds = 0

            let running () =
                TaskView.all machine.Scheduler
                |> Array.filter (fun task -> task.worker = ValueSome(session 1))

            let rec work () =
                match Array.tryHead (running ()) with
                | Some task ->
                    let attempt = { task = task.id; number = task.attempt }

                    if task.id <= 4L<taskId> then
                        machine.Report(1, attempt, cannot, Content.empty) |> ignore
                    else
                        machine.Succeed(1, attempt) |> ignore

                    work ()
                | None -> ()

            while not machine.Scheduler.IsDone && seconds < 100 do
                work ()
                seconds <- seconds + 1
                machine.Pass(1_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal machine.Scheduler.Quarantined 4 "those in quarantine"
            Expect.equal machine.Scheduler.Status.finished 20L "the others done"
        }

        test "is not waited for longer than that" {
            let machine = started { settings with unableAfter = 5_000L<ms> } 1 1 5
            machine.Report(1, attempt 1 1, cannot, Content.empty) |> ignore
            machine.Report(1, attempt 2 1, cannot, Content.empty) |> ignore
            machine.Report(1, attempt 3 1, cannot, Content.empty) |> ignore
            let mutable seconds = 0

            while not machine.Scheduler.IsDone && seconds < 100 do
                seconds <- seconds + 1
                let events, _ = machine.Pass(1_000L<ms>, [ session 1 ])

                for event in events do
                    match event with
                    | Event.Assigned(attempt, _, _) ->
                        machine.Report(1, attempt, cannot, Content.empty) |> ignore
                    | _ -> ()

            Expect.equal machine.Scheduler.Quarantined 5 "all of them"
            Expect.isLessThanOrEqual seconds 12 "seconds"
        }
    ]

let private givenUp =
    test "what nobody can run is waited for anew once somebody could" {
        let machine = started { settings with unableAfter = 5_000L<ms> } 1 1 6

        for task in 1..3 do
            machine.Report(1, attempt task 1, cannot, Content.empty) |> ignore

        machine.Pass(4_000L<ms>, [ session 1 ]) |> ignore
        machine.Worker(2, [ "a" ], 1) |> ignore
        machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore
        machine.Do(Input.Ready(session 2, 0))
        machine.Pass(4_000L<ms>, [ session 1; session 2 ]) |> ignore
        Expect.equal machine.Scheduler.Quarantined 0 "eight seconds, but not in a row"
        machine.Pass(3_000L<ms>, [ session 1; session 2 ]) |> ignore
        Expect.isGreaterThan machine.Scheduler.Quarantined 0 "five in a row"
    }

let private holding =
    testList "a worker that only fails" [
        test "is held back after three tasks in a row that somebody else may do" {
            let machine = started settings 2 1 20
            let said = failInARow failed 3 machine
            Expect.equal (heldBack said) [ "w1", [ "a" ] ] "said once"

            Expect.isEmpty
                (assignments said |> List.filter (fun (_, task, _) -> task = 5L))
                "nothing more"

            Expect.equal machine.Scheduler.Status.heldBack [| "w1 for 'a': it failed" |] "status"
        }

        test "is not held back after a success in between" {
            let machine = started settings 2 1 20
            let said = failInARow failed 2 machine
            machine.Succeed(1, attempt 4 1) |> ignore
            let _, one = machine.Fail(1, attempt 5 1)
            let _, two = machine.Fail(1, attempt 6 1)
            Expect.isEmpty (heldBack (said @ one @ two)) "two and two are not four"
            let _, three = machine.Fail(1, attempt 7 1)
            Expect.equal (heldBack three) [ "w1", [ "a" ] ] "three"
        }

        test "is not held back where nobody else is there: it may be the tasks" {
            let machine = started settings 1 1 5

            let said = [
                for task in 1..5 do
                    yield! snd (machine.Fail(1, attempt task 1))
            ]

            Expect.isEmpty (heldBack said) "they go into quarantine as ever"
        }

        test "is held back for what it fails, and given the rest" {
            let machine = Machine settings
            machine.Worker(1, [ "a"; "b" ], 1) |> ignore
            machine.Worker(2, [ "a" ], 1) |> ignore
            machine.SubmitAll [ for i in 1..10 -> $"x{i}" ]
            failInARow failed 3 machine |> ignore
            let _, effects = machine.Submit("y", 0, "b")
            Expect.equal (assignments effects) [ 1L, 11L, 1 ] "another stage"
        }

        test "is held back for no more than what it is given together" {
            let machine = started settings 1 1 10
            machine.Worker(2, [ "a" ], 1) |> ignore
            machine.Do(Input.Join(session 3, "w3", [| "a"; "b" |]))
            machine.Do(Input.Ready(session 3, 1))

            for task in [ 3; 4; 5 ] do
                machine.Fail(3, attempt task 1) |> ignore

            Expect.equal machine.Scheduler.Status.heldBack [| "w3 for 'a': it failed" |] "for a"
            let _, effects = machine.Submit("y", 0, "a | b")
            Expect.equal (assignments effects) [ 3L, 11L, 1 ] "not for a and b at once"
        }

        test "is not tried again at once when a trial takes long, and fails" {
            let machine = started settings 2 1 20
            failInARow failed 3 machine |> ignore
            let both = [ session 1; session 2 ]

            match assignments (snd (machine.Pass(1_000L<ms>, both))) with
            | [ 1L, task, number ] ->
                machine.Pass(5_000L<ms>, both) |> ignore
                let _, effects = machine.Fail(1, attempt (int task) number)
                Expect.isEmpty (assignments effects) "not now"
                let _, effects = machine.Pass(1_000L<ms>, both)
                Expect.isEmpty (assignments effects) "and not before twice as long"
                let _, effects = machine.Pass(1_000L<ms>, both)
                Expect.hasLength (assignments effects) 1 "but then"
            | others -> failtest $"{others}"
        }

        test "is tried with one task, ever more rarely" {
            let machine = started settings 2 4 60

            let failAll () =
                let mutable count = 0
                let mutable isAny = true

                while isAny do
                    match
                        TaskView.all machine.Scheduler
                        |> Array.tryFind (fun task -> task.worker = ValueSome(session 1))
                    with
                    | Some task ->
                        count <- count + 1
                        machine.Fail(1, { task = task.id; number = task.attempt }) |> ignore
                    | None -> isAny <- false

                count

            let before = failAll ()
            Expect.equal before 6 "what it had when it was held back, too"

            let given = [
                for second in 1..40 do
                    machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore

                    for _ in 1 .. failAll () do
                        second
            ]

            // After 1 s, and then after twice as long each time.
            Expect.equal given [ 1; 3; 7; 15; 31 ] "when"
        }

        test "is given all again after the first success" {
            let machine = started settings 2 2 20
            machine.Fail(1, attempt 1 1) |> ignore
            machine.Fail(1, attempt 3 1) |> ignore

            let running () =
                TaskView.all machine.Scheduler
                |> Array.filter (fun task -> task.worker = ValueSome(session 1))

            while (running ()).Length > 0 do
                let task = (running ())[0]
                machine.Fail(1, { task = task.id; number = task.attempt }) |> ignore

            machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore
            Expect.hasLength (running ()) 1 "on trial"
            let task = (running ())[0]
            let _, effects = machine.Succeed(1, { task = task.id; number = task.attempt })
            Expect.equal (takenUp effects) [ "w1" ] "said"
            Expect.hasLength (running ()) 2 "all its slots"
            Expect.isEmpty machine.Scheduler.Status.heldBack "status"
        }

        test "is to blame no more when others fail the same tasks" {
            let machine = started settings 2 1 20
            failInARow failed 3 machine |> ignore
            // Worker 2 gets what was begun first.
            machine.Succeed(2, attempt 2 1) |> ignore
            machine.Pass(1_000L<ms>, [ session 2 ]) |> ignore

            let held =
                TaskView.all machine.Scheduler
                |> Array.find (fun task -> task.worker = ValueSome(session 2))

            let of' = { task = held.id; number = held.attempt }
            machine.Succeed(2, of') |> ignore

            let held =
                TaskView.all machine.Scheduler
                |> Array.find (fun task -> task.worker = ValueSome(session 2))

            Expect.equal held.attempt 2 "one that worker 1 has failed"
            let _, effects = machine.Fail(2, { task = held.id; number = held.attempt })
            Expect.equal (takenUp effects) [ "w1" ] "it is the task"
        }

        test "is held back also when it comes back under its name" {
            let machine = started settings 2 1 20
            failInARow failed 3 machine |> ignore
            machine.Lose 1 |> ignore
            machine.Do(Input.Join(session 3, "w1", [| "a" |]))
            let _, effects = machine.Take(Input.Ready(session 3, 1))
            Expect.isEmpty (assignments effects) "nothing"
        }

        test "is held back when it is lost again and again, each time with other tasks" {
            let machine = started settings 2 3 60
            machine.Lose 1 |> ignore
            let mutable said = []

            for life in 3..5 do
                machine.Do(Input.Join(session life, "w1", [| "a" |]))
                machine.Do(Input.Ready(session life, 3))
                said <- said @ snd (machine.Lose life)

            Expect.equal (heldBack said) [ "w1", [ "a" ] ] "three lives"
            Expect.equal machine.Scheduler.Quarantined 0 "no task is taken for poison"
        }

        test "is explained" {
            let machine = started settings 1 1 3

            for task in 1..3 do
                machine.Report(1, attempt task 1, cannot, Content.empty) |> ignore

            machine.Pass(200L<ms>, [ session 1 ]) |> ignore

            Expect.equal
                (TaskLocation.ofTask (taskId 1) machine.Now machine.Scheduler)
                (Some(OnlyFailing("a", "w1", 0, "no room here")))
                "where"
        }
    ]

[<Tests>]
let tests =
    testList "the scheduler.workers that fail" [ preference; inability; givenUp; holding ]
