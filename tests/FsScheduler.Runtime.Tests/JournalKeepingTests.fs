module FsScheduler.Runtime.Tests.JournalKeepingTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Microsoft.Data.Sqlite
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Runtime
open FsScheduler.Runtime.Tests.FileSupport
open FsScheduler.Runtime.Tests.JournalSupport
open FsScheduler.Runtime.Tests.WireSupport

let private retire (journal: SqliteJournal) = (journal :> IRecovery).RetireAsync()

let private tasksOf (journal: SqliteJournal) = [
    for struct (_, _, event) in (journal :> IHistory).EventsAfter(0L, 10_000) do
        match event with
        | Event.Submitted(id, _, _) -> int64 id
        | _ -> ()
]

let private retention =
    testList "retention" [
        testTask "forgets what was finished long ago, a step after it was named, and nothing else" {
            use folder = new TempFolder()
            let time = HandTime()
            let journal = openWith time { forEver with age = 60_000L<ms> } folder.Path
            let key = Some { text = "k"; content = "c" }

            do!
                append journal 1L [
                    submitted 1 (bytes "x") key
                    submitted 2 (bytes "x") None
                    submitted 3 (bytes "x") None
                    Event.Completed(attemptOf 1 1, KeptResult(Spooled(folder.At "spool/7", 9L<B>)))
                    Event.Cancelled(taskId 3, "cancelled")
                ]

            (journal :> IDelivered).Delivered(taskId 1)
            let! forgotten = retire journal
            Expect.isEmpty forgotten.keys "not yet"
            time.Advance(TimeSpan.FromMinutes 2.0)
            let! forgotten = retire journal
            Expect.equal forgotten.keys [| struct ("k", taskId 1) |] "its key"

            Expect.isEmpty
                forgotten.spools
                "its result is still needed, should the scheduler be killed"

            Expect.equal (tasksOf journal) [ 1L; 2L; 3L ] "still there for who is being answered"
            let! forgotten = retire journal
            Expect.equal forgotten.spools [| folder.At "spool/7" |] "its result"
            Expect.equal (tasksOf journal) [ 2L ] "only what is not finished"
            Expect.equal (journal :> IRecovery).Ended (struct (1L, 1L)) "counted all the same"
            do! close journal
            let again = openIn folder.Path
            let struct (task, event, _) = (again :> IRecovery).Highest
            Expect.equal (task, event) (taskId 3, 5L) "numbers are not given again"
            do! close again
        }

        testTask "forgets nothing whose result may not have reached the device" {
            use folder = new TempFolder()
            let time = HandTime()

            let journal = openAt Sync.Normal time { forEver with age = 60_000L<ms> } folder.Path

            do! append journal 1L (done' 1)
            time.Advance(TimeSpan.FromMinutes 2.0)
            let! _ = retire journal
            let! _ = retire journal
            Expect.equal (tasksOf journal) [ 1L ] "not flushed yet"
            do! (journal :> IRecovery).SetFlushed 3L
            let! _ = retire journal
            let! _ = retire journal
            Expect.isEmpty (tasksOf journal) "and then it is"
            do! close journal
        }

        testTask "keeps the file below its bound" {
            use folder = new TempFolder()
            let bound = 2_000_000L<B>

            let journal =
                openWith TimeProvider.System { forEver with bytes = bound } folder.Path

            let payload = bytes (String('x', 1_000))

            for turn in 0..19 do
                let first = turn * 1_000

                do!
                    append journal (int64 first * 2L + 1L) [
                        for task in first + 1 .. first + 1_000 do
                            submitted task payload None
                            Event.Completed(attemptOf task 1, NothingLeft)
                    ]

                let mutable more = true

                while more do
                    let! forgotten = retire journal
                    more <- forgotten.more

            let! _ = retire journal
            do! close journal
            let size = FileInfo(folder.At "journal.db").Length
            Expect.isLessThan size (3L * int64 bound) "of twenty millions"
        }
    ]

let private versions =
    testList "a journal" [
        testTask "of an older version becomes one of this" {
            use folder = new TempFolder()
            let path = folder.At "journal.db"

            do
                use connection = new SqliteConnection($"Data Source={path};Pooling=False")
                connection.Open()
                Schema.migrateTo connection 1

            do! filled folder
            Expect.equal (sql path "PRAGMA user_version") (box (int64 Schema.version)) "version"
            Expect.equal (sql path "SELECT count(*) FROM history") (box 300L) "what was missing"
        }

        testTask "of a newer version is refused, and left as it is" {
            use folder = new TempFolder()
            let path = folder.At "journal.db"
            do! filled folder
            sql path "CREATE TABLE newer(a)" |> ignore
            sql path "PRAGMA user_version = 99" |> ignore
            let before = File.ReadAllBytes path
            let message = Option.get (refused folder)
            Expect.stringContains message "version 99" "which"
            Expect.equal (File.ReadAllBytes path) before "the file"

            Expect.equal
                (Directory.GetFiles(folder.Path, "journal*"))
                [| path |]
                "and nothing beside it"
        }
    ]

let private damage =
    testList "a damaged journal" [
        for what, harm in
            [
                "with a block of zeros",
                (fun path -> overwrite path 16_384L (Array.zeroCreate 8_192))
                "that was cut off",
                (fun path ->
                    use file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite)
                    RandomAccess.SetLength(file, 24_576L))
                "with a torn last page",
                (fun path ->
                    use file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite)
                    RandomAccess.SetLength(file, FileInfo(path).Length - 3_000L))
                "without its header", (fun path -> overwrite path 0L (Array.zeroCreate 100))
            ] do
            testTask $"{what} is refused, and what can be read is written beside it" {
                use folder = new TempFolder()
                let path = folder.At "journal.db"
                do! filled folder
                harm path
                let before = File.ReadAllBytes path
                Expect.stringContains (Option.get (refused folder)) "damaged" "refused"
                Expect.isNonEmpty (JournalCheck.check path).troubles "reported"

                let repaired = JournalRepair.repair path
                Expect.isEmpty (JournalCheck.check repaired.path).troubles "the new one is whole"

                Expect.equal (File.ReadAllBytes path) before "the old one is as it was"
            }

        testTask "with one flipped bit, anywhere, is refused, or has lost nothing" {
            use folder = new TempFolder()
            let path = folder.At "journal.db"
            do! filled folder
            let whole = File.ReadAllBytes path
            let random = Random 1

            let content () =
                let journal = openIn folder.Path

                let events = [
                    for struct (number, at, event) in (journal :> IHistory).EventsAfter(0L, 10_000) do
                        let name =
                            match event with
                            | Event.Submitted(id, submission, _) ->
                                let full = (journal :> IJournal).ReadSubmission id
                                $"{submission.Name} {full.Name} {Convert.ToHexString full.Packed.Span}"
                            | other -> $"{other}"

                        number, at, name
                ]

                (close journal).Wait()
                events

            let expected = content ()
            let mutable found = 0

            for _ in 1..150 do
                let at = random.Next whole.Length
                let damaged = Array.copy whole
                damaged[at] <- damaged[at] ^^^ (1uy <<< random.Next 8)
                File.WriteAllBytes(path, damaged)

                match refused folder with
                | Some _ -> found <- found + 1
                | None -> Expect.equal (content ()) expected $"byte {at} means nothing"

            Expect.isGreaterThan found 10 "found"
        }

        testTask "gives the new one every row but the wrong ones" {
            use folder = new TempFolder()
            let path = folder.At "journal.db"
            do! filled folder
            sql path "UPDATE event SET attempt = 2 WHERE number = 5" |> ignore
            let repaired = JournalRepair.repair path
            Expect.equal repaired.wrong 1L "one"
            Expect.isNonEmpty repaired.missing "what that means"
            Expect.equal (List.map snd (List.take 3 repaired.rows)) [ 100L; 99L; 100L ] "all others"
        }
    ]

let private stateFolder =
    testList "a state folder" [
        test "whose spool cannot be written is an error of the disk" {
            use folder = new TempFolder()
            Directory.CreateDirectory(folder.At "spool/.probe") |> ignore

            Expect.throwsT<IOException>
                (fun () -> new StateFolder(folder.Path) |> ignore)
                "at the start"

            Directory.Delete(folder.At "spool/.probe")
            use _ = new StateFolder(folder.Path)

            Expect.isEmpty
                (Directory.GetFiles(folder.At "spool"))
                "and nothing is left of the trial"
        }
    ]

let tests = testList "journal keeping" [ retention; versions; damage; stateFolder ]
