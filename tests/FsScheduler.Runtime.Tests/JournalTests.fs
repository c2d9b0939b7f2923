module FsScheduler.Runtime.Tests.JournalTests

open System
open System.Collections.Generic
open System.IO
open System.Threading.Tasks
open Expecto
open FsCheck
open FsScheduler.Core
open FsScheduler.Core.Tests
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Core.Tests.SchedulerHistory
open FsScheduler.Runtime
open FsScheduler.Runtime.Files
open FsScheduler.Runtime.Tests.FileSupport
open FsScheduler.Runtime.Tests.JournalSupport

let private trouble cause = {
    attempt = 3
    cause = cause
    stages = "a | b"
    worker = "forno «3»"
    error = "it's \"bad\"\n\0 – até amanhã"
    at = Instant.zero
}

let private recorded text =
    match Pipeline.parseRecorded text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

/// One of every kind, with what is awkward in them.
let private everyKind = [
    submitted 1 (bytes "") (Some { text = "k"; content = "c" })
    submitted 2 (Bytes(Array.init 65_536 byte)) None
    Event.Submitted(taskId 3, file "d/é.txt" 9, pipeline [ "a" ])
    Event.Joined(5L<sessionId>, "forno «3»", [| "a"; "b" |])
    Event.Assigned(attemptOf 1 1, 5L<sessionId>, struct (0, 2))
    Event.Delayed(taskId 1, trouble Fault, 75L<ms>)
    Event.Woken(taskId 1)
    Event.Requeued(taskId 1, trouble Loss)
    Event.Requeued(taskId 1, trouble Cause.Departure)
    Event.Delayed(taskId 1, trouble Disk, 1L<ms>)
    Event.Claimed(attemptOf 1 4, 5L<sessionId>)
    Event.Quarantined(taskId 1, trouble Fault)
    Event.Retried(taskId 1)
    Event.Gone "d/é.txt"
    Event.Cancelled(taskId 3, "cancelled")
    Event.Split(attemptOf 1 3, 1, ValueSome(recorded "a.lines | a.part:é"), [| 7L<B> |])
    Event.Split(attemptOf 1 4, 2, ValueNone, [| 7L<B>; 1L<B> * (1L <<< 40) |])
    Event.Part(taskId 1, 4_095, bytes "a part")
    Event.Speculated(taskId 1, 3, taskId 2)
    Event.Accepted(attemptOf 1 4, Payload.empty)
    Event.Left(5L<sessionId>, "forno «3»", "silent")
    Event.Completed(attemptOf 1 4, StoredResult { size = 5L<B>; hash = UInt64.MaxValue })
]

let private isSubmitted (event: Event) = event.IsSubmitted

