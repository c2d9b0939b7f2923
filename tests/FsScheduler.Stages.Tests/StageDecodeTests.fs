/// `cp1252` and `utf-16`.
module FsScheduler.Stages.Tests.StageDecodeTests

open System
open System.Text
open Expecto
open FsCheck.FSharp
open FsScheduler.Stages.Tests.StageReference
open FsScheduler.Stages

let private config = { FsCheckConfig.defaultConfig with maxTest = 300 }

let private decode wire sizes (payload: byte[]) =
    Encoding.UTF8.GetString(runPieces wire sizes payload)

let private failure wire sizes (payload: byte[]) =
    try
        runPieces wire sizes payload |> ignore
        None
    with :? StageException as error ->
        Expect.isFalse error.Retry "another attempt makes no sense"
        Some error.Message

let private halves = "half of a surrogate pair"

/// Code units, some of which are halves of pairs.
let private units =
    Gen.listOf (
        Gen.frequency [
            8, Gen.elements [ 'a'; 'é'; '中'; '\n'; '\u0000'; '\uFEFF'; '\uFFFF' ]
            1, Gen.elements [ '\uD83D'; '\uDE00' ]
        ]
    )
    |> Gen.map (fun units -> String(Array.ofList units))

/// Where the first half without the other one stands, in code units.
let private loneAt (text: string) =
    let rec from index =
        if index >= text.Length then
            None
        elif index + 1 < text.Length && Char.IsSurrogatePair(text[index], text[index + 1]) then
            from (index + 2)
        elif Char.IsSurrogate text[index] then
            Some index
        else
            from (index + 1)

    from 0

