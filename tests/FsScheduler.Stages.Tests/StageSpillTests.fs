module FsScheduler.Stages.Tests.StageSpillTests

open System
open System.Buffers
open System.IO
open System.Text
open System.Threading
open Expecto
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.TestKit
open FsScheduler.Stages.Tests.StageReference

let private config = { FsCheckConfig.defaultConfig with maxTest = 200 }

/// Stages that may need more room than memory has.
let private spilling =
    aggregates
    |> List.filter (fun (wire, _) ->
        wire.StartsWith "sort" || wire.StartsWith "top" || wire = "freq")

/// Limits so low that a few lines go to the disk, in several levels.
let private tiny folder = {
    folder = folder
    bufferBytesMax = 2_064
    lineBytesMax = 2_000
    runsMax = 3
    readBytes = 64
    mergeBytesMax = 1_000
}

let private start folder wire =
    match Stage.parse wire |> Result.map (BuiltIn.tryStartWith (tiny folder)) with
    | Ok(ValueSome run) ->
        run.Reset()
        run
    | other -> failwith $"{wire}: {other}"

/// How many files of the folder this process has open, or are in it.
let private files (folder: string) =
    let isOfFolder (link: string) =
        try
            match File.ResolveLinkTarget(link, false) with
            | null -> false
            | target -> target.FullName.StartsWith folder
        with :? IOException ->
            false // another test has closed it

    let unlinked =
        if OperatingSystem.IsLinux() then
            Directory.GetFiles "/proc/self/fd" |> Array.filter isOfFolder |> Array.length
        else
            0

    unlinked + (Directory.GetFileSystemEntries folder).Length

let private inFolder action =
    use folder = new TempFolder()
    action folder.Path

let private finish (run: StageRun) =
    let output = ArrayBufferWriter<byte>()
    run.Finish output
    output.WrittenSpan.ToArray()

let private push (run: StageRun) (payload: byte[]) =
    run.Push(ReadOnlySpan payload, ArrayBufferWriter())

/// Many different lines with numbers.
let private many =
    utf8 (String.concat "" [ for index in 1..2_000 -> $"{index * 7919 % 2_003} x\n" ])

[<Tests>]
let tests =
    testList "spilling" [
        for wire, meaning in spilling do
            testPropertyWithConfig config $"{wire} means the same through the disk"
            <| Prop.forAll (Arb.fromGen StageLines.lines) (fun text ->
                inFolder (fun folder ->
                    let run = start folder wire
                    push run (utf8 text)
                    Expect.equal (Encoding.UTF8.GetString(finish run)) (meaning text) ""
                    Expect.equal (files folder) 0 "nothing is left"))

            test $"{wire} of much" {
                inFolder (fun folder ->
                    let run = start folder wire

                    for _ in 1..3 do
                        push run many
                        let least = if wire = "top:0" || wire = "top:3" then 0 else 1
                        Expect.isGreaterThanOrEqual (files folder) least "it is on the disk"
                        Expect.isLessThan (files folder) 16 "in few files"

                        if not (OperatingSystem.IsWindows()) then
                            Expect.isEmpty (Directory.GetFileSystemEntries folder) "without names"

                    let expected = meaning (String.replicate 3 (Encoding.UTF8.GetString many))
                    Expect.equal (Encoding.UTF8.GetString(finish run)) expected ""
                    Expect.equal (files folder) 0 "nothing is left")
            }

        test "nothing is left after a failure, a reset or a cancellation" {
            inFolder (fun folder ->
                for wire in [ "sort"; "top:1000"; "freq" ] do
                    let run = start folder wire
                    push run many
                    run.Reset()
                    Expect.equal (files folder) 0 "reset"
                    Expect.equal (finish run) [||] "all is forgotten"

                    let runner = StageRunner(BuiltIn.tryStartWith (tiny folder), 1_000_000)

                    let broken = Array.append many [| 0xFFuy |]

                    Expect.throwsT<StageException>
                        (fun () -> runner.TryRun([| wire |], ReadOnlySpan broken) |> ignore)
                        "a failure"

                    Expect.equal (files folder) 0 "after a failure"

                    use stopped = new CancellationTokenSource()
                    use input = new MemoryStream(many)

                    use output = {
                        new MemoryStream() with
                            override _.WriteAsync(_: ReadOnlyMemory<byte>, _: CancellationToken) =
                                raise (IOException "full")
                    }

                    Expect.throwsT<IOException>
                        (fun () ->
                            runner
                                .RunAsync([| wire |], input, output, stopped.Token)
                                .GetAwaiter()
                                .GetResult()
                            |> ignore)
                        "a result that cannot be written"

                    Expect.equal (files folder) 0 "after a result that cannot be written")
        }

        test "a merge that takes long heeds what asks it to stop" {
            inFolder (fun folder ->
                let run = start folder "sort"
                push run many
                run.Cancellation <- CancellationToken true
                Expect.throwsT<OperationCanceledException> (fun () -> finish run |> ignore) ""
                Expect.equal (files folder) 0 "")
        }

        test "a result that is too large for memory leaves nothing either" {
            inFolder (fun folder ->
                let runner = StageRunner(BuiltIn.tryStartWith (tiny folder), 1_000)
                Expect.isTrue (runner.TryRun([| "sort" |], ReadOnlySpan many)).IsNone ""
                Expect.equal (files folder) 0 "")
        }

        test "a folder that is not there is an error of the machine" {
            let run = start (Path.Combine(Path.GetTempPath(), "fs-not-there")) "sort"
            Expect.throwsT<DirectoryNotFoundException> (fun () -> push run many) ""
        }

        test "a line with the least number that is kept may still come in, by its text" {
            let payload = utf8 (String.replicate 5_000 "1 b\n" + "1 a\n")
            Expect.equal (runPieces "top:1" [] payload) (utf8 "1 a\n") ""
        }

        test "small payloads allocate next to nothing" {
            let runner = StageRunner(BuiltIn.tryStart, 1_000_000)
            let payload = many[..3_000]

            for wire in [ "sort"; "sort:desc,unique"; "uniq"; "freq"; "top:3" ] do
                let stages = [| wire |]

                let allocated () =
                    let before = GC.GetAllocatedBytesForCurrentThread()

                    for _ in 1..100 do
                        runner.TryRun(stages, ReadOnlySpan payload) |> ignore

                    GC.GetAllocatedBytesForCurrentThread() - before

                allocated () |> ignore
                Expect.isLessThan (allocated ()) 50_000L $"{wire}, a hundred times"
        }
    ]
