module FsScheduler.Stages.Tests.StageRunnerTests

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

let private runner () =
    StageRunner(BuiltIn.tryStart, 1_000_000)

let private tryRun (runner: StageRunner) stages (payload: byte[]) =
    match runner.TryRun(Array.ofList stages, ReadOnlySpan payload) with
    | ValueSome result -> Some(Encoding.UTF8.GetString result.Span)
    | ValueNone -> None

/// A stream that gives what it has in pieces of at most so many bytes.
type private Trickle(payload: byte[], most: int) =
    inherit MemoryStream(payload)

    override _.ReadAsync(buffer: Memory<byte>, ct: CancellationToken) =
        base.ReadAsync(buffer.Slice(0, min most buffer.Length), ct)

/// A stage that a user wrote: each byte twice.
type private Twice() =
    inherit StageRun()
    override _.Reset() = ()
    override _.Finish _ = ()

    override _.Push(input, output) =
        for value in input do
            output.Write(ReadOnlySpan [| value; value |])

/// Text whose every character `replace:a/aa…` makes 64 times as long, three times over.
let private exploding = List.replicate 3 ("replace:a/" + String('a', 64))

let private stages = Gen.elements textStages |> Gen.listOfLength 3

[<Tests>]
let tests =
    testList "runner" [
        testProperty "stages in a row are their meanings in a row"
        <| Prop.forAll (Arb.fromGen (Gen.zip stages text)) (fun (stages, text) ->
            let expected = meansInRow (List.map fst stages) text
            let result = tryRun (runner ()) (List.map fst stages) (utf8 text)
            Expect.equal result (Some expected) $"{List.map fst stages}")

        testProperty "a stream gives what memory gives"
        <| Prop.forAll
            (Arb.fromGen (Gen.zip3 stages text (Gen.choose (1, 100_000))))
            (fun (stages, text, most) ->
                let stages = List.map fst stages
                let runner = runner ()
                use input = new Trickle(utf8 text, most)
                use output = new MemoryStream()

                let size =
                    runner
                        .RunAsync(Array.ofList stages, input, output, CancellationToken.None)
                        .GetAwaiter()
                        .GetResult()

                Expect.equal size (output.Length * 1L<B>) "size"
                let result = Encoding.UTF8.GetString(output.ToArray())
                Expect.equal (Some result) (tryRun runner stages (utf8 text)) "")

        test "stages follow each other, also other ones, and after a failure" {
            let runner = runner ()
            Expect.equal (tryRun runner [ "lower"; "trim" ] (utf8 " É ")) (Some "é") ""
            Expect.equal (tryRun runner [ "lower"; "trim" ] (utf8 " Ó ")) (Some "ó") "again"

            for wire, meaning in textStages do
                // Each leaves something behind: a sigma, blanks, part of a line, half a character.
                let broken = Array.append (utf8 "a ΑΣ abab e\u0301 ") [| 0xC3uy |]

                Expect.throwsT<StageException>
                    (fun () -> tryRun runner [ wire; "upper" ] broken |> ignore)
                    wire

                let text = "\u0301 b\nÉ ç"
                let expected = (meaning text).ToUpperInvariant()
                Expect.equal (tryRun runner [ wire; "upper" ] (utf8 text)) (Some expected) wire
        }

        test "a payload that fails half way leaves nothing between the stages" {
            let runner = runner ()
            let broken = Array.append (utf8 (String('a', 20_000))) [| 0xFFuy |]

            Expect.throwsT<StageException>
                (fun () -> tryRun runner [ "lower"; "upper" ] broken |> ignore)
                ""

            Expect.equal (tryRun runner [ "lower"; "upper" ] (utf8 "b")) (Some "B") ""
        }

        test "a stage that is not there, or not so" {
            let failure stages =
                try
                    tryRun (runner ()) stages [||] |> ignore
                    None
                with :? StageException as error ->
                    Some(error.Message, error.Retry)

            Expect.equal
                (failure [ "lower"; "ocr" ])
                (Some("this worker has no stage 'ocr'", true))
                ""

            Expect.equal (failure [ "lower:x" ]) (Some("lower takes no argument", false)) ""
            Expect.equal (failure []) (Some("there is no stage to run", false)) ""
        }

        test "stages of users stand beside the built-in ones" {
            let tryStart (stage: Stage) =
                if stage.name = "twice" then
                    ValueSome(Twice() :> StageRun)
                else
                    BuiltIn.tryStart stage

            let runner = StageRunner(tryStart, 1_000)
            Expect.equal (tryRun runner [ "lower"; "twice"; "upper" ] (utf8 "ab")) (Some "AABB") ""
        }

        test "a result over the limit is not kept in memory" {
            let runner = StageRunner(BuiltIn.tryStart, 10)
            Expect.equal (tryRun runner [ "trim" ] (utf8 "0123456789")) (Some "0123456789") ""
            Expect.equal (tryRun runner [ "trim" ] (utf8 "0123456789a")) None ""
            Expect.equal (tryRun runner exploding (utf8 "aaaaaaaaaaaa")) None ""
            Expect.equal (tryRun runner [ "trim" ] (utf8 "a")) (Some "a") "after that"
        }

        // What is allocated is counted for the whole process: no other test may run beside it.
        testSequenced
        <| testTask "a few bytes that become very many stay few in memory" {
            let payload = utf8 (String('a', 1_000))
            use input = new MemoryStream(payload)
            let before = GC.GetTotalAllocatedBytes()

            let! size =
                runner()
                    .RunAsync(Array.ofList exploding, input, Stream.Null, CancellationToken.None)

            Expect.equal size (1_000L * 64L * 64L * 64L * 1L<B>) "262 MB"
            let allocated = GC.GetTotalAllocatedBytes() - before

            Expect.isLessThan allocated 100_000_000L "less than what went through"
        }

        testTask "cancellation ends it, also in the middle of a piece" {
            let cancellation = new CancellationTokenSource()
            use input = new MemoryStream(utf8 (String('a', 60_000)))
            let writes = ref 0

            use output = {
                new MemoryStream() with
                    override _.Write(_: ReadOnlySpan<byte>) =
                        writes.Value <- writes.Value + 1
                        cancellation.Cancel()
            }

            let run =
                runner().RunAsync(Array.ofList exploding, input, output, cancellation.Token)

            do! (run :> Tasks.Task).ContinueWith(fun (_: Tasks.Task) -> ())
            Expect.isTrue run.IsCanceled ""
            Expect.equal writes.Value 1 "of 15 GB, 1 MiB was written"
        }

        test "the same stages over small payloads allocate nothing" {
            let runner = runner ()
            let payload = utf8 "O sistema distribuído é poderoso. O scheduler deve balancear"

            let run () =
                runner.TryRun([| "lower" |], ReadOnlySpan payload) |> ignore

            let stages = [| "lower"; "trim" |]

            let allocated () =
                let before = GC.GetAllocatedBytesForCurrentThread()

                for _ in 1..1_000 do
                    runner.TryRun(stages, ReadOnlySpan payload) |> ignore

                GC.GetAllocatedBytesForCurrentThread() - before

            allocated () |> ignore
            Expect.equal (allocated ()) 0L ""
        }
    ]
