/// A journal whose first page, or whose write-ahead log, is damaged or gone.
module FsScheduler.Runtime.Tests.JournalDamageTests

open System
open System.IO
open System.Security.Cryptography
open System.Text
open System.Threading.Tasks
open Expecto
open Microsoft.Data.Sqlite
open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerFixture
open FsScheduler.Runtime
open FsScheduler.Runtime.Tests.FileSupport
open FsScheduler.Runtime.Tests.JournalSupport

let private rowsOf (repaired: JournalRepaired) =
    List.map snd (List.take 3 repaired.rows)

/// Reported, refused, and all of it saved; the old file is as it was, and nothing else is left.
let private expectSaved (folder: TempFolder) rows =
    let path = folder.At "journal.db"
    let before = File.ReadAllBytes path
    Expect.isNonEmpty (JournalCheck.check path).troubles "reported"
    Expect.stringContains (Option.get (refused folder)) "damaged" "refused"
    let repaired = JournalRepair.repair path
    Expect.equal (rowsOf repaired) rows "rows"
    Expect.isEmpty (JournalCheck.check repaired.path).troubles "the new one is whole"
    Expect.equal (File.ReadAllBytes path) before "the old one is as it was"

    Expect.equal
        (Directory.GetFiles(folder.Path, "*being-read*"))
        [||]
        "nothing is left of the copy"

    repaired

let private find (path: string) (text: string) =
    int64 (ReadOnlySpan(File.ReadAllBytes path).IndexOf(ReadOnlySpan(Encoding.UTF8.GetBytes text)))

let private harms: (string * (string -> unit)) list = [
    for at in [ 16L; 17L; 18L; 19L; 20L; 21L; 44L; 47L; 52L; 56L; 59L; 60L; 63L; 68L; 75L ] do
        $"with a flipped bit in byte {at}", (fun path -> flip path at 0)

    "with the highest bit of its version", (fun path -> flip path 60L 7)
    "with the second bit of its version", (fun path -> flip path 63L 1)
    "with another encoding", (fun path -> flip path 59L 1)
    "with zeros behind its magic", (fun path -> overwrite path 16L (Array.zeroCreate 84))
    "without its header", (fun path -> overwrite path 0L (Array.zeroCreate 100))
    "with zeros in its first 512 bytes", (fun path -> overwrite path 0L (Array.zeroCreate 512))

    for text in
        [
            "CREATE TABLE task("
            "number INTEGER PRIMARY KEY, at"
            "finished("
            "outcome INTEGER"
            "value INTEGER"
            "history"
            "ends ON"
            "key TEXT, content"
        ] do
        for letter in [ 0L; 3L ] do
            $"with a flipped bit in '{text}'+{letter}",
            (fun path -> flip path (find path text + letter) 0)
]

let private head =
    testList "with its first page damaged" [
        for what, harm in harms do
            testTask $"{what} is refused, and every row is saved" {
                use folder = new TempFolder()
                do! filled folder
                harm (folder.At "journal.db")
                expectSaved folder [ 100L; 100L; 100L ] |> ignore
            }

        testTask "is refused and read without a crash, whatever stands there" {
            use folder = new TempFolder()
            let path = folder.At "journal.db"
            do! filled folder
            let whole = File.ReadAllBytes path
            let random = Random 7

            for _ in 1..60 do
                let damaged = Array.copy whole

                match random.Next 3 with
                | 0 -> random.NextBytes(Span(damaged, 0, random.Next 8_192))
                | 1 -> random.NextBytes(Span(damaged, 100, random.Next 8_092))
                | _ ->
                    for _ in 1..30 do
                        damaged[random.Next 8_192] <- byte (random.Next 256)

                File.WriteAllBytes(path, damaged)

                try
                    Expect.isNonEmpty (JournalCheck.check path).troubles "reported"
                    let repaired = JournalRepair.repair path
                    Expect.equal (rowsOf repaired) [ 100L; 100L; 100L ] "rows"
                    File.Delete repaired.path
                with JournalRefused _ ->
                    () // said to be of a newer version
        }

        testTask "has its tables where every journal has them" {
            let roots (folder: TempFolder) =
                use connection =
                    new SqliteConnection($"""Data Source={folder.At "journal.db"};Pooling=False""")

                connection.Open()

                use command =
                    connection.CreateCommand(
                        CommandText = "SELECT name, rootpage FROM sqlite_master ORDER BY name"
                    )

                use rows = command.ExecuteReader()

                [
                    while rows.Read() do
                        rows.GetString 0, rows.GetInt64 1
                ]

            use empty = new TempFolder()
            use full = new TempFolder()
            do! close (openIn empty.Path)
            do! filled full
            Expect.equal (roots full) (roots empty) "the same pages"

            Expect.isLessThan
                (find (full.At "journal.db") "CREATE TABLE task")
                8_192L
                "in the first page"
        }

        test "is known by the tables of its version" {
            let words =
                (String.concat " " Schema.steps)
                    .Split([| ' '; '\r'; '\n' |], StringSplitOptions.RemoveEmptyEntries)
                |> String.concat " "

            Expect.equal
                (Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes words))[..15])
                "38399AB7D64F3599"
                "a word that changes here makes every journal of its version a damaged one: add a version instead"
        }
    ]

