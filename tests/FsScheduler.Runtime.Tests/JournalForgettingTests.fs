/// What a journal forgets, and what not before somebody has it.
module FsScheduler.Runtime.Tests.JournalForgettingTests

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Runtime
open FsScheduler.Runtime.Tests.FileSupport
open FsScheduler.Runtime.Tests.JournalSupport
open FsScheduler.Runtime.Tests.WireSupport

let private minute = { forEver with age = 60_000L<ms> }

let private count (folder: TempFolder) table =
    Convert.ToInt64(sql (folder.At "journal.db") $"SELECT count(*) FROM {table}")

let private retire (journal: SqliteJournal) : Task =
    task {
        let mutable more = true

        while more do
            let! forgotten = (journal :> IRecovery).RetireAsync()
            more <- forgotten.more
    }

/// Names what is to be forgotten, and then deletes it.
let private forget (journal: SqliteJournal) : Task =
    task {
        do! retire journal
        do! retire journal
    }

let private wanted want task key =
    Event.Submitted(
        taskId task,
        Submission.Create(
            name $"t{task}",
            "r",
            0,
            Origin.Client(1L<sessionId>, want, key),
            bytes "x"
        ),
        pipeline [ "a" ]
    )

let private keyed task =
    Some { text = $"k{task}"; content = "c" }

let private ends task =
    Event.Completed(attemptOf task 1, KeptResult(bytes "result"))

let private delivering =
    testList "a result that somebody is to fetch" [
        testTask "is kept until it was delivered, and then as long as others are" {
            use folder = new TempFolder()
            let time = HandTime()
            let journal = openWith time minute folder.Path

            do!
                append journal 1L [
                    wanted Result 1 (keyed 1)
                    wanted Result 2 None
                    wanted Nothing 3 (keyed 3)
                    wanted File 4 (keyed 4)
                    wanted Result 5 (keyed 5)
                    ends 1
                    ends 2
                    ends 3
                    ends 4
                    Event.Cancelled(taskId 5, "cancelled")
                ]

            time.Advance(TimeSpan.FromMinutes 2.0)
            do! forget journal

            Expect.equal
                (sql (folder.At "journal.db") "SELECT group_concat(id) FROM task")
                (box "1")
                "left"

            (journal :> IDelivered).Delivered(taskId 1)
            do! forget journal
            Expect.equal (count folder "task") 1L "it has just been fetched"
            Expect.equal (count folder "delivered") 1L "recorded"
            time.Advance(TimeSpan.FromSeconds 40.0)
            (journal :> IDelivered).Delivered(taskId 1)
            time.Advance(TimeSpan.FromSeconds 40.0)
            do! forget journal
            Expect.equal (count folder "task") 0L "and now it has been for long"
            Expect.equal (count folder "delivered") 0L "with all that is known of it"
            (journal :> IDelivered).Delivered(taskId 1)
            do! forget journal
            Expect.equal (count folder "delivered") 0L "and nothing is known of it afterwards"
            do! close journal
            Expect.isEmpty (JournalCheck.check (folder.At "journal.db")).troubles "whole"
        }

        testTask "keeps nobody from forgetting what came later" {
            use folder = new TempFolder()
            let time = HandTime()
            let journal = openWith time minute folder.Path
            let most = 5_200

            do!
                append journal 1L [
                    for task in 1..most do
                        wanted Result task (keyed task)
                        ends task

                    for task in most + 1 .. most + 10 do
                        wanted Result task None
                        ends task
                ]

            time.Advance(TimeSpan.FromMinutes 2.0)

            for _ in 1..4 do
                do! retire journal

            Expect.equal (count folder "task") (int64 most) "all others are forgotten"
            (journal :> IDelivered).Delivered(taskId 7)
            do! retire journal
            time.Advance(TimeSpan.FromMinutes 2.0)

            for _ in 1..4 do
                do! retire journal

            Expect.equal (count folder "task") (int64 most - 1L) "and whoever is fetched then"
            do! close journal
        }

        testTask "is forgotten all the same where too much is used, the oldest first" {
            use folder = new TempFolder()
            let bound = { forEver with bytes = 500_000L<B> }
            let journal = openWith TimeProvider.System bound folder.Path

            do!
                append journal 1L [
                    for task in 1..1_000 do
                        Event.Submitted(
                            taskId task,
                            Submission.Create(
                                name $"t{task}",
                                "r",
                                0,
                                Origin.Client(1L<sessionId>, Result, keyed task),
                                bytes (String('x', 1_000))
                            ),
                            pipeline [ "a" ]
                        )

                        ends task
                ]

            do! forget journal
            let left = count folder "task"
            Expect.isLessThan left 600L "not all"
            Expect.isGreaterThan left 100L "as many as there is room for"

            Expect.equal
                (sql (folder.At "journal.db") "SELECT min(id) FROM task")
                (box (1_001L - left))
                "the newest"

            do! close journal
        }

        testTask "is known to be delivered after a restart" {
            use folder = new TempFolder()
            let time = HandTime()
            let journal = openWith time minute folder.Path
            do! append journal 1L [ wanted Result 1 (keyed 1); ends 1 ]
            (journal :> IDelivered).Delivered(taskId 1)
            do! close journal
            Expect.equal (count folder "delivered") 1L "recorded, though nothing came after it"
            let journal = openWith time minute folder.Path
            time.Advance(TimeSpan.FromMinutes 2.0)
            do! forget journal
            Expect.equal (count folder "task") 0L "forgotten"
            do! close journal
        }

        testTask "is delivered to a client that is there, and not to one that has gone" {
            use journalFolder = new TempFolder()
            let journal = openIn journalFolder.Path
            use cluster = new Cluster(fun options -> { options with journal = journal })
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
            do! close journal
            let path = journalFolder.At "journal.db"

            Expect.equal
                (sql path "SELECT group_concat(task) FROM delivered")
                (box second)
                "recorded of that one"
        }
    ]

