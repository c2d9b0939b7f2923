/// What is carried of old events before they are dropped.
module FsScheduler.Machine.Tests.SchedulerRetentionTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.TestKit.SchedulerActions
open FsScheduler.TestKit.SchedulerHistory

/// The events before a number are to go, all in one turn.
let private retain (before: int64) =
    Input.Retain { before = before; keptSince = Instant.zero; isTooMuch = false; most = 1_000 }

/// A machine with all of its events.
type private History(settings: Settings) =
    let machine = Machine settings
    let events = ResizeArray<Event>()

    member _.Scheduler = machine.Scheduler

    member _.Take(input: Input) : Event list * Effect list =
        let taken, effects = machine.Take input
        events.AddRange taken
        taken, effects

    member recorded.Do(input: Input) = recorded.Take input |> ignore

    /// What is dropped after this time.
    member recorded.DroppedAfter(span: Duration) : int64 list =
        machine.Wait span
        let _, effects = recorded.Take Input.Tick

        effects
        |> List.choose (function
            | Effect.ToJournal(JournalEffect.Drop before) -> Some before
            | _ -> None)

    /// All events so far are carried, and are to be dropped once nobody reads them.
    member recorded.CarryAll() : int64 =
        let before = machine.Scheduler.LastEvent + 1L
        let events, effects = recorded.Take(retain before)
        Expect.isTrue (List.exists (fun (event: Event) -> event.IsDropped) events) "all is carried"

        Expect.isFalse
            (List.exists
                (function
                | Effect.ToJournal(JournalEffect.Drop _) -> true
                | _ -> false)
                effects)
            "and may still be read"

        before

    /// What a restart makes of the events from a number on.
    member _.StatesFrom(number: int64) =
        let restored = Scheduler settings
        restored.Restore(Seq.skip (int number - 1) (numbered events), Instant.zero)
        Expect.isEmpty (Invariants.violations restored) "violations"

        [
            for task in TaskView.all restored do
                int64 task.id, task.state
        ]

/// Version 1 of a file, task 1, is being published; its result was accepted at event 4.
let private publishing () =
    let recorded = History settings
    recorded.Do(Input.Join(session 1, "w1", [| "a" |]))
    recorded.Do(Input.Submit(file "f" 1, ""))
    recorded.Do(Input.Ready(session 1, 1))
    recorded.Do(Input.Report(session 1, attempt 1 1, Succeeded, bytes "done"))
    Expect.equal recorded.Scheduler.LastEvent 4L "joined, submitted, assigned, accepted"
    recorded

