/// The tasks that a large payload is cut into.
module FsScheduler.Machine.Tests.SchedulerPieceTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Machine.Tests.SchedulerSplitSupport

let private errors (events: Event list) =
    events
    |> List.choose (function
        | Event.Quarantined(id, failure) when id = taskId 1 -> Some failure.error
        | _ -> None)

[<Tests>]
let tests =
    testList "the scheduler.a piece" [
        test "that fails for good puts the whole into quarantine, which says where it stands" {
            let machine = inPieces "lower" File
            succeed machine 2 "one" |> ignore

            let events, effects =
                machine.Report(1, attempt 3 1, Failed("bad byte", false), Content.empty)

            Expect.equal machine.States [ 1L, "quarantined" ] "the whole, and nothing else"

            Expect.equal (errors events) [ "piece 2 of 3, bytes 100 to 209: bad byte" ] "the reason"

            Expect.exists
                effects
                (function
                | Effect.ToDisk(DiskEffect.PublishError(id, _, _)) -> id = taskId 1
                | _ -> false)
                "told beside the results"
        }

        test "that is there is not run again by a retry" {
            let machine = inPieces "lower" Result
            succeed machine 2 "one" |> ignore

            machine.Report(1, attempt 3 1, Failed("bad byte", false), Content.empty)
            |> ignore

            let events, effects = machine.Take(Input.Retry(taskId 1, client))

            let submitted = [
                for event in events do
                    match event with
                    | Event.Submitted(id, submission, _) -> int64 id, submission.Origin
                    | _ -> ()
            ]

            Expect.equal
                submitted
                [ 5L, Piece(taskId 1, 1); 6L, Piece(taskId 1, 2) ]
                "only what is missing"

            Expect.equal (List.length (assignments effects)) 2 "given out"
            machine.Succeed(1, attempt 5 1) |> ignore
            let _, effects = machine.Succeed(1, attempt 6 1)

            Expect.equal
                (joins effects)
                [ attempt 1 2, ValueNone, textParts [ "one"; "done"; "done" ] ]
                "with the part that was there"
        }

        test "that fails is tried again by itself" {
            let machine = inPieces "lower" Result
            machine.Fail(1, attempt 3 1) |> ignore
            machine.Pass(10_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal
                machine.States
                [ 1L, "split"; 2L, "running"; 3L, "queued"; 4L, "running" ]
                "again"
        }

        test "that takes three workers down puts the whole into quarantine" {
            let machine = inPieces "lower" Result
            let mutable worker = 1

            while machine.Phases <> [ "quarantined" ] do
                machine.Lose worker |> ignore
                worker <- worker + 1
                machine.Worker(worker, stages, 2) |> ignore

            Expect.equal worker 4 "workers that were lost"
        }

        test "is not split in its turn, however large what a stage makes of it" {
            let machine = inPiecesBy splitting [ "lower" ] 2 "lower | sort" Result
            let large = Spooled("large", 5_000L<B>)
            machine.Report(1, attempt 2 1, Succeeded, large) |> ignore
            let _, effects = machine.Worker(2, [ "sort" ], 1)
            Expect.equal (assignments effects) [ 2L, 2L, 2 ] "goes on with one worker"
        }

        test "of the past is nobody's result" {
            let machine = inPieces "lower" Result
            machine.Lose 1 |> ignore
            machine.Worker(1, stages, 2) |> ignore
            let _, effects = machine.Report(1, attempt 2 1, Succeeded, Spooled("late", 9L<B>))

            Expect.equal effects [ Effect.ToDisk(DiskEffect.Discard "late") ] "let go of"
        }
    ]
