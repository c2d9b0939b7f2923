module FsScheduler.Machine.Tests.SchedulerFileTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Machine.Tests.SchedulerFileSupport

[<Tests>]
let tests =
    testList "the scheduler.a file" [
        test "is read from its version, and its result is published" {
            let machine = idle 2

            expect (machine.Take(submit first)) [ submitted 1 first; assigned 1 1 1 0 1 ] [
                assign first 1 1 1 [ "a" ] (stamp 1)
            ]

            expect (machine.Report(1, attempt 1 1, Succeeded, spooled "out")) [
                Event.Accepted(attempt 1 1, AcceptedContent(spooled "out"))
            ] [ Effect.ToDisk(DiskEffect.Publish(attempt 1 1, first, spooled "out")) ]

            Expect.isFalse machine.Scheduler.IsDone "not before it is published"
            expect (machine.Take(published 1 1)) [ stored 1 1 ] []
            Expect.isTrue machine.Scheduler.IsDone "done"
            Expect.equal (machine.Take(published 1 1)) nothing "once"
        }

        test "is tried again with another pipeline as a new task" {
            let machine = idle 2
            machine.Do(submit first)
            machine.FailForGood(1, attempt 1 1) |> ignore

            match machine.Take(Input.RetryWith(taskId 1, "lower", client)) with
            | [ Event.Cancelled(1L<taskId>, reason); Event.Submitted(2L<taskId>, again, pipeline) ],
              _ ->
                Expect.stringContains reason "another pipeline" "why"
                Expect.equal (again.Name, again.Payload) (first.Name, first.Payload) "that version"
                Expect.equal pipeline.wire [| "lower" |] "with that"
            | other -> failtest $"%A{other}"
        }

        test "is tried again with the pipeline that it has, in place, and with none that is unknown" {
            let machine = idle 2
            machine.Do(submit first)
            machine.FailForGood(1, attempt 1 1) |> ignore
            let _, effects = machine.Take(Input.RetryWith(taskId 1, "nonsuch", client))
            Expect.hasLength effects 1 "an ERROR"
            let events, _ = machine.Take(Input.RetryAllWith("", client))
            Expect.equal (List.head events) (Event.Retried(taskId 1)) "the same task"
        }

        test "is published by its current attempt only" {
            let machine = publishing ()
            Expect.equal (machine.Take(published 1 2)) nothing "stale"
            Expect.equal (machine.Take(Input.Unpublished(attempt 1 0, "?"))) nothing "stale"
        }

        test "whose result cannot be stored is run again, and put into quarantine in the end" {
            let machine = publishing ()

            for number in 1..2 do
                let unpublished = Input.Unpublished(attempt 1 number, "disk full")

                match machine.Take unpublished with
                | [ Event.Delayed(1L<taskId>, failure, _) ], [] ->
                    Expect.equal (failure.error, failure.worker) ("disk full", "") "trouble"
                | other -> failtest $"%A{other}"

                machine.Pass(1_000L<ms>, [ session 1 ]) |> ignore
                machine.Succeed(1, attempt 1 (number + 1)) |> ignore

            match machine.Take(Input.Unpublished(attempt 1 3, "disk full")) with
            | [ Event.Quarantined(1L<taskId>, _) ],
              [ Effect.ToDisk(DiskEffect.PublishError(1L<taskId>, _, pastFailures)) ] ->
                Expect.equal
                    [ for failure in pastFailures -> failure.attempt ]
                    [ 1; 2; 3 ]
                    "in order"
            | other -> failtest $"%A{other}"
        }

        test "that goes is forgotten" {
            let machine = idle 2
            machine.Do(submit first)

            expect (machine.Take(Input.FileDeleted "f")) [ Event.Gone "f"; gone 1 ] [
                Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 1 1))
            ]

            expect (machine.Take(Input.FileDeleted "f")) [ Event.Gone "f" ] []
            expect (machine.Take(Input.FileDeleted "other")) [ Event.Gone "other" ] []
        }

        test "that goes while its result is published is done all the same" {
            let machine = publishing ()
            expect (machine.Take(Input.FileDeleted "f")) [ Event.Gone "f" ] []
            expect (machine.Take(published 1 1)) [ stored 1 1 ] []
        }

        test "that changes voids what is done with it, even while it is published" {
            let cancelled = Event.Cancelled(taskId 1, "the file changed or went")
            let machine = idle 2
            machine.Do(submit first)
            let revoke = Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 1 1))
            Expect.equal (machine.Take(Input.Outdated(attempt 1 1))) nothing "not published yet"
            expect (machine.Take(Input.FileChanged(attempt 1 1))) [ cancelled ] [ revoke ]
            let machine = publishing ()
            expect (machine.Take(Input.Outdated(attempt 1 1))) [ cancelled ] []
            Expect.equal (machine.Take(published 1 1)) nothing "void"
            Expect.equal (machine.Take(Input.Outdated(attempt 1 1))) nothing "twice"
        }

        test "that a late reader finds changed leaves the one that is being published in its place" {
            // The version after it once ran at once: two results of one name were on their way.
            let machine = publishing ()

            Expect.equal
                (machine.Take(Input.FileChanged(attempt 1 1)))
                nothing
                "the publisher looks itself"

            machine.Do(submit second)
            Expect.equal machine.States [ 1L, "publishing"; 2L, "succeeding" ] "states"
        }
    ]
