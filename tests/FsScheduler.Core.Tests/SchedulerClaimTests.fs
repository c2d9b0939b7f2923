module FsScheduler.Core.Tests.SchedulerClaimTests

open Expecto
open FsScheduler.Core
open FsScheduler.TestKit.SchedulerFixture

/// A scheduler that was started again while the worker w1, which runs `a`, had task 1.
let private restarted () =
    let x = submission "x" 0 Result None (bytes "x")

    let history = [
        Event.Joined(session 1, "w1", [| "a" |])
        Event.Submitted(taskId 1, x, settings.pipeline)
        assigned 1 1 1 0 1
    ]

    let scheduler = Scheduler settings

    let numbered =
        history
        |> Seq.mapi (fun index event -> struct (int64 index + 1L, Instant.zero, event))

    scheduler.Restore(numbered, Instant.zero)

    scheduler.Resume(
        System.Guid.Empty,
        System.Collections.Generic.Dictionary(),
        Instant.zero,
        StepOutput()
    )

    scheduler

/// What a worker may keep that comes and says that it holds task 1.
let private keeps name stages =
    let scheduler = restarted ()
    let decisions = StepOutput()
    scheduler.Step(Input.Join(session 2, name, stages), Instant.zero, decisions)
    scheduler.Step(Input.Claim(session 2, [| attempt 1 1 |]), Instant.zero, decisions)
    Expect.isEmpty (Invariants.violations scheduler) "violations"

    decisions.Effects
    |> Seq.pick (function
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
