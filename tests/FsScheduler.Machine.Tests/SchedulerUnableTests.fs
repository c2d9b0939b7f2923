/// A worker that says that it cannot run a task: no room, or no such program.
module FsScheduler.Machine.Tests.SchedulerUnableTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

/// Worker 1 cannot run an attempt.
let private refuse (machine: Machine) attempt =
    machine.Report(1, attempt, Unable "no room here", Content.empty) |> snd

[<Tests>]
let tests =
    testList "the scheduler.a worker that cannot run a task" [
        test "fails it for nothing: it is never in quarantine because of that" {
            let machine = started settings 1 1 1

            for number in 1..12 do
                refuse machine (attempt 1 number) |> ignore
                machine.Pass(61_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal (snd machine.States[0]) "running" "tried again and again"
            machine.Succeed(1, attempt 1 13) |> ignore
            Expect.isEmpty machine.States "done"
        }

        test "is held back after three times, of any tasks, whoever else is there" {
            let machine = started settings 1 1 3

            Expect.isEmpty (heldBack (refuse machine (attempt 1 1))) "once"

            refuse machine (attempt 2 1) |> ignore

            Expect.equal (heldBack (refuse machine (attempt 3 1))) [ "w1", [ "a" ] ] "three times"

            Expect.equal machine.Scheduler.Status.heldBack [| "w1 for 'a': no room here" |] "status"
        }

        test "says nothing of one of its name that is given less of the same tasks" {
            let machine = Machine settings
            machine.Worker(1, [ "a"; "b" ], 1) |> ignore

            for number in 1..3 do
                machine.Submit($"x{number}", pipeline = "a | b") |> ignore
                refuse machine (attempt number 1) |> ignore

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
                refuse machine (attempt 1 number) |> ignore
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

            let rec work () =
                match List.tryHead (machine.Held 1) with
                | Some attempt ->
                    if attempt.task <= 4L<taskId> then
                        refuse machine attempt |> ignore
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
            refuse machine (attempt 1 1) |> ignore
            refuse machine (attempt 2 1) |> ignore
            refuse machine (attempt 3 1) |> ignore
            let mutable seconds = 0

            while not machine.Scheduler.IsDone && seconds < 100 do
                seconds <- seconds + 1
                let events, _ = machine.Pass(1_000L<ms>, [ session 1 ])

                for event in events do
                    match event with
                    | Event.Assigned(attempt, _, _) -> refuse machine attempt |> ignore
                    | _ -> ()

            Expect.equal machine.Scheduler.Quarantined 5 "all of them"
            Expect.isLessThanOrEqual seconds 12 "seconds"
        }

        test "what nobody can run is waited for anew once somebody could" {
            let machine = started { settings with unableAfter = 5_000L<ms> } 1 1 6

            for task in 1..3 do
                refuse machine (attempt task 1) |> ignore

            machine.Pass(4_000L<ms>, [ session 1 ]) |> ignore
            machine.Worker(2, [ "a" ], 1) |> ignore
            machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore
            machine.Do(Input.Ready(session 2, 0))
            machine.Pass(4_000L<ms>, [ session 1; session 2 ]) |> ignore
            Expect.equal machine.Scheduler.Quarantined 0 "eight seconds, but not in a row"
            machine.Pass(3_000L<ms>, [ session 1; session 2 ]) |> ignore
            Expect.isGreaterThan machine.Scheduler.Quarantined 0 "five in a row"
        }

        test "is explained" {
            let machine = started settings 1 1 3

            for task in 1..3 do
                refuse machine (attempt task 1) |> ignore

            machine.Pass(200L<ms>, [ session 1 ]) |> ignore

            Expect.equal
                (machine.Explain 1)
                (Some(OnlyFailing("a", "w1", 0, "no room here")))
                "where"
        }
    ]
