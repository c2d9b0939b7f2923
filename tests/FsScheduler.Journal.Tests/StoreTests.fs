module FsScheduler.Journal.Tests.StoreTests

open System
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Journal
open FsScheduler.TestKit

let private lost (action: unit -> unit) =
    Expect.throwsT<QueueLost> action "refused"

let private order (create: unit -> IJournalStore) =
    testList "order" [
        testCase "an empty journal begins at 1" (fun () ->
            use store = create ()
            let size = sizeOf store
            Expect.equal (size.first, size.next, size.cutoff) (1L, 1L, 1L) "numbers"
            Expect.isEmpty (readAll store) "nothing")

        testCase "what is appended is read, as it was written" (fun () ->
            use store = create ()
            let batches = [ batch 1L 3; batch 4L 1; sized 0 5L 10 ]
            append store batches
            append store [ batch 15L 2 ]
            Expect.equal (readAll store) (plainAll (batches @ [ batch 15L 2 ])) "all, in order"
            Expect.equal (sizeOf store).next 17L "next")

        testCase "buffers are free after an append" (fun () ->
            use store = create ()
            let bytes = [| 1uy; 2uy; 3uy |]
            append store [ { batch 1L 1 with payloads = ReadOnlyMemory bytes } ]
            bytes[0] <- 9uy
            let found = (Seq.head (store.Read 1L)).payloads.ToArray()
            Expect.equal found [| 1uy; 2uy; 3uy |] "a copy")

        testCase "reading begins with the batch that has the number" (fun () ->
            use store = create ()
            append store [ for first in 1L..10L..1_991L -> batch first 10 ]

            for from, first in
                [ 1L, 1L; 10L, 1L; 11L, 11L; 999L, 991L; 1_991L, 1_991L; 2_000L, 1_991L ] do
                Expect.equal (Seq.head (store.Read from)).first first $"from {from}"

            Expect.isEmpty (store.Read 2_001L) "after the end"
            Expect.equal (Seq.length (store.Read 555L)) 145 "to the end")

        testCase "a number that is taken or too high is refused, with all of the append" (fun () ->
            use store = create ()
            append store [ batch 1L 3 ]
            let before = readAll store
            lost (fun () -> append store [ { batch 1L 3 with owner = other } ])
            lost (fun () -> append store [ batch 2L 1 ])
            lost (fun () -> append store [ batch 5L 1 ])
            lost (fun () -> append store [ batch 4L 1; batch 6L 1 ])
            Expect.equal (readAll store) before "nothing of it"
            append store [ batch 4L 1 ])

        testCase "an append whose answer was lost is as good as done" (fun () ->
            use store = create ()
            append store [ batch 1L 3 ]
            append store [ batch 4L 2; batch 6L 1 ]
            append store [ batch 4L 2; batch 6L 1 ]
            Expect.equal (sizeOf store).next 7L "once"
            lost (fun () -> append store [ batch 4L 2; { batch 6L 1 with at = 0L } ])
            lost (fun () -> append store [ batch 6L 1; batch 7L 1 ]))
    ]

let private payloads (create: unit -> IJournalStore) =
    testList "payloads" [
        testCase "of any size from 0 to 64 KiB" (fun () ->
            use store = create ()

            let sizes = [
                yield! [ 0..70 ]
                for page in 1..8 do
                    yield! [ page * 8_192 - 100 .. 33 .. page * 8_192 + 20 ]
                yield! [ 65_535; 65_536 ]
            ]

            sizes
            |> List.mapi (fun index size -> sized size (int64 index + 1L) 1)
            |> List.chunkBySize 16
            |> List.iter (append store)

            for batch, size in Seq.zip (store.Read 1L) sizes do
                let whole = (sized size batch.first 1).payloads.Span
                Expect.isTrue (batch.payloads.Span.SequenceEqual whole) $"{size} bytes"

            Expect.equal (Seq.length (store.Read 1L)) sizes.Length "all")

        testCase "of five megabytes, from batches in turn" (fun () ->
            use store = create ()

            for index in 0L .. 5L do
                append store [ sized 5_000_000 (index + 1L) 1 ]

            for first in [ 1L; 2L; 1L; 3L; 2L; 1L; 4L; 5L; 6L; 5L; 1L; 1L ] do
                let expected = (sized 5_000_000 first 1).payloads.Span
                let found = Seq.head (store.Read first)
                Expect.isTrue (found.payloads.Span.SequenceEqual expected) $"{first}")
    ]

