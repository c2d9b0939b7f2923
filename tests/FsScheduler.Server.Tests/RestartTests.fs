/// A server that finds the journal of an earlier one, as a crash has left it, and what the disk still has.
module FsScheduler.Server.Tests.RestartTests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.ServerSupport
open FsScheduler.Journal.Tests.JournalSupport
open FsScheduler.Server.Tests.Cluster

let private bootId = "/proc/sys/kernel/random/boot_id"

/// <summary>A server after a crash.</summary>
/// <param name="change">What becomes of the store of its journal.</param>
/// <param name="isSameBoot">Whether the machine has run on.</param>
/// <param name="onDone">What becomes of inputs.</param>
/// <param name="result">What stands under the name of the result of `a`.</param>
/// <param name="history">What happened to task 1, which is of the file `a`.</param>
let private afterWith change isSameBoot onDone (result: string option) (history: Event list) =
    if isSameBoot && not (File.Exists bootId) then
        skiptest "the system does not tell whether it has run on"

    new Cluster(fun options ->
        let folder = options.state.Path + "-before"
        Directory.CreateDirectory folder |> ignore

        if isSameBoot then
            File.WriteAllText(Path.Combine(folder, "boot"), File.ReadAllText(bootId).Trim())

        let input = FileInfo(Path.Combine(options.entrada, "a"))
        File.WriteAllText(input.FullName, "A")
        input.Refresh()

        match result with
        | Some text -> File.WriteAllText(Path.Combine(options.resultados, "a.out"), text)
        | None -> ()

        let stamp = FileStatus.portableOf input

        let submission =
            Submission.Create(name "a", "", 0, Origin.Folder, Payload.Input stamp)

        let state = new StateFolder(folder)
        let store = new MemoryStore()
        let journal = openOver store folder
        let begun = Event.Submitted(taskId 1, submission, pipeline [ "lower" ])
        let given = Event.Assigned(attemptOf 1 1, 1L<sessionId>, struct (0, 1))
        (append journal 1L ([ begun; given ] @ history)).Wait()
        (close journal).Wait()
        change store

        {
            options with
                state = state
                onDone = onDone
                openJournal =
                    fun () ->
                        StateJournal.over
                            store
                            (Guid.NewGuid())
                            folder
                            options.outage
                            options.clock
        })

let private after = afterWith ignore

/// From now on the disk takes nothing.
let private fill (store: MemoryStore) =
    store.OnStep <-
        function
        | StoreStep.Appending _ -> raise (StoreError(true, "disk full"))
        | _ -> ()

let private hash (text: string) =
    ResultFile.hashOf (Text.Encoding.UTF8.GetBytes text)

let private accepted = Event.Accepted(attemptOf 1 1, AcceptedContent(bytes "a"))
let private completed = Event.Completed(attemptOf 1 1, StoredResult(hash "a"))

/// As the machine shows it once the folder has been looked at.
let private status (cluster: Cluster) (isSo: StatusReport -> bool) =
    task {
        let mutable status = Unchecked.defaultof<StatusReport>
        let mutable goOn = true
        let clock = Diagnostics.Stopwatch.StartNew()

        while goOn do
            if clock.Elapsed > TimeSpan.FromSeconds 20.0 then
                failtest $"it does not come to that: %A{status}"

            let! now = within (cluster.Server.StatusAsync())
            status <- now
            goOn <- not (isSo status)

        return status
    }

/// Of task 1, of which two pieces are done; the part of the second is a file.
let private inPieces part = [
    let big = Spooled("big", 300L<B>)

    let whole =
        Submission.Create(name "x", "x", 0, Origin.Client(1L<sessionId>, Result, None), big)

    let cuts = [| 100L<B>; 200L<B>; 300L<B> |]
    Event.Submitted(taskId 1, whole, pipeline [ "lower" ])
    Event.Split(attemptOf 1 1, 1, ValueNone, cuts)

    for index in 0..2 do
        let piece =
            whole.Piece(taskId 1, index, Slice(Kept(Held big), 100L<B> * int64 index, 100L<B>))

        Event.Submitted(taskId (index + 2), piece, pipeline [ "lower" ])

    Event.Part(taskId 1, 0, Held(bytes "one"))
    Event.Completed(attemptOf 2 1, NothingKept)
    Event.Part(taskId 1, 1, Held(Spooled(part, 100L<B>)))
    Event.Completed(attemptOf 3 1, NothingKept)
]

