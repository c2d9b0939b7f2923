/// Parts that are put together as one result.
module FsScheduler.Server.Tests.PieceMergerTests

open System
open System.Collections.Generic
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

let private ofTask = { task = 1L<taskId>; number = 1 }

/// Puts parts together in a folder.
let private workIn
    (folder: string)
    (files: ISpool)
    (outage: StorageOutage)
    (note: string -> ContentHash -> unit)
    =
    PieceMerger(
        MemoryJournal 10,
        files,
        Merge.ofStages,
        Connection.MemoryMax,
        (fun _ -> true),
        note,
        folder,
        outage,
        Clock(HandTime())
    )

/// What is told first of these effects; `spool` gives the path of a result.
let private firstOf (work: PieceMerger) spool (effects: PieceEffect list) =
    task {
        let told = TaskCompletionSource<Input>()
        use stop = new CancellationTokenSource()

        let running =
            work.RunAsync(
                Cut(fun _ _ _ _ -> ValueNone),
                spool,
                (fun inputs ->
                    told.TrySetResult inputs[0] |> ignore
                    Task.CompletedTask),
                stop.Token
            )

        List.iter work.Post effects
        let! input = told.Task.WaitAsync(TimeSpan.FromSeconds 30.0)
        stop.Cancel()
        do! running
        return input
    }

/// What comes of one `MergeParts`, after other effects.
let private joinedAfter (folder: TempFolder) (before: PieceEffect list) stage (parts: Content[]) =
    task {
        let mutable noted = []

        let note path hash = noted <- struct (path, hash) :: noted

        let work =
            workIn (folder.At "temporary") (Spool()) (StorageOutage NullLogger.Instance) note

        Directory.CreateDirectory(folder.At "temporary") |> ignore

        let merge =
            match stage with
            | "" -> ValueNone
            | wire ->
                match Stage.parse wire with
                | Ok stage -> ValueSome stage
                | Error message -> failwith message

        let spool attempt =
            let name = if attempt = ofTask then "result" else "other"
            Task.FromResult<string | null>(folder.At name)

        let! input =
            firstOf
                work
                spool
                (before @ [ PieceEffect.MergeParts(ofTask, merge, Array.map Held parts) ])

        let large = [
            match input with
            | Input.PartsMerged(_, Spooled(path, _)) -> struct (path, ResultFile.read path)
            | _ -> ()
        ]

        Expect.equal noted large "told what a large result holds, and of no other"
        Expect.isEmpty (Directory.GetFileSystemEntries(folder.At "temporary")) "nothing is left"
        Expect.isFalse (File.Exists(folder.At "other")) "nor of what was only begun"
        return input
    }

let private joined folder stage parts = joinedAfter folder [] stage parts

let private justOne =
    PieceEffect.MergeParts(ofTask, ValueNone, [| Held(Bytes "a"B) |])

/// A result that is in memory.
let private inMemory input =
    match input with
    | Input.PartsMerged(_, Bytes result) -> Encoding.UTF8.GetString result
    | other -> failtest $"{other}"

/// A result that is in a file, of the size that is told.
let private inFile input =
    match input with
    | Input.PartsMerged(_, Spooled(path, size)) ->
        let result = File.ReadAllText path
        Expect.equal size (int64 result.Length * 1L<B>) "size"
        result
    | other -> failtest $"{other}"

/// The first part comes ahead of the others, and has other bytes than when all of them come: so that it shows.
let private gathering =
    let small = [| Bytes "a"B; Bytes "b"B; Bytes "c"B |]

    let ahead index (text: string) =
        PieceEffect.PrefetchPart(ofTask, index, Held(Bytes(Encoding.UTF8.GetBytes text)))

    let other =
        PieceEffect.PrefetchPart({ ofTask with number = 2 }, 0, Held(Bytes "Z"B))

    testList "gathering" [
        for what, before, expected in
            [
                "writes nothing a second time", [ ahead 0 "A"; ahead 1 "B" ], "ABc"
                "writes all of it ahead", [ ahead 0 "A"; ahead 1 "B"; ahead 2 "C" ], "ABC"
                "begins with the first part", [ ahead 1 "B" ], "abc"
                "leaves out none", [ ahead 0 "A"; ahead 2 "C" ], "Abc"
                "is over when it is abandoned",
                [ ahead 0 "A"; PieceEffect.DropPrefetch ofTask ],
                "abc"
                "does not go on then",
                [ ahead 0 "A"; PieceEffect.DropPrefetch ofTask; ahead 1 "B" ],
                "abc"
                "is of one attempt", [ other ], "abc"
                "leaves nothing",
                [ other; PieceEffect.DropPrefetch { ofTask with number = 2 } ],
                "abc"
                "starts over where a part is not to be had",
                [
                    ahead 0 "A"
                    PieceEffect.PrefetchPart(ofTask, 1, Held(Spooled("/none/gone", 9L<B>)))
                ],
                "abc"
            ] do
            testTask what {
                use folder = new TempFolder()
                let! input = joinedAfter folder before "" small
                Expect.equal (inMemory input) expected "result"
                Expect.isFalse (File.Exists(folder.At "result")) "and no file"
            }

        testTask "proves a large result that was begun ahead" {
            use folder = new TempFolder()
            let large = Encoding.UTF8.GetBytes(String('x', 100_000))
            let before = [ PieceEffect.PrefetchPart(ofTask, 0, Held(Bytes large)) ]
            let! input = joinedAfter folder before "" [| Bytes large; Bytes "z"B |]
            Expect.equal (inFile input) (String('x', 100_000) + "z") "result"
        }
    ]