/// A journal that was killed: a hundred tasks, each in a transaction of its own, and all of them in the log.
let private killed (folder: TempFolder) =
    task {
        use other = new TempFolder()
        let journal = openIn other.Path

        for turn in 0..99 do
            do! append journal (int64 (turn * 3) + 1L) (done' (turn + 1))

        for file in [ "journal.db"; "journal.db-wal" ] do
            File.Copy(other.At file, folder.At file)

        do! close journal
    }
    :> Task

let private tasks (folder: TempFolder) =
    task {
        let journal = openAt Sync.Normal TimeProvider.System forEver folder.Path
        let struct (finished, _) = (journal :> IRecovery).Ended
        do! close journal
        return finished
    }

let private log =
    testList "with its write-ahead log" [
        for part in [ 4; 2 ] do
            testTask $"damaged at 1/{part} of it is refused, and what can be read is saved" {
                use folder = new TempFolder()
                do! killed folder
                let wal = folder.At "journal.db-wal"
                let size = FileInfo(wal).Length
                flip wal (size / int64 part) 3
                let before = File.ReadAllBytes wal
                let repaired = expectSaved folder [ 100L; 100L; 100L ]
                Expect.isNonEmpty repaired.missing "said"
                Expect.equal (File.ReadAllBytes wal) before "the log is as it was"
            }

        for what, at in [ "magic", 1L; "page size", 10L; "salts", 17L; "sum", 25L ] do
            testTask $"damaged in its header's {what} is refused" {
                use folder = new TempFolder()
                do! killed folder
                flip (folder.At "journal.db-wal") at 2
                expectSaved folder [ 100L; 100L; 100L ] |> ignore
            }

        testTask "damaged is not refused where nothing was flushed" {
            use folder = new TempFolder()
            do! killed folder
            let wal = folder.At "journal.db-wal"
            flip wal (FileInfo(wal).Length / 2L) 3
            let journal = openIn folder.Path
            let struct (finished, _) = (journal :> IRecovery).Ended
            Expect.isLessThan finished 100L "some are lost"
            do! close journal
        }

        testTask "torn at its end is none" {
            use folder = new TempFolder()
            do! killed folder
            let wal = folder.At "journal.db-wal"
            let whole = File.ReadAllBytes wal
            let main = File.ReadAllBytes(folder.At "journal.db")

            for cut in [ 1; 4_000; 8_216; 8_217; 20_000; 30_000 ] do
                File.WriteAllBytes(folder.At "journal.db", main)
                File.WriteAllBytes(wal, Array.truncate (whole.Length - cut) whole)
                File.Delete(folder.At "journal.db-shm")
                Expect.isEmpty (JournalCheck.check (folder.At "journal.db")).troubles "whole"
                let! finished = tasks folder
                Expect.isGreaterThan finished 90L $"without {cut} bytes"
        }

        testTask "torn in its last transaction, in whatever order it was written, is none" {
            use folder = new TempFolder()
            do! killed folder
            let wal = folder.At "journal.db-wal"
            let frame = 8_192 + 24
            let frames = (int (FileInfo(wal).Length) - 32) / frame

            // The first frame of the last transaction: the one behind the commit before.
            let bytes = File.ReadAllBytes wal

            let isCommit index =
                bytes[32 + index * frame + 4 .. 32 + index * frame + 7]
                <> [| 0uy; 0uy; 0uy; 0uy |]

            let last = Seq.findBack isCommit (seq { 0 .. frames - 2 }) + 1
            overwrite wal (int64 (32 + last * frame + 500)) [| 1uy; 2uy; 3uy |]
            let! finished = tasks folder
            Expect.equal finished 99L "all but the last"
        }

        testTask "left by an earlier round behind its end is none" {
            use folder = new TempFolder()
            do! killed folder
            let path = folder.At "journal.db"
            let connection = new SqliteConnection($"Data Source={path};Pooling=False")
            connection.Open()

            let execute text =
                use command = connection.CreateCommand(CommandText = text)
                command.ExecuteScalar() |> ignore

            execute "PRAGMA wal_checkpoint(RESTART)"
            execute "DELETE FROM file"
            execute "UPDATE task SET priority = priority WHERE id = 1"
            use copy = new TempFolder()

            for file in [ "journal.db"; "journal.db-wal" ] do
                File.Copy(folder.At file, copy.At file)

            connection.Dispose()
            Expect.isGreaterThan (FileInfo(copy.At "journal.db-wal").Length) 100_000L "much of it"
            let! finished = tasks copy
            Expect.equal finished 100L "all"
        }

        testTask "taken away is missed" {
            use folder = new TempFolder()
            do! killed folder
            File.Delete(folder.At "journal.db-wal")
            let message = Option.get (refused folder)
            Expect.stringContains message "is gone" "which"
            let repaired = JournalRepair.repair (folder.At "journal.db")
            File.Move(repaired.path, folder.At "journal.db", true)
            let! finished = tasks folder
            Expect.equal finished 0L "without what was in it"
        }

        testTask "emptied is missed" {
            use folder = new TempFolder()
            do! killed folder
            File.WriteAllBytes(folder.At "journal.db-wal", [||])
            Expect.stringContains (Option.get (refused folder)) "is gone" "which"
        }

        testTask "as every step of the start leaves it is none" {
            use folder = new TempFolder()
            do! filled folder
            let path = folder.At "journal.db"
            let connection = JournalConnection.openAs path SqliteOpenMode.ReadWrite

            for now, steps in [ 5L, 1; 6L, 2; 7L, 3; 8L, 4 ] do
                // As `noteBegin`, up to a step.
                if steps >= 1 then
                    Schema.execute connection "PRAGMA wal_checkpoint(TRUNCATE)"

                if steps >= 2 then
                    JournalFile.setMeta connection "opened" now

                if steps >= 3 then
                    Schema.execute connection "PRAGMA wal_checkpoint(FULL)"

                if steps >= 4 then
                    JournalFile.setMeta connection "begun" now

                use copy = new TempFolder()

                for file in [ "journal.db"; "journal.db-wal" ] do
                    File.Copy(folder.At file, copy.At file)

                let! finished = tasks copy
                Expect.equal finished 100L $"killed after {steps} steps"

            connection.Dispose()
        }

        testTask "and without its file is refused, and not deleted" {
            for (harm: string -> unit) in
                [ File.Delete; (fun path -> File.WriteAllBytes(path, [||])) ] do
                use folder = new TempFolder()
                do! killed folder
                let wal = File.ReadAllBytes(folder.At "journal.db-wal")
                harm (folder.At "journal.db")
                Expect.stringContains (Option.get (refused folder)) "put the journal back" "why"
                Expect.equal (File.ReadAllBytes(folder.At "journal.db-wal")) wal "the log"

                Expect.throws
                    (fun () -> JournalCheck.check (folder.At "journal.db") |> ignore)
                    "nor is it checked"
        }

        testTask "of a newer version is refused, and left as it is" {
            use folder = new TempFolder()
            do! filled folder
            let path = folder.At "journal.db"
            let connection = new SqliteConnection($"Data Source={path};Pooling=False")
            connection.Open()

            for text in [ "CREATE TABLE newer(a)"; "PRAGMA user_version = 99" ] do
                use command = connection.CreateCommand(CommandText = text)
                command.ExecuteNonQuery() |> ignore

            use copy = new TempFolder()

            for file in [ "journal.db"; "journal.db-wal" ] do
                File.Copy(folder.At file, copy.At file)

            connection.Dispose()

            let content () = [
                for file in [ "journal.db"; "journal.db-wal" ] -> File.ReadAllBytes(copy.At file)
            ]

            let before = content ()
            Expect.stringContains (Option.get (refused copy)) "version 99" "which"
            Expect.equal (content ()) before "both files"
        }
    ]

let tests = testList "journal damage" [ head; log ]
