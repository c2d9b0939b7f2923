/// A journal whose disk is full, or fails, at the start, in the middle and at the end.
module FsScheduler.Runtime.Tests.JournalDiskTests

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Microsoft.Data.Sqlite
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Runtime
open FsScheduler.Runtime.Tests.FileSupport
open FsScheduler.Runtime.Tests.JournalSupport
open FsScheduler.Runtime.Tests.WireSupport

/// Calls whoever wants to know when the disk is said to take nothing, on the thread that found it out.
type private Listener(onHeldUp: unit -> unit) =
    let said = List<LogLevel>()

    member _.Count(level: LogLevel) =
        lock said (fun () -> said.FindAll(fun one -> one = level).Count)

    interface ILogger with
        member _.BeginScope _ = {
            new IDisposable with
                member _.Dispose() = ()
        }

        member _.IsEnabled _ = true

        member _.Log(level, _, _, _, _) =
            lock said (fun () -> said.Add level)

            if level = LogLevel.Error then
                onHeldUp ()

let private openHeard (log: ILogger) time retention (folder: string) =
    Directory.CreateDirectory(Path.Combine(folder, "spool")) |> ignore

    new SqliteJournal(
        {
            folder = folder
            sync = Sync.Off
            clock = Clock time
            retention = retention
            holdup = Holdup log
            log = log
        }
    )

/// From the next transaction on, the file may not grow.
let private fillDisk (journal: SqliteJournal) =
    journal.ChangeAsync(fun connection ->
        let pages = Schema.scalar connection "PRAGMA page_count"
        Schema.execute connection $"PRAGMA max_page_count = {pages}")

let private emptyDisk (connection: SqliteConnection) =
    Schema.execute connection "PRAGMA max_page_count = 1000000"

/// What needs new pages.
let private large first = [
    for task in first .. first + 19 do
        submitted task (bytes (String('x', 20_000))) None
]

let private trouble code =
    SqliteTrouble(code, "as the test has it")