let private dropping (create: unit -> IJournalStore) =
    testList "drop" [
        testCase "takes whole batches, the oldest first, and so many at most" (fun () ->
            use store = create ()
            append store [ for first in 1L..10L..91L -> batch first 10 ]
            Expect.isFalse (store.Drop(1L, 5)) "nothing before 1"
            Expect.isFalse (store.Drop(10L, 5)) "nothing ends before 10"
            Expect.equal (sizeOf store).first 1L "all there"
            Expect.isTrue (store.Drop(45L, 3)) "one more"
            Expect.equal (sizeOf store).first 31L "three"
            Expect.isFalse (store.Drop(45L, 3)) "no more"
            Expect.equal (sizeOf store).first 41L "the one that has 45 stays"
            Expect.equal (Seq.head (store.Read 1L)).first 41L "the first later one")

        testCase "never takes the last batch, nor gives a number again" (fun () ->
            use store = create ()
            append store [ batch 1L 3; batch 4L 2 ]
            Expect.isFalse (store.Drop(Int64.MaxValue, 100)) "done"
            Expect.equal (readAll store) (plainAll [ batch 4L 2 ]) "the last"
            lost (fun () -> append store [ batch 1L 3 ])
            append store [ batch 6L 1 ])

        testCase "while it is read: what is dropped is passed over" (fun () ->
            use store = create ()
            append store [ for first in 1L .. 400L -> batch first 1 ]
            use reader = (store.Read 1L).GetEnumerator()
            Expect.isTrue (reader.MoveNext()) "one"
            store.Drop(300L, 1_000) |> ignore

            let rest = [
                while reader.MoveNext() do
                    reader.Current.first
            ]

            Expect.equal (List.last rest) 400L "to the end"
            Expect.isLessThan rest.Length 300 "without the dropped ones")

        testCase "the cutoff is where the rest is small and young enough" (fun () ->
            use store = create ()
            append store [ for first in 1L .. 100L -> sized 20_000 first 1 ]
            let size = sizeOf store
            Expect.isGreaterThan size.bytes 2_000_000L "bytes"
            Expect.equal size.cutoff 1L "nothing is too much"
            Expect.equal (store.Size(Int64.MaxValue, start + 50_000L)).cutoff 50L "by time"
            let cutoff = (store.Size(1_000_000L, Int64.MinValue)).cutoff
            store.Drop(cutoff, 1_000) |> ignore
            let bytes = (sizeOf store).bytes
            Expect.isLessThanOrEqual bytes 1_000_000L "small enough"
            Expect.isGreaterThan bytes 900_000L "and not smaller than that"
            Expect.equal (store.Size(0L, Int64.MaxValue)).cutoff 100L "never behind the last")
    ]

let private beside (create: unit -> IJournalStore) =
    testCase "readers beside the writer" (fun () ->
        use store = create ()
        append store [ batch 1L 1 ]
        let mutable isOver = false

        let reading = [
            for _ in 1..2 ->
                Task.Run(fun () ->
                    let mutable seen = 0L

                    while seen < 300L && not (Volatile.Read &isOver) do
                        for found in store.Read(seen + 1L) do
                            Expect.equal found.first (seen + 1L) "no gap"
                            seen <- Batch.next found - 1L

                        store.Size(0L, 0L) |> ignore

                    seen)
        ]

        try
            for number in 2L .. 300L do
                append store [ sized 3_000 number 1 ]

            for task in reading do
                Expect.isTrue (task.Wait(TimeSpan.FromSeconds 60.0)) "has read all"
                Expect.equal task.Result 300L "to the end"
        finally
            Volatile.Write(&isOver, true))

let private suite name create =
    testList name [ order create; payloads create; dropping create; beside create ]

/// Deletes its folder when it is closed.
let private sqlite () : IJournalStore =
    let folder = new TempFolder()
    let store = openAt folder.Journal

    {
        new IJournalStore with
            member _.Append batches = store.Append batches
            member _.Read from = store.Read from
            member _.Drop(before, most) = store.Drop(before, most)
            member _.Size(keep, since) = store.Size(keep, since)

            member _.Dispose() =
                store.Dispose()
                (folder :> IDisposable).Dispose()
    }

let private memory =
    testList "memory" [
        testCase "an append that fails is not there, or there without an answer" (fun () ->
            let store = new MemoryStore()

            store.OnStep <-
                (function
                | StoreStep.Appending _ -> raise (StoreError(true, "as the test has it"))
                | _ -> ())

            Expect.throwsT<StoreError> (fun () -> append store [ batch 1L 1 ]) "before"
            Expect.isEmpty (readAll store) "nothing"

            store.OnStep <-
                (function
                | StoreStep.Appended _ -> raise (StoreError(true, "as the test has it"))
                | _ -> ())

            Expect.throwsT<StoreError> (fun () -> append store [ batch 1L 1 ]) "after"
            Expect.equal (readAll store) (plainAll [ batch 1L 1 ]) "there")

        testCase "a copy goes its own way" (fun () ->
            let store = new MemoryStore()
            append store [ batch 1L 1 ]
            let copy = store.Fork()
            append store [ batch 2L 1 ]
            append copy [ { batch 2L 3 with owner = other } ]
            Expect.equal (readAll store) (plainAll [ batch 1L 1; batch 2L 1 ]) "one"

            Expect.equal
                (readAll copy)
                (plainAll [ batch 1L 1; { batch 2L 3 with owner = other } ])
                "the other")
    ]

[<Tests>]
let tests =
    testList "store" [
        suite "in memory" (fun () -> new MemoryStore())
        suite "in SQLite" sqlite
        memory
    ]
