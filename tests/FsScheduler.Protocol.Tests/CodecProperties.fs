module FsScheduler.Protocol.Tests.CodecProperties

open System
open System.Text
open System.Text.Json.Nodes
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.Protocol.Tests.CodecSupport

let private config = { FsCheckConfig.defaultConfig with maxTest = 1_000; endSize = 60 }

let private holds name (gen: Gen<'value>) (check: 'value -> unit) =
    testPropertyWithConfig config name (Prop.forAll (Arb.fromGen gen) check)

let private isOneLine (line: byte[]) =
    Expect.isLessThanOrEqual line.Length Codec.lineBytesMax "its length"
    Expect.equal (Array.IndexOf(line, '\n'B)) (line.Length - 1) "the first newline is its end"

let private sent = Messages.toScheduler, Codec.encodeToScheduler, decodeToScheduler

let private heard =
    Messages.fromScheduler, Codec.encodeFromScheduler, decodeFromScheduler

let private inverts name (gen, encode, read) =
    holds name (Gen.zip gen Messages.sizes) (fun (message, bytes) ->
        let line = lineOf encode message bytes
        isOneLine line
        Expect.equal (read line) (Ok { message = message; bytes = bytes }) "decoded")

/// Unknown fields of every shape, and earlier fields of a known name: the later ones count.
let private disguised (line: byte[]) (random: Random) =
    let fields =
        (nonNull (JsonNode.Parse(ReadOnlySpan line))).AsObject()
        |> Seq.map (fun field -> struct (field.Key, (nonNull field.Value).ToJsonString()))
        |> Seq.toArray

    let unknown = [|
        struct ("x", "[{\"type\":\"BEAT\",\"bytes\":-1},[[]],null]")
        struct ("", "\"\\ud83d\\ude00 \\\\ \"")
        struct ("Type", "{\"bytes\":{\"bytes\":1.5e9}}")
        struct ("workers2", "1e400")
        struct ("typ", "false")
    |]

    let escaped (name: string) =
        if random.Next 4 = 0 then
            name |> Seq.map (fun letter -> $"\\u{int letter:x4}") |> String.concat ""
        else
            name

    let shuffled = Array.append fields unknown
    random.Shuffle shuffled

    let written =
        shuffled
        |> Array.map (fun struct (name, value) -> $"\"{escaped name}\" :{value}\t")
        |> String.concat ", "

    let struct (again, _) = fields[random.Next fields.Length]
    Encoding.UTF8.GetBytes($" {{ \"{again}\":[0], {written}}}\r\n")

let private isReadInDisguise name (gen, encode, read) =
    holds
        name
        (Gen.zip3 gen Messages.sizes (Gen.choose (0, 1_000_000)))
        (fun (message, bytes, seed) ->
            let line = disguised (lineOf encode message bytes) (Random seed)

            if line.Length <= Codec.lineBytesMax then
                Expect.equal (read line) (Ok { message = message; bytes = bytes }) "decoded")

let private codes = [
    ErrorCode.BadFrame
    ErrorCode.BadField
    ErrorCode.UnknownType
    ErrorCode.NotWelcome
]

let private isJudged (decoded: Result<Frame<'message>, FrameError>) =
    match decoded with
    | Ok frame -> Expect.isTrue (frame.bytes >= 0L<B>) "its size"
    | Error error ->
        Expect.contains codes error.code "its code"
        Expect.isNotEmpty error.message "its message"
        Expect.isTrue (error.bytes >= 0L<B>) "its size"

/// Some bytes of the line changed, taken out, put in or doubled.
let private mutated (line: byte[]) (random: Random) =
    let bytes = ResizeArray line

    for _ in 0 .. random.Next 4 do
        let at = random.Next bytes.Count

        match random.Next 5 with
        | 0 -> bytes[at] <- byte (random.Next 256)
        | 1 when bytes.Count > 1 -> bytes.RemoveAt at
        | 2 -> bytes.Insert(at, "{}[]\",:\\-0e.u"B[random.Next 13])
        | 3 -> bytes.InsertRange(at, line[at % line.Length .. min (line.Length - 1) (at + 9)])
        | _ when bytes.Count > 1 -> bytes.RemoveRange(at, bytes.Count - at - 1)
        | _ -> ()

    bytes.ToArray()

let private survives =
    let seeds = Gen.choose (0, 1_000_000)

    let isJudgedByBoth line =
        isJudged (decodeToScheduler line)
        isJudged (decodeFromScheduler line)

    let mutants name (gen, encode, _) =
        holds name (Gen.zip gen seeds) (fun (message, seed) ->
            isJudgedByBoth (mutated (lineOf encode message 12L<B>) (Random seed)))

    testList "whatever comes is read or refused" [
        holds "random bytes" seeds (fun seed ->
            let random = Random seed
            let line = Array.zeroCreate<byte>(random.Next 200)
            random.NextBytes line
            isJudgedByBoth line)
        holds "random JSON" seeds (fun seed ->
            let random = Random seed

            let words = [|
                yield! [| "{"; "}"; "["; "]"; ","; ":"; " "; "null"; "true"; "-1"; "0" |]
                yield! [| "1e9"; "9007199254740992"; "\"type\""; "\"bytes\""; "\"SUBMIT\"" |]
                yield! [| "\"STATUS\""; "\"workers\""; "\"stages\""; "\"\\ud800\"" |]
                yield! [| "\"\\u00"; "{\"type\":"; "\\" |]
            |]

            let line =
                Array.init (random.Next 30) (fun _ -> words[random.Next words.Length])
                |> String.concat ""
                |> Encoding.UTF8.GetBytes

            isJudgedByBoth line)
        mutants "mutants of what a peer says" sent
        mutants "mutants of what a scheduler says" heard
    ]

[<Tests>]
let tests =
    testList "codec properties" [
        inverts "decoding inverts encoding, to a scheduler" sent
        inverts "decoding inverts encoding, from a scheduler" heard
        isReadInDisguise
            "order, blanks, escapes and unknown fields do not matter, to a scheduler"
            sent
        isReadInDisguise
            "order, blanks, escapes and unknown fields do not matter, from a scheduler"
            heard
        survives
    ]
