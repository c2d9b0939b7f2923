/// Workers' own stages, of which some offer another form for pieces.
module FsScheduler.Machine.Tests.SchedulerExpansionTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Machine.Tests.SchedulerSplitSupport

let private known = [| "each"; "tally"; "d" |]

let private parsed text =
    match Pipeline.parse (HashSet known) text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

let private recorded text =
    match Pipeline.parseRecorded text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

/// The stages of the pieces of a big payload, where a worker offers these, and whether the event names them; none: it was
/// given out whole.
let private split (offers: string list) (pipeline: string) =
    let machine = Machine { splitting with expected = known }
    machine.Worker(1, offers, 2) |> ignore
    machine.Do(Input.Submit(submission "x" 0 Result None big, pipeline))
    let events, _ = machine.Take(Input.Cut(attempt 1 0, cuts))

    let others =
        events
        |> List.tryPick (function
            | Event.Split(_, _, others, _) -> Some(ValueOption.map Pipeline.print others)
            | _ -> None)

    let pieces =
        events
        |> List.choose (function
            | Event.Submitted(_, _, pipeline) -> Some(Pipeline.print pipeline)
            | _ -> None)
        |> List.distinct

    match others, pieces with
    | None, [] -> ""
    | Some ValueNone, [ own ] -> own
    | Some(ValueSome others), [ piece ] ->
        Expect.equal others piece "as recorded"
        "others: " + piece
    | _ -> failtest $"{others}, {pieces}"

let private tally = [ "tally"; "tally.part"; "tally.merge" ]

let private forms =
    testList "a stage for pieces" [
        for offers, pipeline, pieces in
            [
                [ "each"; "each.lines" ], "each:3", "others: each.lines:3"
                [ "each"; "each.lines"; "d" ], "each | lower | d", "others: each.lines | lower"
                tally, "tally:\"a|b\"", "others: tally.part:\"a|b\""
                "d" :: tally, "tally | d", "others: tally.part"
                [ "lower"; "each"; "each.lines"; yield! tally ],
                "lower | each | tally | lower",
                "others: lower | each.lines | tally.part"
                // Both are needed, and the parts are never the result.
                [ "tally"; "tally.part" ], "tally", ""
                [ "tally"; "tally.merge" ], "tally", ""
                [ "each" ], "each", ""
                // Built in: what it is is known. A program as well.
                [ "head"; "head.lines" ], "head:3", ""
                [ "lower"; "sort"; "sort.lines" ], "lower | sort", "lower | sort"
                [ "exec:cat"; "exec.lines"; "exec:cat.lines" ], "exec:cat", ""
                // A name alone says nothing of a stage.
                tally, "tally.part | tally.merge", ""
            ] do
            test $"{pipeline}, of {offers}" {
                Expect.equal (split offers pipeline) pieces "the stages of pieces"
            }

        test "is not taken where their pipeline would be too long" {
            let argument = String.replicate (Pipeline.lengthMax - 10) "x"
            let pipeline = "each:" + argument
            Expect.equal (split [ "each"; "each.lines" ] pipeline) "" "too many characters"
        }

        test "is not taken from who takes no work" {
            for leave in [ Input.Ready(session 2, 0); Input.Drain("w2", session 9) ] do
                let machine = Machine { splitting with expected = known }
                machine.Worker(2, [ "each"; "each.lines" ], 2) |> ignore
                machine.Do leave
                machine.Do(Input.Submit(submission "x" 0 Result None big, "each"))
                let events, _ = machine.Worker(1, [ "each" ], 2)
                Expect.equal events [ assigned 1 1 1 0 1 ] "given out whole"
        }
    ]

/// Task 1 is `tally | d`, in three pieces, which are the tasks 2 to 4.
let private tallied () =
    inPiecesBy { splitting with expected = known } ("d" :: tally) 2 "tally | d" Result

/// What workers are given, stages and payload.
let private stagesGiven (effects: Effect list) = [
    for effect in effects do
        match effect with
        | Effect.ToPeer(PeerEffect.Assign(_, message, _, payload)) ->
            List.ofArray message.stages, payload
        | _ -> ()
]