let private joining =
    testList "joining" [
        testTask "puts parts from memory and from files behind one another" {
            use folder = new TempFolder()
            File.WriteAllText(folder.At "part", String('x', 100_000))

            let! input =
                joined folder "" [|
                    Bytes "a"B
                    Spooled(folder.At "part", 100_000L<B>)
                    Bytes ""B
                    Bytes "z"B
                |]

            Expect.equal (inFile input) ("a" + String('x', 100_000) + "z") "result"
            Expect.isTrue (File.Exists(folder.At "part")) "the part is not the joiner's"
        }

        testTask "merges into a large result" {
            use folder = new TempFolder()
            let lines from = [| for number in from..2..40_000 -> $"{number:D6}\n" |]

            let! input =
                joined folder "sort" [|
                    for from in 1..2 -> Bytes(Encoding.UTF8.GetBytes(String.concat "" (lines from)))
                |]

            let expected = String.concat "" [ for number in 1..40_000 -> $"{number:D6}\n" ]
            Expect.equal (inFile input) expected "result"
        }

        testTask "gives a small result in memory" {
            use folder = new TempFolder()
            let! input = joined folder "" [| Bytes "a"B; Bytes "b"B |]
            Expect.equal (inMemory input) "ab" "result"
            Expect.isFalse (File.Exists(folder.At "result")) "and no file"
        }

        testTask "merges more parts than are open at a time" {
            use folder = new TempFolder()

            let parts = [|
                for number in 0..599 ->
                    Bytes(Encoding.UTF8.GetBytes $"line {number:D3}\nline {number + 1:D3}\n")
            |]

            let! input = joined folder "sort:unique" parts
            let expected = String.concat "" [ for number in 0..600 -> $"line {number:D3}\n" ]
            Expect.equal (inMemory input) expected "result"
        }

        testTask "adds up counts" {
            use folder = new TempFolder()
            let! input = joined folder "words" [| Bytes "12\n"B; Bytes "30\n"B |]
            Expect.equal (inMemory input) "42\n" "result"
        }

        testTask "holds up nothing where there is room for others only" {
            if not (File.Exists "/dev/full") then
                skiptest "there is no disk that is always full"

            use folder = new TempFolder()
            let log = RecordingLog()
            let outage = StorageOutage log

            let spool _ =
                let path = folder.At "result"
                File.CreateSymbolicLink(path, "/dev/full") |> ignore
                Task.FromResult<string | null> path

            let work = workIn folder.Path (Spool()) outage (fun _ _ -> ())

            match! firstOf work spool [ justOne ] with
            | Input.NoRoom(attempt, error) ->
                Expect.equal attempt ofTask "which"
                Expect.stringContains error "make room, or cancel" "what to do"
            | other -> failtest $"{other}"

            Expect.isNull outage.Reason "new work is taken"
            Expect.hasLength log.Lines 1 "said"

            Expect.stringContains
                log.Lines[0]
                $"Warning: task {ofTask.task}: there is no room"
                "where"

            Expect.isFalse (File.Exists(folder.At "result")) "nothing is left"
        }

        testTask
            "waits for a disk that takes nothing, and holds up nothing afterwards, whatever the path is then" {
            use folder = new TempFolder()
            let outage = StorageOutage NullLogger.Instance
            let paths = List<string>()
            let real: ISpool = Spool()

            let files = {
                new ISpool with
                    member _.Has path = real.Has path
                    member _.Open path = real.Open path
                    member _.Delete path = real.Delete path
                    member _.HasRoomForOthers _ = false

                    member _.Create path =
                        paths.Add path

                        if paths.Count = 1 then
                            raise (IOException("no space left on device", 28)) // ENOSPC

                        Expect.isNotNull outage.Reason "new work waits meanwhile"
                        real.Create path
            }

            let work = workIn folder.Path files outage (fun _ _ -> ())

            let spool _ =
                Task.FromResult<string | null>(folder.At $"result{paths.Count}")

            let! (input: Input) = firstOf work spool [ justOne ]
            Expect.equal input (Input.PartsMerged(ofTask, Bytes "a"B)) "in the end"
            Expect.hasLength (Seq.distinct paths) 2 "under another path"
            Expect.isNull outage.Reason "new work is taken"
        }

        testTask "says what is wrong with a part, and leaves nothing behind" {
            use folder = new TempFolder()

            for stage, parts, reason in
                [
                    "sort", [| Bytes "b\na\n"B |], "part 1 is no result of sort"
                    "", [| Bytes "a"B; Spooled(folder.At "gone", 9L<B>) |], "gone"
                ] do
                let! input = joined folder stage parts

                match input with
                | Input.MergeFailed(_, error) -> Expect.stringContains error reason "why"
                | other -> failtest $"{other}"

                Expect.isFalse (File.Exists(folder.At "result")) "no half result"
        }
    ]

[<Tests>]
let tests = testList "pieces" [ gathering; joining ]
