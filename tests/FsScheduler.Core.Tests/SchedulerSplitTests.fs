/// Large payloads that are worked on in pieces.
module FsScheduler.Core.Tests.SchedulerSplitTests

open System.Collections.Generic
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Core.Tests.SchedulerHistory
open FsScheduler.Core.Tests.SchedulerProperties

/// Everything above 100 bytes is split.
let private splitting = { SchedulerFixture.settings with split = 100L<B>; speculate = 3.0 }

let private stages = [ "lower"; "sort"; "d" ]

let private big = Spooled("big", 300L<B>)

/// A machine, and a task of 300 bytes whose payload is to be cut.
let private begun (pipeline: string) (want: Want) =
    let machine = Machine splitting
    machine.Worker(1, stages, 2) |> ignore
    let submission = submission "x" 0 want None big
    submission, machine, machine.Take(Input.Submit(submission, pipeline))

let private cuts = [| 100L<B>; 210L<B>; 300L<B> |]

let private pipelineOf text =
    match Pipeline.parse (HashSet [ "a"; "b"; "c"; "d" ]) text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

/// Task 1, in three pieces: the tasks 2, 3 and 4, of which worker 1 has the first two.
let private inPieces pipeline want =
    let _, machine, _ = begun pipeline want
    machine.Do(Input.Cut(attempt 1 0, cuts))
    machine

let private states (machine: Machine) = machine.States |> List.map snd

let private succeed (machine: Machine) task text =
    machine.Report(1, attempt task 1, Succeeded, bytes text)

let private joins (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.Join(attempt, merge, parts) ->
            Some(attempt, ValueOption.map Stage.toWire merge, List.ofArray parts)
        | _ -> None)

let private errors (events: Event list) =
    events
    |> List.choose (function
        | Event.Quarantined(id, trouble) when id = taskId 1 -> Some trouble.error
        | _ -> None)

