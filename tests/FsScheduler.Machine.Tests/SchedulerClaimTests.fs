module FsScheduler.Machine.Tests.SchedulerClaimTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

/// A scheduler that was started again while the worker w1, which runs `a`, had task 1.
let private restarted () =
    let x = submission "x" 0 Result None (bytes "x")

    let machine = Machine settings

    machine.Restart [
        Event.Joined(session 1, "w1", [| "a" |])
        Event.Submitted(taskId 1, x, settings.pipeline)
        assigned 1 1 1 0 1
    ]
    |> ignore

    machine

/// What a worker may keep that comes and says that it holds task 1.
let private keeps name stages =
    let machine = restarted ()

    machine.Effects [
        Input.Join(session 2, name, stages)
        Input.Claim(session 2, [| attempt 1 1 |])
    ]
    |> List.pick (function
        | Effect.ToPeer(PeerEffect.Welcome(_, keep)) -> Some keep
        | _ -> None)

[<Tests>]
let tests =
    testList "the scheduler.a worker that comes back" [
        test "keeps what it was given" {
            Expect.equal (keeps "w1" [| "a"; "b" |]) [| attempt 1 1 |] "kept"
        }

        test "keeps nothing that another one was given" {
            Expect.isEmpty (keeps "w2" [| "a" |]) "another name"
        }

        test "keeps nothing that it cannot run" {
            Expect.isEmpty (keeps "w1" [| "b" |]) "another stage"
        }
    ]
