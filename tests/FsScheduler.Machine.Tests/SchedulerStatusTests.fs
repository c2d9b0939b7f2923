module FsScheduler.Machine.Tests.SchedulerStatusTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

[<Tests>]
let tests =
    testList "the scheduler.status" [
        test "STATUS counts every task and worker" {
            let machine = idle 4
            machine.Worker(2, [ "b" ], 1) |> ignore
            machine.Do(Input.Submit(submission "1" 0 File None (bytes "x"), ""))
            machine.SubmitAll [ "2"; "3"; "4"; "5" ]
            machine.Succeed(1, attempt 1 1) |> ignore // publishing
            machine.FailForGood(1, attempt 2 1) |> ignore
            machine.Fail(1, attempt 3 1) |> ignore
            machine.Succeed(1, attempt 4 1) |> ignore
            machine.Submit("6", pipeline = "b") |> ignore
            machine.Submit("7", pipeline = "b") |> ignore
            machine.Submit("8", pipeline = "c") |> ignore
            machine.Do(Input.Cancel(taskId 8, client))
            machine.Wait 30L<ms>

            let report number slots held finished failed = {
                session = session number
                name = $"w{number}"
                slots = slots
                held = held
                finished = finished
                failed = failed
            }

            let expected = {
                queued = 1L
                running = 2L
                waiting = 1L
                publishing = 1L
                split = 0L
                quarantined = 1L
                finished = 1L
                cancelled = 1L
                idle = 1
                busy = 1
                uptime = 30L<ms>
                oldest = 30L<ms>
                finished10s = 1L
                finished60s = 1L
                trouble = None
                awaited = None
                missing = [||]
                heldBack = [||]
                workers = [| report 1 4 1 2L 2L; report 2 1 1 0L 0L |]
            }

            let answer = reply (FromScheduler.Status expected)
            expect (machine.Take(Input.Ask client)) [] [ answer ]
            Expect.equal machine.Scheduler.Status expected "the same from inside"
            Expect.isFalse machine.Scheduler.IsDone "not done"
        }
        test "STATUS lists the first workers by session, whatever came and went" {
            let machine = Machine settings

            for number in 1..250 do
                machine.Do(Input.Join(session number, "w", [| "a" |]))

            for number in 1..2..100 do
                machine.Lose number |> ignore

            for number in 251..260 do
                machine.Do(Input.Join(session number, "w", [| "a" |]))

            let listed =
                machine.Scheduler.Status.workers |> Array.map (fun worker -> int worker.session)

            let present = [| yield! [ 2..2..100 ]; yield! [ 101..260 ] |]
            Expect.equal listed (Array.truncate SchedulerLimits.workersListedMax present) "sessions"
            Expect.equal machine.Scheduler.Status.busy 210 "all are counted"
        }
    ]
