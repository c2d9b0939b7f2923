/// A worker that only fails: who gets what it failed, when it is held back, and what it is given then.
module FsScheduler.Machine.Tests.SchedulerHoldBackTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private takenUp effects =
    effects
    |> List.choose (function
        | Effect.ToLog(LogEffect.TakenUp(worker, _)) -> Some worker
        | _ -> None)

/// Worker 1 fails the tasks that it is given, one after the other, so often; worker 2 has one task and keeps it.
let private failInARow count (machine: Machine) =
    let mutable said = []

    for task in [ 1; 3; 4; 5; 6; 7 ] |> List.take count do
        let _, effects = machine.Fail(1, attempt task 1)
        said <- said @ effects

    said

/// Task 1 has waited half a minute for a worker other than 1, behind task 3, which is younger and more urgent. Worker 2
/// has one slot, and keeps task 2.
let private behindYounger slots =
    let machine = Machine settings
    machine.Worker(1, [ "a" ], slots) |> ignore
    machine.Submit "x1" |> ignore
    machine.Worker(2, [ "a"; "b" ], 1) |> ignore
    machine.Submit("x2", pipeline = "b") |> ignore
    machine.Fail(1, attempt 1 1) |> ignore
    machine.Pass(10_000L<ms>, [ session 1; session 2 ]) |> ignore
    machine.Submit("urgent", priority = 1) |> ignore
    machine.Fail(1, attempt 3 1) |> ignore
    let _, effects = machine.Pass(22_000L<ms>, [ session 1; session 2 ])
    Expect.isEmpty (assignments effects) "the younger one is first in the queue"
    machine

let private preference =
    testList "a task that a worker has failed" [
        test "waits for another one that is busy, and goes to it" {
            let machine = started settings 2 1 2
            machine.Fail(1, attempt 1 1) |> ignore
            let _, effects = machine.Pass(10_000L<ms>, [ session 1; session 2 ])
            Expect.isEmpty (assignments effects) "worker 1 is idle, and not given it again"
            Expect.equal (givenOut (machine.Succeed(2, attempt 2 1))) [ 2L, 1L, 2 ] "the other one"
        }

        test "does not wait for ever" {
            let machine = started settings 2 1 2
            machine.Fail(1, attempt 1 1) |> ignore
            let _, effects = machine.Pass(32_000L<ms>, [ session 1; session 2 ])
            Expect.equal (assignments effects) [ 1L, 1L, 2 ] "after half a minute"
        }

        test "does not wait longer behind a younger one that is cancelled" {
            let machine = behindYounger 1
            let _, effects = machine.Take(Input.Cancel(taskId 3, client))
            Expect.equal (assignments effects) [ 1L, 1L, 2 ] "at once, not at the next tick"
        }

        test "is given at the turn for old tasks, also behind a younger one" {
            let machine = behindYounger 20

            // Worker 1 keeps them all, and is idle throughout.
            let given = [
                for task in 4 .. 4 + SchedulerLimits.agingTurns do
                    yield! assignments (snd (machine.Submit $"x{task}"))
            ]

            Expect.contains given (1L, 1L, 2) "between two ticks"
        }

        test "waits on where the one that failed it only fails, though that one is to be tried" {
            let machine = started settings 2 1 4
            let said = failInARow 3 machine
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
            Expect.isEmpty (givenOut (machine.Pass(3_000L<ms>, [ session 1 ]))) "not yet"
            let _, effects = machine.Pass(3_000L<ms>, [ session 1 ])
            Expect.equal (assignments effects) [ 1L, 1L, 2 ] "it does not come"
        }

        test "is not given to the one that failed it because that is back first after a restart" {
            let before = started settings 2 1 0
            let submitted = Input.Submit(submission "x1" 0 Result None (bytes "x1"), "")

            let failure =
                Input.Report(session 1, attempt 1 1, Failed("it failed", true), Content.empty)

            let joined number =
                Event.Joined(session number, $"w{number}", [| "a" |])

            let history = [ submitted; failure ] |> List.collect (before.Take >> fst)

            let after = Machine settings
            after.Restart(joined 1 :: joined 2 :: history) |> ignore
            after.Wait 100L<ms>

            let join number name =
                after.Effects [
                    Input.Join(session number, name, [| "a" |])
                    Input.Ready(session number, 1)
                ]

            join 3 "w1" |> ignore
            after.Wait 900L<ms>
            Expect.isEmpty (assignments (after.Effects [ Input.Tick ])) "not to w1"
            after.Wait 100L<ms>
            Expect.equal (assignments (join 4 "w2")) [ 4L, 1L, 2 ] "but to w2"
        }

        test "that is lost with it, too" {
            let machine = started settings 2 1 2
            machine.Lose 1 |> ignore
            machine.Do(Input.Join(session 3, "w1", [| "a" |]))
            let _, effects = machine.Take(Input.Ready(session 3, 1))
            Expect.isEmpty (assignments effects) "it is the same one, by its name"
            Expect.equal (givenOut (machine.Succeed(2, attempt 2 1))) [ 2L, 1L, 2 ] "the other one"
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
            Expect.equal (givenOut (machine.Succeed(3, attempt 3 1))) [ 3L, 1L, 3 ] "the third one"
        }

        test "loses no attempt where two of three fail everything at once" {
            let machine = started settings 3 1 60

            for _ in 1..200 do
                for worker in 1..2 do
                    for attempt in machine.Held worker do
                        machine.Fail(worker, attempt) |> ignore

                machine.Pass(1_000L<ms>, [ session 1; session 2; session 3 ]) |> ignore

                for attempt in machine.Held 3 do
                    machine.Succeed(3, attempt) |> ignore

            Expect.equal machine.Scheduler.Quarantined 0 "in quarantine"
            Expect.equal machine.Scheduler.Status.finished 60L "done"
        }
    ]

