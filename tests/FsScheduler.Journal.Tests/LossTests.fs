module FsScheduler.Journal.Tests.LossTests

open System
open System.IO
open System.Threading
open Expecto
open FsScheduler.Journal
open FsScheduler.TestKit

/// A journal whose writer was killed: six batches, of which the last three are in the log, and its mark.
let private killed (folder: TempFolder) =
    let source = folder.At "source.db"
    use store = openAt source

    for first in 1L .. 3L do
        append store [ batch first 1 ]

    store.Dispose()
    File.Copy(source, folder.At "old.db")
    use store = openAt source

    for first in 4L .. 6L do
        append store [ batch first 1 ]

    crashCopy source folder.Journal
    store.Dispose()
    File.Copy(HighWaterMark.pathOf source, HighWaterMark.pathOf folder.Journal)

let private accepting (log: ResizeArray<string>) path : IJournalStore =
    new SqliteStore({ optionsOf path with acceptLoss = true; log = log.Add })

/// Is refused with these words and changes nothing; goes on with an accepted loss, without a number given twice.
let private losing name (change: TempFolder -> unit) (next: int64) (words: string list) =
    testCase name (fun () ->
        use folder = new TempFolder()
        killed folder
        change folder

        let content () = [
            for ending in [ ""; "-wal" ] do
                let file = FileInfo(folder.Journal + ending)

                if file.Exists && file.Length > 0L then
                    ending, Convert.ToHexString(File.ReadAllBytes file.FullName)
        ]

        let before = content ()

        for _ in 1..2 do
            let message = refused (fun () -> openAt folder.Journal)

            for word in "--accept-loss" :: words do
                Expect.stringContains message word "what is wrong"

            Expect.equal (content ()) before "as it was"

        let log = ResizeArray()
        use store = accepting log folder.Journal
        Expect.isNonEmpty log "told"
        Expect.equal (sizeOf store).next 7L "no number is given again"

        let lost = [
            for batch in store.Read 1L do
                if Batch.isLost batch then
                    batch.first
        ]

        Expect.equal lost (if next < 7L then [ next ] else []) "those of the lost events"
        append store [ batch 7L 1 ]
        store.Dispose()
        use again = openAt folder.Journal
        Expect.equal (sizeOf again).next 8L "once is enough")

let private told =
    testList "is told" [
        losing "the log is missing" (fun folder -> File.Delete(folder.Journal + "-wal")) 4L [
            "-wal is missing"
        ]

        losing
            "the log is emptied"
            (fun folder -> File.WriteAllBytes(folder.Journal + "-wal", [||]))
            4L
            [ "-wal is missing" ]

        losing
            "the log is cut"
            (fun folder ->
                use log = File.OpenWrite(folder.Journal + "-wal")
                log.SetLength(log.Length - 5_000L))
            6L
            [ "ends before event 6" ]

        losing
            "a bit of the log is flipped"
            (fun folder ->
                let bytes = File.ReadAllBytes(folder.Journal + "-wal")
                bytes[bytes.Length / 2] <- bytes[bytes.Length / 2] ^^^ 1uy
                File.WriteAllBytes(folder.Journal + "-wal", bytes))
            5L
            [ "log is damaged" ]

        losing
            "an old copy is put back"
            (fun folder ->
                File.Copy(folder.At "old.db", folder.Journal, true)
                File.Delete(folder.Journal + "-wal"))
            4L
            [ "old copy" ]

        losing
            "the journal is deleted"
            (fun folder ->
                for ending in [ ""; "-wal" ] do
                    File.Delete(folder.Journal + ending))
            1L
            [ "is missing" ]

        losing
            "the journal is emptied"
            (fun folder ->
                File.WriteAllBytes(folder.Journal, [||])
                File.Delete(folder.Journal + "-wal"))
            1L
            [ "is missing or empty" ]

        losing
            "another journal of the same length"
            (fun folder ->
                for ending in [ ""; "-wal" ] do
                    File.Delete(folder.Journal + ending)

                let mark = File.ReadAllBytes(HighWaterMark.pathOf folder.Journal)
                File.Delete(HighWaterMark.pathOf folder.Journal)

                journalOf folder.Journal [
                    for first in 1L .. 6L -> { batch first 1 with owner = other }
                ]

                File.WriteAllBytes(HighWaterMark.pathOf folder.Journal, mark))
            7L
            [ "not the one" ]

        testCase "a journal without its file, but with its log" (fun () ->
            use folder = new TempFolder()
            killed folder
            File.Delete folder.Journal
            File.Delete(HighWaterMark.pathOf folder.Journal)
            let message = refused (fun () -> openAt folder.Journal)
            Expect.stringContains message "log" "why"
            Expect.isTrue (File.Exists(folder.Journal + "-wal")) "kept")
    ]

