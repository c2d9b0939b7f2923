/// Files that were in pieces when the scheduler ended.
module FsScheduler.Machine.Tests.SchedulerSplitRestartTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Machine.Tests.SchedulerSplitSupport

let private whole = submission "x" 0 Result None (bytes "x")
let private joined = Event.Joined(session 1, "w1", [| "lower"; "d" |])

let private piece id index size =
    let payload = Slice(kept big, 0L<B>, size)
    Event.Submitted(taskId id, whole.Piece(taskId 1, index, payload), pipelineOf "lower")

let private large = submission "x" 0 Result None big

/// A part in a file.
let private lost = Held(spooled "part")

/// Restores a task in three pieces and its parts, and goes on without those that are in files.
let private resumeLosing (submitted: Submission) (parts: Event list) =
    let scheduler = Scheduler splitting

    let history = [
        joined
        Event.Submitted(taskId 1, submitted, pipelineOf "lower")
        Event.Split(attempt 1 1, 1, ValueNone, cuts)
        piece 2 0 100L<B>
        completed 2 1
        yield! parts
    ]

    scheduler.Restore(numbered history, Instant.zero)
    let output = StepOutput()

    scheduler.Resume(
        System.Guid.Empty,
        System.Collections.Generic.Dictionary(),
        scheduler.PartFiles,
        Instant.zero,
        output
    )

    scheduler, output

[<Tests>]
let tests =
    /// The task is before its second stage, in pieces, and the journal alone has what it was submitted with.
    let left = [
        joined
        Event.Submitted(taskId 1, whole.ToJournaled(), pipelineOf "d | lower")
        assigned 1 1 1 0 1
        Event.Advanced(attempt 1 1, 1, Held big)
        Event.Split(attempt 1 2, 2, ValueNone, cuts)
        piece 2 0 100L<B>
    ]

    let small () =
        Machine { splitting with memory = 100L<B> }

    testList "the scheduler.after a restart, a large payload" [
        test "has its pieces under its name, also where the journal alone has that" {
            let machine = small ()
            let _, effects = machine.Restart left

            Expect.contains
                effects
                (Effect.ToJournal(JournalEffect.LoadSubmission(attempt 1 2, 2L)))
                "asked for"

            let pieces = [
                for event in fst (machine.Take(Input.SubmissionLoaded(attempt 1 2, whole))) do
                    match event with
                    | Event.Submitted(_, piece, _) -> piece.Name, piece.Origin
                    | _ -> ()
            ]

            Expect.equal
                pieces
                [ "x", Piece(taskId 1, 1); "x", Piece(taskId 1, 2) ]
                "those that nobody does yet"
        }

        test
            "has its parts gathered once what it was submitted with is at hand, for the attempt that follows" {
            let machine = small ()

            let done' = [ Event.Part(taskId 1, 0, Held(bytes "0")); completed 2 1 ]
            let _, effects = machine.Restart(left @ done')

            let gathers effects = [
                for effect in effects do
                    match effect with
                    | Effect.ToPieces(PieceEffect.PrefetchPart(attempt, index, _)) -> attempt, index
                    | _ -> ()
            ]

            Expect.isEmpty (gathers effects) "nothing for an attempt that is not joined"
            let _, effects = machine.Take(Input.SubmissionLoaded(attempt 1 2, whole))
            Expect.equal (gathers effects) [ attempt 1 3, 0 ] "for the next one"
        }

        test "has nothing gathered for the attempt from before, even if a part comes meanwhile" {
            let machine = small ()
            let _, effects = machine.Restart left

            let later =
                machine.Effects [
                    Input.Join(session 2, "w2", [| "lower" |])
                    Input.Ready(session 2, 1)
                    Input.Report(session 2, attempt 2 1, Succeeded, bytes "0")
                    Input.SubmissionLoaded(attempt 1 2, whole)
                ]

            let gathered = [
                for effect in effects @ later do
                    match effect with
                    | Effect.ToPieces(PieceEffect.PrefetchPart(attempt, 0, _)) ->
                        $"gather for {attempt.number}"
                    | Effect.ToPieces(PieceEffect.DropPrefetch attempt) ->
                        $"abandon {attempt.number}"
                    | _ -> ()
            ]

            Expect.equal gathered [ "gather for 2"; "abandon 2"; "gather for 3" ] "in this order"
        }

        test "is in the pieces that it was cut into last, and has none of the parts from before" {
            let otherCuts = [| 150L<B>; 300L<B> |]

            let gone = { failure 1 "" "a part is gone" 0L<ms> with stages = "lower" }

            let machine = Machine splitting

            let _, effects =
                machine.Restart [
                    joined
                    Event.Submitted(taskId 1, submission "x" 0 Result None big, pipelineOf "lower")
                    Event.Split(attempt 1 1, 1, ValueNone, cuts)
                    Event.Part(taskId 1, 0, Held(bytes "old"))
                    Event.Part(taskId 1, 1, Held(bytes "old"))
                    Event.Part(taskId 1, 2, Held(bytes "old"))
                    Event.Quarantined(taskId 1, gone)
                    Event.Retried(taskId 1)
                    Event.Split(attempt 1 2, 1, ValueNone, otherCuts)
                    piece 5 0 150L<B>
                    piece 6 1 150L<B>
                ]

            Expect.isEmpty (joins effects) "nothing is there"

            let effects =
                machine.Effects [
                    Input.Join(session 2, "w2", [| "lower" |])
                    Input.Ready(session 2, 2)
                    Input.Report(session 2, attempt 6 1, Succeeded, bytes "two")
                    Input.Report(session 2, attempt 5 1, Succeeded, bytes "one")
                ]

            Expect.equal
                (joins effects)
                [ attempt 1 2, ValueNone, textParts [ "one"; "two" ] ]
                "both are new"
        }

        test "is begun anew where a part of its last pieces is not there" {
            let machine = Machine splitting

            machine.Restart [
                joined
                Event.Submitted(taskId 1, submission "x" 0 Result None big, pipelineOf "lower")
                Event.Split(attempt 1 1, 1, ValueNone, cuts)
                Event.Part(taskId 1, 0, Held(bytes "old"))
                Event.Split(attempt 1 2, 1, ValueNone, cuts)
                piece 5 0 100L<B>
                piece 6 1 110L<B>
                piece 7 2 90L<B>
            ]
            |> ignore

            Expect.equal
                machine.States
                [ 1L, "split"; 5L, "queued"; 6L, "queued"; 7L, "queued" ]
                "every piece has its task, and no part"
        }

        test "runs the piece of a part again whose file is gone, and says so" {
            let scheduler, output = resumeLosing large [ Event.Part(taskId 1, 0, lost) ]
            Expect.contains output.Events (Event.PartLost(taskId 1, 0)) "said"
            let isPart (path: string) = path.Contains "part"
            Expect.isFalse (Seq.exists isPart scheduler.Spools) "it has no part"

            let isPiece event =
                match event with
                | Event.Submitted(_, piece, _) -> piece.Origin = Origin.Piece(taskId 1, 0)
                | _ -> false

            Expect.exists output.Events isPiece "its piece is queued"
        }

        test "is not merging while a part is gone and its submission is loaded" {
            let scheduler, output =
                resumeLosing (large.ToJournaled()) [
                    Event.Part(taskId 1, 0, lost)
                    Event.Part(taskId 1, 1, Held(bytes "two"))
                    Event.Part(taskId 1, 2, Held(bytes "three"))
                ]

            Expect.isEmpty (Invariants.violations scheduler) "violations"
            Expect.exists output.Effects _.IsToJournal "its submission is loaded"
        }
    ]