let private holding =
    testList "a worker that only fails" [
        test "is held back after three tasks in a row that somebody else may do" {
            let machine = started settings 2 1 20
            let said = failInARow 3 machine
            Expect.equal (heldBack said) [ "w1", [ "a" ] ] "said once"

            Expect.isEmpty
                (assignments said |> List.filter (fun (_, task, _) -> task = 5L))
                "nothing more"

            Expect.equal machine.Scheduler.Status.heldBack [| "w1 for 'a': it failed" |] "status"
        }

        test "is not held back after a success in between" {
            let machine = started settings 2 1 20
            let said = failInARow 2 machine
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
            failInARow 3 machine |> ignore
            Expect.equal (givenOut (machine.Submit("y", 0, "b"))) [ 1L, 11L, 1 ] "another stage"
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
            failInARow 3 machine |> ignore
            let both = [ session 1; session 2 ]

            match assignments (snd (machine.Pass(1_000L<ms>, both))) with
            | [ 1L, task, number ] ->
                machine.Pass(5_000L<ms>, both) |> ignore
                Expect.isEmpty (givenOut (machine.Fail(1, attempt (int task) number))) "not now"
                let _, effects = machine.Pass(1_000L<ms>, both)
                Expect.isEmpty (assignments effects) "and not before twice as long"
                Expect.hasLength (givenOut (machine.Pass(1_000L<ms>, both))) 1 "but then"
            | others -> failtest $"{others}"
        }

        test "is tried with one task, ever more rarely" {
            let machine = started settings 2 4 60

            let rec failAll count =
                match machine.Held 1 with
                | attempt :: _ ->
                    machine.Fail(1, attempt) |> ignore
                    failAll (count + 1)
                | [] -> count

            Expect.equal (failAll 0) 6 "what it had when it was held back, too"

            let given = [
                for second in 1..40 do
                    machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore

                    for _ in 1 .. failAll 0 do
                        second
            ]

            // After 1 s, and then after twice as long each time.
            Expect.equal given [ 1; 3; 7; 15; 31 ] "when"
        }

        test "is given all again after the first success" {
            let machine = started settings 2 2 20
            machine.Fail(1, attempt 1 1) |> ignore
            machine.Fail(1, attempt 3 1) |> ignore

            while not (machine.Held 1).IsEmpty do
                machine.Fail(1, (machine.Held 1).Head) |> ignore

            machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore
            let trial = List.exactlyOne (machine.Held 1)
            let _, effects = machine.Succeed(1, trial)
            Expect.equal (takenUp effects) [ "w1" ] "said"
            Expect.hasLength (machine.Held 1) 2 "all its slots"
            Expect.isEmpty machine.Scheduler.Status.heldBack "status"
        }

        test "is to blame no more when others fail the same tasks" {
            let machine = started settings 2 1 20
            failInARow 3 machine |> ignore
            // Worker 2 gets what was begun first.
            machine.Succeed(2, attempt 2 1) |> ignore
            machine.Pass(1_000L<ms>, [ session 2 ]) |> ignore

            machine.Succeed(2, (machine.Held 2).Head) |> ignore
            let held = (machine.Held 2).Head
            Expect.equal held.number 2 "one that worker 1 has failed"
            let _, effects = machine.Fail(2, held)
            Expect.equal (takenUp effects) [ "w1" ] "it is the task"
        }

        test "is held back also when it comes back under its name" {
            let machine = started settings 2 1 20
            failInARow 3 machine |> ignore
            machine.Lose 1 |> ignore
            machine.Do(Input.Join(session 3, "w1", [| "a" |]))
            Expect.isEmpty (givenOut (machine.Take(Input.Ready(session 3, 1)))) "nothing"
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
    ]

[<Tests>]
let tests = testList "the scheduler.workers that fail" [ preference; holding ]
