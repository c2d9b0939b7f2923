module FsScheduler.Core.Tests.SchedulerFileTests

open System.Collections.Generic
open Expecto
open FsScheduler.Core
open FsScheduler.TestKit.SchedulerFixture

let private first, second, third = file "f" 1, file "f" 2, file "f" 3
let private submit submission = Input.Submit(submission, "")

let private stamp version =
    Input(FileVersion.ofTime 1L<B> (int64<int> version))

let private woken task = Event.Woken(taskId task)

let private superseded task =
    Event.Cancelled(taskId task, "superseded by a newer version of the file")

let private gone task =
    Event.Cancelled(taskId task, "the file is gone")

let private submitted task submission =
    Event.Submitted(taskId task, submission, settings.pipeline)

let private worker () =
    let machine = Machine settings
    machine.Worker(1, [ "a" ], 2) |> ignore
    machine

/// Version 1 of a file is being published.
let private publishing () =
    let machine = worker ()
    machine.Do(submit first)
    machine.Succeed(1, attempt 1 1) |> ignore
    machine

let private publishingTests =
    testList "a file" [
        test "is read from its version, and its result is published" {
            let machine = worker ()

            expect (machine.Take(submit first)) [ submitted 1 first; assigned 1 1 1 0 1 ] [
                assign first 1 1 1 [ "a" ] (stamp 1)
            ]

            expect (machine.Report(1, attempt 1 1, Succeeded, spooled "out")) [
                Event.Accepted(attempt 1 1, AcceptedContent(spooled "out"))
            ] [ Effect.ToDisk(DiskEffect.Publish(attempt 1 1, first, spooled "out")) ]

            Expect.isFalse machine.Scheduler.IsDone "not before it is published"
            expect (machine.Take(published 1 1)) [ stored 1 1 ] []
            Expect.isTrue machine.Scheduler.IsDone "done"
            Expect.equal (machine.Take(published 1 1)) nothing "once"
        }

        test "is tried again with another pipeline as a new task" {
            let machine = worker ()
            machine.Do(submit first)
            machine.Report(1, attempt 1 1, Failed("no", false), Content.empty) |> ignore

            match machine.Take(Input.RetryWith(taskId 1, "lower", client)) with
            | [ Event.Cancelled(1L<taskId>, reason); Event.Submitted(2L<taskId>, again, pipeline) ],
              _ ->
                Expect.stringContains reason "another pipeline" "why"
                Expect.equal (again.Name, again.Payload) (first.Name, first.Payload) "that version"
                Expect.equal pipeline.wire [| "lower" |] "with that"
            | other -> failtest $"%A{other}"
        }

        test "is tried again with the pipeline that it has, in place, and with none that is unknown" {
            let machine = worker ()
            machine.Do(submit first)
            machine.Report(1, attempt 1 1, Failed("no", false), Content.empty) |> ignore
            let _, effects = machine.Take(Input.RetryWith(taskId 1, "nonsuch", client))
            Expect.hasLength effects 1 "an ERROR"
            let events, _ = machine.Take(Input.RetryAllWith("", client))
            Expect.equal (List.head events) (Event.Retried(taskId 1)) "the same task"
        }

        test "is published by its current attempt only" {
            let machine = publishing ()
            Expect.equal (machine.Take(published 1 2)) nothing "stale"
            Expect.equal (machine.Take(Input.Unpublished(attempt 1 0, "?"))) nothing "stale"
        }

        test "whose result cannot be stored is run again, and put into quarantine in the end" {
            let machine = publishing ()

            for number in 1..2 do
                let unpublished = Input.Unpublished(attempt 1 number, "disk full")

                match machine.Take unpublished with
                | [ Event.Delayed(1L<taskId>, failure, _) ], [] ->
                    Expect.equal (failure.error, failure.worker) ("disk full", "") "trouble"
                | other -> failtest $"%A{other}"

                machine.Pass(1_000L<ms>, [ session 1 ]) |> ignore
                machine.Succeed(1, attempt 1 (number + 1)) |> ignore

            match machine.Take(Input.Unpublished(attempt 1 3, "disk full")) with
            | [ Event.Quarantined(1L<taskId>, _) ],
              [ Effect.ToDisk(DiskEffect.PublishError(1L<taskId>, _, pastFailures)) ] ->
                Expect.equal
                    [ for failure in pastFailures -> failure.attempt ]
                    [ 1; 2; 3 ]
                    "in order"
            | other -> failtest $"%A{other}"
        }

        test "that goes is forgotten" {
            let machine = worker ()
            machine.Do(submit first)

            expect (machine.Take(Input.FileDeleted "f")) [ Event.Gone "f"; gone 1 ] [
                Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 1 1))
            ]

            expect (machine.Take(Input.FileDeleted "f")) [ Event.Gone "f" ] []
            expect (machine.Take(Input.FileDeleted "other")) [ Event.Gone "other" ] []
        }

        test "that goes while its result is published is done all the same" {
            let machine = publishing ()
            expect (machine.Take(Input.FileDeleted "f")) [ Event.Gone "f" ] []
            expect (machine.Take(published 1 1)) [ stored 1 1 ] []
        }

        test "that changes voids what is done with it, even while it is published" {
            let cancelled = Event.Cancelled(taskId 1, "the file changed or went")
            let machine = worker ()
            machine.Do(submit first)
            let revoke = Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 1 1))
            Expect.equal (machine.Take(Input.Outdated(attempt 1 1))) nothing "not published yet"
            expect (machine.Take(Input.FileChanged(attempt 1 1))) [ cancelled ] [ revoke ]
            let machine = publishing ()
            expect (machine.Take(Input.Outdated(attempt 1 1))) [ cancelled ] []
            Expect.equal (machine.Take(published 1 1)) nothing "void"
            Expect.equal (machine.Take(Input.Outdated(attempt 1 1))) nothing "twice"
        }

        test "that a late reader finds changed leaves the one that is being published in its place" {
            // The version after it once ran at once: two results of one name were on their way.
            let machine = publishing ()

            Expect.equal
                (machine.Take(Input.FileChanged(attempt 1 1)))
                nothing
                "the publisher looks itself"

            machine.Do(submit second)
            Expect.equal machine.States [ 1L, "publishing"; 2L, "succeeding" ] "states"
        }
    ]

