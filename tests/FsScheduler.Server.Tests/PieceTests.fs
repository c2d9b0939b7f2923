/// Payloads that are cut, worked on in pieces and put together again.
module FsScheduler.Server.Tests.PieceTests

open System
open System.Collections.Generic
open System.IO
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open Expecto
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Stages.Tests
open FsScheduler.Stages.Tests.StageReference
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

let private config = { FsCheckConfig.defaultConfig with maxTest = 200 }

/// Where the pieces of these bytes end, if they stand in a file behind others.
let private cutsOf (before: int) (payload: byte[]) (pieceSize: int) =
    use folder = new TempFolder()
    let path = folder.At "payload"
    File.WriteAllBytes(path, Array.append (Array.create before '\n'B) payload)
    use file = File.OpenHandle path

    PieceBoundaries.find
        file
        (int64 before * 1L<B>)
        (int64 payload.Length * 1L<B>)
        (int64 pieceSize * 1L<B>)
    |> Array.map int

let private piecesOf (payload: byte[]) (cuts: int[]) =
    cuts
    |> Array.mapi (fun index cut ->
        let start = if index = 0 then 0 else cuts[index - 1]
        payload[start .. cut - 1])

/// Bytes of which every fourth is a newline, as many as one wants.
let private anyBytes =
    gen {
        let! size = Gen.choose (1, 400)

        return!
            Gen.arrayOfLength
                size
                (Gen.frequency [
                    1, Gen.constant '\n'B
                    1, Gen.constant '\r'B
                    3, Gen.map byte (Gen.choose (0, 255))
                ])
    }

let private cutting =
    testList "cutting" [
        testPropertyWithConfig
            config
            "gives all of the bytes in order, in whole lines, no piece larger than it has to be"
        <| Prop.forAll
            (Arb.fromGen (Gen.zip3 anyBytes (Gen.choose (1, 60)) (Gen.choose (0, 3))))
            (fun (payload, pieceSize, before) ->
                let pieces = piecesOf payload (cutsOf before payload pieceSize)
                Expect.equal (Array.concat pieces) payload "all"

                for piece in pieces[.. pieces.Length - 2] do
                    Expect.equal (Array.last piece) '\n'B "ends behind a newline"
                    Expect.isGreaterThanOrEqual piece.Length pieceSize "is large enough"

                    Expect.isFalse
                        (Array.contains '\n'B piece[pieceSize - 1 .. piece.Length - 2])
                        "and ends as soon as it may"

                Expect.isGreaterThan (Array.last pieces).Length 0 "none is empty")

        for wire, _ in textStages do
            match Stage.parse wire with
            | Ok { kind = PerLine } ->
                testPropertyWithConfig
                    config
                    $"{wire}: the pieces of its result are the results of pieces"
                <| Prop.forAll
                    (Arb.fromGen (Gen.zip StageReference.text (Gen.choose (1, 40))))
                    (fun (text, pieceSize) ->
                        let payload = utf8 text

                        if payload.Length > 0 then
                            let pieces = piecesOf payload (cutsOf 0 payload pieceSize)

                            let results =
                                pieces |> Array.mapi (fun index -> runPiece index [ wire ])

                            Expect.equal (Array.concat results) (runPieces wire [] payload) "")
            | _ -> ()

        test "a line that is longer than a piece, and than what is read at once, stays whole" {
            let line = Array.create 200_000 'x'B
            let payload = Array.concat [ line; "\n"B; line; "\nend"B ]
            Expect.equal (cutsOf 0 payload 1_000) [| 200_001; 400_002; 400_005 |] "ends"
        }

        test "a file that has become shorter is an error" {
            use folder = new TempFolder()
            File.WriteAllText(folder.At "short", "abc")
            use file = File.OpenHandle(folder.At "short")

            Expect.throwsT<EndOfStreamException>
                (fun () -> PieceBoundaries.find file 0L<B> 100L<B> 2L<B> |> ignore)
                "too short"
        }
    ]

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

