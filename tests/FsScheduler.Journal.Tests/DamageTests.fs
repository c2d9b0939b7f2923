module FsScheduler.Journal.Tests.DamageTests

open System
open System.IO
open Expecto
open FsScheduler.Journal
open FsScheduler.TestKit

/// Batches that are found in the file by their bytes.
let private batches = [ for first in 1L..3L..298L -> sized 2_000 first 3 ]

let private damaged (folder: TempFolder) (change: byte[] -> byte[]) =
    journalOf folder.Journal batches
    File.WriteAllBytes(folder.Journal, change (File.ReadAllBytes folder.Journal))

/// The files of a journal that nobody has open: these bytes, and the mark of before.
let private putBack (folder: TempFolder) (bytes: byte[]) (mark: byte[]) =
    File.WriteAllBytes(folder.Journal, bytes)
    File.WriteAllBytes(HighWaterMark.pathOf folder.Journal, mark)

    for ending in [ "-wal"; "-shm" ] do
        File.Delete(folder.Journal + ending)

/// Runs SQL on the file, as a fault of the disk would not: the row is there, with another value.
let private execute (path: string) (sql: string) =
    use db = new Database(path, OpenMode.Write)
    db.Execute sql

let private read (path: string) =
    use store = openAt path
    readAll store

let private numbersOf (path: string) =
    use store = openAt path

    [
        for batch in store.Read 1L -> struct (batch.first, batch.count, Batch.isLost batch)
    ]

/// The repaired file has these batches lost and all others whole.
let private repairs (path: string) (lost: int64 list) =
    let before = File.ReadAllBytes path
    let repaired = JournalRepair.run path ignore
    Expect.isTrue (File.ReadAllBytes path = before) "the old file is as it was"
    Expect.isEmpty (JournalCheck.run repaired.path).damage "the new one is whole"

    Expect.equal
        (numbersOf repaired.path)
        [
            for batch in batches ->
                struct (batch.first, batch.count, List.contains batch.first lost)
        ]
        "all the others"

    Expect.equal repaired.report.lost (3L * int64 lost.Length) "told"

let private flips =
    testList "a flipped bit" [
        for column, change in
            [
                "first", "first = first + 1000000"
                "count", "count = (count | 2) - (count & 2)"
                "at", "at = (at | 1024) - (at & 1024)"
                "owner", "owner = X'11111111222233334444555555555554'"
                "sum", "sum = (sum | 1) - (sum & 1)"
                "events", "events = replace(events, 'n149', 'n159')"
                "payloads", "payloads = CAST(substr(payloads, 1, 1999) || X'00' AS BLOB)"
            ] do
            testCase $"in {column}" (fun () ->
                use folder = new TempFolder()
                journalOf folder.Journal batches
                execute folder.Journal $"UPDATE batch SET {change} WHERE first = 148"
                refused (fun () -> read folder.Journal) |> ignore
                let report = JournalCheck.run folder.Journal
                Expect.isNonEmpty report.damage "told"
                Expect.equal (report.batches, report.lost) (99L, 3L) "the others"
                repairs folder.Journal [ 148L ])

        testCase "at every other byte of a batch's row" (fun () ->
            use folder = new TempFolder()
            journalOf folder.Journal [ batch 1L 2; batch 3L 2 ]
            let whole = File.ReadAllBytes folder.Journal
            let mark = File.ReadAllBytes(HighWaterMark.pathOf folder.Journal)
            let payload = (batch 3L 2).payloads.ToArray()
            let ends = whole.AsSpan().LastIndexOf(ReadOnlySpan payload) + payload.Length
            let length = 100 + (batch 3L 2).events.Length + 60
            let mutable silent = 0

            for place in ends - length .. 2 .. ends - 1 do
                let bytes = Array.copy whole
                bytes[place] <- bytes[place] ^^^ 4uy
                putBack folder bytes mark

                try
                    if read folder.Journal <> plainAll [ batch 1L 2; batch 3L 2 ] then
                        silent <- silent + 1
                with JournalRefused _ ->
                    ()

            Expect.equal silent 0 "never read as something else")
    ]

