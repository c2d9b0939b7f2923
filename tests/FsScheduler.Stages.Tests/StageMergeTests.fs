module FsScheduler.Stages.Tests.StageMergeTests

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

let private config = { FsCheckConfig.defaultConfig with maxTest = 100 }

/// A byte here and there that makes it no UTF-8, but mostly none.
let private bytes =
    gen {
        let! text = StageLines.lines
        let payload = utf8 text
        let! isDamaged = Gen.frequency [ 9, Gen.constant false; 1, Gen.constant true ]

        if isDamaged && payload.Length > 0 then
            let! at = Gen.choose (0, payload.Length - 1)
            let! value = Gen.elements [ 0x80uy; 0xC3uy; 0xE2uy; 0xFFuy ]
            payload[at] <- value

        return payload
    }

/// The payload in pieces, cut behind some newlines; some pieces are empty.
let private cut (payload: byte[]) (chances: int list) =
    let mutable chances = chances
    let mutable start = 0

    [
        for index in 0 .. payload.Length - 1 do
            if payload[index] = '\n'B then
                match chances with
                | chance :: others ->
                    chances <- others

                    for _ in 1..chance do
                        payload[start..index]
                        start <- index + 1
                | [] -> ()

        payload[start..]
    ]

/// How many pieces end at each newline: none, one, or one and an empty one.
let private chances =
    Gen.listOf (Gen.frequency [ 3, Gen.constant 0; 2, Gen.constant 1; 1, Gen.constant 2 ])

let private stageOf wire =
    match Stage.parse wire with
    | Ok stage -> stage
    | Error message -> failwith message

/// A folder for one test.
let private inFolder action =
    use folder = new TempFolder()
    let result = action folder.Path
    Expect.isEmpty (Directory.GetFileSystemEntries folder.Path) "nothing is left"
    result

let private mergeWith limits wire (parts: byte[] list) =
    inFolder (fun folder ->
        use output = new MemoryStream()
        let parts: Stream[] = [| for part in parts -> new MemoryStream(part) |]

        let size =
            (StageMerge.runWith (limits folder) (stageOf wire) parts output CancellationToken.None)
                .GetAwaiter()
                .GetResult()

        Expect.equal size (output.Length * 1L<B>) "size"
        output.ToArray())

let private merge = mergeWith Spilling.Into

/// Of pieces of 16 bytes, and not more than two long lines at once.
let private tiny folder = {
    Spilling.Into folder with
        readBytes = 16
        runsMax = 3
        mergeBytesMax = 500
}

let private tryRun wire (payload: byte[]) =
    try
        Some(runPieces wire [] payload)
    with :? StageException ->
        None

let private texts =
    Option.map (fun (bytes: byte[]) -> Encoding.UTF8.GetString bytes)

let private isMerged merge wire payload chances =
    let results = cut payload chances |> List.map (tryRun wire)

    let merged =
        if List.forall Option.isSome results then
            Some(merge wire (List.choose id results))
        else
            None

    Expect.equal (texts merged) (texts (tryRun wire payload)) ""

let private failure wire (parts: string list) =
    try
        merge wire ([ for part in parts -> Encoding.Latin1.GetBytes part ]) |> ignore
        None
    with :? StageException as error ->
        Some(error.Message, error.Retry)

/// What is no result of a stage, and why.
let private damaged = [
    "lines", "", "it is not a count and a newline"
    "lines", "1", "it is not a count and a newline"
    "words", "-1\n", "it is not a count and a newline"
    "words", "01\n", "it is not a count and a newline"
    "words", "1\n1\n", "it is not a count and a newline"
    "bytes", "9223372036854775808\n", "it is not a count and a newline"
    "bytes", "1111111111111111111111111\n", "it is not a count and a newline"
    "sort", "a\nb", "it does not end with a newline"
    "sort", "b\na\n", "its lines are not in order"
    "sort:desc", "a\nb\n", "its lines are not in order"
    "sort:numeric", "10\n9\n", "its lines are not in order"
    "sort:unique", "a\na\n", "a line comes twice"
    "sort", "\xFF\n", "it is not UTF-8"
    "uniq", "a\na\n", "a line comes twice"
    "uniq", "a", "it does not end with a newline"
    "freq", "1\ta", "it does not end with a newline"
    "freq", "a\n", "a line does not begin with a count and a tab"
    "freq", "\ta\n", "a line does not begin with a count and a tab"
    "freq", "0\ta\n", "a line does not begin with a count and a tab"
    "freq", "+1\ta\n", "a line does not begin with a count and a tab"
    "freq", "9223372036854775808\ta\n", "a line does not begin with a count and a tab"
    "freq", "1\t\n", "a count is not followed by a word"
    "freq", "1\ta b\n", "a count is not followed by a word"
    "freq", "1\tb\n1\ta\n", "its lines are not in order"
    "freq", "1\ta\n1\ta\n", "a line comes twice"
    "top:3", "1\n2\n", "its lines are not in order"
]

