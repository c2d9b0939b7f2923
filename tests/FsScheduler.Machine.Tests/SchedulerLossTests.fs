module FsScheduler.Machine.Tests.SchedulerLossTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private losing =
    let lost number at reason = {
        failure number "w1" $"the worker w1 was lost: {reason}" at with
            cause = WorkerLost
    }

    testList "a lost worker" [
        test "gives back its tasks at the front, at the next attempt, in their order" {
            let machine = running 3 5
            let reason = "its connection ended"

            expect (machine.Lose 1) [
                Event.Requeued(taskId 3, lost 1 0L<ms> reason)
                Event.Requeued(taskId 2, lost 1 0L<ms> reason)
                Event.Requeued(taskId 1, lost 1 0L<ms> reason)
                Event.Left(session 1, "w1", reason)
            ] []

            let _, effects = machine.Worker(2, [ "a" ], 5)

            Expect.equal
                (assignments effects)
                [ 2L, 1L, 2; 2L, 2L, 2; 2L, 3L, 2; 2L, 4L, 1; 2L, 5L, 1 ]
                "assignments"
        }

        test "is one that was silent for longer than it may be" {
            let machine = running 1 1
            machine.Pass(5_000L<ms>, []) |> ignore
            Expect.equal machine.States [ 1L, "running" ] "not yet"
            machine.Wait 1L<ms>
            let reason = "silent for 5001 ms"

            expect (machine.Take Input.Tick) [
                Event.Requeued(taskId 1, lost 1 5_001L<ms> reason)
                Event.Left(session 1, "w1", reason)
            ] [ Effect.ToPeer(PeerEffect.Disconnect(session 1, reason)) ]
        }

        test "is not one that was heard, by anything that it sends" {
            let machine = running 1 1

            for input in
                [
                    Input.Heard(session 1)
                    Input.Ready(session 1, 1)
                    Input.Report(session 1, attempt 9 9, Succeeded, bytes "?")
                ] do
                machine.Pass(4_000L<ms>, []) |> ignore
                machine.Do input

            Expect.equal machine.States [ 1L, "running" ] "running"
        }

        test "leaves its tasks to others that are idle" {
            let machine = running 1 1
            machine.Worker(2, [ "a" ], 1) |> ignore
            Expect.equal (givenOut (machine.Lose 1)) [ 2L, 1L, 2 ] "assignments"
        }

        test "that was drained says nothing against its tasks" {
            let machine = running 1 1
            machine.Do(Input.Ready(session 1, 0))
            machine.Lose 1 |> ignore
            let task = Array.exactlyOne (TaskView.all machine.Scheduler)
            Expect.equal (task.state, task.losses) ("queued", 0) "state and losses"
        }

        test "is not seen in a scheduler that slept" {
            let machine = running 1 1
            machine.Wait 3_600_000L<ms>
            Expect.equal (machine.Take Input.Tick) nothing "nobody is blamed"
            machine.Pass(5_000L<ms>, []) |> ignore
            Expect.equal machine.States [ 1L, "running" ] "it has its time again"
            machine.Pass(1_000L<ms>, []) |> ignore
            Expect.equal machine.States [ 1L, "queued" ] "and no more than that"
        }

        test "that was heard while the scheduler slept has no more time than others" {
            let machine = running 1 1
            machine.Wait 60_000L<ms>
            machine.Do(Input.Heard(session 1))
            machine.Do Input.Tick
            machine.Pass(6_000L<ms>, []) |> ignore
            Expect.equal machine.States [ 1L, "queued" ] "lost"
        }

        test "a scheduler that slept gives no task up as late" {
            let machine = running 1 1
            machine.Wait 3_600_000L<ms>
            machine.Do(Input.Heard(session 1))
            Expect.equal (machine.Take Input.Tick) nothing "not late"
            machine.Pass(60_000L<ms>, [ session 1 ]) |> ignore
            Expect.equal machine.States [ 1L, "running" ] "it has its time again"
            machine.Pass(1_000L<ms>, [ session 1 ]) |> ignore
            Expect.equal machine.States [ 1L, "waiting" ] "and no more than that"
        }
    ]

let private poison =
    /// Two tasks that have been lost twice, with their workers; so they are suspected.
    let suspected () =
        let machine = running 2 2
        machine.Lose 1 |> ignore
        machine.Worker(2, [ "a" ], 2) |> ignore
        machine.Lose 2 |> ignore
        machine

    testList "a task that was lost twice with its worker" [
        test "is run alone" {
            let machine = suspected ()
            Expect.equal machine.States [ 1L, "suspected"; 2L, "suspected" ] "states"
            Expect.equal (givenOut (machine.Worker(3, [ "a" ], 4))) [ 3L, 1L, 3 ] "one of them"
            Expect.isEmpty (givenOut (machine.Submit "x3")) "nothing beside it"
        }

        test "is innocent when it succeeds, and then the worker serves others" {
            let machine = suspected ()
            machine.Worker(3, [ "a" ], 4) |> ignore
            machine.SubmitAll [ "x3" ]
            let events, effects = machine.Succeed(3, attempt 1 3)
            Expect.equal events[0] (completed 1 3) "innocent"
            Expect.equal (assignments effects) [ 3L, 2L, 3 ] "the next suspect, alone"
            Expect.equal (givenOut (machine.Succeed(3, attempt 2 3))) [ 3L, 3L, 1 ] "all are free"
        }

        test "is in quarantine after the third loss" {
            let machine = suspected ()
            machine.Worker(3, [ "a" ], 4) |> ignore

            match fst (machine.Lose 3) with
            | [ Event.Quarantined(1L<taskId>, reported); Event.Left _ ] ->
                Expect.stringContains reported.error "number 3" "why"
            | other -> failtest $"%A{other}"

            Expect.equal machine.States [ 1L, "quarantined"; 2L, "suspected" ] "its neighbour lives"
        }

        test "frees the worker that is being emptied for it when it is cancelled" {
            let machine = Machine settings
            machine.Worker(3, [ "a"; "b" ], 2) |> ignore
            machine.Submit("busy", pipeline = "b") |> ignore // 1, on worker 3
            machine.Worker(1, [ "c" ], 1) |> ignore
            machine.Submit("x", pipeline = "c | a") |> ignore // 2
            machine.Lose 1 |> ignore
            machine.Worker(2, [ "c" ], 1) |> ignore
            machine.Lose 2 |> ignore
            machine.Worker(4, [ "c" ], 1) |> ignore
            machine.Succeed(4, attempt 2 3) |> ignore // now it waits for `a`, and so for worker 3
            Expect.equal machine.States [ 1L, "running"; 2L, "suspected" ] "worker 3 is emptied"
            Expect.isEmpty (givenOut (machine.Submit "y")) "and gets nothing new"
            let _, effects = machine.Take(Input.Cancel(taskId 2, client))
            Expect.equal (assignments effects) [ 3L, 3L, 1 ] "until the suspect is cancelled"
        }

        test "are run in the order in which they came" {
            let machine = running 3 3
            machine.Lose 1 |> ignore
            machine.Worker(2, [ "a" ], 3) |> ignore
            machine.Lose 2 |> ignore
            Expect.equal (givenOut (machine.Worker(3, [ "a" ], 1))) [ 3L, 1L, 3 ] "the first"
        }
    ]

[<Tests>]
let tests = testList "the scheduler.when workers go" [ losing; poison ]
