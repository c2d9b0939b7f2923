/// Where a payload is cut into pieces.
module FsScheduler.Server.Tests.PieceBoundariesTests

open System.IO
open Expecto
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Folders
open FsScheduler.Stages.Tests
open FsScheduler.Stages.Tests.StageReference
open FsScheduler.TestKit

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

[<Tests>]
let tests = testList "pieces" [ cutting ]
