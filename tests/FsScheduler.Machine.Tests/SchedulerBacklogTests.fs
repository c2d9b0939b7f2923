/// A slow stage bounds what is spooled before it.
module FsScheduler.Machine.Tests.SchedulerBacklogTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture

/// Three results of 10 bytes are enough before a stage.
let private small = { settings with spoolBytes = 25L<B> }

/// Worker 1 runs `a` on one slot; worker 2 runs `b`, and takes nothing yet.
let private farm () =
    let machine = Machine small
    machine.Worker(1, [ "a" ], 1) |> ignore
    machine.Worker(2, [ "b" ], 0) |> ignore
    machine

let private given (effects: Effect list) =
    assignments effects |> List.map (fun (worker, task, _) -> worker, task)

/// Worker 1 is done with the first stage of a task, whose result has 10 bytes.
let private advance (machine: Machine) number =
    machine.Report(1, attempt number 1, Succeeded, Spooled($"s{number}", 10L<B>))

/// Tasks 1 to 5 for `a | b`, of which worker 1 has done three.
let private filled () =
    let machine = farm ()

    for number in 1..5 do
        machine.Submit($"x{number}", pipeline = "a | b") |> ignore

    for number in 1..3 do
        advance machine number |> ignore

    machine

[<Tests>]
let tests =
    testList "the scheduler.back-pressure" [
        test "who could only add to what waits gets nothing" {
            Expect.equal (filled ()).Phases (List.replicate 5 "queued") "worker 1 is idle"
        }

        test "until the slow stage has taken some" {
            let machine = filled ()
            let _, effects = machine.Take(Input.Ready(session 2, 1))
            Expect.equal (given effects) [ 2L, 1L ] "what lies there is taken"
            let _, effects = machine.Succeed(2, attempt 1 2)
            Expect.equal (List.sort (given effects)) [ 1L, 4L; 2L, 2L ] "and worker 1 goes on"
        }

        test "or until what waits is in quarantine, and not for ever" {
            let machine = filled ()
            machine.Do(Input.Ready(session 2, 1))

            let _, effects = machine.Report(2, attempt 1 2, Failed("bad", false), Content.empty)

            Expect.equal (List.sort (given effects)) [ 1L, 4L; 2L, 2L ] "worker 1 goes on"
            machine.Do(Input.Retry(taskId 1, client))
            machine.Do(Input.Cancel(taskId 1, client))
        }

        test "or until what waits is cancelled" {
            let machine = filled ()
            let _, effects = machine.Take(Input.Cancel(taskId 2, client))
            Expect.equal (given effects) [ 1L, 4L ] "goes on"
        }

        test "a worker that runs the next stage too is not held back" {
            let machine = filled ()
            let _, effects = machine.Worker(3, [ "a"; "b" ], 9)

            Expect.equal
                (List.sort (given effects))
                [ for task in 1L .. 5L -> 3L, task ]
                "all of it"
        }

        test "other work of the same stage goes on" {
            let machine = filled ()
            let _, effects = machine.Submit("y", pipeline = "a")
            Expect.equal (given effects) [ 1L, 6L ] "its last stage"
            machine.Succeed(1, attempt 6 1) |> ignore
            let _, effects = machine.Submit("z", pipeline = "a | c")
            Expect.equal (given effects) [ 1L, 7L ] "another stage after it"
        }

        test "a stage further ahead holds back too" {
            let machine = farm ()
            machine.Worker(3, [ "c" ], 0) |> ignore

            for number in 1..4 do
                machine.Submit($"x{number}", pipeline = "a | b | c") |> ignore

            machine.Do(Input.Ready(session 2, 9))

            for number in 1..3 do
                let result () = Spooled($"s{number}", 10L<B>)
                machine.Report(1, attempt number 1, Succeeded, result ()) |> ignore
                machine.Report(2, attempt number 2, Succeeded, result ()) |> ignore

            // The fourth was begun before.
            let _, effects = machine.Report(1, attempt 4 1, Succeeded, Spooled("s4", 10L<B>))

            Expect.equal (given effects) [ 2L, 4L ] "and goes on"
            let _, effects = machine.Submit("x5", pipeline = "a | b | c")
            Expect.isEmpty (given effects) "nothing new is begun"

            Expect.equal (machine.Explain 5) (Some(HeldBack("a", "c"))) "why it waits"
        }

        test "pipelines that cross do not wait for each other" {
            let machine = farm ()

            for pipeline in [ "a | b | a"; "b | a | b" ] do
                for number in 1..3 do
                    machine.Submit($"{pipeline}{number}", pipeline = pipeline) |> ignore

            machine.Do(Input.Ready(session 2, 1))

            let mutable steps = 0

            while not machine.States.IsEmpty && steps < 100 do
                steps <- steps + 1

                for worker in 1..2 do
                    for attempt in machine.Held worker do
                        let result = Spooled($"s{attempt.task}-{attempt.number}", 10L<B>)
                        machine.Report(worker, attempt, Succeeded, result) |> ignore

            Expect.isEmpty machine.States "all of them came to their end"
        }

        test "a file in pieces is held back by what comes after them" {
            let machine = Machine { small with split = 100L<B> }
            machine.Worker(1, [ "lower" ], 1) |> ignore
            machine.Worker(2, [ "a" ], 1) |> ignore
            let big = Spooled("big", 300L<B>)

            let submit pipeline =
                let submission = submission "x" 0 Result None big
                machine.Take(Input.Submit(submission, pipeline)) |> ignore

            submit "lower | d"
            machine.Do(Input.Cut(attempt 1 0, [| 100L<B>; 200L<B>; 300L<B> |]))
            machine.Submit("y", pipeline = "a | d") |> ignore

            // The task 1 is in three pieces, 2 to 4; 5 is done and lies before `d`, which nobody runs.
            machine.Report(2, attempt 5 1, Succeeded, Spooled("s", 50L<B>)) |> ignore
            let _, effects = machine.Report(1, attempt 2 1, Succeeded, spooled "p")
            Expect.isEmpty (given effects) "no further piece"

            Expect.equal (machine.Explain 3) (Some(HeldBack("lower", "d"))) "why it waits"

            let _, effects = machine.Take(Input.Cancel(taskId 5, client))
            Expect.equal (given effects) [ 1L, 3L ] "until there is room"
        }

        test "a file that has come out of what lies there is not, nor are its pieces" {
            let machine = Machine { small with split = 100L<B> }
            machine.Worker(1, [ "lower" ], 1) |> ignore
            machine.Worker(2, [ "a" ], 2) |> ignore

            for number in 1..2 do
                machine.Submit($"y{number}", pipeline = "a | lower | d") |> ignore

            machine.Report(2, attempt 1 1, Succeeded, Spooled("s1", 50L<B>)) |> ignore
            machine.Report(2, attempt 2 1, Succeeded, Spooled("s2", 300L<B>)) |> ignore
            machine.Report(1, attempt 1 2, Succeeded, Spooled("s3", 50L<B>)) |> ignore

            let _, effects =
                machine.Take(Input.Cut(attempt 2 1, [| 100L<B>; 200L<B>; 300L<B> |]))

            Expect.equal (given effects) [ 1L, 3L ] "its first piece"
        }

        for pipeline, first in [ "tally", "tally.part"; "lower | tally", "lower" ] do
            test $"what is to be merged lies before that: {pipeline}" {
                let machine = Machine { small with split = 100L<B>; expected = [| "tally" |] }

                machine.Worker(1, [ "lower"; "tally"; "tally.part" ], 1) |> ignore
                machine.Worker(2, [ "tally.merge" ], 1) |> ignore
                machine.Worker(3, [ "a" ], 1) |> ignore
                machine.Submit("busy", pipeline = "a") |> ignore

                let submit ref =
                    let submission = submission ref 0 Result None (Spooled(ref, 300L<B>))
                    machine.Take(Input.Submit(submission, pipeline)) |> ignore

                submit "x"
                machine.Do(Input.Cut(attempt 2 0, [| 300L<B> |]))
                machine.Report(1, attempt 3 1, Succeeded, spooled "p") |> ignore
                submit "y"
                machine.Do(Input.Cut(attempt 4 0, [| 150L<B>; 300L<B> |]))

                // The first piece of `y` was begun before the parts of `x` were joined.
                let merge, effects = machine.Take(Input.PartsMerged(attempt 2 1, spooled "parts"))
                Expect.equal (given effects) [ 2L, 2L ] $"who merges {merge}"
                let _, effects = machine.Report(1, attempt 5 1, Succeeded, spooled "p")
                Expect.isEmpty (given effects) "no further piece"

                Expect.equal
                    (machine.Explain 6)
                    (Some(HeldBack(first, "tally.merge")))
                    "why it waits"

                let _, effects = machine.Succeed(2, attempt 2 2)
                Expect.equal (given effects) [ 1L, 6L ] "until there is room"
            }

        test "what is to be merged is not held back, also by the first stage" {
            let machine = Machine { small with split = 100L<B>; expected = [| "tally"; "d" |] }

            machine.Worker(1, [ "tally"; "tally.part" ], 1) |> ignore
            machine.Worker(2, [ "a" ], 1) |> ignore
            machine.Worker(3, [ "tally.merge"; "c" ], 1) |> ignore
            let submission = submission "x" 0 Result None (Spooled("x", 300L<B>))
            machine.Take(Input.Submit(submission, "tally | d")) |> ignore
            machine.Do(Input.Cut(attempt 1 0, [| 300L<B> |]))
            machine.Submit("y", pipeline = "a | d") |> ignore
            machine.Report(2, attempt 3 1, Succeeded, spooled "d") |> ignore
            let _, effects = machine.Submit("z", pipeline = "a | d")
            Expect.isEmpty (given effects) "there is enough before d"
            machine.Submit("busy", pipeline = "c") |> ignore
            machine.Report(1, attempt 2 1, Succeeded, spooled "p") |> ignore
            machine.Do(Input.PartsMerged(attempt 1 1, spooled "parts"))
            let _, effects = machine.Succeed(3, attempt 5 1)
            Expect.equal (given effects) [ 3L, 1L ] "the merge"
        }

        test "pieces and files with the same stages are not taken for each other after a restart" {
            let machine = Machine { small with split = 100L<B> }
            let big = Spooled("big", 300L<B>)
            let cut = submission "x" 0 Result None big
            let whole, lower = pipeline [ "lower"; "d" ], pipeline [ "lower" ]

            machine.Restart [
                Event.Submitted(taskId 1, cut, pipeline [ "a"; "d" ])
                Event.Advanced(attempt 1 1, 1, Held(spooled "s"))
                Event.Submitted(taskId 2, cut, whole)
                Event.Split(attempt 2 1, 1, ValueNone, [| 300L<B> |])
                Event.Submitted(
                    taskId 3,
                    cut.Piece(taskId 2, 0, Slice(kept big, 0L<B>, 300L<B>)),
                    lower
                )
                Event.Submitted(taskId 4, submission "y" 0 Result None (bytes "y"), lower)
            ]
            |> ignore

            Expect.equal
                (given (snd (machine.Worker(5, [ "lower" ], 2))))
                [ 5L, 4L ]
                "not the piece"
        }

        test "it holds over a restart" {
            let machine = farm ()

            let events = [
                for number in 1..5 do
                    yield! fst (machine.Submit($"x{number}", pipeline = "a | b"))

                for number in 1..3 do
                    yield! fst (advance machine number)
            ]

            let machine = Machine small
            machine.Restart events |> ignore
            let _, effects = machine.Worker(4, [ "a" ], 1)
            Expect.isEmpty (given effects) "nothing for it"
        }

        test "explain says so" {
            let machine = filled ()

            Expect.equal (machine.Explain 4) (Some(HeldBack("a", "b"))) "why it waits"
        }
    ]
