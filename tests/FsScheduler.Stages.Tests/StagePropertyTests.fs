module FsScheduler.Stages.Tests.StagePropertyTests

open System
open System.Text
open System.Text.Unicode
open Expecto
open FsCheck.FSharp
open FsScheduler.Stages
open FsScheduler.TestKit
open FsScheduler.Stages.Tests.StageReference

let private config = { FsCheckConfig.defaultConfig with maxTest = 200 }

let private textAndSizes = Arb.fromGen (Gen.zip text sizes)

/// Valid text with some bytes changed or cut off: mostly not valid any more.
let private damaged =
    gen {
        let! text = text
        let payload = utf8 text
        let! length = Gen.choose (max 0 (payload.Length - 3), payload.Length)
        let payload = payload[.. length - 1]
        let! damages = Gen.choose (0, 2)

        for _ in 1 .. min damages payload.Length do
            let! at = Gen.choose (0, payload.Length - 1)

            let! value =
                Gen.elements [ 0x80; 0xBF; 0xC0; 0xC3; 0xE0; 0xE2; 0xED; 0xF0; 0xF4; 0xFF; 0x61 ]

            payload[at] <- byte value

        return payload
    }

/// Where the first byte is that begins no character, found by trying.
let private invalidAt (payload: byte[]) =
    // No shorter length is valid, so this is one character.
    let isCharacter offset length =
        offset + length <= payload.Length
        && Utf8.IsValid(ReadOnlySpan(payload, offset, length))

    let rec from offset =
        if offset = payload.Length then
            None
        else
            match [ 1..4 ] |> List.tryFind (isCharacter offset) with
            | Some length -> from (offset + length)
            | None -> Some offset

    from 0

let private offsetOfFailure wire sizes payload =
    try
        runPieces wire sizes payload |> ignore
        None
    with :? StageException as error ->
        Some(error.Message, error.Retry)

let private idempotent = [
    "lower"
    "upper"
    "trim"
    "squeeze"
    "strip-accents"
    "nfc"
    "grep:a"
    "head:2"
]

[<Tests>]
let tests =
    testList "properties" [
        for wire, meaning in textStages do
            testPropertyWithConfig config $"{wire} does what it means, for any pieces"
            <| Prop.forAll textAndSizes (fun (text, sizes) ->
                let result = Encoding.UTF8.GetString(runPieces wire sizes (utf8 text))
                Expect.equal result (meaning text) "")

        testPropertyWithConfig config "latin1 does what it means, for any pieces"
        <| Prop.forAll (Arb.fromGen (Gen.zip damaged sizes)) (fun (payload, sizes) ->
            let text = Encoding.Latin1.GetString payload
            Expect.equal (runPieces "latin1" sizes payload) (utf8 text) "")

        for wire in idempotent do
            testPropertyWithConfig config $"{wire} twice is {wire} once"
            <| Prop.forAll (Arb.fromGen text) (fun text ->
                // Where it comes to be the first character, it is a byte order mark the second time.
                let text = text.Replace("\uFEFF", "")
                let once = runText wire text
                Expect.equal (runText wire once) once "")

        for wire, _ in textStages do
            testPropertyWithConfig config $"{wire} finds the first byte that is not UTF-8"
            <| Prop.forAll (Arb.fromGen (Gen.zip damaged sizes)) (fun (payload, sizes) ->
                let expected =
                    invalidAt payload
                    |> Option.map (fun at -> $"invalid UTF-8 at byte {at}", false)

                Expect.equal (offsetOfFailure wire sizes payload) expected "")
    ]
