module FsScheduler.Folders.Tests.ResultStoreTests

open System
open System.IO
open System.Text
open System.Threading.Tasks
open Expecto
open Expecto.Flip
open FsScheduler.Core
open FsScheduler.Folders
open FsScheduler.TestKit

let private bytes (text: string) =
    ReadOnlyMemory(Encoding.UTF8.GetBytes text)

/// Every file below a folder, hidden ones too, with its text.
let private contents (folder: string) =
    [
        let all =
            EnumerationOptions(RecurseSubdirectories = true, AttributesToSkip = enum 0)

        for file in Directory.EnumerateFiles(folder, "*", all) do
            Path.GetRelativePath(folder, file), IO.File.ReadAllText file
    ]
    |> List.sort

let private expectFailure (expected: PublishFailure) (actual: Result<unit, PublishFailure>) =
    Expect.equal "the trouble" (Error expected) actual

[<Tests>]
let tests =
    testList "PublisherTests" [
        test "a result goes beside its name, in the same subfolder, over an older one" {
            use temp = new TempFolder()
            let publisher = ResultStore(temp.At "out")
            Expect.equal "first" (Ok()) (publisher.Publish(name "a.txt", bytes "old", true))

            Expect.equal
                "in a subfolder"
                (Ok())
                (publisher.Publish(name "d/e/a.txt", bytes "d", true))

            Expect.equal "again" (Ok()) (publisher.Publish(name "a.txt", bytes "new", true))
            Expect.equal "empty" (Ok()) (publisher.Publish(name "b", bytes "", true))
            let expected = [ "a.txt.out", "new"; "b.out", ""; "d/e/a.txt.out", "d" ]
            Expect.equal "only these" expected (contents (temp.At "out"))
            Expect.equal "where" (temp.At "out/d/x.out") (publisher.TargetOf(name "d/x"))
        }

        test "a result that may not replace anything leaves what is there, and no temporary file" {
            use temp = new TempFolder()
            temp.Write("out/a.out", "theirs")
            let publisher = ResultStore(temp.At "out")
            let occupied = Occupied(temp.At "out/a.out")
            expectFailure occupied (publisher.Publish(name "a", bytes "ours", false))
            Expect.equal "as it was" [ "a.out", "theirs" ] (contents (temp.At "out"))

            match publisher.CreateTemp(name "a") with
            | Error trouble -> failtest trouble.Message
            | Ok path ->
                expectFailure occupied (publisher.PublishTemp(name "a", path, false))
                Expect.isTrue "kept for another name" (IO.File.Exists path)

                Expect.equal
                    "where it is free"
                    (Ok())
                    (publisher.PublishTemp(name "b", path, false))

            Expect.equal "as it was" [ "a.out", "theirs"; "b.out", "" ] (contents (temp.At "out"))
        }

        test "a result that arrived in pieces is renamed into place" {
            use temp = new TempFolder()
            let publisher = ResultStore(temp.At "out")

            match publisher.CreateTemp(name "d/big") with
            | Error trouble -> failtest trouble.Message
            | Ok path ->
                IO.File.AppendAllText(path, "part one, ")
                IO.File.AppendAllText(path, "part two")
                Expect.equal "in" (Ok()) (publisher.PublishTemp(name "d/big", path, true))

                Expect.equal
                    "whole"
                    [ "d/big.out", "part one, part two" ]
                    (contents (temp.At "out"))

                publisher.PublishTemp(name "d/big", path, true) |> expectFailure (TempLost path)

            match publisher.CreateTemp(name "d/other") with
            | Error trouble -> failtest trouble.Message
            | Ok path ->
                publisher.Discard path
                publisher.Discard path
                Expect.hasLength "nothing else" 1 (contents (temp.At "out"))
        }

        test "only temporary files of this naming are renamed into place" {
            use temp = new TempFolder()
            let publisher = ResultStore(temp.At "out")
            temp.Write("secret", "secret")
            temp.Write("out/a.tmp", "x")

            for path in [ temp.At "secret"; temp.At "out/a.tmp"; temp.At "out/../secret" ] do
                publisher.PublishTemp(name "a", path, true) |> expectFailure (TempLost path)

            Expect.equal "untouched" "secret" (IO.File.ReadAllText(temp.At "secret"))
        }

        test "an error is told beside the result, and goes when one succeeds" {
            use temp = new TempFolder()
            let publisher = ResultStore(temp.At "out")
            Expect.equal "a" (Ok()) (publisher.PublishError(name "d/a", "não é UTF-8", true))
            Expect.equal "b" (Ok()) (publisher.PublishError(name "b", "worse", true))

            Expect.equal
                "told"
                [ "b.err", "worse"; "d/a.err", "não é UTF-8" ]
                (contents (temp.At "out"))

            Expect.equal "succeeds" (Ok()) (publisher.Publish(name "d/a", bytes "ok", true))

            Expect.equal
                "its own only"
                [ "b.err", "worse"; "d/a.out", "ok" ]
                (contents (temp.At "out"))

            let later = ResultStore(temp.At "out")
            Expect.equal "nothing to sweep" 0 (later.Sweep())

            let path =
                later.CreateTemp(name "b") |> Result.defaultWith (fun t -> failtest t.Message)

            Expect.equal "after a restart" (Ok()) (later.PublishTemp(name "b", path, true))
            Expect.equal "gone" [ "b.out", ""; "d/a.out", "ok" ] (contents (temp.At "out"))
        }

        test "a sweep removes what an earlier run left, and nothing else" {
            use temp = new TempFolder()
            let before = ResultStore(temp.At "out")

            for file in [ "a"; "d/é"; ".hidden" ] do
                before.CreateTemp(name file) |> ignore

            let others = [
                ".a.tmp"
                "a.fss-0123456789abcdef-00000001.tmp"
                ".gitkeep"
                "d/.x.fss-1-1.tmp"
            ]

            for file in others do
                temp.Write("out/" + file, "")

            Expect.equal "three" 3 (ResultStore(temp.At "out").Sweep())
            Expect.equal "the others" (List.sort others) (List.map fst (contents (temp.At "out")))
        }

        test "a folder that is deleted meanwhile is made again" {
            use temp = new TempFolder()
            let publisher = ResultStore(temp.At "out")

            let publish file =
                publisher.Publish(name file, bytes "x", true)

            Expect.equal "first" (Ok()) (publish "d/e/a")
            Directory.Delete(temp.At "out/d", true)
            Expect.equal "a subfolder" (Ok()) (publish "d/e/b")
            Directory.Delete(temp.At "out", true)
            Expect.equal "all of it" (Ok()) (publish "d/e/c")
            Expect.equal "there" [ "d/e/c.out", "x" ] (contents (temp.At "out"))
        }

        test "what is in the way is named" {
            use temp = new TempFolder()
            let publisher = ResultStore(temp.At "out")

            let publish file =
                publisher.Publish(name file, bytes "x", true)

            Directory.CreateDirectory(temp.At "out/a.out") |> ignore
            publish "a" |> expectFailure (NameTaken(temp.At "out/a.out"))
            Expect.equal "b" (Ok()) (publish "b")
            publish "b.out/c" |> expectFailure (NameTaken(temp.At "out/b.out"))
            Expect.equal "nothing left over" [ "b.out", "x" ] (contents (temp.At "out"))
        }

        test "nothing is written through a link" {
            use temp = new TempFolder()
            let publisher = ResultStore(temp.At "out")
            temp.Write("elsewhere/a.out", "theirs")
            temp.Write("elsewhere/b.out", "theirs")
            temp.Link("out/d", temp.At "elsewhere")
            temp.Link("out/b.out", temp.At "elsewhere/b.out")

            publisher.Publish(name "d/a", bytes "x", true)
            |> expectFailure (OutsideResults(temp.At "out/d"))

            publisher.Publish(name "d/e/a", bytes "x", true)
            |> expectFailure (OutsideResults(temp.At "out/d"))

            Expect.equal
                "a link under the final name is replaced"
                (Ok())
                (publisher.Publish(name "b", bytes "ours", true))

            let untouched = [ "a.out", "theirs"; "b.out", "theirs" ]
            Expect.equal "untouched" untouched (contents (temp.At "elsewhere"))
            Expect.equal "ours" "ours" (IO.File.ReadAllText(temp.At "out/b.out"))
        }

        test "the longest names fit, with their temporary names" {
            use temp = new TempFolder()
            let publisher = ResultStore(temp.At "out")
            let long = String('é', 100)
            Expect.equal "result" (Ok()) (publisher.Publish(name $"{long}/{long}", bytes "x", true))
            Expect.equal "error" (Ok()) (publisher.PublishError(name long, "x", true))

            Expect.equal
                "other scripts"
                (Ok())
                (publisher.Publish(name (String('語', 66)), bytes "x", true))
        }

        testCaseTask "a reader sees an old result or a new one, never a part" (fun () ->
            task {
                use temp = new TempFolder()
                let publisher = ResultStore(temp.At "out")

                let version letter =
                    ReadOnlyMemory(Array.create 100_000 letter)

                Expect.equal "there" (Ok()) (publisher.Publish(name "a", version 0uy, true))

                let writer =
                    Task.Run(fun () ->
                        for round in 1..1_000 do
                            let result = publisher.Publish(name "a", version (byte round), true)
                            Expect.equal "published" (Ok()) result)

                let mutable reads = 0

                while not writer.IsCompleted do
                    let seen = IO.File.ReadAllBytes(temp.At "out/a.out")
                    Expect.equal "its size" 100_000 seen.Length
                    Expect.isFalse "one version" (seen.AsSpan().ContainsAnyExcept seen[0])
                    reads <- reads + 1

                do! ended writer
                Expect.isGreaterThan "it was read" (reads, 0)
            })

        testCaseTask "many publish into new folders at once" (fun () ->
            task {
                use temp = new TempFolder()
                let publisher = ResultStore(temp.At "out")

                do!
                    Parallel.ForAsync(
                        0,
                        2_000,
                        fun i _ ->
                            let result =
                                publisher.Publish(
                                    name $"d{i % 7}/e{i % 3}/{i}",
                                    bytes (string i),
                                    true
                                )

                            Expect.equal "published" (Ok()) result
                            ValueTask.CompletedTask
                    )

                let expected =
                    List.sort [ for i in 0..1_999 -> $"d{i % 7}/e{i % 3}/{i}.out", string i ]

                Expect.equal "all" expected (contents (temp.At "out"))
            })
    ]
