/// Large payloads that are worked on in pieces.
module FsScheduler.Core.Tests.SchedulerSplitTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.TestKit.SchedulerFixture

/// Everything above 100 bytes is split.
let splitting = { settings with split = 100L<B>; speculate = 3.0 }

let stages = [ "lower"; "sort"; "d" ]

let big = Spooled("big", 300L<B>)

/// A machine, and a task of 300 bytes whose payload is to be cut.
let begun (pipeline: string) (want: Want) =
    let machine = Machine splitting
    machine.Worker(1, stages, 2) |> ignore
    let submission = submission "x" 0 want None big
    submission, machine, machine.Take(Input.Submit(submission, pipeline))

let cuts = [| 100L<B>; 210L<B>; 300L<B> |]

let pipelineOf text =
    match Pipeline.parse (HashSet [ "a"; "b"; "c"; "d" ]) text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

/// Task 1, in three pieces: the tasks 2, 3 and 4, of which worker 1 has the first two.
let inPieces pipeline want =
    let _, machine, _ = begun pipeline want
    machine.Do(Input.Cut(attempt 1 0, cuts))
    machine

let private states (machine: Machine) = machine.States |> List.map snd

let succeed (machine: Machine) task text =
    machine.Report(1, attempt task 1, Succeeded, bytes text)

let joins (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.ToPieces(PieceEffect.MergeParts(attempt, merge, parts)) ->
            Some(attempt, ValueOption.map Stage.toWire merge, List.ofArray parts)
        | _ -> None)

let private gathers (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.ToPieces(PieceEffect.PrefetchPart(_, index, part)) -> Some(index, part)
        | _ -> None)

let private errors (events: Event list) =
    events
    |> List.choose (function
        | Event.Quarantined(id, failure) when id = taskId 1 -> Some failure.error
        | _ -> None)

