/// What the tests of the journal share.
module FsScheduler.Runtime.Tests.JournalSupport

open System
open System.Collections.Generic
open System.IO
open System.Threading.Tasks
open Microsoft.Data.Sqlite
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Core.Tests
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Core.Tests.SchedulerHistory
open FsScheduler.Runtime
open FsScheduler.Runtime.Tests.FileSupport

let forEver: Retention = { age = 1_000_000_000_000L<ms>; bytes = 1_000_000_000_000L<B> }

let openAt sync (time: TimeProvider) retention (folder: string) =
    Directory.CreateDirectory(Path.Combine(folder, "spool")) |> ignore

    new SqliteJournal(
        {
            folder = folder
            sync = sync
            clock = Clock time
            retention = retention
            holdup = Holdup NullLogger.Instance
            log = NullLogger.Instance
        }
    )

/// What the power does is not for a test of one process.
let openWith time retention folder = openAt Sync.Off time retention folder

let openIn folder =
    openWith TimeProvider.System forEver folder

let close (journal: SqliteJournal) =
    (journal :> IAsyncDisposable).DisposeAsync().AsTask()

let append (journal: SqliteJournal) first (events: Event seq) : Task =
    (journal :> IJournal).AppendAsync(Instant.zero, first, List<Event> events).AsTask()

let attemptOf task number = { task = taskId task; number = number }

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
    Event.Completed(attemptOf task 1, NothingLeft)
]

/// The events of a random history, each with its number and time.
let recordWith settings (world: World) (history: Action list) =
    let scheduler = Scheduler settings
    let events = List<struct (int64 * Instant * Event)>()

    for action in history do
        for input in world.Resolve action do
            let decisions = Decisions()
            scheduler.Step(input, world.Now, decisions)
            world.Observe(input, decisions.Events, decisions.Effects)

            for event in decisions.Events do
                events.Add(struct (int64 events.Count + 1L, world.Now, event))

    List.ofSeq events

let record (history: Action list) = recordWith settings (World()) history

/// One statement, as somebody with another tool would run it.
let sql (path: string) (text: string) =
    use connection = new SqliteConnection($"Data Source={path};Pooling=False")
    connection.Open()
    use command = connection.CreateCommand(CommandText = text)
    command.ExecuteScalar()

/// The journal is refused with this sentence.
let refused (folder: TempFolder) =
    try
        (close (openAt Sync.Normal TimeProvider.System forEver folder.Path)).Wait()
        None
    with JournalRefused message ->
        Some message

/// A journal with a hundred tasks, closed: all of it in one file.
let filled (folder: TempFolder) : Task =
    task {
        let journal = openIn folder.Path

        for turn in 0..99 do
            do! append journal (int64 (turn * 3) + 1L) (done' (turn + 1))

        do! close journal
    }

let overwrite (path: string) (at: int64) (bytes: byte[]) =
    use file = File.OpenHandle(path, FileMode.Open, FileAccess.Write)
    RandomAccess.Write(file, ReadOnlySpan bytes, at)

let flip (path: string) (at: int64) (bit: int) =
    let bytes = File.ReadAllBytes path
    overwrite path at [| bytes[int at] ^^^ (1uy <<< bit) |]