[<Tests>]
let tests =
    testList "decoding" [
        test "cp1252 is what Windows calls ANSI in Western Europe" {
            let bytes = [|
                0x93uy
                'o'B
                0x94uy
                0x80uy
                0x85uy
                0x92uy
                0x96uy
                0xE7uy
                0xFFuy
                0x9Fuy
            |]

            Expect.equal (decode "cp1252" [] bytes) "“o”€…’–çÿŸ" "text"
            let nothing = [| 0x81uy; 0x8Duy; 0x8Fuy; 0x90uy; 0x9Duy |]

            Expect.equal
                (decode "cp1252" [] nothing)
                "\u0081\u008D\u008F\u0090\u009D"
                "as browsers do"
        }

        test "cp1252 is latin1 but for 80 to 9F, and gives each byte a character of its own" {
            let all = Array.init 256 byte
            let text = decode "cp1252" [ 1; 100; 40 ] all
            Expect.equal text.Length 256 "length"
            Expect.equal (Array.distinct (text.ToCharArray())).Length 256 "different"

            for value in 0..255 do
                if value < 0x80 || value > 0x9F then
                    Expect.equal text[value] (char value) $"{value}"
        }

        testPropertyWithConfig config "utf-16 does what it means, for any pieces and both orders"
        <| Prop.forAll
            (Arb.fromGen (
                Gen.zip3
                    units
                    sizes
                    (Gen.zip (Gen.elements [ true; false ]) (Gen.elements [ true; false ]))
            ))
            (fun (text, sizes, (isBig, isMarked)) ->
                let bytes = [|
                    if isMarked then
                        yield! (if isBig then [| 0xFEuy; 0xFFuy |] else [| 0xFFuy; 0xFEuy |])
                    for unit in text do
                        let low, high = byte (int unit &&& 0xFF), byte (int unit >>> 8)
                        yield! (if isBig then [| high; low |] else [| low; high |])
                |]

                // Without a mark, and with U+FEFF as its first character, it would have one; and UTF-32 is seen by its zeros.
                let isPlain =
                    (isMarked || not (text.StartsWith '\uFEFF'))
                    && not (text.StartsWith '\u0000')
                    && not (not isMarked && text.StartsWith '\uFFFE')

                if isPlain then
                    let wire = if isBig && not isMarked then "utf-16:be" else "utf-16"

                    match loneAt text with
                    | None -> Expect.equal (decode wire sizes bytes) text "text"
                    | Some index ->
                        let at = 2 * index + (if isMarked then 2 else 0)

                        Expect.equal
                            (failure wire sizes bytes)
                            (Some $"invalid UTF-16 at byte {at}: {halves}")
                            "where")

        test "utf-16 of nothing, of a mark alone, and with the order that is said" {
            for wire in [ "utf-16"; "utf-16:le"; "utf-16:be" ] do
                Expect.equal (decode wire [] [||]) "" wire

            Expect.equal (decode "utf-16" [] [| 0xFFuy; 0xFEuy |]) "" "little"
            Expect.equal (decode "utf-16" [ 1 ] [| 0xFEuy; 0xFFuy |]) "" "big"
            Expect.equal (decode "utf-16" [] [| 'a'B; 0uy |]) "a" "little without a mark"
            Expect.equal (decode "utf-16:be" [] [| 0uy; 'a'B |]) "a" "big"
            Expect.equal (decode "utf-16:be" [] [| 0xFEuy; 0xFFuy; 0uy; 'a'B |]) "a" "with its mark"

            Expect.equal
                (decode "utf-16:le" [ 1; 1; 1 ] [| 0xFFuy; 0xFEuy; 'a'B; 0uy |])
                "a"
                "with its mark"
        }

        test "what is no UTF-16 is named" {
            for wire, bytes, message in
                [
                    "utf-16",
                    [ 0xFFuy; 0xFEuy; 'a'B ],
                    "invalid UTF-16 at byte 2: half of a character, at the end"
                    "utf-16", [ 'a'B ], "invalid UTF-16 at byte 0: half of a character, at the end"
                    "utf-16",
                    [ 'a'B; 0uy; 'b'B; 0uy; 'c'B ],
                    "invalid UTF-16 at byte 4: half of a character, at the end"
                    "utf-16", [ 'a'B; 0uy; 0x3Duy; 0xD8uy ], $"invalid UTF-16 at byte 2: {halves}"
                    "utf-16", [ 0x00uy; 0xDEuy; 'a'B; 0uy ], $"invalid UTF-16 at byte 0: {halves}"
                    "utf-16:be", [ 0xFFuy; 0xFEuy ], "it has the byte order mark of utf-16:le"
                    "utf-16:le",
                    [ 0xFEuy; 0xFFuy; 0uy; 'a'B ],
                    "it has the byte order mark of utf-16:be"
                    "utf-16",
                    [ 0xFFuy; 0xFEuy; 0uy; 0uy; 'a'B; 0uy; 0uy; 0uy ],
                    "it is UTF-32, which no stage reads; save it as UTF-8"
                    "utf-16",
                    [ 0uy; 0uy; 0xFEuy; 0xFFuy ],
                    "it is UTF-32, which no stage reads; save it as UTF-8"
                    "utf-16",
                    [ 0xEFuy; 0xBBuy; 0xBFuy; 'a'B ],
                    "it is UTF-8, with its byte order mark; leave utf-16 away"
                ] do
                for sizes in [ []; [ 1; 1; 1; 1; 1; 1 ]; [ 3 ] ] do
                    Expect.equal
                        (failure wire sizes (Array.ofList bytes))
                        (Some message)
                        $"{wire} {bytes} {sizes}"
        }

        test "utf-16 of more than is looked at in one go" {
            let text = String.replicate 30_000 "aé中😀"
            let bytes = Encoding.Unicode.GetBytes text
            Expect.equal (decode "utf-16" [ 1; 16_383; 16_385 ] bytes) text "text"
        }

        test "UTF-16 where UTF-8 is wanted is told with what to use" {
            for mark in [ [| 0xFFuy; 0xFEuy |]; [| 0xFEuy; 0xFFuy |] ] do
                for sizes in [ []; [ 1 ]; [ 1; 1 ]; [ 2 ] ] do
                    for wire in [ "lower"; "freq"; "sort" ] do
                        Expect.equal
                            (failure
                                wire
                                sizes
                                (Array.append mark (Encoding.Unicode.GetBytes "olá")))
                            (Some
                                "invalid UTF-8 at byte 0: it is UTF-16; let the pipeline begin with utf-16")
                            wire

            Expect.equal
                (failure "lower" [] [| 0xFFuy; 0xD8uy; 0xFFuy |])
                (Some "invalid UTF-8 at byte 0")
                "a picture"
        }
    ]
