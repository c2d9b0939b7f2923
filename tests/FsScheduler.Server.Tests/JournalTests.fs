/// The journal over its store: what is durable, and what happens when the disk does not take it.
module FsScheduler.Server.Tests.JournalTests

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Journal
open FsScheduler.TestKit
open FsScheduler.Journal.Tests.JournalSupport
open FsScheduler.Server.Tests.TestJournal

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
            Expect.equal (recovered journal) [ 4L; 5L; 6L ] "each once"
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

[<Tests>]
let tests = testList "journal" [ writing; disk; closing ]
