/// One version of a file after the other.
module FsScheduler.Machine.Tests.SchedulerFileVersionsTests

open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Machine.Tests.SchedulerFileSupport

let private versions =
    testList "a newer version of a file" [
        test "replaces one that is queued" {
            let machine = Machine settings
            machine.Do(submit first)
            expect (machine.Take(submit second)) [ superseded 1; submitted 2 second ] []
        }

        test "replaces one that runs, which is revoked" {
            let machine = idle 2
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
            let machine = idle 2
            machine.Do(submit first)
            machine.FailForGood(1, attempt 1 1) |> ignore
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
    let machine = idle 2
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
            let machine = idle 2

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

let private afterRestart =
    let joined = Event.Joined(session 1, "w1", [| "a" |])

    /// What the scheduler does first that goes on after these events, and its tasks.
    let restarted history =
        let machine = Machine settings
        let events, _ = machine.Restart history
        events |> List.filter (fun event -> not event.IsOpened), machine.States

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
    testList "the scheduler.versions of a file" [ versions; starving; afterRestart ]
