module FsScheduler.Machine.Tests.SchedulerServingTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

let private assigning =
    testList "a task that is submitted" [
        test "goes to an idle worker at once" {
            let machine = idle 1
            let x = submission "x" 0 Result None (bytes "x")

            expect (machine.Take(Input.Submit(x, ""))) [
                Event.Submitted(taskId 1, x, settings.pipeline)
                assigned 1 1 1 0 1
            ] [ reply (FromScheduler.Accepted("x", taskId 1)); assign x 1 1 1 [ "a" ] Packed ]
        }

        test "is found again among many, until it ends" {
            let scheduler = Scheduler settings
            let decisions = StepOutput()

            let step input =
                scheduler.Step(input, Instant.zero, decisions)

            let x = submission "x" 0 Result None (bytes "x")

            let ids () =
                TaskView.all scheduler |> Array.map (fun task -> int task.id)

            for _ in 1..10_000 do
                step (Input.Submit(x, ""))

            Expect.equal (ids ()) [| 1..10_000 |] "all"

            for id in 1..10_000 do
                if id % 1_000 <> 0 then
                    step (Input.Cancel(taskId id, client))

            Expect.equal (ids ()) [| 1_000..1_000..10_000 |] "those that stay"

            for id in 1_000..1_000..10_000 do
                step (Input.Cancel(taskId id, client))

            Expect.isTrue scheduler.IsDone "none stays"
            step (Input.Submit(x, ""))
            Expect.equal (ids ()) [| 10_001 |] "the next one"
        }

        test "costs little when it comes alone" {
            // A page of the table, 32 KiB, was once made for each.
            let scheduler = Scheduler settings
            let decisions = StepOutput()

            let step input =
                scheduler.Step(input, Instant.zero, decisions)

            step (Input.Join(session 1, "w1", [| "a" |]))
            step (Input.Ready(session 1, 1))
            let x = submission "x" 0 Result None (bytes "x")
            let before = System.GC.GetAllocatedBytesForCurrentThread()

            for i in 1..1_000 do
                step (Input.Submit(x, ""))
                step (Input.Report(session 1, attempt i 1, Succeeded, Content.empty))
                decisions.Clear()

            let bytes = System.GC.GetAllocatedBytesForCurrentThread() - before
            Expect.isLessThan (bytes / 1_000L) 1_500L "bytes a task"
        }

        test "waits for a worker, and goes to the one that becomes ready" {
            let machine = Machine settings
            let x = submission "x" 0 Result None (bytes "x")

            expect (machine.Take(Input.Submit(x, ""))) [
                Event.Submitted(taskId 1, x, settings.pipeline)
            ] [ reply (FromScheduler.Accepted("x", taskId 1)) ]

            expect (machine.Worker(1, [ "a" ], 1)) [ assigned 1 1 1 0 1 ] [
                assign x 1 1 1 [ "a" ] Packed
            ]
        }

        test "is done when its result comes, and the slot is used again" {
            let machine = idle 1
            machine.Submit "x" |> ignore
            let y = submission "y" 0 Result None (bytes "y")
            machine.Do(Input.Submit(y, ""))

            expect (machine.Succeed(1, attempt 1 1)) [ completed 1 1; assigned 2 1 1 0 1 ] [
                doneWell "x" 1 1
                assign y 2 1 1 [ "a" ] Packed
            ]
        }

        test "is refused when its pipeline is not one" {
            let machine = Machine settings
            let events, effects = machine.Submit("x", pipeline = "nosuch")
            Expect.isEmpty events "events"

            match effects with
            | [ Effect.ToPeer(PeerEffect.Reply(to',
                                               FromScheduler.Rejected("x",
                                                                      RejectionCode.BadPipeline,
                                                                      _))) ] ->
                Expect.equal to' client "who is told"
            | other -> failtest $"%A{other}"

            Expect.isTrue machine.Scheduler.IsDone "no task is left"
        }

        test "may name a stage that a worker has offered" {
            let machine = Machine settings
            machine.Worker(1, [ "ocr" ], 1) |> ignore
            let _, effects = machine.Submit("x", pipeline = "ocr")
            Expect.equal (assignments effects) [ 1L, 1L, 1 ] "assignments"
        }
    ]