let private writing =
    testList "what is written" [
        testTask "is read as it was, of every kind" {
            use folder = new TempFolder()
            let journal = openIn folder.Path
            do! append journal 1L everyKind

            let read = [
                for struct (number, _, event) in (journal :> IHistory).EventsAfter(0L, 100) do
                    number, event
            ]

            let expected = [
                for index, event in List.indexed everyKind do
                    int64 index + 1L, event
            ]

            let rest = List.filter (snd >> isSubmitted >> not)

            let withoutTimes =
                List.map (fun (number, event) ->
                    let at0 (trouble: Trouble) = { trouble with at = Instant.zero }

                    number,
                    match event with
                    | Event.Delayed(id, trouble, delay) -> Event.Delayed(id, at0 trouble, delay)
                    | Event.Requeued(id, trouble) -> Event.Requeued(id, at0 trouble)
                    | Event.Quarantined(id, trouble) -> Event.Quarantined(id, at0 trouble)
                    | Event.Part(whole, index, _) -> Event.Part(whole, index, Payload.empty)
                    | other -> other)

            Expect.equal
                (withoutTimes (rest read))
                (withoutTimes (rest expected))
                "but for submissions"

            Expect.equal (List.map fst read) (List.map fst expected) "numbers"

            for event in everyKind do
                match event with
                | Event.Submitted(id, submission, _) ->
                    let read = (journal :> IJournal).ReadSubmission id
                    Expect.equal read.Name submission.Name "name"
                    Expect.equal read.Ref submission.Ref "ref"
                    Expect.equal read.Priority submission.Priority "priority"
                    Expect.equal read.Payload submission.Payload "payload"

                    Expect.sequenceEqual
                        (read.Packed.ToArray())
                        (submission.Packed.ToArray())
                        "bytes"
                | _ -> ()

            do! close journal
        }

        testTask "has the bytes of stages and of results that are kept" {
            use folder = new TempFolder()
            let journal = openIn folder.Path
            let key = Some { text = "k"; content = "c" }

            do!
                append journal 1L [
                    submitted 1 (bytes "x") key
                    Event.Assigned(attemptOf 1 1, 1L<sessionId>, struct (0, 1))
                    Event.Advanced(attemptOf 1 1, 1, bytes "between")
                    Event.Part(taskId 1, 0, bytes "part")
                    Event.Completed(attemptOf 1 2, KeptResult(bytes "result"))
                ]

            let read number =
                Text.Encoding.UTF8.GetString((journal :> IJournal).ReadPayload number)

            Expect.equal (read 3L) "between" "of a stage"
            Expect.equal (read 4L) "part" "of a piece"
            Expect.equal (read 5L) "result" "of the end"
            Expect.throwsT<IOException> (fun () -> read 2L |> ignore) "there is none"
            do! close journal
        }

        testTask "is durable in the order in which it was given" {
            use folder = new TempFolder()
            let journal = openIn folder.Path
            let finished = List<int>()

            let all = [
                for turn in 0..49 ->
                    task {
                        do! append journal (int64 (turn * 3) + 1L) (done' (turn + 1))
                        lock finished (fun () -> finished.Add turn)
                    }
                    :> Task
            ]

            do! Task.WhenAll all
            Expect.equal finished.Count 50 "all"
            do! close journal
            let again = openIn folder.Path
            let struct (task, event, _) = (again :> IRecovery).Highest
            Expect.equal (task, event) (taskId 50, 150L) "the highest numbers"
            Expect.equal (again :> IRecovery).Ended (struct (50L, 0L)) "counts"
            do! close again
        }
    ]

let private config = {
    FsCheckConfig.defaultConfig with
        maxTest = 40
        arbitrary = [ typeof<Histories> ]
}

let private recovering =
    testList "a restart" [
        testPropertyWithConfig
            config
            "finds the state that lived, for any history, also where payloads are split"
            (fun (history: Action list) (isSplitting: bool) ->
                use folder = new TempFolder()
                let settings = if isSplitting then inHistories else settings
                let events = recordWith settings (worldOf settings) history
                let journal = openIn folder.Path

                for struct (number, at, event) in events do
                    (journal :> IJournal)
                        .AppendAsync(at, number, List<Event> [ event ])
                        .AsTask()
                        .Wait()

                (close journal).Wait()
                let lived = Scheduler settings
                lived.Restore(events, { sinceStart = 1_000_000_000L<ms> })
                let again = openIn folder.Path
                let recovery = again :> IRecovery
                // Times as they were given: the clock of this run began later than that of the other.
                let times = Dictionary<int64, Instant>()

                for struct (number, at, _) in events do
                    times[number] <- at

                let restored = Scheduler settings

                let withTimes (event: Event) at =
                    match event with
                    | Event.Delayed(id, trouble, delay) ->
                        Event.Delayed(id, { trouble with at = at }, delay)
                    | Event.Requeued(id, trouble) -> Event.Requeued(id, { trouble with at = at })
                    | Event.Quarantined(id, trouble) ->
                        Event.Quarantined(id, { trouble with at = at })
                    | other -> other

                let recovered =
                    recovery.Recover()
                    |> Seq.map (fun struct (number, _, event) ->
                        struct (number, times[number], withTimes event times[number]))
                    |> Seq.toList

                restored.Restore(recovered, { sinceStart = 1_000_000_000L<ms> })
                let struct (task, event, session) = recovery.Highest
                restored.Continue(task, event, session)
                let struct (finished, cancelled) = recovery.Ended
                restored.Count(finished, cancelled)
                (close again).Wait()

                let described scheduler =
                    Description.ofState scheduler
                    |> List.map (fun line ->
                        // A spool is where it is now, and stages are known by the workers that are.
                        line.Replace(Path.Combine(folder.Path, "spool") + "/", ""))

                Expect.equal (described restored) (described lived) "state")

        testTask "finds what a killed process had committed, and nothing of what it had not" {
            use folder = new TempFolder()
            let journal = openIn folder.Path

            for turn in 0..19 do
                do! append journal (int64 (turn * 3) + 1L) (done' (turn + 1))
                let copy = folder.At $"copy{turn}"
                Directory.CreateDirectory copy |> ignore

                for file in [ "journal.db"; "journal.db-wal" ] do
                    if File.Exists(folder.At file) then
                        File.Copy(folder.At file, Path.Combine(copy, file))

            do! close journal

            for turn in 0..19 do
                let copy = openIn (folder.At $"copy{turn}")
                Expect.equal (copy :> IRecovery).Ended (struct (int64 turn + 1L, 0L)) "all of it"
                do! close copy
        }

        testTask "knows the version of every file, and which results it is to look for" {
            use folder = new TempFolder()
            let journal = openIn folder.Path
            let proof = { size = 3L<B>; hash = 9UL }

            let file text version =
                let stamp = { size = 1L<B>; modified = version; changed = 3L; inode = 4L }
                Submission.Create(name text, "", 0, Origin.Folder, Payload.Input stamp)

            do!
                append journal 1L [
                    Event.Submitted(taskId 1, file "a" 1L, pipeline [ "a" ])
                    Event.Submitted(taskId 2, file "b" 1L, pipeline [ "a" ])
                    Event.Submitted(taskId 3, file "a" 2L, pipeline [ "a" ])
                    Event.Completed(attemptOf 3 1, StoredResult proof)
                    Event.Gone "b"
                    Event.Submitted(taskId 4, file "c" 1L, pipeline [ "a" ])
                    Event.Completed(attemptOf 4 1, StoredResult proof)
                    Event.Submitted(taskId 5, file "c" 2L, pipeline [ "a" ])
                ]

            let recovery = journal :> IRecovery
            let stamp = { size = 1L<B>; modified = 2L; changed = 3L; inode = 4L }

            Expect.equal
                (recovery.Files())
                [| struct ("a", stamp); struct ("c", stamp) |]
                "the newest of what is there"

            Expect.equal
                (recovery.Unverified())
                [| { name = "a"; proof = proof } |]
                "not flushed, and not about to be replaced"

            do! recovery.SetFlushed 4L
            Expect.isEmpty (recovery.Unverified()) "flushed"
            do! recovery.ForgetFile "a"
            Expect.equal (recovery.Files()) [| struct ("c", stamp) |] "a is to be taken again"
            do! close journal
        }
    ]

let private publishing =
    testList "a result that was accepted" [
        testTask "is found under its final name after a restart, and no other is" {
            use folder = new TempFolder()
            let publisher = Publisher(folder.At "out")

            let temporary =
                match publisher.CreateTemp(name "large") with
                | Ok path -> path
                | Error trouble -> failtest trouble.Message

            File.WriteAllText(temporary, "a large result")
            let large = Spooled(temporary, 14L<B>)
            let journal = openIn folder.Path

            do!
                append journal 1L [
                    for task, named in [ 1, "small"; 2, "large"; 3, "done" ] do
                        Event.Submitted(taskId task, file named 1, pipeline [ "a" ])
                        Event.Assigned(attemptOf task 1, 1L<sessionId>, struct (0, 1))

                    Event.Accepted(attemptOf 1 1, bytes "small result")
                    Event.Accepted(attemptOf 2 1, large)
                    Event.Accepted(attemptOf 3 1, bytes "done")
                    Event.Completed(attemptOf 3 1, NothingLeft)
                ]

            do! close journal
            let journal = openIn folder.Path
            let accepted = (journal :> IRecovery).Accepted()
            do! close journal

            Expect.equal
                [ for accepted in accepted -> accepted.attempt, accepted.name ]
                [ attemptOf 1 1, "small"; attemptOf 2 1, "large" ]
                "those that are not finished"

            let find isSameBoot (file: string) =
                let mark = (accepted |> Array.find (fun one -> one.name = file)).mark
                ResultMark.find isSameBoot (publisher.TargetOf(name file)) mark

            Expect.equal (find true "small") ValueNone "not renamed"
            Expect.equal (find true "large") ValueNone "not renamed"
            publisher.Publish(name "small", ReadOnlyMemory "small result"B, true) |> ignore
            publisher.PublishTemp(name "large", temporary, true) |> ignore
            let proof = ResultFile.proofOf "small result"B
            Expect.equal (find false "small") (ValueSome proof) "renamed"
            let proof = ResultFile.proofOf "a large result"B
            Expect.equal (find true "large") (ValueSome proof) "renamed"
            Expect.equal (find false "large") ValueNone "it may be torn after a power cut"
            publisher.Publish(name "small", ReadOnlyMemory "other result"B, true) |> ignore

            publisher.Publish(name "large", ReadOnlyMemory "a large resulT"B, true)
            |> ignore

            Expect.equal (find true "small") ValueNone "another result of that size"
            Expect.equal (find true "large") ValueNone "another result of that size"
        }
    ]

let tests = testList "journal" [ writing; recovering; publishing ]
