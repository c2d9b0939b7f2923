/// Files that were in pieces when the scheduler ended.
module FsScheduler.Core.Tests.SchedulerSplitRestartTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Core.Tests.SchedulerSplitTests

/// A machine that goes on after these events of an earlier run, and what it asks for.
let private restarted settings (history: Event list) =
    let scheduler = Scheduler settings

    let numbered =
        history
        |> Seq.mapi (fun index event -> struct (int64 index + 1L, Instant.zero, event))

    let decisions = StepOutput()
    scheduler.Restore(numbered, Instant.zero)
    scheduler.Resume(System.Guid.Empty, Dictionary(), Instant.zero, decisions)
    Expect.isEmpty (Invariants.violations scheduler) "violations"
    scheduler, decisions

[<Tests>]
let tests =
    let whole = submission "x" 0 Result None (bytes "x")

    let joined = Event.Joined(session 1, "w1", [| "lower"; "d" |])

    let piece id index size =
        let payload = Slice(kept big, 0L<B>, size)
        Event.Submitted(taskId id, whole.Piece(taskId 1, index, payload), pipelineOf "lower")

    testList "the scheduler.after a restart, a large payload" [
        test "has its pieces under its name, also where the journal alone has that" {
            let scheduler, decisions =
                restarted { splitting with memory = 100L<B> } [
                    joined
                    Event.Submitted(taskId 1, whole.ToJournaled(), pipelineOf "d | lower")
                    assigned 1 1 1 0 1
                    Event.Advanced(attempt 1 1, 1, Held big)
                    Event.Split(attempt 1 2, 2, ValueNone, cuts)
                    piece 2 0 100L<B>
                ]

            Expect.contains
                decisions.Effects
                (Effect.ToJournal(JournalEffect.LoadSubmission(attempt 1 2, 2L)))
                "asked for"

            decisions.Clear()
            scheduler.Step(Input.SubmissionLoaded(attempt 1 2, whole), Instant.zero, decisions)

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

        test
            "has its parts gathered once what it was submitted with is at hand, for the attempt that follows" {
            let scheduler, decisions =
                restarted { splitting with memory = 100L<B> } [
                    joined
                    Event.Submitted(taskId 1, whole.ToJournaled(), pipelineOf "d | lower")
                    assigned 1 1 1 0 1
                    Event.Advanced(attempt 1 1, 1, Held big)
                    Event.Split(attempt 1 2, 2, ValueNone, cuts)
                    piece 2 0 100L<B>
                    Event.Part(taskId 1, 0, Held(bytes "0"))
                    Event.Completed(attempt 2 1, NothingKept)
                ]

            let gathers () = [
                for effect in decisions.Effects do
                    match effect with
                    | Effect.ToPieces(PieceEffect.PrefetchPart(attempt, index, _)) -> attempt, index
                    | _ -> ()
            ]

            Expect.isEmpty (gathers ()) "nothing for an attempt that is not joined"
            scheduler.Step(Input.SubmissionLoaded(attempt 1 2, whole), Instant.zero, decisions)
            Expect.equal (gathers ()) [ attempt 1 3, 0 ] "for the next one"
        }

        test "has nothing gathered for the attempt from before, even if a part comes meanwhile" {
            let scheduler, decisions =
                restarted { splitting with memory = 100L<B> } [
                    joined
                    Event.Submitted(taskId 1, whole.ToJournaled(), pipelineOf "d | lower")
                    assigned 1 1 1 0 1
                    Event.Advanced(attempt 1 1, 1, Held big)
                    Event.Split(attempt 1 2, 2, ValueNone, cuts)
                    piece 2 0 100L<B>
                ]

            for input in
                [
                    Input.Join(session 2, "w2", [| "lower" |])
                    Input.Ready(session 2, 1)
                    Input.Report(session 2, attempt 2 1, Succeeded, bytes "0")
                    Input.SubmissionLoaded(attempt 1 2, whole)
                ] do
                scheduler.Step(input, Instant.zero, decisions)

            let gathered = [
                for effect in decisions.Effects do
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

            // All parts were there, and were given up; the power cut that took the third came later.
            let scheduler, decisions =
                restarted splitting [
                    joined
                    Event.Submitted(taskId 1, submission "x" 0 Result None big, pipelineOf "lower")
                    Event.Split(attempt 1 1, 1, ValueNone, cuts)
                    Event.Part(taskId 1, 0, Held(bytes "old"))
                    Event.Part(taskId 1, 1, Held(bytes "old"))
                    Event.Quarantined(taskId 1, gone)
                    Event.Retried(taskId 1)
                    Event.Split(attempt 1 2, 1, ValueNone, otherCuts)
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
                [ attempt 1 2, ValueNone, textParts [ "one"; "two" ] ]
                "both are new"
        }

        test "is begun anew where a part of its last pieces is not there" {
            let scheduler, _ =
                restarted splitting [
                    joined
                    Event.Submitted(taskId 1, submission "x" 0 Result None big, pipelineOf "lower")
                    Event.Split(attempt 1 1, 1, ValueNone, cuts)
                    Event.Part(taskId 1, 0, Held(bytes "old"))
                    Event.Split(attempt 1 2, 1, ValueNone, cuts)
                    piece 5 0 100L<B>
                    piece 6 1 110L<B>
                    piece 7 2 90L<B>
                ]

            let states = [
                for task in TaskView.all scheduler do
                    int64 task.id, task.state
            ]

            Expect.equal
                states
                [ 1L, "split"; 5L, "queued"; 6L, "queued"; 7L, "queued" ]
                "every piece has its task, and no part"
        }

        test "goes on after the latest event, also where the part of that is gone" {
            let scheduler = Scheduler splitting

            let history = [
                joined
                Event.Submitted(taskId 1, submission "x" 0 Result None big, pipelineOf "lower")
                Event.Split(attempt 1 1, 1, ValueNone, cuts)
                piece 2 0 100L<B>
                Event.Completed(attempt 2 1, NothingKept)
                Event.Part(taskId 1, 0, Held(spooled "part"))
            ]

            let numbered =
                history
                |> Seq.mapi (fun index event -> struct (int64 index + 1L, Instant.zero, event))

            scheduler.Restore(numbered, Instant.zero, (fun event -> not event.IsPart))
            Expect.equal scheduler.LastEvent 6L "its number is taken"
            let isPart (path: string) = path.Contains "part"
            Expect.isFalse (Seq.exists isPart scheduler.Spools) "and it has no part"
        }
    ]