let private versions =
    testList "a newer version of a file" [
        test "replaces one that is queued" {
            let machine = Machine settings
            machine.Do(submit first)
            expect (machine.Take(submit second)) [ superseded 1; submitted 2 second ] []
        }

        test "replaces one that runs, which is revoked" {
            let machine = worker ()
            machine.Do(submit first)

            expect (machine.Take(submit second)) [
                superseded 1
                submitted 2 second
                assigned 2 1 1 0 1
            ] [
                Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 1 1))
                assign second 2 1 1 [ "a" ] (stamp 2)
            ]
        }

        test "replaces one that is in quarantine" {
            let machine = worker ()
            machine.Do(submit first)
            machine.Report(1, attempt 1 1, Failed("no", false), Content.empty) |> ignore
            machine.Do(submit second)
            Expect.equal machine.States [ 2L, "running" ] "states"
        }

        test "waits for one that is being published, then runs" {
            let machine = publishing ()
            expect (machine.Take(submit second)) [ submitted 2 second ] []

            expect (machine.Take(published 1 1)) [ stored 1 1; woken 2; assigned 2 1 1 0 1 ] [
                assign second 2 1 1 [ "a" ] (stamp 2)
            ]

            machine.Report(1, attempt 2 1, Succeeded, spooled "out") |> ignore
            expect (machine.Take(published 2 1)) [ stored 2 1 ] []
        }

        test "replaces one that waits so, and waits in its place" {
            // The third version once ran at once, beside the publishing of the first.
            let machine = publishing ()
            machine.Do(submit second)
            expect (machine.Take(submit third)) [ superseded 2; submitted 3 third ] []
            Expect.equal machine.States [ 1L, "publishing"; 3L, "succeeding" ] "states"

            expect (machine.Take(published 1 1)) [ stored 1 1; woken 3; assigned 3 1 1 0 1 ] [
                assign third 3 1 1 [ "a" ] (stamp 3)
            ]
        }

        test "that goes leaves the one that is being published in its place" {
            // The one after it once ran at once, beside the publishing of the first.
            for input, cancelled in
                [
                    Input.FileDeleted "f", [ Event.Gone "f"; gone 2 ]
                    Input.Cancel(taskId 2, client), [ Event.Cancelled(taskId 2, "cancelled") ]
                ] do
                let machine = publishing ()
                machine.Do(submit second)
                expect (machine.Take input) cancelled []
                expect (machine.Take(submit third)) [ submitted 3 third ] []
                Expect.equal machine.States [ 1L, "publishing"; 3L, "succeeding" ] "states"
        }

        test "runs at once where the older result cannot be stored" {
            let machine = publishing ()
            machine.Do(submit second)

            expect (machine.Take(Input.Unpublished(attempt 1 1, "disk full"))) [
                superseded 1
                woken 2
                assigned 2 1 1 0 1
            ] [ assign second 2 1 1 [ "a" ] (stamp 2) ]
        }

        test "runs at once where the older one is withdrawn" {
            let machine = publishing ()
            machine.Do(submit second)
            machine.Do(Input.Outdated(attempt 1 1))
            Expect.equal machine.States [ 2L, "running" ] "states"
        }

        test "does not touch other files, nor a client's task of the same name" {
            let machine = Machine settings
            machine.Do(submit first)
            machine.Do(submit (file "g" 1))
            machine.Do(submit (submission "f" 0 File None (bytes "x")))
            machine.Do(submit second)
            Expect.equal [ for id, _ in machine.States -> id ] [ 2L; 3L; 4L ] "ids"
        }
    ]