let private slots =
    testList "a worker" [
        test "gets nothing before it is ready" {
            let machine = Machine settings
            machine.SubmitAll [ "x" ]

            expect (machine.Take(Input.Join(session 1, "w1", [| "a" |]))) [
                Event.Joined(session 1, "w1", [| "a" |])
            ] []
        }

        test "joins once" {
            let machine = idle 1
            expect (machine.Take(Input.Join(session 1, "again", [| "b" |]))) [] []
        }

        test "never holds more than its slots" {
            let machine = Machine settings
            machine.SubmitAll [ "1"; "2"; "3" ]
            let _, effects = machine.Worker(1, [ "a" ], 2)
            Expect.equal (assignments effects) [ 1L, 1L, 1; 1L, 2L, 1 ] "two of three"
            expect (machine.Take(Input.Ready(session 1, 2))) [] []
        }

        test "drains with READY 0: nothing new, and what it has counts" {
            let machine = idle 1
            machine.SubmitAll [ "x"; "y" ]
            expect (machine.Take(Input.Ready(session 1, 0))) [] []

            expect (machine.Succeed(1, attempt 1 1)) [ completed 1 1 ] [ doneWell "x" 1 1 ]
        }

        test "that comes, or comes back, gets what the idle ones cannot run" {
            let machine = idle 1
            machine.Submit("x", pipeline = "b") |> ignore
            machine.Submit("y", pipeline = "b") |> ignore
            machine.Submit("z", pipeline = "b") |> ignore
            Expect.equal (givenOut (machine.Worker(2, [ "b" ], 1))) [ 2L, 1L, 1 ] "comes"
            let _, effects = machine.Succeed(2, attempt 1 1)
            Expect.equal (assignments effects) [ 2L, 2L, 1 ] "has a free slot again"
            machine.Do(Input.Ready(session 2, 0))
            machine.Succeed(2, attempt 2 1) |> ignore
            let _, effects = machine.Take(Input.Ready(session 2, 1))
            Expect.equal (assignments effects) [ 2L, 3L, 1 ] "is ready again"
        }

        test "keeps what it holds when its slots are lowered, and gets nothing until it is below" {
            let machine = idle 3
            machine.SubmitAll [ "1"; "2"; "3"; "4" ]
            expect (machine.Take(Input.Ready(session 1, 1))) [] []
            Expect.isEmpty (givenOut (machine.Succeed(1, attempt 1 1))) "two held"
            Expect.isEmpty (givenOut (machine.Succeed(1, attempt 2 1))) "one held"
            let _, effects = machine.Succeed(1, attempt 3 1)
            Expect.equal (assignments effects) [ 1L, 4L, 1 ] "below its slots"
        }

        test "takes turns with the other idle ones" {
            let machine = idle 2
            machine.Worker(2, [ "a" ], 2) |> ignore

            let workers = [
                for ref in [ "1"; "2"; "3"; "4" ] do
                    for worker, _, _ in assignments (snd (machine.Submit ref)) -> worker
            ]

            Expect.equal workers [ 1L; 2L; 1L; 2L ] "workers"
        }

        test "that is not known is ignored, whatever it sends" {
            let machine = Machine settings

            for input in
                [
                    Input.Ready(session 7, 3)
                    Input.Heard(session 7)
                    Input.Leave(session 7)
                    Input.Report(session 7, attempt 1 1, Succeeded, bytes "?")
                ] do
                Expect.equal (machine.Take input) nothing $"{input}"
        }
    ]

