/// What holds whatever happens where payloads are worked on in pieces.
module FsScheduler.Core.Tests.SchedulerSplitProperties

open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Core.Tests.SchedulerHistory
open FsScheduler.Core.Tests.SchedulerRun
open FsScheduler.Core.Tests.SchedulerProperties

let private newRun () = Run(inHistories, worldOf inHistories)

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

        let arbitrary = Histories.History()

        Arb.fromGenShrink (
            Gen.map (fun history -> start @ history) arbitrary.Generator,
            arbitrary.Shrinker
        )

let private property name (check: Action list -> unit) =
    testPropertyWithConfig
        { config with maxTest = 200; arbitrary = [ typeof<SplitHistories> ] }
        name
        check

let tests =
    testList "whatever happens to pieces" [
        test "the histories are not vain" {
            let mutable seen = Set.empty
            let gen = SplitHistories.History().Generator
            let histories = Gen.sampleWithSeed (Rnd(1UL, 3UL)) 50 800 gen

            for history in histories do
                let see run =
                    seen <- Set.union seen (set (sights run))

                newRun().Follow(history, see)

            let expected =
                set [
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

            let unseen = Set.difference expected seen
            Expect.isEmpty unseen $"never seen: %A{unseen}"
        }

        yield! ofEvery property newRun

        testList "also where what waits is left to the journal" [
            isWhatEventsMake property (fun () ->
                let settings = { inHistories with memory = 100L<B> }
                Run(settings, worldOf settings))
        ]

        property "the state is sound where what waits is left to the journal" (fun history ->
            let settings = { inHistories with memory = 100L<B> }

            let check (run: Run) =
                Expect.isEmpty (Invariants.violations run.Scheduler) "violations"

            followOn (Run(settings, worldOf settings)) check history |> ignore)

        property "what is joined is the first result of each piece, in order" (fun history ->
            let run = followOn (newRun ()) ignoreRun history
            let parts = Dictionary<TaskId, Dictionary<int, Payload>>()
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
                    | Effect.Join(attempt, _, joined) ->
                        let known = parts[attempt.task]
                        let inOrder = [| for index in 0 .. known.Count - 1 -> known[index] |]
                        Expect.equal joined inOrder "parts"
                    | _ -> ())
    ]