/// Two versions of a file have been begun and overtaken, and version 3 runs.
let private overtaken () =
    let machine = worker ()
    machine.Do(submit first)
    machine.Do(submit second)
    machine.Do(submit third)
    Expect.equal machine.States [ 3L, "running" ] "the third runs"
    machine

let private fourth, fifth = file "f" 4, file "f" 5

let private starving =
    testList "a file that changes faster than it is processed" [
        test "has its third version finished, and then the newest one run" {
            let machine = overtaken ()
            expect (machine.Take(submit fourth)) [ submitted 4 fourth ] []
            expect (machine.Take(submit fifth)) [ superseded 4; submitted 5 fifth ] []
            Expect.equal machine.States [ 3L, "running"; 5L, "succeeding" ] "states"

            expect (machine.Report(1, attempt 3 1, Succeeded, spooled "out")) [
                Event.Accepted(attempt 3 1, AcceptedContent(spooled "out"))
            ] [ Effect.ToDisk(DiskEffect.PublishOlder(attempt 3 1, third, spooled "out")) ]

            expect (machine.Take(published 3 1)) [ stored 3 1; woken 5; assigned 5 1 1 0 1 ] [
                assign fifth 5 1 1 [ "a" ] (stamp 5)
            ]
        }

        test "begins to count anew once it has a result" {
            let machine = overtaken ()
            machine.Report(1, attempt 3 1, Succeeded, spooled "out") |> ignore
            machine.Do(published 3 1)
            machine.Do(submit fourth)

            expect (machine.Take(submit fifth)) [
                superseded 4
                submitted 5 fifth
                assigned 5 1 1 0 1
            ] [
                Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 4 1))
                assign fifth 5 1 1 [ "a" ] (stamp 5)
            ]
        }

        test "counts the versions whose results came too late, too" {
            let machine = worker ()

            for number, version in [ 1, first; 2, second ] do
                machine.Do(submit version)
                machine.Succeed(1, attempt number 1) |> ignore
                machine.Do(Input.Outdated(attempt number 1))

            machine.Do(submit third)

            match machine.Report(1, attempt 3 1, Succeeded, spooled "out") with
            | _, [ Effect.ToDisk(DiskEffect.PublishOlder(_, _, _)) ] -> ()
            | other -> failtest $"%A{other}"
        }

        test "does not count versions that were not begun" {
            let machine = Machine settings

            for version in [ first; second; third ] do
                machine.Do(submit version)

            machine.Worker(1, [ "a" ], 2) |> ignore
            machine.Do(submit fourth)
            Expect.equal machine.States [ 4L, "running" ] "the third has given way"
        }

        test "has its newest version run where the one that may finish fails, or is lost" {
            for failure in
                [
                    Input.Report(session 1, attempt 3 1, Failed("no", true), Content.empty)
                    Input.Report(session 1, attempt 3 1, Failed("no", false), Content.empty)
                    Input.Unstored(session 1, attempt 3 1, "no room")
                    Input.FileChanged(attempt 3 1)
                    Input.Cancel(taskId 3, client)
                ] do
                let machine = overtaken ()
                machine.Do(submit fourth)
                machine.Do failure
                Expect.equal machine.States [ 4L, "running" ] $"%A{failure}"

            let machine = overtaken ()
            machine.Do(submit fourth)
            machine.Do(Input.Leave(session 1))
            Expect.equal machine.States [ 4L, "queued" ] "lost"
        }

        test "has its newest version run where nobody is left to do the other one in pieces" {
            let machine = Machine { settings with split = 100L<B> }
            machine.Worker(1, [ "d"; "d.lines" ], 2) |> ignore

            for version in 1L .. 4L do
                let payload = Input(FileVersion.ofTime 300L<B> version)
                let submission = Submission.Create(taskName "f", "", 0, Folder, payload)
                machine.Do(Input.Submit(submission, "d"))

            Expect.equal machine.States [ 3L, "split"; 4L, "succeeding" ] "it may finish"
            machine.Lose 1 |> ignore
            machine.Do(Input.Cut(attempt 3 0, [| 100L<B>; 300L<B> |]))
            Expect.equal machine.States [ 4L, "queued" ] "it gives way"
        }

        test "that goes leaves nothing of all its versions" {
            let machine = overtaken ()
            machine.Do(submit fourth)

            expect (machine.Take(Input.FileDeleted "f")) [ Event.Gone "f"; gone 4; gone 3 ] [
                Effect.ToPeer(PeerEffect.Revoke(session 1, attempt 3 1))
            ]

            Expect.isTrue machine.Scheduler.IsDone "nothing"
        }

        test "that went and is back begins to count anew" {
            let machine = overtaken ()
            machine.Do(Input.FileDeleted "f")
            machine.Do(submit fourth)
            machine.Do(submit fifth)
            Expect.equal machine.States [ 5L, "running" ] "the newest"
        }

        test "has the version that may finish on another stage too" {
            let machine = Machine { settings with pipeline = pipeline [ "a"; "b" ] }
            machine.Worker(1, [ "a" ], 2) |> ignore

            for version in [ first; second; third ] do
                machine.Do(submit version)

            machine.Report(1, attempt 3 1, Succeeded, bytes "half") |> ignore
            machine.Do(submit fourth)
            Expect.equal machine.States [ 3L, "queued"; 4L, "succeeding" ] "states"
        }
    ]

