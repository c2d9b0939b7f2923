module FsScheduler.Machine.Tests.SchedulerClientTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private refused (message: string) =
    reply (FromScheduler.Error(ErrorCode.BadField, message))

let private unknown task =
    refused $"task {task} is not known: it never was, or it is finished"

/// A worker that runs the task `x`.
let private withX () =
    let machine = idle 1
    machine.SubmitAll [ "x" ]
    machine

let private cancelling =
    let cancel = Input.Cancel(taskId 1, client)
    let cancelled = [ Event.Cancelled(taskId 1, "cancelled") ]

    let told attempts = reply (cancelledFor "x" 1 attempts)

    testList "CANCEL" [
        test "takes a queued task out" {
            let machine = Machine settings
            machine.SubmitAll [ "x"; "y" ]
            expect (machine.Take cancel) cancelled [ told 0 ]
            Expect.equal machine.States [ 2L, "queued" ] "states"
        }

        test "revokes a running task, and its slot is free at once" {
            let machine = withX ()
            let y = submission "y" 0 Result None (bytes "y")
            machine.Do(Input.Submit(y, ""))

            expect (machine.Take cancel) (cancelled @ [ assigned 2 1 1 0 1 ]) [
                Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 1 1))
                told 1
                assign y 2 1 1 [ "a" ] Packed
            ]
        }

        test "ends a waiting task, which does not come back when its time comes" {
            let machine = withX ()
            machine.Fail(1, attempt 1 1) |> ignore
            expect (machine.Take cancel) cancelled [ told 1 ]
            Expect.equal (machine.Pass(60_000L<ms>, [ session 1 ])) nothing "it is over"
            Expect.equal machine.Scheduler.Status.waiting 0L "waiting"
        }

        test "takes a task out of quarantine for good" {
            let machine = withX ()
            machine.FailForGood(1, attempt 1 1) |> ignore
            expect (machine.Take cancel) cancelled [ told 1 ]
            Expect.equal machine.Scheduler.Quarantined 0 "quarantined"
            Expect.isTrue machine.Scheduler.IsDone "done"
        }

        test "discards what the task brought" {
            let machine = Machine settings
            machine.Do(Input.Submit(submission "x" 0 Result None (spooled "in"), ""))

            expect (machine.Take cancel) cancelled [
                Effect.ToDisk(DiskEffect.Discard "in")
                told 0
            ]
        }

        test "comes too late for a result that is being published" {
            let machine = idle 1
            machine.Do(Input.Submit(submission "x" 0 File None (bytes "x"), ""))
            machine.Succeed(1, attempt 1 1) |> ignore
            let message = "task 1 is being published: too late to cancel it"
            expect (machine.Take cancel) [] [ refused message ]
        }

        test "of a task that is not known, or finished, is an error" {
            let machine = Machine settings
            expect (machine.Take cancel) [] [ unknown 1 ]
            machine.Worker(1, [ "a" ], 1) |> ignore
            machine.SubmitAll [ "x" ]
            machine.Succeed(1, attempt 1 1) |> ignore
            expect (machine.Take cancel) [] [ unknown 1 ]

            for id in [ 0L; -1L; 1L <<< 52; System.Int64.MaxValue; System.Int64.MinValue ] do
                let id = id * 1L<taskId>
                expect (machine.Take(Input.Cancel(id, client))) [] [ unknown id ]
        }
    ]

let private retrying =
    testList "RETRY" [
        test "of a task that is not in quarantine is an error" {
            let machine = Machine settings
            expect (machine.Take(Input.Retry(taskId 1, client))) [] [ unknown 1 ]
            machine.SubmitAll [ "x" ]
            let refused = refused "task 1 is not in quarantine"
            expect (machine.Take(Input.Retry(taskId 1, client))) [] [ refused ]
        }

        test "tells the client again, when the task succeeds after all" {
            let machine = withX ()
            machine.FailForGood(1, attempt 1 1) |> ignore
            machine.Do(Input.Retry(taskId 1, client))

            expect (machine.Succeed(1, attempt 1 2)) [ completed 1 2 ] [ doneWell "x" 1 2 ]
        }
    ]

let private wanting =
    let ending want =
        let machine = idle 1
        machine.Do(Input.Submit(submission "x" 0 want None (bytes "x"), ""))
        machine, machine.Report(1, attempt 1 1, Succeeded, spooled "out")

    testList "a client that wants" [
        test "the result gets it, and its file" {
            let _, outputs = ending Result

            let answer =
                Effect.ToPeer(PeerEffect.ReplyResult(client, doneFor "x" 1 1, spooled "out"))

            expect outputs [ completed 1 1 ] [ answer ]
        }

        test "nothing gets word, and the result is discarded" {
            let _, outputs = ending Nothing

            expect outputs [ completed 1 1 ] [
                reply (doneFor "x" 1 1)
                Effect.ToDisk(DiskEffect.Discard "out")
            ]
        }

        test "a file gets word when it is published" {
            let machine, (events, effects) = ending File

            Expect.equal
                events
                [ Event.Accepted(attempt 1 1, AcceptedContent(spooled "out")) ]
                "accepted"

            match effects with
            | [ Effect.ToDisk(DiskEffect.Publish(published, _, payload)) ] ->
                Expect.equal (published, payload) (attempt 1 1, spooled "out") "publish"
            | other -> failtest $"%A{other}"

            expect (machine.Take(published 1 1)) [ stored 1 1 ] [ reply (doneFor "x" 1 1) ]
        }
    ]

let private busy =
    test "is refused as busy while there are as many tasks as there may be" {
        let machine = Machine(settings, 2)
        machine.SubmitAll [ "1"; "2" ]

        expect (machine.Take(Input.Submit(submission "3" 0 Result None (spooled "in"), ""))) [] [
            Effect.ToDisk(DiskEffect.Discard "in")
            reply (
                FromScheduler.Rejected(
                    "3",
                    RejectionCode.Busy,
                    "there are 2 tasks; try again later"
                )
            )
        ]

        machine.Do(Input.Submit(file "f" 1, "")) // What is in the folder is in the folder.
        Expect.equal machine.States [ 1L, "queued"; 2L, "queued"; 3L, "queued" ] "states"

        for task in 1..2 do
            machine.Do(Input.Cancel(taskId task, client))

        let events, _ = machine.Submit "4"
        Expect.isNonEmpty events "accepted again"
    }

[<Tests>]
let tests =
    testList "the scheduler.a client" [ cancelling; retrying; wanting; busy ]