let private flow =
    testList "its parts" [
        test "are put one behind the other, and go to the stage that merges them" {
            let machine = tallied ()
            succeed machine 2 "2" |> ignore
            succeed machine 3 "3" |> ignore
            let _, effects = succeed machine 4 "4"

            Expect.equal
                (joins effects)
                [ attempt 1 1, ValueNone, textParts [ "2"; "3"; "4" ] ]
                "joined"

            let _, effects = machine.Take(Input.PartsMerged(attempt 1 1, bytes "234"))

            Expect.equal
                (stagesGiven effects)
                [ [ "tally.merge"; "d" ], kept (bytes "234") ]
                "what the worker gets"
        }

        test "are kept over a restart, as long as they are to be merged" {
            let machine = inPiecesBy { splitting with expected = known } tally 2 "tally" Result

            let destination number =
                ResultTarget.ofResult (attempt 1 number) machine.Scheduler

            Expect.equal (destination 1) ResultTarget.Kept "ahead of the last"

            for piece in 2..4 do
                succeed machine piece "x" |> ignore

            Expect.equal (destination 1) ResultTarget.Kept "one behind the other"
            machine.Do(Input.PartsMerged(attempt 1 1, bytes "xxx"))
            Expect.equal (destination 2) ResultTarget.Sent "merged"
        }

        test "are joined again, where they come to nothing" {
            let machine = tallied ()

            for piece in 2..4 do
                succeed machine piece "x" |> ignore

            machine.Do(Input.MergeFailed(attempt 1 1, "no room"))
            machine.Wait 10_000L<ms>
            let _, effects = machine.Take Input.Tick

            Expect.exists
                effects
                (function
                | Effect.ToPieces(PieceEffect.MergeParts _) -> true
                | _ -> false)
                "joined again"
        }

        test "are given up where nobody does pieces any more when it is known where they end" {
            let machine = Machine { splitting with expected = known }
            machine.Worker(1, "d" :: tally, 2) |> ignore
            machine.Do(Input.Submit(submission "x" 0 Result None big, "tally | d"))
            machine.Do(Input.Leave(session 1))
            machine.Worker(2, [ "tally"; "d" ], 2) |> ignore
            let events, _ = machine.Take(Input.Cut(attempt 1 0, cuts))
            Expect.equal events [ assigned 1 1 2 0 2 ] "given out whole"
        }
    ]

let private alone =
    testList "a whole whose pieces nobody runs any more" [
        test "is given out as it was submitted, when that has lasted" {
            let machine = tallied ()
            succeed machine 2 "2" |> ignore
            machine.Worker(2, [ "tally"; "d" ], 1) |> ignore
            machine.Do(Input.Leave(session 1))
            let events, _ = machine.Pass(splitting.lostAfter - 1L<ms>, [ session 2 ])
            Expect.isEmpty (events |> List.filter _.IsRequeued) "not yet"
            let events, _ = machine.Pass(3_000L<ms>, [ session 2 ])

            Expect.exists
                events
                (function
                | Event.Requeued(id, failure) ->
                    id = taskId 1
                    && failure.cause = WorkerLeft
                    && failure.error.Contains "tally.part"
                | _ -> false)
                "why"

            Expect.contains events (assigned 1 2 2 0 2) "all of it, by its own stages"
        }

        test "waits where nobody runs its own stages either" {
            let machine = tallied ()
            machine.Worker(2, [ "d" ], 1) |> ignore
            machine.Do(Input.Leave(session 1))
            let events, _ = machine.Pass(3L * splitting.lostAfter, [ session 2 ])
            Expect.isEmpty (events |> List.filter _.IsRequeued) "there is nobody"
        }

        test "loses no part to a worker that comes back" {
            let machine = tallied ()
            succeed machine 2 "2" |> ignore
            machine.Do(Input.Leave(session 1))
            machine.Pass(2_000L<ms>, []) |> ignore
            machine.Worker(2, "d" :: tally, 2) |> ignore

            let report task =
                machine.Report(2, attempt task 2, Succeeded, bytes (string task))

            report 3 |> ignore
            let _, effects = report 4
            Expect.hasLength (joins effects) 1 "nothing is run again"
        }
    ]

let private afterRestart =
    testList "after a restart" [
        test "it is known by its stages for pieces" {
            let whole = submission "x" 0 Result None big

            let events, _ =
                (Machine { splitting with expected = known }).Restart [
                    Event.Submitted(taskId 1, whole, parsed "tally | d")
                    Event.Split(attempt 1 1, 1, ValueSome(recorded "tally.part"), cuts)
                ]

            Expect.equal
                [
                    for event in events do
                        match event with
                        | Event.Submitted(_, _, pipeline) -> Pipeline.print pipeline
                        | _ -> ()
                ]
                (List.replicate 3 "tally.part")
                "pieces"
        }

        test "what merges its parts is known by the event that they are there" {
            let machine = Machine { splitting with expected = known }
            let whole = submission "x" 0 Result None big
            let others = recorded "lower | tally.part:3"

            let _, effects =
                machine.Restart [
                    Event.Submitted(taskId 1, whole, parsed "lower | tally:3 | d")
                    Event.Split(attempt 1 1, 2, ValueSome others, [| 300L<B> |])
                    Event.Submitted(taskId 2, whole.Piece(taskId 1, 0, kept big), others)
                    Event.Part(taskId 1, 0, Held(bytes "part"))
                    completed 2 1
                    Event.Advanced(attempt 1 1, 1, Held(bytes "part"))
                ]

            let _, later = machine.Worker(1, "d" :: tally, 1)

            Expect.equal
                (stagesGiven (effects @ later) |> List.map fst)
                [ [ "tally.merge:3"; "d" ] ]
                "what the worker gets"
        }
    ]

[<Tests>]
let tests =
    testList "the scheduler.stages for pieces" [ forms; flow; alone; afterRestart ]