/// A part that is as it should be.
let private fine wire =
    match wire with
    | "lines"
    | "words"
    | "bytes" -> "1\n"
    | "freq" -> "1\ta\n"
    | _ -> "1\n"

[<Tests>]
let tests =
    testList "merging" [
        for wire in "bytes" :: List.map fst aggregates do
            testPropertyWithConfig config $"{wire}: the results of pieces give that of the whole"
            <| Prop.forAll (Arb.fromGen (Gen.zip bytes chances)) (fun (payload, chances) ->
                isMerged merge wire payload chances)

            testPropertyWithConfig config $"{wire}: so they do through the disk"
            <| Prop.forAll (Arb.fromGen (Gen.zip bytes chances)) (fun (payload, chances) ->
                isMerged (mergeWith tiny) wire payload chances)

            testPropertyWithConfig config $"{wire}: neighbours may be merged first"
            <| Prop.forAll
                (Arb.fromGen (Gen.zip3 StageLines.lines chances (Gen.choose (1, 5))))
                (fun (text, chances, size) ->
                    let results = cut (utf8 text) chances |> List.map (runPieces wire [])
                    let groups = results |> List.chunkBySize size |> List.map (merge wire)
                    Expect.equal (merge wire groups) (merge wire results) "")

        for wire, part, fault in damaged do
            test
                $"{wire}: a part that is none of its results: {fault} ({Uri.EscapeDataString part})" {
                let message = $"part 2 is no result of {wire}: {fault}"
                Expect.equal (failure wire [ fine wire; part ]) (Some(message, true)) ""
            }

        test "no parts are a payload without bytes" {
            for wire in "bytes" :: List.map fst aggregates do
                Expect.equal (merge wire []) (runPieces wire [] [||]) wire
        }

        test "as many parts as there may be, and one more" {
            let parts = List.init 4_096 (fun index -> utf8 $"{index % 7}\n")
            let sorted = List.init 4_096 (fun index -> index % 7) |> List.sort
            let expected = sorted |> List.map (fun number -> $"{number}\n") |> String.concat ""
            Expect.equal (merge "sort" parts) (utf8 expected) ""
            Expect.throwsT<ArgumentException> (fun () -> merge "sort" ([||] :: parts) |> ignore) ""
        }

        test "a stage whose results are not merged" {
            Expect.throwsT<ArgumentException> (fun () -> merge "head:1" [] |> ignore) ""
            Expect.throwsT<ArgumentException> (fun () -> merge "lower" [] |> ignore) ""
        }

        test "counts that are more than there are numbers for" {
            let most = "9223372036854775807"

            Expect.equal
                (failure "words" [ $"{most}\n"; "1\n" ])
                (Some("words: there are more than 2^63 - 1", false))
                ""

            Expect.equal
                (failure "freq" [ $"{most}\ta\n"; "1\ta\n" ])
                (Some("freq: a word occurs more often than 2^63 - 1 times", false))
                ""
        }

        test "a line that is too long, cancelled parts, and a part that fails" {
            inFolder (fun folder ->
                let limits = { Spilling.Into folder with lineBytesMax = 1_000; readBytes = 16 }

                let run (parts: Stream list) ct =
                    (StageMerge.runWith limits (stageOf "sort") (Array.ofList parts) Stream.Null ct)
                        .GetAwaiter()
                        .GetResult()
                    |> ignore

                let long = utf8 (String('a', 5_000) + "\n")

                Expect.throwsT<StageException>
                    (fun () -> run [ new MemoryStream(long) ] CancellationToken.None)
                    "too long"

                Expect.throwsT<Tasks.TaskCanceledException>
                    (fun () -> run [ new MemoryStream(long) ] (CancellationToken true))
                    "cancelled"

                use failing = {
                    new MemoryStream() with
                        override _.ReadAsync(_: Memory<byte>, _: CancellationToken) =
                            raise (IOException "gone")
                }

                Expect.throwsT<IOException>
                    (fun () -> run [ new MemoryStream(); failing ] CancellationToken.None)
                    "failed")
        }

        test "a part is read no further than the lines that are kept" {
            inFolder (fun folder ->
                use first = {
                    new MemoryStream(utf8 "3\n") with
                        override stream.ReadAsync(buffer: Memory<byte>, _: CancellationToken) =
                            match stream.Read buffer.Span with
                            | 0 -> raise (IOException "read on")
                            | count -> Tasks.ValueTask<int> count
                }

                use output = new MemoryStream()

                let merged =
                    StageMerge.runWith
                        (Spilling.Into folder)
                        (stageOf "top:1")
                        [| first; new MemoryStream(utf8 "2\n") |]
                        output
                        CancellationToken.None

                Expect.equal (merged.GetAwaiter().GetResult()) 2L<B> "size"
                Expect.equal (output.ToArray()) (utf8 "3\n") "the greatest")
        }
    ]
