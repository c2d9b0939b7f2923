module FsScheduler.Core.Tests.SchedulerClientTests

open Expecto
open FsScheduler.Core
open FsScheduler.TestKit
open FsScheduler.TestKit.SchedulerFixture

let private refused (message: string) =
    reply (FromScheduler.Error(ErrorCode.BadField, message))

let private unknown task =
    refused $"task {task} is not known: it never was, or it is finished"

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
            let machine = Machine settings
            machine.Worker(1, [ "a" ], 1) |> ignore
            machine.SubmitAll [ "x" ]
            let y = submission "y" 0 Result None (bytes "y")
            machine.Do(Input.Submit(y, ""))

            expect (machine.Take cancel) (cancelled @ [ assigned 2 1 1 0 1 ]) [
                Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 1 1))
                told 1
                assign y 2 1 1 [ "a" ] Packed
            ]
        }

        test "ends a waiting task, which does not come back when its time comes" {
            let machine = Machine settings
            machine.Worker(1, [ "a" ], 1) |> ignore
            machine.SubmitAll [ "x" ]
            machine.Fail(1, attempt 1 1) |> ignore
            expect (machine.Take cancel) cancelled [ told 1 ]
            Expect.equal (machine.Pass(60_000L<ms>, [ session 1 ])) nothing "it is over"
            Expect.equal machine.Scheduler.Status.waiting 0L "waiting"
        }

        test "takes a task out of quarantine for good" {
            let machine = Machine settings
            machine.Worker(1, [ "a" ], 1) |> ignore
            machine.SubmitAll [ "x" ]
            machine.Report(1, attempt 1 1, Failed("no", false), Content.empty) |> ignore
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
            let machine = Machine settings
            machine.Worker(1, [ "a" ], 1) |> ignore
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
            let machine = Machine settings
            machine.Worker(1, [ "a" ], 1) |> ignore
            machine.SubmitAll [ "x" ]
            machine.Report(1, attempt 1 1, Failed("no", false), Content.empty) |> ignore
            machine.Do(Input.Retry(taskId 1, client))

            expect (machine.Succeed(1, attempt 1 2)) [ completed 1 2 ] [ doneWell "x" 1 2 ]
        }
    ]

let private wanting =
    let ending want =
        let machine = Machine settings
        machine.Worker(1, [ "a" ], 1) |> ignore
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

let private keys =
    let submit ref want content payload =
        let key = { text = "k"; content = content }
        Input.Submit(submission ref 0 want (Some key) payload, "")

    let doneFor ref result =
        Effect.ToPeer(PeerEffect.ReplyKept(client, doneFor ref 1 1, Held result))

    let started () =
        let machine = Machine settings
        machine.Worker(1, [ "a" ], 1) |> ignore
        machine.Do(submit "x" Result "c" (bytes "x"))
        machine

    testList "a key" [
        test "is carried without bytes, which no event has, where its task was cancelled" {
            let machine = Machine { settings with memory = 1L<B> }
            machine.Do(submit "1" Result "c" (bytes "x"))
            machine.Do(Input.Cancel(taskId 1, client))

            let cutoff = {
                before = machine.Scheduler.LastEvent + 1L
                keptSince = Instant.zero
                isTooMuch = false
                most = 10
            }

            let results = [
                for event in fst (machine.Take(Input.Retain cutoff)) do
                    match event with
                    | Event.Carried(Carried.Key key) -> key.result
                    | _ -> ()
            ]

            Expect.equal results [ KeptContent.empty ] "what is kept"
        }

        test "used again gives the same task, and runs nothing" {
            let machine = started ()

            expect (machine.Take(submit "y" Result "c" (spooled "again"))) [] [
                Effect.ToDisk(DiskEffect.Discard "again")
                reply (FromScheduler.Accepted("y", taskId 1))
            ]

            expect (machine.Report(1, attempt 1 1, Succeeded, spooled "out")) [
                Event.Completed(attempt 1 1, KeptResult(Held(spooled "out")))
            ] [ doneFor "x" (spooled "out"); doneFor "y" (spooled "out") ]
        }

        test "used after the end gives the end, with the result that was kept" {
            let machine = started ()
            machine.Report(1, attempt 1 1, Succeeded, spooled "out") |> ignore

            expect (machine.Take(submit "y" Result "c" (bytes "x"))) [] [
                reply (FromScheduler.Accepted("y", taskId 1))
                doneFor "y" (spooled "out")
            ]
        }

        test "used while its task waits behind others changes nothing in the queue" {
            // To be told about pastFailures, a late comer once made the fresh task a begun one.
            let machine = Machine settings
            machine.Submit("first") |> ignore
            machine.Do(submit "x" Result "c" (bytes "x"))
            machine.Do(submit "y" Result "c" (bytes "x"))
            let _, effects = machine.Worker(1, [ "a" ], 1)
            Expect.equal (assignments effects) [ 1L, 1L, 1 ] "assignments"
        }

        test "with other content is refused" {
            let machine = started ()
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
            let machine = started ()
            machine.Report(1, attempt 1 1, Failed("no", false), Content.empty) |> ignore

            let failed ref =
                reply (SchedulerFixture.quarantinedFor ref 1 1 "no")

            expect (machine.Take(submit "y" Nothing "c" (bytes "x"))) [] [
                reply (FromScheduler.Accepted("y", taskId 1))
                failed "y"
            ]

            machine.Do(Input.Retry(taskId 1, client))

            let told ref =
                reply (SchedulerFixture.doneFor ref 1 2)

            let x =
                Effect.ToPeer(
                    PeerEffect.ReplyKept(
                        client,
                        SchedulerFixture.doneFor "x" 1 2,
                        Held(bytes "done")
                    )
                )

            let kept = Event.Completed(attempt 1 2, KeptResult(Held(bytes "done")))

            expect (machine.Succeed(1, attempt 1 2)) [ kept ] [ x; told "y" ]
        }

        test "is remembered after the end, as many of them as there may be" {
            let machine = Machine settings
            let scheduler = machine.Scheduler
            let decisions = StepOutput()

            let take input =
                decisions.Clear()
                scheduler.Step(input, machine.Now, decisions)

            let submit (i: int) =
                let key = Some { text = string i; content = "c" }
                take (Input.Submit(submission "x" 0 Nothing key (bytes "x"), ""))

            machine.Worker(1, [ "a" ], 1) |> ignore

            for i in 1 .. SchedulerLimits.keysMax + 1 do
                submit i
                take (Input.Report(session 1, attempt i 1, Succeeded, Content.empty))

            submit 2
            Expect.isEmpty decisions.Events "the second is remembered"
            submit 1
            Expect.isNonEmpty decisions.Events "the first is forgotten"
        }

        test "lets go of the oldest results where they are too many bytes" {
            let machine = Machine settings
            machine.Worker(1, [ "a" ], 1) |> ignore

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
            let machine = started ()

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

let private status =
    test "STATUS counts every task and worker" {
        let machine = Machine settings
        machine.Worker(1, [ "a" ], 4) |> ignore
        machine.Worker(2, [ "b" ], 1) |> ignore
        machine.Do(Input.Submit(submission "1" 0 File None (bytes "x"), ""))
        machine.SubmitAll [ "2"; "3"; "4"; "5" ]
        machine.Succeed(1, attempt 1 1) |> ignore // publishing
        machine.Report(1, attempt 2 1, Failed("no", false), Content.empty) |> ignore
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

let private statusOrder =
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

[<Tests>]
let tests =
    testList "the scheduler.a client" [
        cancelling
        retrying
        wanting
        busy
        keys
        status
        statusOrder
    ]