let private fine =
    testList "is no loss" [
        testCase "a killed writer" (fun () ->
            use folder = new TempFolder()
            killed folder
            use store = openAt folder.Journal
            Expect.equal (sizeOf store).next 7L "all there")

        testCase "a mark that is behind, missing or torn" (fun () ->
            let changes: (string -> unit) list = [
                File.Delete
                (fun mark -> File.WriteAllText(mark, "fs-scheduler journal mark 1\nfirst 000"))
                (fun mark -> File.Copy(mark + ".old", mark, true))
            ]

            for change in changes do
                use folder = new TempFolder()
                let mark = HighWaterMark.pathOf folder.Journal
                journalOf folder.Journal [ batch 1L 1 ]
                File.Copy(mark, mark + ".old")

                do
                    use store = openAt folder.Journal
                    append store [ batch 2L 1 ]

                change mark
                let log = ResizeArray<string>()

                use store: IJournalStore =
                    new SqliteStore({ optionsOf folder.Journal with log = log.Add })

                Expect.equal (sizeOf store).next 3L "opened"

                if not (File.Exists(mark)) || File.ReadAllText(mark).Length < 100 then
                    Expect.equal log.Count 1 "told")

        testCase "of a journal that is not flushed: told only" (fun () ->
            use folder = new TempFolder()
            let log = ResizeArray<string>()
            let unflushed = { optionsOf folder.Journal with flush = false; log = log.Add }

            do
                use store: IJournalStore = new SqliteStore(unflushed)
                append store [ batch 1L 1 ]
                crashCopy folder.Journal (folder.At "old.db")
                append store [ batch 2L 1 ]

            File.Copy(folder.At "old.db", folder.Journal, true)
            File.Copy(folder.At "old.db-wal", folder.Journal + "-wal", true)
            use store: IJournalStore = new SqliteStore(unflushed)
            Expect.equal log.Count 1 "told"
            Expect.equal (sizeOf store).next 3L "goes on")
    ]

let private marks =
    testList "the mark" [
        testCase "follows within a second, without a close" (fun () ->
            use folder = new TempFolder()
            use store = openAt folder.Journal
            append store [ batch 1L 1 ]
            append store [ batch 2L 1 ]

            let isThere () =
                match HighWaterMark.read folder.Journal with
                | Found mark -> mark.next = 3L
                | _ -> false

            Expect.isTrue (SpinWait.SpinUntil(isThere, TimeSpan.FromSeconds 20.0)) "written")

        testCase "is as long whatever it says, and is known by its sum" (fun () ->
            use folder = new TempFolder()

            for first, sum in [ 1L, 0L; Int64.MaxValue - 1L, -1L; 5L, Int64.MinValue ] do
                let mark = { first = first; next = first + 1L; sum = sum; isFlushed = first = 5L }
                HighWaterMark.write folder.Journal mark
                Expect.equal (HighWaterMark.read folder.Journal) (Found mark) "read back"

            let bytes = File.ReadAllBytes(HighWaterMark.pathOf folder.Journal)

            for place in 0 .. bytes.Length - 1 do
                let changed = Array.copy bytes
                changed[place] <- changed[place] ^^^ 1uy
                File.WriteAllBytes(HighWaterMark.pathOf folder.Journal, changed)
                Expect.equal (HighWaterMark.read folder.Journal) Unreadable $"byte {place}")
    ]

let private repairing =
    testCase "a repair leaves out the numbers that the mark knows" (fun () ->
        use folder = new TempFolder()
        killed folder
        File.Delete(folder.Journal + "-wal")
        let repaired = JournalRepair.run folder.Journal ignore
        Expect.equal (repaired.report.batches, repaired.report.lost) (3L, 3L) "told"
        // In its place, beside the old mark.
        File.Copy(repaired.path, folder.Journal, true)
        use store = openAt folder.Journal
        Expect.equal (sizeOf store).next 7L "the next number")

let private backup =
    testList "a backup" [
        testCase "is whole, while the journal is written" (fun () ->
            use folder = new TempFolder()
            use store = openAt folder.Journal

            for first in 1L .. 50L do
                append store [ sized 5_000 first 1 ]

            let target = folder.At "backup.db"
            JournalBackup.run folder.Journal target ignore
            append store [ batch 51L 1 ]
            Expect.isEmpty (JournalCheck.run target).damage "whole"
            Expect.isFalse (File.Exists(target + "-wal")) "one file"

            match HighWaterMark.read target with
            | Found mark -> Expect.equal mark.next 51L "its own mark"
            | _ -> failtest "no mark"

            use copy = openAt target
            Expect.equal (readAll copy) (List.truncate 50 (readAll store)) "the same")

        testCase "writes over nothing" (fun () ->
            use folder = new TempFolder()
            journalOf folder.Journal [ batch 1L 1 ]
            let target = folder.At "backup.db"
            File.WriteAllText(target, "mine")
            refused (fun () -> JournalBackup.run folder.Journal target ignore) |> ignore
            Expect.equal (File.ReadAllText target) "mine" "as it was"

            refused (fun () -> JournalBackup.run (folder.At "no.db") (folder.At "b.db") ignore)
            |> ignore)
    ]

[<Tests>]
let tests = testList "loss" [ told; fine; marks; repairing; backup ]
