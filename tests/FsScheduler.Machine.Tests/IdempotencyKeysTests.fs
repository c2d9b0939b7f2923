/// The same task for the same key of a client.
module FsScheduler.Machine.Tests.IdempotencyKeysTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

/// A submission with the key `k`.
let private submit ref want content payload =
    let key = { text = "k"; content = content }
    Input.Submit(submission ref 0 want (Some key) payload, "")

let private answered ref attempts result =
    Effect.ToPeer(PeerEffect.ReplyKept(client, doneFor ref 1 attempts, Held result))

/// A worker that runs the task `x` with the key.
let private begun () =
    let machine = idle 1
    machine.Do(submit "x" Result "c" (bytes "x"))
    machine

[<Tests>]
let tests =
    testList "the scheduler.a key" [
        test "is carried without bytes, which no event has, where its task was cancelled" {
            let machine = Machine { settings with memory = 1L<B> }
            machine.Do(submit "1" Result "c" (bytes "x"))
            machine.Do(Input.Cancel(taskId 1, client))

            let results =
                machine.Carry()
                |> List.choose (function
                    | Carried.Key key -> Some key.result
                    | _ -> None)

            Expect.equal results [ KeptContent.empty ] "what is kept"
        }

        test "used again gives the same task, and runs nothing" {
            let machine = begun ()

            expect (machine.Take(submit "y" Result "c" (spooled "again"))) [] [
                Effect.ToDisk(DiskEffect.Discard "again")
                reply (FromScheduler.Accepted("y", taskId 1))
            ]

            expect (machine.Report(1, attempt 1 1, Succeeded, spooled "out")) [
                Event.Completed(attempt 1 1, KeptResult(Held(spooled "out")))
            ] [ answered "x" 1 (spooled "out"); answered "y" 1 (spooled "out") ]
        }

        test "used after the end gives the end, with the result that was kept" {
            let machine = begun ()
            machine.Report(1, attempt 1 1, Succeeded, spooled "out") |> ignore

            expect (machine.Take(submit "y" Result "c" (bytes "x"))) [] [
                reply (FromScheduler.Accepted("y", taskId 1))
                answered "y" 1 (spooled "out")
            ]
        }

        test "used while its task waits behind others changes nothing in the queue" {
            // To be told about pastFailures, a late comer once made the fresh task a begun one.
            let machine = Machine settings
            machine.Submit("first") |> ignore
            machine.Do(submit "x" Result "c" (bytes "x"))
            machine.Do(submit "y" Result "c" (bytes "x"))
            Expect.equal (givenOut (machine.Worker(1, [ "a" ], 1))) [ 1L, 1L, 1 ] "assignments"
        }

        test "with other content is refused" {
            let machine = begun ()
            let message = "the key 'k' was used for other content, in task 1"

            expect (machine.Take(submit "y" Result "other" (spooled "again"))) [] [
                Effect.ToDisk(DiskEffect.Discard "again")
                reply (FromScheduler.Rejected("y", RejectionCode.BadKey, message))
            ]
        }

        test "of a result that is sent is refused to who wants it stored, and the other way round" {
            // It would have been answered with an empty payload, or without a file.
            for first, second in [ Result, File; Nothing, File; File, Result; File, Nothing ] do
                let machine = Machine settings
                machine.Do(submit "x" first "c" (bytes "x"))
                let message = "the key 'k' was used with another 'want', in task 1"
                let refused = FromScheduler.Rejected("y", RejectionCode.BadKey, message)
                expect (machine.Take(submit "y" second "c" (bytes "x"))) [] [ reply refused ]
        }

        test "of a task in quarantine tells so at once, and again when it is over" {
            let machine = begun ()
            machine.FailForGood(1, attempt 1 1) |> ignore

            expect (machine.Take(submit "y" Nothing "c" (bytes "x"))) [] [
                reply (FromScheduler.Accepted("y", taskId 1))
                reply (quarantinedFor "y" 1 1 "no")
            ]

            machine.Do(Input.Retry(taskId 1, client))

            let kept = Event.Completed(attempt 1 2, KeptResult(Held(bytes "done")))

            expect (machine.Succeed(1, attempt 1 2)) [ kept ] [
                answered "x" 2 (bytes "done")
                reply (doneFor "y" 1 2)
            ]
        }

        test "is remembered after the end, as many of them as there may be" {
            let machine = idle 1
            let scheduler = machine.Scheduler
            let decisions = StepOutput()

            let take input =
                decisions.Clear()
                scheduler.Step(input, machine.Now, decisions)

            let submit (i: int) =
                let key = Some { text = string i; content = "c" }
                take (Input.Submit(submission "x" 0 Nothing key (bytes "x"), ""))

            for i in 1 .. SchedulerLimits.keysMax + 1 do
                submit i
                take (Input.Report(session 1, attempt i 1, Succeeded, Content.empty))

            submit 2
            Expect.isEmpty decisions.Events "the second is remembered"
            submit 1
            Expect.isNonEmpty decisions.Events "the first is forgotten"
        }

        test "lets go of the oldest results where they are too many bytes" {
            let machine = idle 1

            let large path =
                Spooled(path, SchedulerLimits.keptBytesMax / 2L)

            let finish i =
                let key = Some { text = $"k{i}"; content = "c" }
                machine.Do(Input.Submit(submission $"x{i}" 0 Nothing key (bytes "x"), ""))
                snd (machine.Report(1, attempt i 1, Succeeded, large $"out{i}"))

            for i in 1..2 do
                Expect.hasLength (finish i) 1 "only word"

            Expect.contains (finish 3) (Effect.ToDisk(DiskEffect.Discard "out1")) "the oldest goes"
        }

        test "is refused as busy where too many wait for its task" {
            let machine = begun ()

            for i in 1 .. SchedulerLimits.waitersMax do
                machine.Do(submit $"y{i}" Nothing "c" (bytes "x"))

            match machine.Take(submit "z" Nothing "c" (spooled "in")) with
            | [],
              [ Effect.ToDisk(DiskEffect.Discard _)
                Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Rejected("z", code, _))) ] ->
                Expect.equal code RejectionCode.Busy "code"
            | other -> failtest $"%A{other}"
        }
    ]