/// What a journal of version 2 was, with as many tasks.
let private ofVersion2 (folder: TempFolder) : Task =
    task {
        use other = new TempFolder()
        do! filled other

        do
            use connection =
                JournalConnection.openAs
                    (folder.At "journal.db")
                    Microsoft.Data.Sqlite.SqliteOpenMode.ReadWriteCreate

            Schema.execute connection "PRAGMA page_size = 8192"
            Schema.execute connection "PRAGMA journal_mode = WAL"
            Schema.migrateTo connection 2
            Schema.execute connection $"""ATTACH '{other.At "journal.db"}' AS other"""

            for table in [ "task"; "event"; "finished"; "meta" ] do
                Schema.execute connection $"INSERT INTO main.{table} SELECT * FROM other.{table}"

            // Not noted yet.
            Schema.execute connection "DELETE FROM main.meta WHERE name = 'begun'"

        Expect.equal (sql (folder.At "journal.db") "PRAGMA user_version") (box 2L) "version"
    }

let private migrating =
    testList "a journal of version 2" [
        testTask "is one of this afterwards, with all that it had" {
            use folder = new TempFolder()
            do! ofVersion2 folder
            Expect.isEmpty (JournalCheck.check (folder.At "journal.db")).troubles "whole"
            let journal = openAt Sync.Normal TimeProvider.System forEver folder.Path
            Expect.equal (journal :> IRecovery).Ended (struct (100L, 0L)) "all of it"
            (journal :> IDelivered).Delivered(taskId 9)
            do! close journal

            Expect.equal
                (sql (folder.At "journal.db") "PRAGMA user_version")
                (box (int64 Schema.version))
                "version"

            Expect.equal (count folder "delivered") 1L "what is new"
            Expect.isEmpty (JournalCheck.check (folder.At "journal.db")).troubles "whole"
            Expect.isNone (refused folder) "and opened again"
        }

        testTask "that is damaged is saved, before and after it" {
            use folder = new TempFolder()
            let path = folder.At "journal.db"
            do! ofVersion2 folder
            overwrite path 0L (Array.zeroCreate 512)
            let repaired = JournalRepair.repair path
            Expect.equal (List.map snd (List.take 3 repaired.rows)) [ 100L; 100L; 100L ] "rows"
            Expect.equal repaired.wrong 0L "nothing else"
            File.Delete path
            File.Delete repaired.path
            do! ofVersion2 folder
            let journal = openIn folder.Path

            for task in [ 3; 5; 8 ] do
                (journal :> IDelivered).Delivered(taskId task)

            do! close journal
            overwrite path 0L (Array.zeroCreate 512)
            let repaired = JournalRepair.repair path

            Expect.equal
                (List.map snd (List.take 4 repaired.rows))
                [ 100L; 100L; 100L; 3L ]
                "its new table begins elsewhere"

            Expect.equal repaired.wrong 0L "nothing else"
        }
    ]

