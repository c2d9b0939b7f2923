/// What is carried of old events before they are dropped.
module FsScheduler.Core.Tests.SchedulerRetentionTests

open Expecto
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture

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

    /// What a restart makes of the events from a number on.
    member _.StatesFrom(number: int64) =
        let numbered =
            events
            |> Seq.mapi (fun index event -> struct (int64 index + 1L, Instant.zero, event))
            |> Seq.filter (fun struct (at, _, _) -> at >= number)

        let restored = Scheduler settings
        restored.Restore(numbered, Instant.zero)
        Expect.isEmpty (Invariants.violations restored) "violations"

        [
            for task in TaskView.all restored do
                int64 task.id, task.state
        ]

let private drops (effects: Effect list) =
    effects
    |> List.choose (function
        | Effect.Drop before -> Some before
        | _ -> None)

/// Version 1 of a file, task 1, is being published; its result was accepted at event 4.
let private publishing () =
    let recorded = History settings
    recorded.Do(Input.Join(session 1, "w1", [| "a" |]))
    recorded.Do(Input.Submit(file "f" 1, ""))
    recorded.Do(Input.Ready(session 1, 1))
    recorded.Do(Input.Report(session 1, attempt 1 1, Succeeded, bytes "done"))
    Expect.equal recorded.Scheduler.LastEvent 4L "joined, submitted, assigned, accepted"
    recorded

let tests =
    testList "old events" [
        test "stay while the journal alone knows by what a result is known" {
            let recorded = publishing ()
            let _, effects = recorded.Take(retain 5L)
            Expect.isEmpty (drops effects) "its mark is at event 4"
            Expect.isTrue recorded.Scheduler.IsRetaining "to be said again"
            recorded.Do(published 1 1)
            recorded.Do(Input.Note [| Note.Flushed recorded.Scheduler.LastEvent |])
            let _, effects = recorded.Take(retain 5L)
            Expect.equal (drops effects) [ 5L ] "now they may go"
            Expect.isFalse recorded.Scheduler.IsRetaining "all is carried"
        }

        test "are carried with the version of a file that waits for an older one" {
            let recorded = publishing ()
            recorded.Do(Input.Submit(file "f" 2, ""))
            let states = [ 1L, "publishing"; 2L, "succeeding" ]
            let _, effects = recorded.Take(retain 4L)
            Expect.equal (drops effects) [ 4L ] "the mark stays"
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
            recorded.Do(retain (recorded.Scheduler.LastEvent + 1L))
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
                    | Effect.Assign(_, _, _, payload) -> Some payload
                    | _ -> None)

            Expect.equal payloads [ Recorded(carriedAt, 4L<B>) ] "where it is read"
        }
    ]
