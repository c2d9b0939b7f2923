module FsScheduler.Journal.Tests.DiskTests

open System
open System.IO
open System.Threading
open Expecto
open FsScheduler.Journal
open FsScheduler.TestKit

/// A second connection, in a transaction that stays open.
type private StayingReader(path: string) =
    let db = SqliteFile.openToRead path

    do
        db.Execute "BEGIN"
        db.Scalar "SELECT count(*) FROM batch" |> ignore

    interface IDisposable with
        member _.Dispose() = (db :> IDisposable).Dispose()

let private mebibyte = 1_048_576

let private megabytes first = sized mebibyte first 1

let private watched (path: string) (held: ResizeArray<string option>) : IJournalStore =
    new SqliteStore(
        {
            optionsOf path with
                flush = false
                checkpointBlocked = held.Add
                logBytesMax = 8L * int64 mebibyte
        }
    )

let private logBytes path = FileInfo(path + "-wal").Length

/// On a disk of so many MiB.
let private onSmallDisk (mebibytes: int) (test: string -> unit) =
    use folder = new TempFolder()
    Directory.CreateDirectory(folder.At "disk") |> ignore

    if not (tryMountTmpfs $"size={mebibytes}m" (folder.At "disk")) then
        skiptest "no small disk can be made here"

    try
        test (folder.At "disk")
    finally
        unmountNow (folder.At "disk")

let private appendFrom (store: IJournalStore) count =
    let next = (sizeOf store).next

    for first in next .. next + count - 1L do
        append store [ megabytes first ]

/// Appends until the disk takes no more.
let private fill (store: IJournalStore) =
    let mutable isFull = false

    while not isFull do
        try
            appendFrom store 1L
        with StoreError(passes, _) ->
            Expect.isTrue passes "may succeed later"
            isFull <- true

[<Tests>]
let tests =
    testList "the disk" [
        testCase "without a reader that stays, the log stays small" (fun () ->
            use folder = new TempFolder()
            let held = ResizeArray()
            use store = watched folder.Journal held
            appendFrom store 40L
            Expect.isLessThan (logBytes folder.Journal) (8L * int64 mebibyte) "small"
            Expect.isEmpty held "nothing to tell")

        testCase "a reader that stays is told, also when it has gone" (fun () ->
            use folder = new TempFolder()
            let held = ResizeArray()
            use store = watched folder.Journal held
            appendFrom store 1L

            do
                use _ = new StayingReader(folder.Journal)
                appendFrom store 30L
                Expect.isNonEmpty held "told"
                Expect.isTrue (held |> Seq.forall Option.isSome) "only that"
                Expect.isLessThan held.Count 4 "not with every append"
                Expect.stringContains held[0].Value "another program reads" "why"

            let isOver () =
                appendFrom store 1L
                Seq.last held = None

            Expect.isTrue (SpinWait.SpinUntil(isOver, TimeSpan.FromSeconds 20.0)) "over"
            Expect.isLessThan (logBytes folder.Journal) (8L * int64 mebibyte) "small again")

        testCase "a disk that a reader has filled takes appends again once it has gone" (fun () ->
            onSmallDisk 48 (fun disk ->
                let path = Path.Combine(disk, "journal.db")
                use store = watched path (ResizeArray())
                appendFrom store 1L
                let reader = new StayingReader(path)
                fill store
                let next = (sizeOf store).next
                Expect.throwsT<StoreError> (fun () -> appendFrom store 1L) "still full"
                (reader :> IDisposable).Dispose()
                appendFrom store 2L
                Expect.equal (sizeOf store).next (next + 2L) "goes on"
                Expect.equal (Seq.length (store.Read 1L)) (int next + 1) "nothing lost"))

        testCase "and also after a restart on the full disk" (fun () ->
            onSmallDisk 48 (fun disk ->
                let path = Path.Combine(disk, "journal.db")
                let store = watched path (ResizeArray())
                appendFrom store 1L
                let reader = new StayingReader(path)
                fill store
                let next = (sizeOf store).next
                // Of nothing else on the disk, to the last byte.
                exitCodeOf disk "dd if=/dev/zero of=filler bs=512 2> /dev/null" |> ignore
                store.Dispose()
                (reader :> IDisposable).Dispose()
                // The index of the log needs room that only the reserve has.
                File.Delete(path + "-shm")
                exitCodeOf disk "dd if=/dev/zero of=more bs=512 2> /dev/null" |> ignore
                use again = watched path (ResizeArray())
                appendFrom again 1L
                Expect.equal (sizeOf again).next (next + 1L) "goes on"))

        testCase
            "a full disk is an error that passes, and nothing of the append is there"
            (fun () ->
                onSmallDisk 8 (fun disk ->
                    let path = Path.Combine(disk, "journal.db")
                    let store = watched path (ResizeArray())
                    append store [ batch 1L 1 ]
                    let filler = Path.Combine(disk, "filler")
                    exitCodeOf disk "dd if=/dev/zero of=filler bs=512 2> /dev/null" |> ignore

                    Expect.throwsT<StoreError>
                        (fun () -> append store [ sized (5 * mebibyte) 2L 1 ])
                        "full"

                    Expect.equal (readAll store) (plainAll [ batch 1L 1 ]) "as before"
                    File.Delete filler
                    append store [ megabytes 2L ]
                    Expect.equal (sizeOf store).next 3L "goes on"
                    Expect.throwsT<StoreError> (fun () -> appendFrom store 10L) "full again"
                    store.Dispose()
                    // Its mark speaks of what is durable, and of nothing else.
                    use again = watched path (ResizeArray())
                    Expect.isGreaterThan (sizeOf again).next 2L "opened"))

        testCase "the files are closed to others as they are made" (fun () ->
            use folder = new TempFolder()
            let restricted = Collections.Generic.HashSet<string>()

            use store: IJournalStore =
                new SqliteStore(
                    { optionsOf folder.Journal with restrict = restricted.Add >> ignore }
                )

            append store [ batch 1L 1 ]

            for ending in [ ""; "-wal"; "-shm" ] do
                Expect.isTrue (restricted.Contains(folder.Journal + ending)) ending

            Expect.isTrue (restricted.Contains(SpaceReserve.pathOf folder.Journal)) "reserve")
    ]