let private examples =
    testList "a large payload" [
        test "is carried as the queue had it while it is being cut" {
            let machine = Machine splitting
            machine.Do(Input.Submit(submission "x" 0 Result None big, "lower"))
            machine.Wait 5_000L<ms>
            machine.Worker(1, [ "lower" ], 1) |> ignore
            Expect.equal machine.States [ 1L, "split" ] "it is being cut"

            let carried () = [
                let cutoff = {
                    before = machine.Scheduler.LastEvent + 1L
                    keptSince = Instant.zero
                    isTooMuch = false
                    most = 10
                }

                for event in fst (machine.Take(Input.Retain cutoff)) do
                    match event with
                    | Event.Carried(Carried.Task task) -> task.state, task.since, task.place
                    | _ -> ()
            ]

            Expect.equal (carried ()) [ CarriedState.Queued, Instant.zero, 1L ] "as it was queued"
        }

        test "is cut first, and its pieces are tasks of its stages" {
            let submission, machine, (events, effects) = begun "lower | sort | d" Result
            let whole = pipelineOf "lower | sort | d"
            Expect.equal events [ Event.Submitted(taskId 1, submission, whole) ] "events"

            Expect.contains
                effects
                (Effect.ToPieces(PieceEffect.Cut(attempt 1 0, submission, kept big, 100L<B>)))
                "it is to be cut"

            let events, effects = machine.Take(Input.Cut(attempt 1 0, cuts))

            let pieces, others = events |> List.partition _.IsSubmitted

            Expect.equal
                others
                [
                    Event.Split(attempt 1 1, 2, ValueNone, cuts)
                    assigned 2 1 1 0 2
                    assigned 3 1 1 0 2
                ]
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
                    2L, "x", Piece(taskId 1, 0), Slice(kept big, 0L<B>, 100L<B>)
                    3L, "x", Piece(taskId 1, 1), Slice(kept big, 100L<B>, 110L<B>)
                    4L, "x", Piece(taskId 1, 2), Slice(kept big, 210L<B>, 90L<B>)
                ]
                "pieces"

            let given = [
                for effect in effects do
                    match effect with
                    | Effect.ToPeer(PeerEffect.Assign(_, message, _, payload)) ->
                        message.name, message.piece, List.ofArray message.stages, payload
                    | _ -> ()
            ]

            Expect.equal
                given
                [
                    "x", ValueSome 0, [ "lower"; "sort" ], Slice(kept big, 0L<B>, 100L<B>)
                    "x", ValueSome 1, [ "lower"; "sort" ], Slice(kept big, 100L<B>, 110L<B>)
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
                [ attempt 1 1, ValueNone, textParts [ "one"; "two"; "three" ] ]
                "parts"

            let events, effects = machine.Take(Input.PartsMerged(attempt 1 1, bytes "all"))
            Expect.equal events [ completed 1 1 ] "done"

            Expect.contains
                effects
                (Effect.ToPeer(PeerEffect.ReplyResult(client, doneFor "x" 1 1, bytes "all")))
                "the result"
        }

        test "is gathered as far as parts are there without a gap, once each" {
            let machine = inPieces "lower" Result
            Expect.isEmpty (gathers (snd (succeed machine 3 "two"))) "the first is missing"

            Expect.equal
                (gathers (snd (succeed machine 2 "one")))
                [ 0, Held(bytes "one"); 1, Held(bytes "two") ]
                "both, in order"

            Expect.isEmpty (gathers (snd (succeed machine 4 "three"))) "the last one is joined"
        }

        test "is not gathered where it is merged" {
            let machine = inPieces "lower | sort" Result
            Expect.isEmpty (gathers (snd (succeed machine 2 "one"))) "merged"
        }

        for what, give in
            [
                "is cancelled",
                (fun (machine: Machine) -> machine.Take(Input.Cancel(taskId 1, session 9)))
                "fails",
                (fun machine -> machine.Report(1, attempt 3 1, Failed("no", false), Content.empty))
            ] do
            test $"is abandoned when it {what}, where something was gathered" {
                for isBegun in [ true; false ] do
                    let machine = inPieces "lower" Result

                    if isBegun then
                        succeed machine 2 "one" |> ignore

                    let _, effects = give machine

                    Expect.equal
                        (List.filter
                            (fun effect ->
                                effect = Effect.ToPieces(PieceEffect.DropPrefetch(attempt 1 1)))
                            effects)
                        [
                            if isBegun then
                                Effect.ToPieces(PieceEffect.DropPrefetch(attempt 1 1))
                        ]
                        "abandoned"
            }

        test "is gathered anew when it is tried again" {
            let machine = inPieces "lower" Result
            succeed machine 2 "one" |> ignore
            machine.Report(1, attempt 3 1, Failed("no", false), Content.empty) |> ignore
            let _, effects = machine.Take(Input.Retry(taskId 1, session 9))
            Expect.equal (gathers effects) [ 0, Held(bytes "one") ] "from the first on"
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
            let events, effects = machine.Take(Input.PartsMerged(attempt 1 1, result))

            Expect.equal
                events
                [ Event.Advanced(attempt 1 1, 2, Held result); assigned 1 2 1 2 3 ]
                "the stage after it"

            Expect.contains
                effects
                (Effect.ToDisk(DiskEffect.Discard "big"))
                "its payload is not needed any more"
        }

        test "is split again where a later payload is large" {
            let machine = inPieces "sort | lower" Result

            for task in [ 2; 3; 4 ] do
                succeed machine task "part" |> ignore

            let _, effects =
                machine.Take(Input.PartsMerged(attempt 1 1, Spooled("sorted", 300L<B>)))

            Expect.exists
                effects
                (function
                | Effect.ToPieces(PieceEffect.Cut(of', _, Kept(Held(Spooled("sorted", _))), _)) ->
                    of' = attempt 1 1
                | _ -> false)
                "cut"
        }

        test "is cut into no more pieces than there may be" {
            let machine = Machine splitting
            machine.Worker(1, stages, 1) |> ignore
            let size = 100L<B> * int64 SchedulerLimits.piecesMax * 10L
            let submission = submission "x" 0 Result None (Spooled("big", size))
            let _, effects = machine.Take(Input.Submit(submission, "lower"))

            Expect.exists
                effects
                (function
                | Effect.ToPieces(PieceEffect.Cut(_, _, _, pieceSize)) ->
                    size / pieceSize < int64 SchedulerLimits.piecesMax * 1L
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
                machine.Do(Input.MergeFailed(attempt 1 tries, "a part is gone"))
                machine.Pass(20_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal tries settings.maxAttempts "tries"
            machine.Do(Input.Retry(taskId 1, client))
            Expect.equal (states machine) [ "split" ] "from the start"

            Expect.equal machine.Scheduler.Status.running 0L "no piece yet: it is cut again"
        }

        test "whose result finds no room is joined again, as often as it takes, and its parts stay" {
            let machine = inPieces "lower" Result

            for task in [ 2; 3; 4 ] do
                succeed machine task "part" |> ignore

            for tries in 1 .. settings.maxAttempts + 2 do
                let events, effects = machine.Take(Input.NoRoom(attempt 1 tries, "no room"))
                Expect.isTrue (events |> List.forall _.IsDelayed) "nobody is to blame"

                let isDiscard effect =
                    match effect with
                    | Effect.ToDisk(DiskEffect.Discard _) -> true
                    | _ -> false

                Expect.isFalse (List.exists isDiscard effects) "the parts stay"
                machine.Pass(70_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal (states machine) [ "split" ] "no piece is run again"
        }

        test "that is cancelled, or whose piece is, ends with all its pieces" {
            for id in [ 1; 3; 4 ] do
                let machine = inPieces "lower" Result
                let _, effects = machine.Take(Input.Cancel(taskId id, client))
                Expect.isEmpty (states machine) "all are gone"

                let revoked = [
                    for effect in effects do
                        match effect with
                        | Effect.ToPeer(PeerEffect.Revoke(_, attempt)) -> int64 attempt.task
                        | _ -> ()
                ]

                Expect.equal (List.sort revoked) [ 2L; 3L ] "those that ran"

                Expect.contains
                    effects
                    (reply (cancelledFor "x" 1 1))
                    "the client hears of the whole"
        }

        test "whose file changes while a piece is read ends" {
            let machine = inPieces "lower" Result
            machine.Do(Input.FileChanged(attempt 3 1))
            Expect.isEmpty (states machine) "all are gone"
        }
    ]

let private failure =
    testList "a piece" [
        test "that fails for good puts the whole into quarantine, which says where it stands" {
            let machine = inPieces "lower" File
            succeed machine 2 "one" |> ignore

            let events, effects =
                machine.Report(1, attempt 3 1, Failed("bad byte", false), Content.empty)

            Expect.equal machine.States [ 1L, "quarantined" ] "the whole, and nothing else"

            Expect.equal (errors events) [ "piece 2 of 3, bytes 100 to 209: bad byte" ] "the reason"

            Expect.exists
                effects
                (function
                | Effect.ToDisk(DiskEffect.PublishError(id, _, _)) -> id = taskId 1
                | _ -> false)
                "told beside the results"
        }

        test "that is there is not run again by a retry" {
            let machine = inPieces "lower" Result
            succeed machine 2 "one" |> ignore

            machine.Report(1, attempt 3 1, Failed("bad byte", false), Content.empty)
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
                [ attempt 1 2, ValueNone, textParts [ "one"; "done"; "done" ] ]
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

            Expect.equal effects [ Effect.ToDisk(DiskEffect.Discard "late") ] "let go of"
        }
    ]

[<Tests>]
let tests = testList "the scheduler.pieces" [ examples; failure ]