let private gone =
    testList "what is missing" [
        testCase "a row in the middle" (fun () ->
            use folder = new TempFolder()
            journalOf folder.Journal batches
            execute folder.Journal "DELETE FROM batch WHERE first IN (100, 103)"
            use store = openAt folder.Journal
            let message = refused (fun () -> readAll store)
            Expect.stringContains message "events 100 to 105" "which"
            store.Dispose()
            let report = JournalCheck.run folder.Journal
            Expect.equal report.lost 6L "how many"
            // Of both, one batch with their numbers.
            let repaired = JournalRepair.run folder.Journal ignore

            Expect.contains (numbersOf repaired.path) (struct (100L, 6, true)) "in one")

        testCase "pages that are zero, anywhere" (fun () ->
            use folder = new TempFolder()
            journalOf folder.Journal batches
            let whole = File.ReadAllBytes folder.Journal
            let pages = whole.Length / 8_192
            let mark = File.ReadAllBytes(HighWaterMark.pathOf folder.Journal)
            let mutable told = 0

            for page in 0 .. pages - 1 do
                let bytes = Array.copy whole
                Array.fill bytes (page * 8_192) 8_192 0uy
                putBack folder bytes mark

                let isUnread = isRefused (fun () -> read folder.Journal)

                let mutable damage = []

                let isTold =
                    isRefused (fun () -> damage <- (JournalCheck.run folder.Journal).damage)
                    || not damage.IsEmpty

                Expect.equal isTold isUnread $"check and start agree on page {page}"

                if isUnread then
                    told <- told + 1

            // Behind the last page of the journal is room that is taken for it.
            Expect.isGreaterThan told 30 "pages with something in them")

        testCase "the end of the file" (fun () ->
            for kept in [ 0.0; 0.001; 0.3; 0.5; 0.9 ] do
                use folder = new TempFolder()

                damaged folder (fun bytes ->
                    // Without the room behind its pages.
                    let pages =
                        int bytes[28] * 65_536 * 256
                        + int bytes[29] * 65_536
                        + int bytes[30] * 256
                        + int bytes[31]

                    bytes[.. int (float (pages * 8_192) * kept) - 1])

                refused (fun () -> read folder.Journal) |> ignore)

        testCase "half of the journal is saved when its middle is zero" (fun () ->
            use folder = new TempFolder()

            damaged folder (fun bytes ->
                Array.fill bytes (20 * 8_192) (3 * 8_192) 0uy
                bytes)

            refused (fun () -> read folder.Journal) |> ignore
            let repaired = JournalRepair.run folder.Journal ignore
            // Three pages of about three batches each.
            Expect.isGreaterThan repaired.report.batches 85L "what is before and behind it"
            Expect.isEmpty (JournalCheck.run repaired.path).damage "whole"
            use store = openAt repaired.path
            Expect.equal (sizeOf store).next 301L "goes on at the same number"
            append store [ batch 301L 1 ])
    ]

let private others =
    testList "another file" [
        let untouched name (make: string -> unit) (sentence: string) =
            testCase name (fun () ->
                use folder = new TempFolder()
                make folder.Journal
                let before = File.ReadAllBytes folder.Journal
                let message = refused (fun () -> openAt folder.Journal)
                Expect.stringContains message sentence "why"
                Expect.isTrue (File.ReadAllBytes folder.Journal = before) "left as it was"

                Expect.equal
                    (Directory.GetFiles folder.Path |> Array.map Path.GetFileName)
                    [| "journal.db" |]
                    "nothing beside it")

        let made (sql: string list) path =
            use db = new Database(path, OpenMode.Create)

            for one in sql do
                db.Execute one

        untouched
            "of a newer version"
            (fun path ->
                journalOf path [ batch 1L 1 ]
                File.Delete(HighWaterMark.pathOf path)
                File.Delete(SpaceReserve.pathOf path)
                execute path "PRAGMA journal_mode = DELETE"
                execute path "PRAGMA user_version = 2")
            "version 2"

        untouched
            "of the old format"
            (made [ "CREATE TABLE task(id INTEGER PRIMARY KEY)"; "PRAGMA user_version = 9" ])
            "never released"

        untouched
            "of another program"
            (made [ "CREATE TABLE task(id INTEGER PRIMARY KEY)"; "PRAGMA application_id = 7" ])
            "another program"

        untouched
            "that is no database"
            (fun path -> File.WriteAllText(path, String('x', 500)))
            "does not begin"

        testCase "with tables and no version is refused" (fun () ->
            use folder = new TempFolder()
            made [ "CREATE TABLE task(id INTEGER PRIMARY KEY)" ] folder.Journal
            let message = refused (fun () -> openAt folder.Journal)
            Expect.stringContains message "another program" "why")
    ]

let private view =
    testCase "people see events in a view" (fun () ->
        use folder = new TempFolder()
        journalOf folder.Journal [ batch 1L 2; batch 3L 2 ]
        use db = SqliteFile.openToRead folder.Journal

        use rows =
            db.Prepare "SELECT number, time, event, task, name FROM event WHERE number > 1"

        let found = [
            while rows.Next() do
                rows.GetInt 0, rows.GetText 1, rows.GetText 2, rows.GetInt 3, rows.GetText 4
        ]

        Expect.equal
            found
            [
                2L, "2023-11-14T22:13:21.000Z", "submitted", 2L, "n2"
                3L, "2023-11-14T22:13:23.000Z", "submitted", 3L, "n3"
                4L, "2023-11-14T22:13:23.000Z", "submitted", 4L, "n4"
            ]
            "all of them")

[<Tests>]
let tests = testList "damage" [ flips; gone; others; view ]
