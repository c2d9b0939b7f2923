/// What holds whatever happens where payloads are worked on in pieces.
module FsScheduler.Machine.Tests.SchedulerSplitProperties

open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit.SchedulerActions
open FsScheduler.TestKit.SchedulerHistory
open FsScheduler.Machine.Tests.SchedulerRun
open FsScheduler.Machine.Tests.SchedulerProperties

let private newRun () = Run(inHistories, worldOf inHistories)

/// Time passes, and workers are heard meanwhile.
let private wait = [ HeardAll; Tick 3 ]

/// Actions that come to something in this order only.
let private phrase: Gen<Action list> =
    Gen.map4
        (fun which pick other isGood ->
            match which with
            // Most pieces are done, and the others take long; then one of them is done, or fails for good.
            | 0 -> [
                Ready(0, 4)
                Ready(1, 4)
                Cut(0, 5)
                yield! wait
                Succeed pick
                yield! wait
                Succeed other
                yield! wait
                yield! wait
                if isGood then Succeed pick else Fail(pick, false)
                if isGood then Succeed other else Fail(other, false)
              ]
            // No parts can be put together, until that is given up, and then they can.
            | 1 -> [
                for _ in 1..3 do
                    JoinParts(0, false)
                    JoinParts(0, false)
                    JoinParts(0, false)
                    yield! wait
                RetryAll
                JoinParts(0, isGood)
              ]
            // Workers are lost with the same tasks again and again.
            | 2 -> [
                for _ in 1..5 do
                    Leave 0
                    Join 15
                    Ready(0, 2)
                    Ready(1, 2)
              ]
            // All that is old is dropped, while parts are put together.
            | _ -> [
                Retain(99, 5, true, isGood)
                for _ in 1..5 do
                    yield! wait
                JoinParts(0, true)
                yield! wait
              ])
        (Gen.choose (0, 3))
        (Gen.choose (0, 5))
        (Gen.choose (0, 5))
        (Gen.elements [ true; false ])

/// Those of `Histories`, with two workers that can do everything, and payloads, to begin with.
type SplitHistories =
    static member History() : Arbitrary<Action list> =
        let start = [
            Join 15
            Join 15
            Ready(0, 4)
            Ready(1, 2)
            Submit(0, 1, 0, 9)
            Submit(0, 0, 0, 9)
            Submit(0, 3, 1, 9)
            Submit(0, 0, 0, 9)
        ]

        let single = Gen.map List.singleton action

        let history actions =
            Gen.choose (5, 120)
            |> Gen.bind (fun n -> Gen.listOfLength n actions)
            |> Gen.map (fun actions -> start @ List.concat actions)

        let history =
            Gen.oneof [ history single; history (Gen.frequency [ 15, single; 1, phrase ]) ]

        Arb.fromGenShrink (history, Histories.History().Shrinker)

let splitProperty name (check: Action list -> unit) =
    testPropertyWithConfig
        { config with maxTest = 200; arbitrary = [ typeof<SplitHistories> ] }
        name
        check

[<Tests>]
let tests =
    testList "the scheduler.whatever happens to pieces" [
        test "the histories are not vain" {
            SplitHistories.History()
            |> expectSeen
                newRun
                [
                    "split"
                    "part"
                    "speculated"
                    "carried part"
                    "carried Split"
                    "a part is gone"
                    "cannot be cut"
                    "another worker was faster with this piece"
                    "poison"
                    "claimed"
                    "superseded by a newer version of the file"
                ]
                2_000
        }

        yield! ofEvery splitProperty newRun

        testList "also where what waits is left to the journal" [
            isWhatEventsMake splitProperty (fun () ->
                let settings = { inHistories with memory = 100L<B> }
                Run(settings, worldOf settings))
        ]

        splitProperty "the state is sound where what waits is left to the journal" (fun history ->
            let settings = { inHistories with memory = 100L<B> }

            let check (run: Run) =
                Expect.isEmpty (Invariants.violations run.Scheduler) "violations"

            followOn (Run(settings, worldOf settings)) check history |> ignore)

        splitProperty "what is joined is the first result of each piece, in order" (fun history ->
            let run = followOn (newRun ()) ignoreRun history
            let parts = Dictionary<TaskId, Dictionary<int, KeptContent>>()
            let counts = Dictionary<TaskId, int>()

            for step in run.Steps do
                for event in step.events do
                    match event with
                    | Event.Split(attempt, _, _, cuts) ->
                        parts.TryAdd(attempt.task, Dictionary()) |> ignore
                        counts[attempt.task] <- cuts.Length
                    | Event.Part(whole, index, part) ->
                        Expect.isTrue (parts[whole].TryAdd(index, part)) "no piece has two results"
                    | Event.Advanced(attempt, _, _)
                    | Event.Accepted(attempt, _) -> parts.Remove attempt.task |> ignore
                    | Event.Retried id ->
                        // Where nothing was missing, all is run again.
                        match parts.TryGetValue id with
                        | true, known when known.Count = counts[id] -> known.Clear()
                        | _ -> ()
                    | _ -> ()

                for effect in step.effects do
                    match effect with
                    | Effect.ToPieces(PieceEffect.MergeParts(attempt, _, joined)) ->
                        let known = parts[attempt.task]
                        let inOrder = [| for index in 0 .. known.Count - 1 -> known[index] |]
                        Expect.equal joined inOrder "parts"
                    | _ -> ())
    ]