let private examples =
    testList "a large payload" [
        test "is cut first, and its pieces are tasks of its stages" {
            let submission, machine, (events, effects) = begun "lower | sort | d" Result
            let whole = pipelineOf "lower | sort | d"
            Expect.equal events [ Event.Submitted(taskId 1, submission, whole) ] "events"

            Expect.contains
                effects
                (Effect.Cut(attempt 1 0, submission, big, 100L<B>))
                "it is to be cut"

            let events, effects = machine.Take(Input.Cut(attempt 1 0, cuts))

            let pieces, others = events |> List.partition _.IsSubmitted

            Expect.equal
                others
                [ Event.Split(attempt 1 1, 2, cuts); assigned 2 1 1 0 2; assigned 3 1 1 0 2 ]
                "events"

            Expect.equal
                [
                    for event in pieces do
                        match event with
                        | Event.Submitted(id, piece, pipeline) ->
                            Expect.equal (Pipeline.print pipeline) "lower | sort" "its stages"
                            int64 id, piece.Name, piece.Origin, piece.Payload
                        | _ -> ()
                ]
                [
                    2L, "x", Piece(taskId 1, 0), Slice(big, 0L<B>, 100L<B>)
                    3L, "x", Piece(taskId 1, 1), Slice(big, 100L<B>, 110L<B>)
                    4L, "x", Piece(taskId 1, 2), Slice(big, 210L<B>, 90L<B>)
                ]
                "pieces"

            let given = [
                for effect in effects do
                    match effect with
                    | Effect.Assign(_, message, _, payload) ->
                        message.name, message.piece, List.ofArray message.stages, payload
                    | _ -> ()
            ]

            Expect.equal
                given
                [
                    "x", ValueSome 0, [ "lower"; "sort" ], Slice(big, 0L<B>, 100L<B>)
                    "x", ValueSome 1, [ "lower"; "sort" ], Slice(big, 100L<B>, 110L<B>)
                ]
                "what the worker gets"
        }

        test
            "is not split where it is small, where its stage needs all of it, or where it is in memory" {
            for pipeline, payload in
                [
                    "lower", Spooled("s", 100L<B>)
                    "d | lower", big
                    "head:3", big
                    "lower", Bytes(Array.zeroCreate 300)
                ] do
                let machine = Machine splitting
                machine.Worker(1, [ "head"; "lower"; "d" ], 1) |> ignore
                let submission = submission "x" 0 Result None payload
                let _, effects = machine.Take(Input.Submit(submission, pipeline))
                Expect.hasLength (assignments effects) 1 pipeline
        }

        test "gives its result when all parts are there, in order, whoever is first" {
            let machine = inPieces "lower" Result
            Expect.isEmpty (joins (snd (succeed machine 3 "two"))) "one of three"
            Expect.isEmpty (joins (snd (succeed machine 4 "three"))) "two of three"
            let _, effects = succeed machine 2 "one"

            Expect.equal
                (joins effects)
                [ attempt 1 1, ValueNone, [ bytes "one"; bytes "two"; bytes "three" ] ]
                "parts"

            let events, effects = machine.Take(Input.Joined(attempt 1 1, bytes "all"))
            Expect.equal events [ completed 1 1 ] "done"

            Expect.contains
                effects
                (Effect.Reply(client, doneFor "x" 1 1 None, bytes "all", false))
                "the result"
        }

        test "is merged by the stage that ends its pieces, and goes on with the next" {
            let machine = inPieces "lower | sort | d" Result

            for task in [ 2; 3; 4 ] do
                let _, effects = succeed machine task "sorted"

                if task = 4 then
                    Expect.equal
                        (joins effects |> List.map (fun (_, merge, _) -> merge))
                        [ ValueSome "sort" ]
                        "merge"

            let result = Spooled("merged", 5_000L<B>)
            let events, effects = machine.Take(Input.Joined(attempt 1 1, result))

            Expect.equal
                events
                [ Event.Advanced(attempt 1 1, 2, result); assigned 1 2 1 2 3 ]
                "the stage after it"

            Expect.contains effects (Effect.Discard big) "its payload is not needed any more"
        }

        test "is split again where a later payload is large" {
            let machine = inPieces "sort | lower" Result

            for task in [ 2; 3; 4 ] do
                succeed machine task "part" |> ignore

            let _, effects = machine.Take(Input.Joined(attempt 1 1, Spooled("sorted", 300L<B>)))

            Expect.exists
                effects
                (function
                | Effect.Cut(of', _, Spooled("sorted", _), _) -> of' = attempt 1 1
                | _ -> false)
                "cut"
        }

        test "is cut into no more pieces than there may be" {
            let machine = Machine splitting
            machine.Worker(1, stages, 1) |> ignore
            let size = 100L<B> * int64 Limits.piecesMax * 10L
            let submission = submission "x" 0 Result None (Spooled("big", size))
            let _, effects = machine.Take(Input.Submit(submission, "lower"))

            Expect.exists
                effects
                (function
                | Effect.Cut(_, _, _, pieceSize) -> size / pieceSize < int64 Limits.piecesMax * 1L
                | _ -> false)
                "larger pieces"
        }

        test "goes before what is new, so that it comes to its end" {
            let machine = inPieces "lower" Result
            machine.Submit("other", pipeline = "lower") |> ignore
            let _, effects = succeed machine 2 "one"
            Expect.equal (assignments effects) [ 1L, 4L, 1 ] "the last piece"
        }

        test "that could not be cut is tried again later" {
            let _, machine, _ = begun "lower" Result
            machine.Do(Input.Unreadable(attempt 1 0, "no such file"))
            Expect.equal (states machine) [ "waiting" ] "waits"
            machine.Pass(10_000L<ms>, [ session 1 ]) |> ignore
            Expect.equal (states machine) [ "split" ] "again"
        }

        test
            "whose parts cannot be joined is tried again; after a retry from quarantine all of it is" {
            let machine = inPieces "lower" Result

            for task in [ 2; 3; 4 ] do
                succeed machine task "part" |> ignore

            let mutable tries = 0

            while states machine <> [ "quarantined" ] do
                tries <- tries + 1
                machine.Do(Input.Unjoined(attempt 1 tries, "a part is gone"))
                machine.Pass(20_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal tries settings.maxAttempts "tries"
            machine.Do(Input.Retry(taskId 1, client))
            Expect.equal (states machine) [ "split" ] "from the start"

            Expect.equal machine.Scheduler.Status.running 0L "no piece yet: it is cut again"
        }

        test "that is cancelled, or whose piece is, ends with all its pieces" {
            for id in [ 1; 3; 4 ] do
                let machine = inPieces "lower" Result
                let _, effects = machine.Take(Input.Cancel(taskId id, client))
                Expect.isEmpty (states machine) "all are gone"

                let revoked = [
                    for effect in effects do
                        match effect with
                        | Effect.Revoke(_, attempt) -> int64 attempt.task
                        | _ -> ()
                ]

                Expect.equal (List.sort revoked) [ 2L; 3L ] "those that ran"

                Expect.contains
                    effects
                    (reply (doneFor "x" 1 1 (Some "cancelled")))
                    "the client hears of the whole"
        }

        test "whose file changes while a piece is read ends" {
            let machine = inPieces "lower" Result
            machine.Do(Input.Withdraw(attempt 3 1))
            Expect.isEmpty (states machine) "all are gone"
        }
    ]

let private trouble =
    testList "a piece" [
        test "that fails for good puts the whole into quarantine, which says where it stands" {
            let machine = inPieces "lower" File
            succeed machine 2 "one" |> ignore

            let events, effects =
                machine.Report(1, attempt 3 1, Failed("bad byte", false), Payload.empty)

            Expect.equal machine.States [ 1L, "quarantined" ] "the whole, and nothing else"

            Expect.equal (errors events) [ "piece 2 of 3, bytes 100 to 209: bad byte" ] "the reason"

            Expect.exists
                effects
                (function
                | Effect.PublishError(id, _, _) -> id = taskId 1
                | _ -> false)
                "told beside the results"
        }

        test "that is there is not run again by a retry" {
            let machine = inPieces "lower" Result
            succeed machine 2 "one" |> ignore

            machine.Report(1, attempt 3 1, Failed("bad byte", false), Payload.empty)
            |> ignore

            let events, effects = machine.Take(Input.Retry(taskId 1, client))

            let submitted = [
                for event in events do
                    match event with
                    | Event.Submitted(id, submission, _) -> int64 id, submission.Origin
                    | _ -> ()
            ]

            Expect.equal
                submitted
                [ 5L, Piece(taskId 1, 1); 6L, Piece(taskId 1, 2) ]
                "only what is missing"

            Expect.equal (List.length (assignments effects)) 2 "given out"
            machine.Succeed(1, attempt 5 1) |> ignore
            let _, effects = machine.Succeed(1, attempt 6 1)

            Expect.equal
                (joins effects)
                [ attempt 1 2, ValueNone, [ bytes "one"; bytes "done"; bytes "done" ] ]
                "with the part that was there"
        }

        test "that fails is tried again by itself" {
            let machine = inPieces "lower" Result
            machine.Fail(1, attempt 3 1) |> ignore
            machine.Pass(10_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal
                machine.States
                [ 1L, "split"; 2L, "running"; 3L, "queued"; 4L, "running" ]
                "again"
        }

        test "that takes three workers down puts the whole into quarantine" {
            let machine = inPieces "lower" Result
            let mutable worker = 1

            while states machine <> [ "quarantined" ] do
                machine.Lose worker |> ignore
                worker <- worker + 1
                machine.Worker(worker, stages, 2) |> ignore

            Expect.equal worker 4 "workers that were lost"
        }

        test "is not split in its turn, however large what a stage makes of it" {
            let machine = Machine splitting
            machine.Worker(1, [ "lower" ], 2) |> ignore
            machine.Do(Input.Submit(submission "x" 0 Result None big, "lower | sort"))
            machine.Do(Input.Cut(attempt 1 0, cuts))
            let large = Spooled("large", 5_000L<B>)
            machine.Report(1, attempt 2 1, Succeeded, large) |> ignore
            let _, effects = machine.Worker(2, [ "sort" ], 1)
            Expect.equal (assignments effects) [ 2L, 2L, 2 ] "goes on with one worker"
        }

        test "of the past is nobody's result" {
            let machine = inPieces "lower" Result
            machine.Lose 1 |> ignore
            machine.Worker(1, stages, 2) |> ignore
            let _, effects = machine.Report(1, attempt 2 1, Succeeded, Spooled("late", 9L<B>))
            Expect.equal effects [ Effect.Discard(Spooled("late", 9L<B>)) ] "let go of"
        }
    ]

let private stragglers =
    testList "a straggler" [
        let late () =
            let machine = inPieces "lower" Result
            machine.Wait 100L<ms>
            succeed machine 2 "one" |> ignore
            succeed machine 4 "three" |> ignore
            machine.Worker(2, stages, 1) |> ignore
            machine

        test "is given to a second worker when it takes three times as long as most, and a second" {
            let machine = late ()
            let events, _ = machine.Pass(800L<ms>, [ session 1; session 2 ])
            Expect.isEmpty events "not yet"
            let events, effects = machine.Pass(1_000L<ms>, [ session 1; session 2 ])

            Expect.contains events (Event.Speculated(taskId 1, 1, taskId 3)) "said"

            Expect.equal (assignments effects) [ 2L, 5L, 1 ] "the other worker"
            let events, _ = machine.Pass(9_000L<ms>, [ session 1; session 2 ])
            Expect.isEmpty events "only once"
        }

        test "loses against the second worker, or wins" {
            for winner, loser, worker, other in [ 5, 3, 2, 1; 3, 5, 1, 2 ] do
                let machine = late ()
                machine.Pass(2_000L<ms>, [ session 1; session 2 ]) |> ignore

                let events, effects =
                    machine.Report(worker, attempt winner 1, Succeeded, bytes "two")

                Expect.equal
                    (joins effects)
                    [ attempt 1 1, ValueNone, [ bytes "one"; bytes "two"; bytes "three" ] ]
                    "the first result counts"

                Expect.contains
                    effects
                    (Effect.Revoke(session other, attempt loser 1))
                    "the other one is to stop"

                Expect.exists
                    events
                    (function
                    | Event.Cancelled(id, _) -> id = taskId loser
                    | _ -> false)
                    "and has ended"
        }

        test "that fails leaves the piece to the second worker" {
            let machine = late ()
            machine.Pass(2_000L<ms>, [ session 1; session 2 ]) |> ignore
            machine.Report(1, attempt 3 1, Failed("bad", false), Payload.empty) |> ignore
            Expect.equal machine.States [ 1L, "split"; 5L, "running" ] "it goes on"
        }

        test "at a later stage is begun anew by one who can do its first" {
            let machine = Machine splitting
            machine.Worker(1, [ "lower" ], 1) |> ignore
            machine.Do(Input.Submit(submission "x" 0 Result None big, "lower | sort"))
            machine.Do(Input.Cut(attempt 1 0, cuts))

            for task in [ 2; 3; 4 ] do
                succeed machine task "lower" |> ignore

            machine.Worker(2, [ "sort" ], 3) |> ignore
            machine.Wait 100L<ms>

            for task in [ 2; 3 ] do
                machine.Report(2, attempt task 2, Succeeded, bytes "sorted") |> ignore

            machine.Do(Input.Ready(session 1, 0))
            machine.Worker(3, [ "sort" ], 1) |> ignore
            let all = [ session 1; session 2; session 3 ]
            let events, _ = machine.Pass(4_000L<ms>, all)
            Expect.isEmpty events "nobody can"
            machine.Do(Input.Ready(session 1, 1))
            let _, effects = machine.Pass(1_000L<ms>, all)
            Expect.equal (assignments effects) [ 1L, 5L, 1 ] "by the first worker"
        }

        test "is left alone where nobody else is idle, or nobody wants it" {
            let machine = inPieces "lower" Result
            machine.Wait 100L<ms>
            succeed machine 2 "one" |> ignore
            succeed machine 4 "three" |> ignore
            let events, _ = machine.Pass(9_000L<ms>, [ session 1 ])
            Expect.equal events [] "its own worker is no help"

            let machine = Machine { splitting with speculate = 0.0 }
            machine.Worker(1, stages, 3) |> ignore
            machine.Do(Input.Submit(submission "x" 0 Result None big, "lower"))
            machine.Do(Input.Cut(attempt 1 0, cuts))
            machine.Wait 100L<ms>
            succeed machine 2 "one" |> ignore
            succeed machine 4 "three" |> ignore
            machine.Worker(2, stages, 1) |> ignore
            let events, _ = machine.Pass(9_000L<ms>, [ session 1; session 2 ])
            Expect.isEmpty events "never"
        }
    ]

/// A machine that goes on after these events of an earlier run, and what it asks for.
let private restarted settings (history: Event list) =
    let scheduler = Scheduler settings

    let numbered =
        history
        |> Seq.mapi (fun index event -> struct (int64 index + 1L, Instant.zero, event))

    let decisions = Decisions()
    scheduler.Restore(numbered, Instant.zero)
    scheduler.Resume(Dictionary(), Instant.zero, decisions)
    Expect.isEmpty (Invariants.violations scheduler) "violations"
    scheduler, decisions

let private restarts =
    let whole = submission "x" 0 Result None (bytes "x")

    let joined = Event.Joined(session 1, "w1", [| "lower"; "d" |])

    let piece id index size =
        let payload = Slice(big, 0L<B>, size)
        Event.Submitted(taskId id, whole.Piece(taskId 1, index, payload), pipelineOf "lower")

    testList "after a restart, a large payload" [
        test "has its pieces under its name, also where the journal alone has that" {
            let scheduler, decisions =
                restarted { splitting with memory = 100L<B> } [
                    joined
                    Event.Submitted(taskId 1, whole.File(), pipelineOf "d | lower")
                    assigned 1 1 1 0 1
                    Event.Advanced(attempt 1 1, 1, big)
                    Event.Split(attempt 1 2, 2, cuts)
                    piece 2 0 100L<B>
                ]

            Expect.contains decisions.Effects (Effect.Recall(attempt 1 2)) "asked for"
            decisions.Clear()
            scheduler.Step(Input.Recalled(attempt 1 2, whole), Instant.zero, decisions)

            let pieces = [
                for event in decisions.Events do
                    match event with
                    | Event.Submitted(_, piece, _) -> piece.Name, piece.Origin
                    | _ -> ()
            ]

            Expect.equal
                pieces
                [ "x", Piece(taskId 1, 1); "x", Piece(taskId 1, 2) ]
                "those that nobody does yet"

            Expect.isEmpty (Invariants.violations scheduler) "violations"
        }

        test "is in the pieces that it was cut into last, and has none of the parts from before" {
            let otherCuts = [| 150L<B>; 300L<B> |]

            let gone = {
                SchedulerFixture.trouble 1 "" "a part is gone" 0L<ms> with
                    stages = "lower"
            }

            // All parts were there, and were given up; the power cut that took the third came later.
            let scheduler, decisions =
                restarted splitting [
                    joined
                    Event.Submitted(taskId 1, submission "x" 0 Result None big, pipelineOf "lower")
                    Event.Split(attempt 1 1, 1, cuts)
                    Event.Part(taskId 1, 0, bytes "old")
                    Event.Part(taskId 1, 1, bytes "old")
                    Event.Quarantined(taskId 1, gone)
                    Event.Retried(taskId 1)
                    Event.Split(attempt 1 2, 1, otherCuts)
                    piece 5 0 150L<B>
                    piece 6 1 150L<B>
                ]

            Expect.isEmpty (joins (List.ofSeq decisions.Effects)) "nothing is there"
            decisions.Clear()

            for input in
                [
                    Input.Join(session 2, "w2", [| "lower" |])
                    Input.Ready(session 2, 2)
                    Input.Report(session 2, attempt 6 1, Succeeded, bytes "two")
                    Input.Report(session 2, attempt 5 1, Succeeded, bytes "one")
                ] do
                scheduler.Step(input, Instant.zero, decisions)

            Expect.equal
                (joins (List.ofSeq decisions.Effects))
                [ attempt 1 2, ValueNone, [ bytes "one"; bytes "two" ] ]
                "both are new"
        }

        test "is begun anew where a part of its last pieces is not there" {
            let scheduler, _ =
                restarted splitting [
                    joined
                    Event.Submitted(taskId 1, submission "x" 0 Result None big, pipelineOf "lower")
                    Event.Split(attempt 1 1, 1, cuts)
                    Event.Part(taskId 1, 0, bytes "old")
                    Event.Split(attempt 1 2, 1, cuts)
                    piece 5 0 100L<B>
                    piece 6 1 110L<B>
                    piece 7 2 90L<B>
                ]

            let states = [
                for task in Invariants.view scheduler do
                    int64 task.id, task.state
            ]

            Expect.equal
                states
                [ 1L, "split"; 5L, "queued"; 6L, "queued"; 7L, "queued" ]
                "every piece has its task, and no part"
        }
    ]

let private newRun (settings: Settings) = Run(settings, worldOf settings)

/// Both with all in memory, and with what waits left to the journal.
let private followAll check history =
    for memory in [ Settings.unlimited; 100L<B> ] do
        followOn (newRun { inHistories with memory = memory }) check history |> ignore

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

let private properties =
    testList "whatever happens to pieces" [
        test "the histories are not vain" {
            let mutable seen = Set.empty
            let gen = SplitHistories.History().Generator
            let histories = Gen.sampleWithSeed (Rnd(1UL, 3UL)) 50 800 gen

            for history in histories do
                let see run =
                    seen <- Set.union seen (set (sights run))

                (newRun inHistories).Follow(history, see)

            let expected =
                set [
                    "split"
                    "part"
                    "speculated"
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

        property "the state is sound after every step" (fun history ->
            let check (run: Run) =
                Expect.isEmpty (Invariants.violations run.Scheduler) "violations"

            followAll check history)

        property "every task is eventually processed, and ends once" (fun history ->
            let run = followOn (newRun inHistories) ignoreRun history

            let submitted = [
                for event in run.Events do
                    match event with
                    | Event.Submitted(id, _, _) -> id
                    | _ -> ()
            ]

            let ended = [
                for event in run.Events do
                    match event with
                    | Event.Completed(attempt, _) -> attempt.task
                    | Event.Cancelled(id, _) -> id
                    | _ -> ()
            ]

            let quarantined = [
                for task in Invariants.view run.Scheduler do
                    Expect.equal task.state "quarantined" "nothing else remains"
                    task.id
            ]

            Expect.equal (List.sort (ended @ quarantined)) submitted "each once")

        property "two machines that take the same inputs decide the same" (fun history ->
            let run = followOn (newRun inHistories) ignoreRun history
            let other = newRun inHistories

            for step in run.Steps do
                if step.at - other.World.Now > 0L<ms> then
                    other.World.Wait(step.at - other.World.Now)

                match step.input with
                | Some input -> other.Take input
                | None -> other.Restart()

                // Submissions of pieces are made by each machine: the same, and not the same objects.
                let kinds (step: Step) =
                    step.events |> List.map (fun event -> event.ToString().Split(' ')[0])

                Expect.equal (kinds (Seq.last other.Steps)) (kinds step) "what happened"

            Expect.equal
                (Description.ofState other.Scheduler)
                (Description.ofState run.Scheduler)
                "what it came to")

        property "the events alone tell where every task is" (fun history ->
            let mutable tasks = Map.empty

            let check (run: Run) =
                tasks <- List.fold evolve tasks (Seq.last run.Steps).events

                let cutting = set [ for struct (attempt, _) in run.World.Cutting -> attempt.task ]

                let recorded (task: TaskView) =
                    let id, (state, attempt) = viewForEvents task
                    id, ((if cutting.Contains id then "queued" else state), attempt)

                let view = Invariants.view run.Scheduler |> Seq.map recorded |> Map.ofSeq
                Expect.equal view tasks "tasks"

            followOn (newRun inHistories) check history |> ignore)

        property "every spooled payload is let go of exactly once" (fun history ->
            let run = followOn (newRun inHistories) ignoreRun history

            for task in Invariants.view run.Scheduler do
                run.Take(Input.Cancel(task.id, client))

            let entered, released = spools run
            let kept = keptSpools run
            Expect.equal (List.sort (released @ kept)) (List.sort entered) "spooled payloads")

        property "what is joined is the first result of each piece, in order" (fun history ->
            let run = followOn (newRun inHistories) ignoreRun history
            let parts = Dictionary<TaskId, Dictionary<int, Payload>>()
            let counts = Dictionary<TaskId, int>()

            for step in run.Steps do
                for event in step.events do
                    match event with
                    | Event.Split(attempt, _, cuts) ->
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

let tests =
    testList "pieces" [ examples; trouble; stragglers; restarts; properties ]