[<Tests>]
let tests =
    testList "the scheduler.old events" [
        test "stay while the journal alone knows by what a result is known" {
            let recorded = publishing ()
            recorded.Do(retain 5L)
            Expect.isEmpty (recorded.DroppedAfter 1_000L<ms>) "its mark is at event 4"
            Expect.isTrue recorded.Scheduler.IsRetaining "to be said again"
            recorded.Do(published 1 1)
            recorded.Do(Input.Note [| Note.Flushed recorded.Scheduler.LastEvent |])
            recorded.Do(retain 5L)
            Expect.isFalse recorded.Scheduler.IsRetaining "all is carried"
            Expect.equal (recorded.DroppedAfter 1_000L<ms>) [ 5L ] "now they may go"
        }

        test "are carried with the version of a file that waits for an older one" {
            let recorded = publishing ()
            recorded.Do(Input.Submit(file "f" 2, ""))
            let states = [ 1L, "publishing"; 2L, "succeeding" ]
            recorded.Do(retain 4L)
            Expect.equal (recorded.DroppedAfter 1_000L<ms>) [ 4L ] "the mark stays"
            Expect.equal (recorded.StatesFrom 1L) states "of all events"
            Expect.equal (recorded.StatesFrom 4L) states "of those that stay"
        }

        test "leave the result of a stage at the event that it was carried to" {
            let recorded = History { settings with memory = 1_000L<B> }
            let submitted = submission "x" 0 Result None (bytes "x")
            recorded.Do(Input.Submit(submitted, "a | d"))
            recorded.Do(Input.Join(session 1, "w1", [| "a" |]))
            recorded.Do(Input.Ready(session 1, 1))
            recorded.Do(Input.Report(session 1, attempt 1 1, Succeeded, bytes "done"))
            recorded.CarryAll() |> ignore
            recorded.DroppedAfter 1_000L<ms> |> ignore
            // Once more: where it was carried to is old by now.
            let before = recorded.Scheduler.LastEvent + 1L
            let events, _ = recorded.Take(retain before)

            let carriedAt =
                before
                + int64 (
                    events
                    |> List.findIndex (function
                        | Event.Carried(Carried.Task _) -> true
                        | _ -> false)
                )

            recorded.Do(Input.Join(session 2, "w2", [| "d" |]))
            let _, effects = recorded.Take(Input.Ready(session 2, 1))

            let payloads =
                effects
                |> List.choose (function
                    | Effect.ToPeer(PeerEffect.Assign(_, _, _, payload)) -> Some payload
                    | _ -> None)

            Expect.equal payloads [ Kept(Recorded(carriedAt, 4L<B>)) ] "where it is read"
        }

        test "are dropped a second after they were carried, and until then no others are carried" {
            let recorded = History settings
            recorded.Do(Input.Submit(submission "x" 0 Result None (bytes "x"), ""))
            let before = recorded.CarryAll()
            Expect.isTrue recorded.Scheduler.IsDropping "they are still there"
            Expect.isFalse recorded.Scheduler.IsRetaining "nothing is left to carry"
            let again = recorded.Take(retain (recorded.Scheduler.LastEvent + 1L))
            Expect.equal again nothing "one after the other"
            Expect.isEmpty (recorded.DroppedAfter 999L<ms>) "somebody may be reading them"
            Expect.equal (recorded.DroppedAfter 1L<ms>) [ before ] "nobody reads them any more"
            Expect.isFalse recorded.Scheduler.IsDropping "they are gone"
            Expect.isEmpty (recorded.DroppedAfter 1_000L<ms>) "once"
            recorded.CarryAll() |> ignore
        }

        test "stay while a submission is read that was asked for before it was carried" {
            let recorded = History { settings with memory = 0L<B> }
            let submitted = submission "x" 0 Result None (bytes "x")
            recorded.Do(Input.Submit(submitted, ""))
            recorded.Do(Input.Join(session 1, "w1", [| "a" |]))
            let _, effects = recorded.Take(Input.Ready(session 1, 1))

            Expect.equal
                effects
                [ Effect.ToJournal(JournalEffect.LoadSubmission(attempt 1 1, 1L)) ]
                "read from event 1"

            let before = recorded.CarryAll()
            Expect.isEmpty (recorded.DroppedAfter 1_000L<ms>) "it is being read"
            recorded.Do(Input.Heard(session 1))
            recorded.Do(Input.SubmissionLoaded(attempt 1 1, submitted))
            Expect.equal (recorded.DroppedAfter 1L<ms>) [ before ] "it was read"
        }

        test "do not stay for a submission of an attempt that is over" {
            let recorded = History { settings with memory = 0L<B> }
            let submitted = submission "x" 0 Result None (bytes "x")
            recorded.Do(Input.Submit(submitted, ""))
            recorded.Do(Input.Join(session 1, "w1", [| "a" |]))
            recorded.Do(Input.Ready(session 1, 1))
            let before = recorded.CarryAll()
            recorded.Do(Input.Cancel(taskId 1, client))
            Expect.equal (recorded.DroppedAfter 1_000L<ms>) [ before ] "nobody reads it"
        }

        test "stay while parts are merged that were asked for before they were carried" {
            let whole = Spooled("whole", 10L<B>)
            let recorded = History { inHistories with memory = 1_000L<B>; speculate = 0.0 }
            recorded.Do(Input.Join(session 1, "w1", [| "lower" |]))
            recorded.Do(Input.Ready(session 1, 2))
            recorded.Do(Input.Submit(submission "x" 0 Result None whole, "lower"))
            recorded.Do(Input.Cut(attempt 1 0, [| 4L<B>; 10L<B> |]))
            recorded.Do(Input.Report(session 1, attempt 2 1, Succeeded, bytes "one"))
            recorded.Do(Input.Report(session 1, attempt 3 1, Succeeded, bytes "two"))
            let before = recorded.CarryAll()
            Expect.isEmpty (recorded.DroppedAfter 1_000L<ms>) "the parts are being read"
            recorded.Do(Input.PartsMerged(attempt 1 1, bytes "onetwo"))
            Expect.equal (recorded.DroppedAfter 1L<ms>) [ before ] "they were read"
        }

        test "that were carried and not dropped before a crash are there twice, and count once" {
            let recorded = History { settings with memory = 0L<B> }
            recorded.Do(Input.Submit(submission "x" 0 Result None (bytes "x"), ""))
            recorded.Do(Input.Submit(submission "y" 0 Result None (bytes "y"), ""))
            let before = recorded.CarryAll()
            let states = [ 1L, "queued"; 2L, "queued" ]
            Expect.equal (recorded.StatesFrom 1L) states "of all events"
            Expect.equal (recorded.StatesFrom before) states "of those that stay"
        }
    ]
