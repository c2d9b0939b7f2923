/// The journal over its store: what is durable, what is read, and what happens when the disk does not take it.
module FsScheduler.Server.Tests.JournalTests

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Journal
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Journal.Tests.JournalSupport
open FsScheduler.Server.Tests.Cluster

/// What a journal tells of its disk.
type private Told() =
    let heldUp = Collector<string>()
    let mutable goesOn = 0
    member _.HeldUp = heldUp
    member _.GoesOn = Volatile.Read &goesOn

    member _.Options: JournalOptions = {
        spool = "/spool"
        owner = Guid.NewGuid()
        toUnix = fun at -> int64 at.sinceStart
        toInstant = fun at -> { sinceStart = at * 1L<ms> }
        mark = ResultMark.ofContent
        storageFailed = heldUp.Add
        storageRecovered = fun () -> Interlocked.Increment &goesOn |> ignore
        betweenTries = TimeSpan.FromMilliseconds 1.0
    }

let private openTelling (told: Told) (store: MemoryStore) =
    started (new Journal(store, told.Options))

let private openAs store = openTelling (Told()) store
let private port (journal: Journal) = journal :> IJournal
let private drop journal before = ended ((port journal).DropAsync before)

let private payload journal number =
    Encoding.UTF8.GetString((port journal).ReadPayload number)

let private key: Key = { text = "k"; content = "c" }

/// Task 1, which has a result after its first stage, a part of another, and a result that is kept.
let private withPayloads = [
    submitted 1 (bytes "the payload") (Some key)
    Event.Assigned(attemptOf 1 1, 1L<sessionId>, struct (0, 1))
    Event.Advanced(attemptOf 1 1, 1, Held(bytes "between"))
    Event.Part(taskId 1, 0, Held(bytes "part"))
    Event.Completed(attemptOf 1 2, KeptResult(Held(bytes "result")))
]

let private filed =
    (Submission.Create(
        name "elsewhere",
        "",
        7,
        Origin.Client(1L<sessionId>, Result, Some key),
        Content.empty
    ))
        .ToJournaled()

/// Task 1 as it is carried from an event, with the payload of another.
let private carriedFrom home (result: KeptContent voption) =
    Event.Carried(
        Carried.Task {
            task = taskId 1
            submission = filed
            pipeline = pipeline [ "a"; "b" ]
            state = CarriedState.Queued
            since = Instant.zero
            place = 3L
            progress =
                ValueSome {
                    attempt = 1
                    failures = 0
                    losses = 0
                    stage = 1
                    stageEnd = 1
                    result = result
                    pastFailures = []
                    pieces = ValueNone
                }
            submissionEvent = home
        }
    )

let private carriedKey result =
    Event.Carried(
        Carried.Key {
            key = key
            task = taskId 1
            attempts = 2
            error = None
            result = result
            want = Result
            finished = Instant.zero
            delivered = ValueNone
        }
    )

let private expectSubmission journal number =
    let read = (port journal).ReadSubmission number
    Expect.equal read.Name "t/é '1'" "name"
    Expect.equal read.Ref "r1" "reference"
    Expect.equal read.Priority 7 "priority"
    Expect.equal read.Payload Packed "payload"
    Expect.equal (Encoding.UTF8.GetString read.Packed.Span) "the payload" "bytes"

