/// Large payloads that are worked on in pieces.
module FsScheduler.Machine.Tests.SchedulerSplitTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Machine.Tests.SchedulerSplitSupport

let private gathers (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.ToPieces(PieceEffect.PrefetchPart(_, index, part)) -> Some(index, part)
        | _ -> None)

[<Tests>]
let tests =
    testList "the scheduler.a large payload" [
        test "is carried as the queue had it while it is being cut" {
            let machine = Machine splitting
            machine.Do(Input.Submit(submission "x" 0 Result None big, "lower"))
            machine.Wait 5_000L<ms>
            machine.Worker(1, [ "lower" ], 1) |> ignore
            Expect.equal machine.States [ 1L, "split" ] "it is being cut"

            let carried =
                machine.Carry()
                |> List.choose (function
                    | Carried.Task task -> Some(task.state, task.since, task.place)
                    | _ -> None)

            Expect.equal carried [ CarriedState.Queued, Instant.zero, 1L ] "as it was queued"
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
                "fails", (fun machine -> machine.FailForGood(1, attempt 3 1))
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
            machine.FailForGood(1, attempt 3 1) |> ignore
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
            Expect.equal machine.Phases [ "waiting" ] "waits"
            machine.Pass(10_000L<ms>, [ session 1 ]) |> ignore
            Expect.equal machine.Phases [ "split" ] "again"
        }

        test
            "whose parts cannot be joined is tried again; after a retry from quarantine all of it is" {
            let machine = inPieces "lower" Result

            for task in [ 2; 3; 4 ] do
                succeed machine task "part" |> ignore

            let mutable tries = 0

            while machine.Phases <> [ "quarantined" ] do
                tries <- tries + 1
                machine.Do(Input.MergeFailed(attempt 1 tries, "a part is gone"))
                machine.Pass(20_000L<ms>, [ session 1 ]) |> ignore

            Expect.equal tries settings.maxAttempts "tries"
            machine.Do(Input.Retry(taskId 1, client))
            Expect.equal machine.Phases [ "split" ] "from the start"

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

            Expect.equal machine.Phases [ "split" ] "no piece is run again"
        }

        test "that is cancelled, or whose piece is, ends with all its pieces" {
            for id in [ 1; 3; 4 ] do
                let machine = inPieces "lower" Result
                let _, effects = machine.Take(Input.Cancel(taskId id, client))
                Expect.isEmpty machine.Phases "all are gone"

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
            Expect.isEmpty machine.Phases "all are gone"
        }
    ]