let private isGone = $"event WHERE kind = {int EventKind.Gone}"
let private isOfWorkers = "event WHERE kind IN (11, 12)"

let private loose =
    testList "events of no task" [
        testTask "that a file went away are forgotten by age, whatever task is left" {
            use folder = new TempFolder()
            let time = HandTime()
            let journal = openWith time minute folder.Path

            do!
                append journal 1L [
                    submitted 1 (bytes "x") None
                    for file in 1..5 do
                        Event.Gone $"f{file}"
                ]

            do! forget journal
            Expect.equal (count folder isGone) 5L "not yet"
            time.Advance(TimeSpan.FromMinutes 2.0)

            do!
                (journal :> IJournal)
                    .AppendAsync({ sinceStart = 120_000L<ms> }, 7L, List [ Event.Gone "young" ])
                    .AsTask()

            do! forget journal
            Expect.equal (count folder isGone) 1L "but for a young one"
            time.Advance(TimeSpan.FromMinutes 2.0)
            do! forget journal
            Expect.equal (count folder isGone) 0L "which grows old too"
            Expect.equal (count folder "task") 1L "the task is not finished"
            do! close journal
            let journal = openWith time minute folder.Path
            let struct (_, event, _) = (journal :> IRecovery).Highest
            Expect.equal event 7L "numbers are not given again"
            do! close journal
        }

        testTask "that a file went away are forgotten where too much is used, but for the latest" {
            use folder = new TempFolder()

            let journal =
                openWith TimeProvider.System { forEver with bytes = 1L<B> } folder.Path

            do!
                append journal 1L [
                    submitted 1 (bytes "x") None
                    for file in 1..25_000 do
                        Event.Gone $"f{file}"
                ]

            do! forget journal
            Expect.equal (count folder isGone) 1_000L "the latest"

            Expect.equal
                (sql (folder.At "journal.db") $"SELECT min(number) FROM {isGone}")
                (box 24_002L)
                "and no others"

            do! append journal 25_002L [ Event.Gone "f" ]
            do! forget journal
            Expect.equal (count folder isGone) 1_000L "and again"
            do! close journal
        }

        testTask "that workers came and left are forgotten once they have, and nothing names them" {
            use folder = new TempFolder()
            let time = HandTime()
            let journal = openWith time minute folder.Path

            let joined session =
                Event.Joined(session * 1L<sessionId>, "w", [| "a" |])

            let left session =
                Event.Left(session * 1L<sessionId>, "w", "it left")

            do!
                append journal 1L [
                    joined 1L
                    joined 2L
                    left 1L
                    submitted 1 (bytes "x") None
                    joined 3L
                    left 3L
                ]

            time.Advance(TimeSpan.FromMinutes 2.0)
            do! forget journal

            let sessions () =
                sql (folder.At "journal.db") $"SELECT group_concat(session) FROM {isOfWorkers}"

            Expect.equal (sessions ()) (box "2,3,3") "those that a task may name, or that are here"
            do! append journal 7L [ Event.Completed(attemptOf 1 1, NothingLeft) ]
            time.Advance(TimeSpan.FromMinutes 2.0)
            do! forget journal
            Expect.equal (sessions ()) (box "2") "one is here still"
            do! close journal
            let journal = openWith time minute folder.Path
            time.Advance(TimeSpan.FromMinutes 2.0)
            do! forget journal
            Expect.equal (count folder isOfWorkers) 0L "and does not come back after a restart"
            let struct (_, event, session) = (journal :> IRecovery).Highest
            Expect.equal (event, session) (7L, 3L<sessionId>) "numbers are not given again"
            do! close journal
        }
    ]

let tests = testList "journal forgetting" [ delivering; migrating; loose ]