let private isMissing (read: unit -> 'T) =
    Expect.throwsT<IOException> (fun () -> read () |> ignore) "it is not there"

let private reading =
    testList "what is read" [
        testTask "is what was recorded, by the number of its event" {
            let store = new MemoryStore()
            let journal = openAs store
            do! append journal 1L withPayloads
            expectSubmission journal 1L
            Expect.equal (payload journal 3L) "between" "of a stage"
            Expect.equal (payload journal 4L) "part" "of a piece"
            Expect.equal (payload journal 5L) "result" "of the end"
            isMissing (fun () -> payload journal 2L)
            isMissing (fun () -> payload journal 6L)
            isMissing (fun () -> (port journal).ReadSubmission 3L)
            isMissing (fun () -> (port journal).ReadSubmission 6L)
            do! close journal
        }

        testTask "is where it was carried to, also when the rest is gone" {
            let store = new MemoryStore()
            let journal = openAs store
            do! append journal 1L withPayloads

            do!
                append journal 6L [
                    carriedFrom 1L (ValueSome(Recorded(3L, 7L<B>)))
                    Event.Carried(Carried.Part(taskId 1, 0, Recorded(4L, 4L<B>)))
                    carriedKey (Recorded(5L, 6L<B>))
                ]

            let expectAll first =
                expectSubmission journal first
                Expect.equal (payload journal first) "between" "of a stage"
                Expect.equal (payload journal (first + 1L)) "part" "of a piece"
                Expect.equal (payload journal (first + 2L)) "result" "of the end"

            expectAll 6L

            // Once more, from there.
            do!
                append journal 9L [
                    carriedFrom 6L (ValueSome(Recorded(6L, 7L<B>)))
                    Event.Carried(Carried.Part(taskId 1, 0, Recorded(7L, 4L<B>)))
                    carriedKey (Recorded(8L, 6L<B>))
                ]

            do! drop journal 9L
            Expect.equal (journal.Size(Int64.MaxValue, Instant.zero)).first 9L "dropped"
            expectAll 9L
            do! close journal
            let journal = openAs store
            Expect.equal (payload journal 11L) "result" "and after a restart"
            isMissing (fun () -> (port journal).ReadSubmission 1L)
            do! close journal
        }

        testTask "is nothing where a kept key has no result" {
            let store = new MemoryStore()
            let journal = openAs store
            do! append journal 1L [ submitted 1 (bytes "x") (Some key) ]
            do! append journal 2L [ Event.Cancelled(taskId 1, "no more") ]
            do! append journal 3L [ carriedKey (Recorded(2L, 0L<B>)) ]
            Expect.equal (payload journal 3L) "" "the task was cancelled"
            do! close journal
        }

        testTask "is not looked for in what was lost" {
            let store = new MemoryStore()
            let journal = openAs store
            do! append journal 1L withPayloads
            (store :> IJournalStore).Append [ Batch.lost 6L 3 0L ]
            isMissing (fun () -> (port journal).ReadSubmission 6L)
            isMissing (fun () -> payload journal 7L)
            isMissing (fun () -> payload journal 8L)
            do! append journal 9L [ Event.Woken(taskId 1) ]
            do! close journal
            let journal = openAs store

            let numbers = [
                for struct (number, _, _) in journal.Recover() do
                    number
            ]

            Expect.equal numbers [ 1L; 2L; 3L; 4L; 5L; 9L ] "nor is it recovered"
            do! close journal
        }

        testTask "may not be durable yet where it is carried" {
            let store = new MemoryStore()
            let gate = new ManualResetEventSlim()
            let writing = new ManualResetEventSlim()
            let transactions = Collector<int>()

            store.OnStep <-
                function
                | StoreStep.Appending batches ->
                    transactions.Add batches.Count
                    writing.Set()
                    gate.Wait()
                | _ -> ()

            let journal = openAs store
            let first = append journal 1L [ submitted 1 (bytes "the payload") (Some key) ]
            Expect.isTrue (writing.Wait(TimeSpan.FromSeconds 30.0)) "it writes"

            let others = [
                append journal 2L [ Event.Advanced(attemptOf 1 1, 1, Held(bytes "between")) ]
                append journal 3L [ carriedFrom 1L (ValueSome(Recorded(2L, 7L<B>))) ]
                append journal 4L [
                    Event.Part(taskId 1, 0, Held(bytes "part"))
                    Event.Carried(Carried.Part(taskId 1, 0, Recorded(4L, 4L<B>)))
                ]
                append journal 6L [
                    Event.Completed(attemptOf 1 2, KeptResult(Held(bytes "result")))
                ]
                append journal 7L [ carriedKey (Recorded(6L, 6L<B>)) ]
            ]

            gate.Set()
            do! ended (Task.WhenAll(first :: others))
            Expect.equal transactions.Items [ 1; 5 ] "all of it at once"
            Expect.equal (payload journal 3L) "between" "of a stage"
            expectSubmission journal 3L
            Expect.equal (payload journal 5L) "part" "of a piece"
            Expect.equal (payload journal 7L) "result" "of the end"
            do! close journal
        }

        testTask "is refused where it is damaged" {
            let store = new MemoryStore()

            let batch: Batch = {
                first = 1L
                count = 2
                at = 0L
                owner = Guid.NewGuid()
                events = ReadOnlyMemory """[{"event":"woken","task":1}]"""B
                payloads = ReadOnlyMemory.Empty
            }

            (store :> IJournalStore).Append [ batch ]
            let journal = openAs store

            let refusal =
                try
                    journal.Recover() |> Seq.iter ignore
                    ""
                with JournalRefused message ->
                    message

            Expect.stringContains refusal "event" "says where"
            isMissing (fun () -> (port journal).ReadSubmission 1L)
            do! close journal
        }
    ]

let private writing =
    testList "what is written" [
        testTask "is durable in the order in which it was given" {
            let store = new MemoryStore()
            let journal = openAs store
            let appended = ConcurrentDictionary<int64, Task>()
            let wrong = Collector<string>()

            let expect isComplete (numbers: int64 seq) =
                for number in numbers do
                    match appended.TryGetValue number with
                    | true, appending when appending.IsCompleted <> isComplete ->
                        wrong.Add $"event {number}: {appending.Status}"
                    | _ -> ()

            store.OnStep <-
                function
                | StoreStep.Appending batches -> expect true (seq { 1L .. batches[0].first - 1L })
                | StoreStep.Appended batches -> expect false (seq { batches[0].first .. 200L })
                | _ -> ()

            for number in 1L .. 200L do
                appended[number] <- append journal number [ Event.Woken(taskId (int number)) ]

            do! ended (Task.WhenAll appended.Values)
            Expect.isEmpty wrong.Items "complete once it is durable, and not before"

            let firsts = [
                for batch in (store :> IJournalStore).Read 0L do
                    batch.first
            ]

            Expect.equal firsts [ 1L .. 200L ] "each turn is a batch"
            do! close journal
        }

        testTask "has its time and its owner" {
            let store = new MemoryStore()
            let journal = openAs store
            let moment: Instant = { sinceStart = 4_711L<ms> }

            do! (port journal).AppendAsync(moment, 1L, List [ Event.Woken(taskId 1) ]).AsTask()

            let batch = Seq.head ((store :> IJournalStore).Read 0L)
            Expect.equal (batch.at, batch.owner) (4_711L, journal.Owner) "both"

            Expect.equal
                (List.ofSeq (journal.Recover()))
                [ struct (1L, moment, Event.Woken(taskId 1)) ]
                "and is recovered with its time"

            do! close journal
        }

        testTask "is dropped a bounded number of batches at a time, while others are written" {
            let store = new MemoryStore()
            let journal = openAs store

            for number in 1L .. 300L do
                do! append journal number [ Event.Woken(taskId 1) ]

            let drops = Collector<int64>()

            store.OnStep <-
                function
                | StoreStep.Dropped _ ->
                    let batch = Seq.head ((store :> IJournalStore).Read 0L)
                    drops.Add batch.first
                | _ -> ()

            let dropping = (port journal).DropAsync 251L
            do! append journal 301L [ Event.Woken(taskId 1) ]
            do! ended dropping
            Expect.equal drops.Items [ 65L; 129L; 193L; 251L ] "step by step"
            do! close journal
        }
    ]

/// A disk that takes nothing from now on, until it is told.
let private failing (store: MemoryStore) passes =
    let isFull = ref true

    store.OnStep <-
        function
        | StoreStep.Appending _
        | StoreStep.Dropping _ when isFull.Value -> raise (StoreError(passes, "disk full"))
        | _ -> ()

    fun () -> isFull.Value <- false

/// What a task failed with.
let private failureOf (work: Task) =
    task {
        let mutable failure: exn | null = null

        try
            do! ended work
        with error ->
            failure <- error

        match failure with
        | null -> return failtest "it should have failed"
        | failure -> return failure
    }

let private failsWith text work =
    task {
        match! failureOf work with
        | :? IOException as error -> Expect.stringContains error.Message text "why"
        | error -> failtest $"{error}"
    }

let private disk =
    testList "a disk" [
        testTask "that takes nothing is waited for, and that is told" {
            let store = new MemoryStore()
            let told = Told()
            let journal = openTelling told store
            do! append journal 1L (done' 1)
            let goesOn = told.GoesOn
            let repair = failing store true
            let appending = append journal 4L (done' 2)
            let! (heldUp: string list) = told.HeldUp.Until(fun told -> told.Length >= 3)
            Expect.equal (List.distinct heldUp) [ "disk full" ] "why, at each try"
            Expect.isFalse appending.IsCompleted "it is not durable"
            Expect.equal told.GoesOn goesOn "it does not go on"
            repair ()
            do! ended appending
            Expect.isGreaterThan told.GoesOn goesOn "it goes on"
            let repair = failing store true
            let tries = told.HeldUp.Items.Length
            let dropping = (port journal).DropAsync 4L
            let! _ = told.HeldUp.Until(fun told -> told.Length > tries)
            Expect.isFalse dropping.IsCompleted "the same for what is dropped"
            repair ()
            do! ended dropping

            let numbers = [
                for struct (number, _, _) in journal.Recover() do
                    number
            ]

            Expect.equal numbers [ 4L; 5L; 6L ] "each once"
            do! close journal
        }

        testTask "whose answer was lost has it once" {
            let store = new MemoryStore()
            let told = Told()
            let journal = openTelling told store
            let isLost = ref true

            store.OnStep <-
                function
                | StoreStep.Appended _ when isLost.Value ->
                    isLost.Value <- false
                    raise (StoreError(true, "answer lost"))
                | _ -> ()

            do! append journal 1L (done' 1)
            do! append journal 4L (done' 2)
            Expect.equal told.HeldUp.Items [ "answer lost" ] "tried again"
            Expect.equal (Seq.length (journal.Recover())) 6 "each once"
            do! close journal
        }

        testTask "that fails for good ends the journal" {
            let store = new MemoryStore()
            let told = Told()
            let journal = openTelling told store
            do! append journal 1L (done' 1)
            let repair = failing store false
            do! failsWith "disk full" (append journal 4L (done' 2))
            Expect.isEmpty told.HeldUp.Items "nobody waits"
            repair ()
            do! failsWith "closed" (append journal 4L (done' 2))
            do! failsWith "closed" ((port journal).DropAsync 4L)
            Expect.equal (Seq.length (journal.Recover())) 3 "what was there before"
            do! ended (close journal)
        }

        testTask "that fails for good fails all that wait" {
            let store = new MemoryStore()
            let gate = new ManualResetEventSlim()
            let writing = new ManualResetEventSlim()

            store.OnStep <-
                function
                | StoreStep.Appending _ ->
                    writing.Set()
                    gate.Wait()
                    raise (StoreError(false, "disk gone"))
                | _ -> ()

            let journal = openAs store
            let first = append journal 1L (done' 1)
            Expect.isTrue (writing.Wait(TimeSpan.FromSeconds 30.0)) "it writes"
            let others = [ append journal 4L (done' 2); (port journal).DropAsync 4L ]
            gate.Set()

            for work in first :: others do
                do! failsWith "disk gone" work

            do! ended (close journal)
        }

        testTask "that another scheduler writes to is given up" {
            let store = new MemoryStore()
            let journal = openAs store
            let other = openAs store
            do! append other 1L (done' 1)

            match! failureOf (append journal 1L (done' 1)) with
            | QueueLost message -> Expect.stringContains message "another scheduler" "says so"
            | error -> failtest $"{error}"

            do! failsWith "closed" (append journal 4L (done' 2))
            do! append other 4L (done' 2)
            Expect.equal (Seq.length (other.Recover())) 6 "the other goes on"
            do! ended (close journal)
            do! close other
        }
    ]

let private closing =
    testList "a journal that is closed" [
        testTask "has all that was given to it" {
            let store = new MemoryStore()
            let journal = openAs store

            let appending = [
                for task in 1..50 do
                    append journal (int64 task * 3L - 2L) (done' task)
            ]

            do! ended (close journal)
            Expect.all appending _.IsCompletedSuccessfully "durable"
            do! failsWith "closed" (append journal 151L (done' 51))
            let again = openAs store
            Expect.equal (Seq.length (again.Recover())) 150 "all of it"
            do! close again
        }

        testTask "does not wait for a disk that takes nothing" {
            let store = new MemoryStore()
            let told = Told()
            let journal = openTelling told store
            do! append journal 1L (done' 1)
            let _ = failing store true
            let appending = append journal 4L (done' 2)
            let! _ = told.HeldUp.Until(fun told -> told.Length >= 1)
            do! ended (close journal)
            do! failsWith "disk full" appending
        }

        testTask "waits for a disk that takes it after all" {
            let store = new MemoryStore()
            let told = Told()
            let mutable closed: Task = Task.CompletedTask
            let mutable repair: unit -> unit = ignore
            let mutable opened: Journal | null = null

            let journal =
                new Journal(
                    store,
                    {
                        told.Options with
                            storageFailed =
                                fun _ ->
                                    closed <- close (nonNull opened)
                                    repair ()
                    }
                )

            opened <- journal
            repair <- failing store true
            journal.Start()
            do! ended (append journal 1L (done' 1))
            do! ended closed
            let again = openAs store
            Expect.equal (Seq.length (again.Recover())) 3 "all of it"
            do! close again
        }
    ]

let private restarting =
    testList "a restart" [
        testTask "finds what a killed process had committed, and nothing of what it had not" {
            let store = new MemoryStore()
            let journal = openAs store

            let forks = [|
                for turn in 0..19 do
                    (append journal (int64 (turn * 3) + 1L) (done' (turn + 1))).Wait()
                    store.Fork()
            |]

            do! close journal

            for turn in 0..19 do
                let journal = openAs forks[turn]
                let scheduler = Scheduler settings
                scheduler.Restore(journal.Recover(), Instant.zero)
                Expect.equal scheduler.Status.finished (int64 turn + 1L) "all of it"
                Expect.equal scheduler.LastEvent (int64 (turn * 3) + 3L) "the highest number"
                do! close journal
        }

        testTask "knows the version of every file, and which results it is to look for" {
            let store = new MemoryStore()
            let journal = openAs store
            let hash: ContentHash = { size = 3L<B>; hash = 9UL }

            let file text version =
                let stamp: FileVersion = {
                    size = 1L<B>
                    modified = version
                    changed = 3L
                    inode = 4L
                }

                Submission.Create(name text, "", 0, Origin.Folder, Payload.Input stamp)

            do!
                append journal 1L [
                    Event.Submitted(taskId 1, file "a" 1L, pipeline [ "a" ])
                    Event.Submitted(taskId 2, file "b" 1L, pipeline [ "a" ])
                    Event.Completed(attemptOf 1 1, NothingKept)
                    Event.Submitted(taskId 3, file "a" 2L, pipeline [ "a" ])
                    Event.Completed(attemptOf 3 1, StoredResult hash)
                    Event.Cancelled(taskId 2, "gone")
                    Event.Gone "b"
                    Event.Submitted(taskId 4, file "c" 1L, pipeline [ "a" ])
                    Event.Completed(attemptOf 4 1, StoredResult hash)
                    Event.Submitted(taskId 5, file "c" 2L, pipeline [ "a" ])
                ]

            let restored () =
                let scheduler = Scheduler settings
                scheduler.Restore(journal.Recover(), Instant.zero)

                let files = [
                    for KeyValue(file, taken) in scheduler.TakenFiles do
                        file, taken.version.modified
                ]

                List.sort files, List.ofArray scheduler.Unflushed

            Expect.equal
                (restored ())
                ([ "a", 2L; "c", 2L ], [ struct ("a", hash) ])
                "the newest of what is there; not flushed, and not about to be replaced"

            do! append journal 11L [ Event.Noted(Note.Flushed 5L) ]
            Expect.equal (snd (restored ())) [] "flushed"
            do! append journal 12L [ Event.Noted(Note.Damaged "a") ]
            Expect.equal (restored ()) ([ "c", 2L ], []) "a is to be taken again"
            do! close journal
        }

        testTask "finds an accepted result under its final name, and no other" {
            use folder = new TempFolder()
            let store = new MemoryStore()
            let publisher = ResultStore(folder.At "out")

            let temporary =
                match publisher.CreateTemp(name "large") with
                | Ok path -> path
                | Error trouble -> failtest trouble.Message

            File.WriteAllText(temporary, "a large result")
            let large = Spooled(temporary, 14L<B>)
            let journal = openAs store

            do!
                append journal 1L [
                    Event.Joined(1L<sessionId>, "w", [| "a" |])

                    for task, named in [ 1, "small"; 2, "large"; 3, "done" ] do
                        Event.Submitted(taskId task, file named 1, pipeline [ "a" ])
                        Event.Assigned(attemptOf task 1, 1L<sessionId>, struct (0, 1))

                    Event.Accepted(attemptOf 1 1, AcceptedContent(bytes "small result"))
                    Event.Accepted(attemptOf 2 1, AcceptedContent large)
                    Event.Accepted(attemptOf 3 1, AcceptedContent(bytes "done"))
                    Event.Completed(attemptOf 3 1, NothingKept)
                ]

            do! close journal
            let journal = openAs store
            let scheduler = Scheduler settings
            scheduler.Restore(journal.Recover(), Instant.zero)
            do! close journal
            let accepted = scheduler.Accepted

            Expect.equal
                [
                    for struct (attempt, submission, _) in accepted do
                        attempt, submission.Name
                ]
                [ attemptOf 1 1, "small"; attemptOf 2 1, "large" ]
                "those that are not finished"

            let find isSameBoot (file: string) =
                let struct (_, _, mark) =
                    accepted
                    |> Array.find (fun (struct (_, submission, _)) -> submission.Name = file)

                ResultMark.find isSameBoot (publisher.TargetOf(name file)) mark

            Expect.equal (find true "small") ValueNone "not renamed"
            Expect.equal (find true "large") ValueNone "not renamed"
            publisher.Publish(name "small", ReadOnlyMemory "small result"B, true) |> ignore
            publisher.PublishTemp(name "large", temporary, true) |> ignore
            let hash = ResultFile.hashOf "small result"B
            Expect.equal (find false "small") (ValueSome hash) "renamed"
            let hash = ResultFile.hashOf "a large result"B
            Expect.equal (find true "large") (ValueSome hash) "renamed"
            Expect.equal (find false "large") ValueNone "it may be torn after a power cut"
            publisher.Publish(name "small", ReadOnlyMemory "other result"B, true) |> ignore

            publisher.Publish(name "large", ReadOnlyMemory "a large resulT"B, true)
            |> ignore

            Expect.equal (find true "small") ValueNone "another result of that size"
            Expect.equal (find true "large") ValueNone "another result of that size"
        }
    ]

let private delivering =
    testList "a result that is kept" [
        testTask "is delivered to a client that is there, and not to one that has gone" {
            use cluster = new Cluster(id)
            let journal = cluster.Journal
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 2)

            let submit (client: Peer) key =
                task {
                    do!
                        client.Send(
                            $"""{{"type":"SUBMIT","ref":"r","name":"n","pipeline":"lower","key":"{key}","bytes":1}}""",
                            "A"B
                        )

                    let! (accepted: JsonElement) = client.ReadJson()
                    Expect.equal (text accepted "type") "ACCEPTED" "accepted"
                    let! (given: JsonElement) = worker.ReadJson()
                    let! (_: byte[]) = worker.ReadBytes 1
                    return text given "task"
                }

            let finish task : Task =
                worker.Send(
                    $"""{{"type":"RESULT","task":{task},"attempt":1,"ok":true,"bytes":1}}""",
                    "a"B
                )

            let! (gone: Peer) = cluster.ClientAsync()
            let! first = submit gone "first"
            (gone :> IDisposable).Dispose()
            use! (client: Peer) = cluster.ClientAsync()
            let! second = submit client "second"
            do! finish first
            do! finish second
            let! (ended: JsonElement) = client.ReadJson()
            Expect.equal (text ended "type", text ended "task") ("DONE", second) "delivered"
            let! (_: byte[]) = client.ReadBytes 1

            let delivered () = [
                for event in (journal :> IHistory).EventsAfter(0L, 1_000) do
                    let json = JsonDocument.Parse(event.json).RootElement

                    if text json "what" = "delivered" then
                        text json "task"
            ]

            do! eventually "recorded" (fun () -> delivered () <> [])
            Expect.equal (delivered ()) [ second ] "of that one"
        }
    ]

[<Tests>]
let tests =
    testList "journal" [ reading; writing; disk; closing; restarting; delivering ]
