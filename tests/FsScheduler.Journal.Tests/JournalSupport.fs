/// What the tests of the journal share.
module FsScheduler.Journal.Tests.JournalSupport

open System
open System.Collections.Generic
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.TestKit.SchedulerFixture
open FsScheduler.Journal
open FsScheduler.TestKit

/// One whose thread has begun.
let started (journal: Journal) : Journal =
    journal.Start()
    journal

/// A journal that keeps no mark of results and tells nobody about its disk.
let journalOver (store: MemoryStore) =
    started (
        new Journal(
            store,
            {
                spool = ""
                owner = Guid.NewGuid()
                toUnix = fun at -> int64 at.sinceStart
                toInstant = fun at -> { sinceStart = at * 1L<ms> }
                mark = fun _ -> ResultMark.Unmarked
                storageFailed = ignore
                storageRecovered = ignore
                betweenTries = TimeSpan.FromSeconds 1.0
            }
        )
    )

let close (journal: Journal) =
    (journal :> IAsyncDisposable).DisposeAsync().AsTask()

let append (journal: Journal) first (events: Event seq) : Task =
    (journal :> IJournal).AppendAsync(Instant.zero, first, List<Event> events).AsTask()

let attemptOf task number : Attempt = { task = taskId task; number = number }

let submitted task (payload: Content) key =
    let origin = Origin.Client(1L<sessionId>, Result, key)

    Event.Submitted(
        taskId task,
        Submission.Create(name $"t/é '{task}'", $"r{task}", 7, origin, payload),
        pipeline [ "a"; "b" ]
    )

/// What a task is given, and its end.
let done' task = [
    submitted task (bytes $"payload {task}") None
    assigned task 1 1 0 2
    completed task 1
]
