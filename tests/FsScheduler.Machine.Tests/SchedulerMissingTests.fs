module FsScheduler.Machine.Tests.SchedulerMissingTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private told (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.ToLog(LogEffect.StageUnavailable(stage, tasks)) -> Some(stage, tasks)
        | _ -> None)

let private after machine span heard =
    let machine: Machine = machine
    machine.Pass(span, heard) |> snd |> told

/// Three tasks that wait for `b`, and a worker that only runs `a`.
let private waiting () =
    let machine = idle 1

    for ref in [ "x"; "y"; "z" ] do
        machine.Submit(ref, pipeline = "b") |> ignore

    machine

[<Tests>]
let tests =
    testList "the scheduler.a stage that nobody offers" [
        test "is told of once it has lasted, and only once" {
            let machine = waiting ()
            Expect.isEmpty (after machine 4_000L<ms> [ session 1 ]) "workers may be on their way"
            Expect.equal (after machine 3_000L<ms> [ session 1 ]) [ "b", 3 ] "told"
            Expect.isEmpty (after machine 600_000L<ms> [ session 1 ]) "not again"
        }

        test "is in STATUS at once" {
            let machine = waiting ()
            Expect.equal machine.Scheduler.Status.missing [| "b" |] "missing"
            machine.Worker(2, [ "b" ], 1) |> ignore
            Expect.isEmpty machine.Scheduler.Status.missing "offered"
        }

        test "is told of again when it was offered meanwhile" {
            let machine = waiting ()
            after machine 7_000L<ms> [ session 1 ] |> ignore
            machine.Worker(2, [ "b" ], 1) |> ignore
            Expect.isEmpty (after machine 2_000L<ms> [ session 1; session 2 ]) "offered"
            machine.Lose 2 |> ignore
            Expect.equal (after machine 7_000L<ms> [ session 1 ]) [ "b", 3 ] "told again"
        }

        test "is not one that a busy worker offers" {
            let machine = Machine settings
            machine.Worker(1, [ "b" ], 1) |> ignore

            for ref in [ "x"; "y" ] do
                machine.Submit(ref, pipeline = "b") |> ignore

            Expect.isEmpty (after machine 10_000L<ms> [ session 1 ]) "busy"
        }

        test "is one that only a worker offers that was asked to go" {
            let machine = Machine settings
            machine.Worker(1, [ "b" ], 1) |> ignore
            machine.Do(Input.Drain("w1", client))
            machine.Submit("x", pipeline = "b") |> ignore
            Expect.equal (after machine 7_000L<ms> [ session 1 ]) [ "b", 1 ] "told"
        }

        test "is forgotten with the last task that waits for it" {
            let machine = Machine settings
            machine.Submit("x", pipeline = "b") |> ignore
            after machine 4_000L<ms> [] |> ignore
            machine.Do(Input.Cancel(taskId 1, client))
            Expect.isEmpty (after machine 10_000L<ms> []) "nobody waits"
            machine.Submit("y", pipeline = "b") |> ignore
            Expect.isEmpty (after machine 4_000L<ms> []) "the time counts from the second"
        }
    ]