/// What a scheduler does first that goes on after these events of an earlier run, and its tasks.
let private restarted (history: Event list) =
    let scheduler = Scheduler settings

    let numbered =
        history
        |> Seq.mapi (fun index event -> struct (int64 index + 1L, Instant.zero, event))

    let decisions = StepOutput()
    scheduler.Restore(numbered, Instant.zero)
    scheduler.Resume(System.Guid.Empty, Dictionary(), Instant.zero, decisions)
    Expect.isEmpty (Invariants.violations scheduler) "violations"

    let states = [
        for task in TaskView.all scheduler do
            int64 task.id, task.state
    ]

    List.ofSeq decisions.Events |> List.filter (fun event -> not event.IsOpened), states

let private afterRestart =
    let joined = Event.Joined(session 1, "w1", [| "a" |])

    testList "after a restart, a newer version of a file" [
        test "waits for one that may finish" {
            let _, states =
                restarted [ joined; submitted 1 first; assigned 1 1 1 0 1; submitted 2 second ]

            Expect.equal states [ 1L, "running"; 2L, "succeeding" ] "states"
        }

        test "has the place of one that was to be cut, of which nothing is left" {
            let events, states = restarted [ submitted 1 first; submitted 2 second ]
            Expect.equal events [ superseded 1; woken 2 ] "events"
            Expect.equal states [ 2L, "queued" ] "states"
        }

        test "has the place of one whose result did not get its name" {
            let events, states =
                restarted [
                    joined
                    submitted 1 first
                    assigned 1 1 1 0 1
                    Event.Accepted(attempt 1 1, AcceptedContent(bytes "out"))
                    submitted 2 second
                ]

            Expect.contains events (superseded 1) "events"
            Expect.equal states [ 2L, "queued" ] "states"
        }
    ]

[<Tests>]
let tests =
    testList "the scheduler.files" [ publishingTests; versions; starving; afterRestart ]