/// What comes of one `Join`, after other effects; `spool` gives the path of the result.
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

        let told = TaskCompletionSource<Input>()
        use stop = new CancellationTokenSource()

        let running =
            work.RunAsync(
                Cut(fun _ _ _ _ -> ValueNone),
                (fun attempt ->
                    let name = if attempt = ofTask then "result" else "other"
                    Task.FromResult<string | null>(folder.At name)),
                (fun inputs ->
                    told.TrySetResult inputs[0] |> ignore
                    Task.CompletedTask),
                stop.Token
            )

        List.iter work.Post before
        work.Post(PieceEffect.MergeParts(ofTask, merge, Array.map Held parts))
        let! input = told.Task.WaitAsync(TimeSpan.FromSeconds 30.0)
        stop.Cancel()
        do! running

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

                match input with
                | Input.PartsMerged(_, Bytes result) ->
                    Expect.equal (Encoding.UTF8.GetString result) expected "result"
                | other -> failtest $"{other}"

                Expect.isFalse (File.Exists(folder.At "result")) "and no file"
            }

        testTask "proves a large result that was begun ahead" {
            use folder = new TempFolder()
            let large = Encoding.UTF8.GetBytes(String('x', 100_000))
            let before = [ PieceEffect.PrefetchPart(ofTask, 0, Held(Bytes large)) ]
            let! input = joinedAfter folder before "" [| Bytes large; Bytes "z"B |]

            match input with
            | Input.PartsMerged(_, Spooled(path, size)) ->
                Expect.equal size 100_001L<B> "size"
                Expect.equal (File.ReadAllText path) (String('x', 100_000) + "z") "result"
            | other -> failtest $"{other}"
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

            match input with
            | Input.PartsMerged(_, Spooled(path, size)) ->
                Expect.equal size 100_002L<B> "size"
                Expect.equal (File.ReadAllText path) ("a" + String('x', 100_000) + "z") "result"
            | other -> failtest $"{other}"

            Expect.isTrue (File.Exists(folder.At "part")) "the part is not the joiner's"
        }

        testTask "merges into a large result" {
            use folder = new TempFolder()
            let lines from = [| for number in from..2..40_000 -> $"{number:D6}\n" |]

            let! input =
                joined folder "sort" [|
                    for from in 1..2 -> Bytes(Encoding.UTF8.GetBytes(String.concat "" (lines from)))
                |]

            match input with
            | Input.PartsMerged(_, Spooled(path, size)) ->
                let expected = String.concat "" [ for number in 1..40_000 -> $"{number:D6}\n" ]
                Expect.equal (File.ReadAllText path) expected "result"
                Expect.equal size (int64 expected.Length * 1L<B>) "size"
            | other -> failtest $"{other}"
        }

        testTask "gives a small result in memory" {
            use folder = new TempFolder()
            let! input = joined folder "" [| Bytes "a"B; Bytes "b"B |]

            match input with
            | Input.PartsMerged(_, Bytes result) -> Expect.equal result "ab"B "result"
            | other -> failtest $"{other}"

            Expect.isFalse (File.Exists(folder.At "result")) "and no file"
        }

        testTask "merges more parts than are open at a time" {
            use folder = new TempFolder()

            let parts = [|
                for number in 0..599 ->
                    Bytes(Encoding.UTF8.GetBytes $"line {number:D3}\nline {number + 1:D3}\n")
            |]

            let! input = joined folder "sort:unique" parts

            match input with
            | Input.PartsMerged(_, Bytes result) ->
                let expected = String.concat "" [ for number in 0..600 -> $"line {number:D3}\n" ]

                Expect.equal (Encoding.UTF8.GetString result) expected "result"
            | other -> failtest $"{other}"
        }

        testTask "adds up counts" {
            use folder = new TempFolder()
            let! input = joined folder "words" [| Bytes "12\n"B; Bytes "30\n"B |]

            match input with
            | Input.PartsMerged(_, Bytes result) -> Expect.equal result "42\n"B "result"
            | other -> failtest $"{other}"
        }

        testTask "holds up nothing where there is room for others only" {
            if not (File.Exists "/dev/full") then
                skiptest "there is no disk that is always full"

            use folder = new TempFolder()
            let log = RecordingLog()
            let outage = StorageOutage log
            let told = TaskCompletionSource<Input>()

            let spool _ =
                let path = folder.At "result"
                File.CreateSymbolicLink(path, "/dev/full") |> ignore
                Task.FromResult<string | null> path

            let work = workIn folder.Path (Spool()) outage (fun _ _ -> ())
            let stop = new CancellationTokenSource()

            let running =
                work.RunAsync(
                    Cut(fun _ _ _ _ -> ValueNone),
                    spool,
                    (fun inputs ->
                        told.TrySetResult inputs[0] |> ignore
                        Task.CompletedTask),
                    stop.Token
                )

            work.Post(PieceEffect.MergeParts(ofTask, ValueNone, [| Held(Bytes "a"B) |]))

            match! told.Task.WaitAsync(TimeSpan.FromSeconds 30.0) with
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
            stop.Cancel()
            do! running
        }

        testTask
            "waits for a disk that takes nothing, and holds up nothing afterwards, whatever the path is then" {
            use folder = new TempFolder()
            let outage = StorageOutage NullLogger.Instance
            let told = TaskCompletionSource<Input>()
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
            let stop = new CancellationTokenSource()

            let running =
                work.RunAsync(
                    Cut(fun _ _ _ _ -> ValueNone),
                    (fun _ -> Task.FromResult<string | null>(folder.At $"result{paths.Count}")),
                    (fun inputs ->
                        told.TrySetResult inputs[0] |> ignore
                        Task.CompletedTask),
                    stop.Token
                )

            work.Post(PieceEffect.MergeParts(ofTask, ValueNone, [| Held(Bytes "a"B) |]))
            let! input = told.Task.WaitAsync(TimeSpan.FromSeconds 30.0)
            Expect.equal input (Input.PartsMerged(ofTask, Bytes "a"B)) "in the end"
            Expect.hasLength (Seq.distinct paths) 2 "under another path"
            Expect.isNull outage.Reason "new work is taken"
            stop.Cancel()
            do! running
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

let private lines from last =
    utf8 (String.concat "" [ for number in from..last -> $"LINE {number:D8}\n" ])

/// 20,000 lines of 14 bytes, and room for two pieces and a bit.
let private splitting (options: SchedulerOptions) = {
    options with
        settings = { options.settings with split = 131_072L<B> }
}

/// One piece, as a worker that lowers gets it and answers.
let private workOn (worker: Peer) =
    task {
        let! (given: JsonElement) = worker.ReadJson()
        let! (payload: byte[]) = worker.ReadBytes(int (text given "bytes"))
        let result = utf8 ((Encoding.UTF8.GetString payload).ToLowerInvariant())
        let task, attempt = text given "task", text given "attempt"

        do!
            worker.Send(
                $"""{{"type":"RESULT","task":{task},"attempt":{attempt},"ok":true,"bytes":{result.Length}}}""",
                result
            )

        return struct (text given "piece", payload)
    }

let private working =
    testList "a scheduler" [
        testTask "gives a large file out in pieces, and publishes one result" {
            use cluster = new Cluster(splitting)
            let content = lines 0 19_999
            cluster.Folder.Write("entrada/big.txt", Encoding.UTF8.GetString content)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            let pieces = List<struct (string * byte[])>()

            for _ in 1..3 do
                let! piece = workOn worker
                pieces.Add piece

            Expect.equal [ for struct (index, _) in pieces -> index ] [ "0"; "1"; "2" ] "pieces"

            Expect.equal
                (Array.concat [ for struct (_, payload) in pieces -> payload ])
                content
                "all of the file"

            let result = cluster.Folder.At "resultados/big.txt.out"
            do! eventually "the result" (fun () -> File.Exists result)

            Expect.equal
                (File.ReadAllText result)
                ((Encoding.UTF8.GetString content).ToLowerInvariant())
                "the result"

            do! eventually "no part is left" (fun () -> cluster.Spooled.Length = 0)
        }

        testTask "and a large payload of a client likewise" {
            use cluster = new Cluster(splitting)
            let content = lines 0 19_999
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()

            do!
                client.Send(
                    $"""{{"type":"SUBMIT","ref":"r","name":"big","pipeline":"lower","bytes":{content.Length}}}""",
                    content
                )

            let! (accepted: JsonElement) = client.ReadJson()
            Expect.equal (text accepted "type") "ACCEPTED" "accepted"

            for _ in 1..3 do
                let! _ = workOn worker
                ()

            let! (ended: JsonElement) = client.ReadJson()
            Expect.equal (text ended "type", text ended "ok") ("DONE", "True") "done"
            let! (result: byte[]) = client.ReadBytes(int (text ended "bytes"))

            Expect.equal
                (Encoding.UTF8.GetString result)
                ((Encoding.UTF8.GetString content).ToLowerInvariant())
                "the result"

            do! eventually "nothing is left" (fun () -> cluster.Spooled.Length = 0)
        }
    ]

[<Tests>]
let tests = testList "pieces" [ cutting; gathering; joining; working ]
