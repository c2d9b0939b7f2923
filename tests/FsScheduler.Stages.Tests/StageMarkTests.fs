/// Byte order marks in chains and in pieces.
module FsScheduler.Stages.Tests.StageMarkTests

open System
open System.IO
open System.Text
open System.Threading
open Expecto
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.TestKit
open FsScheduler.Stages.Tests.StageReference

let private config = { FsCheckConfig.defaultConfig with maxTest = 300 }

let private run = runAt PayloadPlace.Whole

/// In chunks of one byte.
let private runBytewise (wires: string list) (payload: byte[]) =
    use input = {
        new MemoryStream(payload) with
            override stream.ReadAsync(memory: Memory<byte>, _: CancellationToken) =
                Tasks.ValueTask<int>(stream.Read(memory.Span.Slice(0, min 1 memory.Length)))
    }

    use output = new MemoryStream()

    StageRunner(BuiltIn.tryStart, 10)
        .RunAsync(Array.ofList wires, input, output, CancellationToken.None)
        .Wait()

    output.ToArray()

let private means = meansInRow

let private ofText (payload: byte[]) = Encoding.UTF8.GetString payload

let private perLine = [
    "lower"
    "trim"
    "squeeze"
    "nfc"
    "strip-accents"
    "grep:a"
    "replace:a/éé"
    "replace:abab/"
]

let private merged = [
    "sort"
    "sort:desc"
    "sort:unique"
    "sort:numeric"
    "uniq"
    "freq"
    "top:3"
    "lines"
    "words"
]

/// Short lines, of which many begin with the character that is a mark elsewhere.
let private lines =
    Gen.zip
        (Gen.elements [ ""; "\uFEFF" ])
        (Gen.listOf (
            Gen.elements [
                "a\n"
                "\uFEFFa\n"
                "\uFEFF\uFEFFa\n"
                "\uFEFF\n"
                "\n"
                "10\n"
                "\uFEFF9\n"
                " b a\n"
                "😀\n"
                "a"
            ]
        ))
    |> Gen.map (fun (mark, lines) -> mark + String.concat "" lines)

/// Pieces of whole lines, at least one each; some are of no lines, but not the first.
let private cut (chances: int list) (text: string) =
    let lines = text.Split '\n'
    let last = lines.Length - 1

    let lines =
        lines
        |> Array.mapi (fun index line -> if index < last then line + "\n" else line)
        |> List.ofArray

    let chances = List.truncate lines.Length (chances @ List.replicate lines.Length 0)

    (List.zip lines chances, [ [] ])
    ||> List.foldBack (fun (line, chance) pieces ->
        if chance = 1 then
            [ line ] :: pieces
        else
            (line :: List.head pieces) :: List.tail pieces)
    |> List.map (String.concat "")

let private stageOf wire =
    match Stage.parse wire with
    | Ok stage -> stage
    | Error message -> failwith message

let private merge wire place (parts: byte[] list) =
    use output = new MemoryStream()
    let streams: Stream[] = [| for part in parts -> new MemoryStream(part) |]

    StageMerge.runAsync
        (stageOf wire)
        streams
        place
        output
        (Path.GetTempPath())
        CancellationToken.None
    |> _.Wait()

    output.ToArray()

let private partsOf wires pieces =
    pieces |> List.mapi (fun index piece -> runPiece index wires (utf8 piece))

[<Tests>]
let tests =
    testList "byte order marks" [
        testPropertyWithConfig
            config
            "in front of a chain are seen by no stage, and stay if all keep them"
        <| Prop.forAll
            (Arb.fromGen (
                Gen.zip
                    lines
                    (Gen.choose (1, 3)
                     |> Gen.bind (fun n -> Gen.listOfLength n (Gen.elements (perLine @ merged))))
            ))
            (fun (text, wires) ->
                Expect.equal (ofText (run wires (utf8 text))) (means wires text) $"{wires}"

                Expect.equal
                    (ofText (runBytewise wires (utf8 text)))
                    (means wires text)
                    $"{wires}, in bytes")

        testPropertyWithConfig
            config
            "in front of pieces are in front of what is put together of their results"
        <| Prop.forAll
            (Arb.fromGen (
                Gen.zip3 lines (Gen.listOf (Gen.choose (0, 1))) (Gen.listOf (Gen.elements perLine))
            ))
            (fun (text, chances, wires) ->
                let wires = "lower" :: wires
                let parts = partsOf wires (cut chances text)
                Expect.equal (ofText (Array.concat parts)) (means wires text) $"{wires}")

        testPropertyWithConfig
            { config with maxTest = 1_000 }
            "in front of pieces are in front of what is merged of their results"
        <| Prop.forAll
            (Arb.fromGen (
                Gen.zip3
                    lines
                    (Gen.listOf (Gen.choose (0, 1)))
                    (Gen.zip3
                        (Gen.listOf (Gen.elements perLine))
                        (Gen.elements merged)
                        (Gen.choose (1, 3)))
            ))
            (fun (text, chances, (before, last, size)) ->
                let wires = before @ [ last ]
                let parts = partsOf wires (cut chances text)

                Expect.equal
                    (ofText (merge last PartsPlace.All parts))
                    (means wires text)
                    $"{wires}"

                let groups =
                    parts
                    |> List.chunkBySize size
                    |> List.mapi (fun index ->
                        merge last (if index = 0 then PartsPlace.First else PartsPlace.Later))

                Expect.equal
                    (ofText (merge last PartsPlace.All groups))
                    (means wires text)
                    $"{wires}, in groups")

        test "many marks in a row in a first part" {
            for count in [ 1; 2; 1_364; 1_365; 1_366; 5_000; 5_001 ] do
                let text = String('\uFEFF', count) + "b\n"

                for pieces in [ [ text; "a\n" ]; [ "a\n"; text ] ] do
                    let whole = String.concat "" pieces
                    let parts = partsOf [ "sort:desc" ] pieces
                    let result = ofText (merge "sort:desc" PartsPlace.All parts)
                    Expect.equal result (means [ "sort:desc" ] whole) $"{count}"
        }

        test "after a decoding stage there are none" {
            let text = "\uFEFFa a\n"
            let utf16 = Array.append [| 0xFFuy; 0xFEuy |] (Encoding.Unicode.GetBytes text)

            Expect.equal
                (ofText (run [ "utf-16"; "freq" ] utf16))
                "1\ta\n1\t\uFEFFa\n"
                "a character"

            Expect.equal (ofText (run [ "latin1"; "words" ] (utf8 "\uFEFF"))) "1\n" "ï»¿"
        }

        test "a runner forgets them with their payload" {
            let runner = StageRunner(BuiltIn.tryStart, 1_000)

            let run (text: string) place =
                runner.TryRun([| "lower"; "sort" |], ReadOnlySpan(utf8 text), place)
                |> ValueOption.map (fun result -> ofText (result.ToArray()))

            for _ in 1..2 do
                Expect.equal (run "\uFEFFB" PayloadPlace.Whole) (ValueSome "\uFEFFb\n") "marked"
                Expect.equal (run "B" PayloadPlace.Whole) (ValueSome "b\n") "not marked"

                Expect.equal
                    (run "\uFEFFB" PayloadPlace.LaterPiece)
                    (ValueSome "\uFEFFb\n")
                    "a character"

                Expect.equal
                    (run "C\n\uFEFFB" PayloadPlace.LaterPiece)
                    (ValueSome "c\n\uFEFFb\n")
                    "also"
        }
    ]