let private order =
    /// The ids in the order in which one worker with one slot is given them, ending each at once.
    let served (machine: Machine) worker count =
        let rec next served (effects: Effect list) =
            match assignments effects with
            | [ _, id, number ] when List.length served < count ->
                let attempt = attempt (int id) number
                next (id :: served) (snd (machine.Succeed(worker, attempt)))
            | _ -> List.rev served

        next [] (snd (machine.Take(Input.Ready(session worker, 1))))

    testList "the order of service" [
        test "is by priority, then first come, first served" {
            let machine = Machine settings
            machine.Do(Input.Join(session 1, "w1", [| "a" |]))

            for ref, priority in [ "1", 0; "2", 5; "3", -1; "4", 5; "5", 0 ] do
                machine.Submit(ref, priority = priority) |> ignore

            Expect.equal (served machine 1 5) [ 2L; 4L; 1L; 5L; 3L ] "ids"
        }

        test "is the same across the stages that tasks wait for" {
            let machine = Machine settings
            machine.Do(Input.Join(session 1, "w1", [| "a"; "b" |]))

            for ref, priority, pipeline in [ "1", 0, "b"; "2", 0, "a"; "3", 1, "b"; "4", 0, "b" ] do
                machine.Submit(ref, priority = priority, pipeline = pipeline) |> ignore

            Expect.equal (served machine 1 4) [ 3L; 1L; 2L; 4L ] "ids"
        }

        test "lets no task starve behind a stream of higher priority" {
            let machine = idle 1
            machine.Submit("busy", priority = 9) |> ignore
            machine.Submit("low", priority = 0) |> ignore

            // Two urgent tasks come in the time in which one is done.
            let rec turn round current =
                if round > 100 then
                    failtest "starved"

                machine.Submit($"u{round}", priority = 9) |> ignore
                machine.Submit($"v{round}", priority = 9) |> ignore
                machine.Pass(1_000L<ms>, [ session 1 ]) |> ignore

                match assignments (snd (machine.Succeed(1, current))) with
                | [ _, 2L, _ ] -> round
                | [ _, id, number ] -> turn (round + 1) (attempt (int id) number)
                | other -> failtest $"{other}"

            let round = turn 1 (attempt 1 1)
            Expect.isGreaterThanOrEqual round 30 "not before it has waited 30 s"
            Expect.isLessThanOrEqual round 40 "within so many turns"
        }

        test "of tasks that were handed on is first come, first served" {
            // They went to the front one by one, so that the first to be handed on was the last.
            let machine = idle 3

            for ref in [ "1"; "2"; "3" ] do
                machine.Submit(ref, pipeline = "a | b") |> ignore

            for task in 1..3 do
                machine.Succeed(1, attempt task 1) |> ignore

            machine.Do(Input.Join(session 2, "w2", [| "b" |]))
            Expect.equal (served machine 2 3) [ 1L; 2L; 3L ] "ids"
        }

        test "has what was begun before what is fresh" {
            let machine = idle 1
            machine.Submit("1", pipeline = "b") |> ignore
            machine.Submit("2", pipeline = "a | b") |> ignore
            machine.Succeed(1, attempt 2 1) |> ignore
            machine.Do(Input.Join(session 2, "w2", [| "b" |]))
            Expect.equal (served machine 2 2) [ 2L; 1L ] "ids"
        }

        test "lets no fresh task starve behind a stream of begun ones" {
            let machine = idle 2
            machine.Worker(2, [ "b" ], 1) |> ignore
            machine.Submit("0", pipeline = "b") |> ignore
            machine.Submit("fresh", pipeline = "b") |> ignore

            let rec turn round current =
                if round > 100 then
                    failtest "starved"

                for ref in [ "u"; "v" ] do
                    let _, effects = machine.Submit($"{ref}{round}", pipeline = "a | b")

                    for _, id, number in assignments effects do
                        machine.Succeed(1, attempt (int id) number) |> ignore

                machine.Pass(1_000L<ms>, [ session 1; session 2 ]) |> ignore

                match assignments (snd (machine.Succeed(2, current))) with
                | [ _, 2L, _ ] -> round
                | [ _, id, number ] -> turn (round + 1) (attempt (int id) number)
                | other -> failtest $"{other}"

            Expect.isLessThanOrEqual (turn 1 (attempt 1 1)) 40 "within so many turns"
        }
    ]

let private routing =
    testList "a pipeline" [
        test "is run by one worker as far as it can" {
            let machine = Machine settings
            machine.Worker(1, [ "a"; "b"; "d" ], 1) |> ignore
            let x = submission "x" 0 Result None (bytes "x")
            let events, effects = machine.Take(Input.Submit(x, "a | b | c | d"))
            Expect.contains events (assigned 1 1 1 0 2) "not the stage after the one it cannot run"
            Expect.contains effects (assign x 1 1 1 [ "a"; "b" ] Packed) "stages"
        }

        test "does not go to a worker that cannot run the next stage" {
            let machine = Machine settings
            machine.Worker(1, [ "b" ], 1) |> ignore
            Expect.isEmpty (givenOut (machine.Submit("x", pipeline = "a | b"))) "assignments"
        }

        test "is handed over with what it has come to, at the next attempt" {
            let machine = idle 1
            machine.Worker(2, [ "b"; "c" ], 1) |> ignore
            let x = submission "x" 0 Result None (spooled "in")
            machine.Do(Input.Submit(x, "a | b | c"))

            expect (machine.Report(1, attempt 1 1, Succeeded, spooled "between")) [
                Event.Advanced(attempt 1 1, 1, Held(spooled "between"))
                assigned 1 2 2 1 3
            ] [
                Effect.ToDisk(DiskEffect.Discard "in")
                assign x 1 2 2 [ "b"; "c" ] (kept (spooled "between"))
            ]

            expect (machine.Report(2, attempt 1 2, Succeeded, spooled "out")) [ completed 1 2 ] [
                Effect.ToDisk(DiskEffect.Discard "between")
                Effect.ToPeer(PeerEffect.ReplyResult(client, doneFor "x" 1 2, spooled "out"))
            ]
        }

        test "goes on where it was when a later worker is lost" {
            let machine = idle 1
            machine.Worker(2, [ "b" ], 1) |> ignore
            let x = submission "x" 0 Result None (bytes "x")
            machine.Do(Input.Submit(x, "a | b"))
            machine.Report(1, attempt 1 1, Succeeded, spooled "between") |> ignore
            machine.Lose 2 |> ignore
            let _, effects = machine.Worker(3, [ "a"; "b" ], 1)
            Expect.equal effects [ assign x 1 3 3 [ "b" ] (kept (spooled "between")) ] "effects"
        }
    ]

[<Tests>]
let tests = testList "the scheduler.serving" [ assigning; slots; order; routing ]