[<Tests>]
let tests =
    testList "a server that is started again" [
        for what, isSameBoot, isThere, isKept in
            [
                "on a machine that has run on", true, true, true
                "after a power cut", false, true, false
                "on a machine that has run on since one took it", true, false, false
            ] do
            test $"has a part that is in a file, {what}: {isKept}" {
                use temp = new TempFolder()
                use state = new StateFolder(temp.At "state")
                let part = nonNull (state.NewPart())
                let store = new MemoryStore()
                let journal = openOver store state.Path
                (append journal 1L (inPieces part)).Wait()
                (close journal).Wait()

                if isThere then
                    File.WriteAllText(part, "two")

                let journal = openOver store state.Path

                let scheduler =
                    Restart.restore
                        { settings with split = 100L<B> }
                        journal
                        (Clock TimeProvider.System)
                        Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance

                let lost = Restart.lostParts scheduler (Spool()) isSameBoot
                let decisions = StepOutput()
                let found = Collections.Generic.Dictionary()
                let now = (Clock TimeProvider.System).Now
                scheduler.Resume(journal.Owner, found, lost, now, decisions)
                Expect.equal (Seq.contains part scheduler.Spools) isKept "the part"
                (close journal).Wait()

                let again = [
                    for event in decisions.Events do
                        match event with
                        | Event.Submitted(_, piece, _) -> piece.Name, piece.Origin
                        | _ -> ()
                ]

                Expect.equal
                    again
                    (if isKept then [] else [ "x", Origin.Piece(taskId 1, 1) ])
                    "run again"
            }

        test "never calls two parts the same, whatever was deleted in between" {
            use temp = new TempFolder()

            let parts = [
                for _ in 1..3 do
                    use state = new StateFolder(temp.At "state")
                    state.NewPart()
                    state.NewPart()
            ]

            Expect.hasLength (List.distinct parts) 6 "all differ"
        }

        testTask "does not run again what had its name already" {
            use cluster = after false OnDone.Keep (Some "a") [ accepted ]
            let! (now: StatusReport) = status cluster (fun now -> now.finished > 0L)

            Expect.equal
                (now.finished, now.queued, now.running)
                (1L, 0L, 0L)
                "done, without a worker"
        }

        testTask "does the rest of what had its name already" {
            use cluster = after false OnDone.Delete (Some "a") [ accepted ]
            let! _ = status cluster (fun now -> now.finished > 0L)
            Expect.isFalse (File.Exists(cluster.Folder.At "entrada/a")) "the input goes"
        }

        for what, result in [ "not there", None; "an older one", Some "b"; "torn", Some "" ] do
            testTask $"runs again what was accepted, where the result is {what}" {
                use cluster = after true OnDone.Keep result [ accepted ]
                let! (now: StatusReport) = status cluster (fun now -> now.queued > 0L)
                Expect.equal (now.finished, now.publishing) (0L, 0L) "queued again"
            }

        testTask "says that the machine has run on once what it found is recorded" {
            use cluster = after false OnDone.Keep None [ accepted ]
            do! eventually "noted" (fun () -> File.Exists(cluster.Folder.At "state-before/boot"))

            use stuck = afterWith fill false OnDone.Keep None [ accepted ]

            use! (_: Peer) = stuck.ClientAsync() // it is up
            Expect.isFalse (File.Exists(stuck.Folder.At "state-before/boot")) "and not before"
        }

        for what, isSameBoot, result, isAgain in
            [
                "whole", false, Some "a", false
                "torn", false, Some "", true
                "torn, on a machine that has run on", true, Some "", true
                "lost", false, None, true
                "taken away, on a machine that has run on", true, None, false
            ] do
            testTask $"takes a file again where its result is {what}: {isAgain}" {
                use cluster = after isSameBoot OnDone.Keep result [ accepted; completed ]

                if isAgain then
                    let! (now: StatusReport) = status cluster (fun now -> now.queued > 0L)
                    Expect.equal now.finished 1L "the first time counts"

                    // Else the next start, of a machine that has run on, would take it for taken away.
                    let events = (cluster.Journal :> IHistory).EventsAfter(0L, 1_000)

                    let isDamaged (event: RecordedEvent) =
                        (Text.Encoding.UTF8.GetString event.json.Span).Contains
                            "\"what\":\"damaged\",\"name\":\"a\""

                    Expect.exists events isDamaged "that it is not whole is recorded"
                else
                    let! quarantined =
                        within (cluster.Server.WaitUntilDoneAsync CancellationToken.None)

                    let! (now: StatusReport) = cluster.Server.StatusAsync()
                    Expect.equal (quarantined, now.finished) (0, 1L) "nothing is left to do"
            }
    ]
