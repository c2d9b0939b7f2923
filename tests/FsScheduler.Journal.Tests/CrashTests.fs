module FsScheduler.Journal.Tests.CrashTests

open System
open System.IO
open Expecto
open FsScheduler.Journal
open FsScheduler.TestKit

[<Tests>]
let tests =
    testList "a crash" [
        testCase "at any byte of the log leaves whole appends, and the journal goes on" (fun () ->
            use folder = new TempFolder()
            // Two batches an append: never one without the other.
            let appends = [
                for first in 1L..20L..181L -> [ sized 9_000 first 7; batch (first + 7L) 13 ]
            ]

            do
                use store = openAt folder.Journal

                for batches in appends do
                    append store batches

                crashCopy folder.Journal (folder.At "source.db")

            let log = File.ReadAllBytes(folder.At "source.db-wal")
            let counts = Collections.Generic.HashSet<int>()

            for length in [ yield! [ 0..6_007 .. log.Length ]; log.Length ] do
                let path = folder.At "cut.db"
                File.Copy(folder.At "source.db", path, true)
                File.WriteAllBytes(path + "-wal", log[.. length - 1])
                File.Delete(path + "-shm")
                File.Delete(HighWaterMark.pathOf path)
                use store = openAt path
                let found = readAll store
                Expect.equal (found.Length % 2) 0 "whole appends"
                let whole = List.concat (List.truncate (found.Length / 2) appends)
                Expect.equal found (plainAll whole) $"what was appended first, at {length}"
                counts.Add found.Length |> ignore
                append store [ batch (sizeOf store).next 1 ]

            Expect.equal counts.Count (appends.Length + 1) "cut in every append")

        testCase "of the writer leaves all that was answered, beside its mark" (fun () ->
            use folder = new TempFolder()
            let copy = folder.At "copy.db"
            let store = openAt folder.Journal

            for first in 1L .. 30L do
                append store [ batch first 1 ]
                crashCopy folder.Journal copy
                File.Delete(copy + "-shm")
                use again = openAt copy
                Expect.equal (sizeOf again).next (first + 1L) "all"

            store.Dispose())

        testCase "while the file is made leaves one that can be made again" (fun () ->
            use folder = new TempFolder()
            File.WriteAllBytes(folder.Journal, [||])
            (openAt folder.Journal).Dispose()
            use store = openAt folder.Journal
            append store [ batch 1L 1 ])

        testCase
            "two writers: the second is told, and so is the first when the second has gone on"
            (fun () ->
                use folder = new TempFolder()
                use one = openAt folder.Journal
                append one [ batch 1L 1 ]
                use two = openAt folder.Journal
                append two [ { batch 2L 4 with owner = other } ]
                Expect.throwsT<QueueLost> (fun () -> append one [ batch 2L 4 ]) "taken"
                two.Drop(Int64.MaxValue, 10) |> ignore
                append two [ { batch 6L 1 with owner = other } ]
                two.Drop(Int64.MaxValue, 10) |> ignore

                Expect.throwsT<QueueLost>
                    (fun () -> append one [ batch 2L 4 ])
                    "also when it was dropped"

                Expect.equal
                    (readAll one)
                    (plainAll [ { batch 6L 1 with owner = other } ])
                    "the second's")
    ]