let private opening =
    testList "at the start" [
        testTask "what finds the disk full is tried again, and said once" {
            let log = Listener ignore
            let holdup = Holdup log
            let mutable tries = 0

            let found =
                JournalFile.whileFull holdup "journal.db" (fun () ->
                    tries <- tries + 1

                    if tries < 3 then
                        Expect.equal (isNull holdup.Reason) (tries = 1) "held up meanwhile"
                        raise (trouble (if tries = 1 then 13 else 4_874))

                    "done")

            Expect.equal (found, tries) ("done", 3) "in the end"
            Expect.isNull holdup.Reason "no longer"
            Expect.equal (log.Count LogLevel.Error) 1 "once"
        }

        testTask "what else is wrong is an error of the disk" {
            let holdup = Holdup(Listener ignore)

            for error: exn in [ trouble 8; trouble 778; SqliteException("as the test has it", 14) ] do
                Expect.throwsT<IOException>
                    (fun () -> JournalFile.whileFull holdup "journal.db" (fun () -> raise error))
                    "with a sentence"

            Expect.isNull holdup.Reason "nobody waits for it"
        }

        testTask "a file that cannot be used beside the journal is an error of the disk" {
            use folder = new TempFolder()
            do! close (openIn folder.Path)
            Directory.CreateDirectory(folder.At "journal.db-wal") |> ignore
            Expect.throwsT<IOException> (fun () -> openIn folder.Path |> ignore) "not opened"
        }

        testTask "a full disk is waited for" {
            use folder = new TempFolder()
            let disk = folder.At "disk"
            Directory.CreateDirectory disk |> ignore

            try
                shell folder.Path "mount -t tmpfs -o size=2m none disk 2> /dev/null"
            with error ->
                skiptest $"no small disk can be made here: {error.Message}"

            try
                let journal = openIn disk
                do! append journal 1L (done' 1)
                do! close journal
                shell disk "dd if=/dev/zero of=filler bs=512 2> /dev/null; true"
                let heard = new ManualResetEventSlim()
                let log = Listener heard.Set

                let opening = Task.Run(fun () -> openHeard log TimeProvider.System forEver disk)

                Expect.isTrue (heard.Wait(TimeSpan.FromSeconds 30.0)) "said"
                Expect.isFalse opening.IsCompleted "waits"
                File.Delete(Path.Combine(disk, "filler"))
                let! again = within opening
                Expect.equal (again :> IRecovery).Ended (struct (1L, 0L)) "all is there"
                Expect.equal (log.Count LogLevel.Error) 1 "said once"
                do! close again
            finally
                shell folder.Path "umount -l disk"
        }
    ]

let private running =
    testList "in the middle" [
        testTask "a retirement that is rolled back forgets nothing that it has not told" {
            use folder = new TempFolder()
            let time = HandTime()
            let mutable writing: SqliteConnection | null = null
            let log = Listener(fun () -> emptyDisk (nonNull writing))
            let hour = { forEver with age = 3_600_000L<ms> }
            let journal = openHeard log time hour folder.Path
            writing <- journal.Writing
            let recovery = journal :> IRecovery

            let keyed task = [
                submitted task (bytes "x") (Some { text = $"k{task}"; content = "c" })
                Event.Completed(attemptOf task 1, NothingLeft)
            ]

            let at (moment: Instant) first (events: Event list) =
                (journal :> IJournal).AppendAsync(moment, first, List<Event> events).AsTask()

            do! at Instant.zero 1L (keyed 1)
            do! at { sinceStart = 1_800_000L<ms> } 3L (keyed 2)
            (journal :> IDelivered).Delivered(taskId 1)
            time.Advance(TimeSpan.FromMinutes 30.0)
            (journal :> IDelivered).Delivered(taskId 2)
            time.Advance(TimeSpan.FromMinutes 31.0)
            let! (forgotten: Forgotten) = recovery.RetireAsync()
            Expect.equal forgotten.keys [| struct ("k1", taskId 1) |] "the first"
            time.Advance(TimeSpan.FromMinutes 30.0)
            do! fillDisk journal
            let gate = new ManualResetEventSlim()
            let started = new ManualResetEventSlim()

            let waiting =
                journal.ChangeAsync(fun _ ->
                    started.Set()
                    gate.Wait())

            Expect.isTrue (started.Wait(TimeSpan.FromSeconds 30.0)) "alone in its transaction"
            // Both in one transaction, which the disk does not take at first.
            let retiring = recovery.RetireAsync()
            let appending = at Instant.zero 5L (large 10)
            gate.Set()
            do! ended waiting
            let! (forgotten: Forgotten) = within retiring
            do! ended appending
            Expect.equal (log.Count LogLevel.Error) 1 "it was rolled back"
            Expect.equal forgotten.keys [| struct ("k2", taskId 2) |] "the second is named"
            let path = folder.At "journal.db"
            Expect.equal (sql path "SELECT count(*) FROM task WHERE id = 1") (box 0L) "deleted"
            Expect.equal (sql path "SELECT count(*) FROM task WHERE id = 2") (box 1L) "not yet"
            let! (_: Forgotten) = recovery.RetireAsync()
            Expect.equal (sql path "SELECT count(*) FROM task WHERE id = 2") (box 0L) "and now"
            do! close journal
        }
    ]

let private closing =
    testList "at the end" [
        testTask "a disk that takes nothing is not waited for" {
            use folder = new TempFolder()
            let heard = new ManualResetEventSlim()
            let journal = openHeard (Listener heard.Set) TimeProvider.System forEver folder.Path
            do! append journal 1L (done' 1)
            do! fillDisk journal
            let appending = append journal 4L (large 2)
            Expect.isTrue (heard.Wait(TimeSpan.FromSeconds 30.0)) "it is full"
            do! ended (close journal)
            Expect.isTrue appending.IsFaulted "given up"
            let again = openIn folder.Path

            Expect.equal
                (again :> IRecovery).Highest
                (struct (taskId 1, 3L, 1L<sessionId>))
                "before"

            do! close again
        }

        testTask "a disk that takes it after all is waited for" {
            use folder = new TempFolder()
            let mutable writing: SqliteConnection | null = null
            let mutable closed = Task.CompletedTask
            let mutable journal: SqliteJournal | null = null

            let log =
                Listener(fun () ->
                    closed <- close (nonNull journal)
                    emptyDisk (nonNull writing))

            let opened = openHeard log TimeProvider.System forEver folder.Path
            journal <- opened
            writing <- opened.Writing
            do! fillDisk opened
            do! ended (append opened 1L (large 1))
            do! ended closed
            let again = openIn folder.Path
            let struct (task, _, _) = (again :> IRecovery).Highest
            Expect.equal task (taskId 20) "all of it"
            do! close again
        }
    ]

let tests = testList "the journal's disk" [ opening; running; closing ]
