/// What the tests of the journal share.
module FsScheduler.Runtime.Tests.JournalSupport

open System
open System.Collections.Generic
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Server
open FsScheduler.Runtime.Tests.FileSupport

/// One whose thread has begun.
let started (journal: Journal) : Journal =
    journal.Start()
    journal

/// The journal of a scheduler whose own files are in a folder.
let openOver (store: MemoryStore) (folder: string) =
    StateJournal.over
        store
        (Guid.NewGuid())
        folder
        (StorageOutage NullLogger.Instance)
        (Clock TimeProvider.System)
    |> started

let close (journal: Journal) =
    (journal :> IAsyncDisposable).DisposeAsync().AsTask()

let append (journal: Journal) first (events: Event seq) : Task =
    (journal :> IJournal).AppendAsync(Instant.zero, first, List<Event> events).AsTask()

let attemptOf task number : Attempt = { task = taskId task; number = number }

let submitted task payload key =
    let origin = Origin.Client(1L<sessionId>, Result, key)

    Event.Submitted(
        taskId task,
        Submission.Create(name $"t/é '{task}'", $"r{task}", 7, origin, payload),
        pipeline [ "a"; "b" ]
    )

/// What a task is given, and its end.
let done' task = [
    submitted task (bytes $"payload {task}") None
    Event.Assigned(attemptOf task 1, 1L<sessionId>, struct (0, 2))
    Event.Completed(attemptOf task 1, NothingKept)
]
