/// Pieces that take much longer than the others of their file.
module FsScheduler.Machine.Tests.SchedulerStragglerTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Machine.Tests.SchedulerSplitSupport

[<Tests>]
let tests =
    testList "the scheduler.a straggler" [
        let late () =
            let machine = inPieces "lower" Result
            machine.Wait 100L<ms>
            succeed machine 2 "one" |> ignore
            succeed machine 4 "three" |> ignore
            machine.Worker(2, stages, 1) |> ignore
            machine

        test "is given to a second worker when it takes three times as long as most, and a second" {
            let machine = late ()
            let events, _ = machine.Pass(800L<ms>, [ session 1; session 2 ])
            Expect.isEmpty events "not yet"
            let events, effects = machine.Pass(1_000L<ms>, [ session 1; session 2 ])

            Expect.contains events (Event.Speculated(taskId 1, 1, taskId 3)) "said"

            Expect.equal (assignments effects) [ 2L, 5L, 1 ] "the other worker"
            let events, _ = machine.Pass(9_000L<ms>, [ session 1; session 2 ])
            Expect.isEmpty events "only once"
        }

        test "loses against the second worker, or wins" {
            for winner, loser, worker, other in [ 5, 3, 2, 1; 3, 5, 1, 2 ] do
                let machine = late ()
                machine.Pass(2_000L<ms>, [ session 1; session 2 ]) |> ignore

                let events, effects =
                    machine.Report(worker, attempt winner 1, Succeeded, bytes "two")

                Expect.equal
                    (joins effects)
                    [ attempt 1 1, ValueNone, textParts [ "one"; "two"; "three" ] ]
                    "the first result counts"

                Expect.contains
                    effects
                    (Effect.ToPeer(PeerEffect.Revoke(session other, attempt loser 1)))
                    "the other one is to stop"

                Expect.exists
                    events
                    (function
                    | Event.Cancelled(id, _) -> id = taskId loser
                    | _ -> false)
                    "and has ended"
        }

        test "that fails leaves the piece to the second worker" {
            let machine = late ()
            machine.Pass(2_000L<ms>, [ session 1; session 2 ]) |> ignore
            machine.Report(1, attempt 3 1, Failed("bad", false), Content.empty) |> ignore
            Expect.equal machine.States [ 1L, "split"; 5L, "running" ] "it goes on"
        }

        test "at a later stage is begun anew by one who can do its first" {
            let machine = inPiecesBy splitting [ "lower" ] 1 "lower | sort" Result

            for task in [ 2; 3; 4 ] do
                succeed machine task "lower" |> ignore

            machine.Worker(2, [ "sort" ], 3) |> ignore
            machine.Wait 100L<ms>

            for task in [ 2; 3 ] do
                machine.Report(2, attempt task 2, Succeeded, bytes "sorted") |> ignore

            machine.Do(Input.Ready(session 1, 0))
            machine.Worker(3, [ "sort" ], 1) |> ignore
            let all = [ session 1; session 2; session 3 ]
            let events, _ = machine.Pass(4_000L<ms>, all)
            Expect.isEmpty events "nobody can"
            machine.Do(Input.Ready(session 1, 1))
            let _, effects = machine.Pass(1_000L<ms>, all)
            Expect.equal (assignments effects) [ 1L, 5L, 1 ] "by the first worker"
        }

        test "is not given to a worker that only fails" {
            let machine = Machine splitting
            machine.Worker(2, stages, 1) |> ignore

            for task in 1..3 do
                machine.Submit($"s{task}", pipeline = "lower") |> ignore
                machine.Report(2, attempt task 1, Unable "no room", Content.empty) |> ignore
                machine.Do(Input.Cancel(taskId task, client))

            Expect.hasLength machine.Scheduler.Status.heldBack 1 "held back"
            machine.Worker(1, stages, 3) |> ignore
            machine.Do(Input.Submit(submission "x" 0 Result None big, "lower"))
            machine.Do(Input.Cut(attempt 4 0, cuts))
            machine.Wait 100L<ms>
            succeed machine 5 "one" |> ignore
            succeed machine 7 "three" |> ignore
            let events, _ = machine.Pass(9_000L<ms>, [ session 1; session 2 ])
            Expect.isEmpty events "its own worker is as good"
        }

        test "is left alone where nobody else is idle, or nobody wants it" {
            let machine = inPieces "lower" Result
            machine.Wait 100L<ms>
            succeed machine 2 "one" |> ignore
            succeed machine 4 "three" |> ignore
            let events, _ = machine.Pass(9_000L<ms>, [ session 1 ])
            Expect.equal events [] "its own worker is no help"

            let machine = inPiecesBy { splitting with speculate = 0.0 } stages 3 "lower" Result
            machine.Wait 100L<ms>
            succeed machine 2 "one" |> ignore
            succeed machine 4 "three" |> ignore
            machine.Worker(2, stages, 1) |> ignore
            let events, _ = machine.Pass(9_000L<ms>, [ session 1; session 2 ])
            Expect.isEmpty events "never"
        }
    ]
