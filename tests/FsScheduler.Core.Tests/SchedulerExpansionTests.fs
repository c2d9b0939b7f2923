/// Workers' own stages, of which some offer another form for pieces.
module FsScheduler.Core.Tests.SchedulerExpansionTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Core.Tests.SchedulerSplitTests

let private known = [| "each"; "tally"; "d" |]

let private parsed text =
    match Pipeline.parse (HashSet known) text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

/// The stages of a big payload, and those of its pieces, where a worker offers these; none: it was given out whole.
let private split (offers: string list) (pipeline: string) =
    let machine = Machine { splitting with expected = known }
    machine.Worker(1, offers, 2) |> ignore
    machine.Do(Input.Submit(submission "x" 0 Result None big, pipeline))
    let events, _ = machine.Take(Input.Cut(attempt 1 0, cuts))

    let whole =
        events
        |> List.tryPick (function
            | Event.Expanded(_, pipeline) -> Some(Pipeline.print pipeline)
            | _ -> None)

    let pieces =
        events
        |> List.choose (function
            | Event.Submitted(_, _, pipeline) -> Some(Pipeline.print pipeline)
            | _ -> None)
        |> List.distinct

    whole, pieces

let private tally = [ "tally"; "tally.part"; "tally.merge" ]

let private forms =
    testList "a stage for pieces" [
        for offers, pipeline, whole, pieces in
            [
                [ "each"; "each.lines" ], "each:3", Some "each.lines:3", [ "each.lines:3" ]
                [ "each"; "each.lines"; "d" ],
                "each | lower | d",
                Some "each.lines | lower | d",
                [ "each.lines | lower" ]
                tally,
                "tally:\"a|b\"",
                Some "tally.part:\"a|b\" | tally.merge:\"a|b\"",
                [ "tally.part:\"a|b\"" ]
                "d" :: tally, "tally | d", Some "tally.part | tally.merge | d", [ "tally.part" ]
                [ "lower"; "each"; "each.lines"; yield! tally ],
                "lower | each | tally | lower",
                Some "lower | each.lines | tally.part | tally.merge | lower",
                [ "lower | each.lines | tally.part" ]
                // Both are needed, and the parts are never the result.
                [ "tally"; "tally.part" ], "tally", None, []
                [ "tally"; "tally.merge" ], "tally", None, []
                [ "each" ], "each", None, []
                // Built in: what it is is known.
                [ "head"; "head.lines" ], "head:3", None, []
                [ "lower"; "sort"; "sort.lines" ], "lower | sort", None, [ "lower | sort" ]
                // Somebody may name the form itself.
                tally, "tally.part | tally.merge", None, [ "tally.part" ]
            ] do
            test $"{pipeline}, of {offers}" {
                Expect.equal (split offers pipeline) (whole, pieces) "whole and pieces"
            }

        test "is not taken where the pipeline would be too long" {
            let stages = List.replicate (Pipeline.stagesMax - 1) "lower" @ [ "tally" ]
            let pipeline = String.concat " | " stages

            let first =
                String.concat " | " (List.init (Pipeline.stagesMax - 1) (fun _ -> "lower"))

            Expect.equal (split ("lower" :: tally) pipeline) (None, [ first ]) "one stage too many"
        }
    ]

/// Task 1 is `tally | d`, in three pieces, which are the tasks 2 to 4.
let private tallied () =
    let machine = Machine { splitting with expected = known }
    machine.Worker(1, "d" :: tally, 2) |> ignore
    machine.Do(Input.Submit(submission "x" 0 Result None big, "tally | d"))
    machine.Do(Input.Cut(attempt 1 0, cuts))
    machine

let private flow =
    testList "its parts" [
        test "are put one behind the other, and go to the stage that merges them" {
            let machine = tallied ()
            succeed machine 2 "2" |> ignore
            succeed machine 3 "3" |> ignore
            let _, effects = succeed machine 4 "4"

            Expect.equal
                (joins effects)
                [ attempt 1 1, ValueNone, [ bytes "2"; bytes "3"; bytes "4" ] ]
                "joined"

            let _, effects = machine.Take(Input.Joined(attempt 1 1, bytes "234"))

            Expect.equal
                [
                    for effect in effects do
                        match effect with
                        | Effect.Assign(_, message, _, payload) ->
                            List.ofArray message.stages, payload
                        | _ -> ()
                ]
                [ [ "tally.merge"; "d" ], bytes "234" ]
                "what the worker gets"
        }

        test "are for a pipeline that stays, also where they come to nothing" {
            let machine = tallied ()

            for piece in 2..4 do
                succeed machine piece "x" |> ignore

            machine.Do(Input.Unjoined(attempt 1 1, "no room"))
            machine.Wait 10_000L<ms>
            let events, effects = machine.Take Input.Tick

            Expect.isEmpty (events |> List.filter _.IsExpanded) "it is expanded already"

            Expect.exists effects _.IsJoin "joined again"
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

let private restart =
    test "after a restart it is known by its stages for pieces" {
        let whole = submission "x" 0 Result None big
        let expanded = parsed "tally | d"

        let expanded =
            match Pipeline.parseRecorded "tally.part | tally.merge | d" with
            | Ok pipeline -> pipeline
            | Error error -> failwith $"{expanded}: {error.message}"

        let history = [
            Event.Submitted(taskId 1, whole, parsed "tally | d")
            Event.Expanded(taskId 1, expanded)
            Event.Split(attempt 1 1, 1, cuts)
        ]

        let scheduler = Scheduler { splitting with expected = known }

        let numbered =
            history
            |> Seq.mapi (fun index event -> struct (int64 index + 1L, Instant.zero, event))

        let decisions = Decisions()
        scheduler.Restore(numbered, Instant.zero)
        scheduler.Resume(Dictionary(), Instant.zero, decisions)
        Expect.isEmpty (Invariants.violations scheduler) "violations"

        Expect.equal
            [
                for event in decisions.Events do
                    match event with
                    | Event.Submitted(_, _, pipeline) -> Pipeline.print pipeline
                    | _ -> ()
            ]
            (List.replicate 3 "tally.part")
            "pieces"
    }

let tests = testList "stages for pieces" [ forms; flow; restart ]
