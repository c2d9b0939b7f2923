/// A client of the real scheduler, in the bytes that docs/protocol.md shows.
module FsScheduler.System.Tests.ClientTests

open System
open System.IO
open System.Text
open System.Text.RegularExpressions
open Expecto
open FsScheduler.Core
open FsScheduler.Protocol
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

/// Sends a SUBMIT with further fields, such as `"key":"k",`, and this payload.
let private submit (client: Peer) (ref: string) (fields: string) (payload: byte[]) =
    Array.append
        (Encoding.UTF8.GetBytes
            $"{{\"type\":\"SUBMIT\",\"ref\":\"{ref}\",{fields}\"bytes\":{payload.Length}}}\n")
        payload
    |> client.Write

/// What came, as one text to compare with.
let private told (frame: Received) =
    let fields = [
        for field in [ "ref"; "code"; "task"; "ok"; "error"; "outcome"; "attempts" ] do
            match frame.Text field with
            | "" -> ()
            | value -> $"{field} {value}"
    ]

    let payload = Encoding.UTF8.GetString frame.payload

    String.concat ", " (frame.Type :: fields)
    + (if payload = "" then "" else ": " + payload)

let private expectTold (client: Peer) (expected: string) =
    task {
        let! frame = client.Receive()
        Expect.equal (told frame) expected $"{frame}"
    }

let private dialogue =
    scenario "submits, repeats with a key, cancels, and takes out of quarantine"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, port) =
                startScheduler place [ "--workers"; "1"; "--expect"; "ocr" ]

            use scheduler = scheduler
            use! client = Peer.client port
            let tell = expectTold client
            do! submit client "a" "\"name\":\"n\",\"pipeline\":\"lower | trim\"," " OI "B
            do! tell "ACCEPTED, ref a, task 1"
            do! tell "DONE, ref a, task 1, ok True, outcome completed, attempts 1: oi"
            do! submit client "b" "\"name\":\"../n\"," "X"B
            do! tell "REJECTED, ref b, code bad-name"
            do! submit client "c" "\"name\":\"n\",\"pipeline\":\"lowr\"," "X"B
            do! tell "REJECTED, ref c, code bad-pipeline"

            for ref in [ "d"; "e" ] do
                do! submit client ref "\"name\":\"n\",\"key\":\"k\"," "SIM"B
                do! tell $"ACCEPTED, ref {ref}, task 2"
                do! tell $"DONE, ref {ref}, task 2, ok True, outcome completed, attempts 1: sim"

            do! submit client "f" "\"name\":\"n\",\"key\":\"k\"," "SEM"B
            do! tell "REJECTED, ref f, code bad-key"
            // Nobody at hand can run it, so it waits.
            do! submit client "g" "\"name\":\"n\",\"pipeline\":\"ocr\"," ""B
            do! tell "ACCEPTED, ref g, task 3"
            do! client.Send "{\"type\":\"CANCEL\",\"task\":3}"
            do! tell "DONE, ref g, task 3, ok False, error cancelled, outcome cancelled, attempts 0"
            do! client.Send "{\"type\":\"CANCEL\",\"task\":3}"
            do! tell "ERROR, code bad-field"
            do! submit client "h" "\"name\":\"n\"," [| 'A'B; 0xFFuy |]
            do! tell "ACCEPTED, ref h, task 4"

            do!
                tell
                    "DONE, ref h, task 4, ok False, error invalid UTF-8 at byte 1, outcome quarantined, attempts 1"

            do! client.Send "{\"type\":\"RETRY\",\"task\":4}"

            do!
                tell
                    "DONE, ref h, task 4, ok False, error invalid UTF-8 at byte 1, outcome quarantined, attempts 2"

            do! client.Send "{\"type\":\"CANCEL\",\"task\":4}"
            do! tell "DONE, ref h, task 4, ok False, error cancelled, outcome cancelled, attempts 2"
            do! submit client "i" "\"name\":\"sub/n\",\"want\":\"file\"," "FIM"B
            do! tell "ACCEPTED, ref i, task 5"
            do! tell "DONE, ref i, task 5, ok True, outcome completed, attempts 1"
            Expect.equal (place.Results, place.Result "sub/n.out") ([ "sub/n.out" ], "fim") "stored"
            do! submit client "j" "\"name\":\"n\",\"want\":\"none\"," "FIM"B
            do! tell "ACCEPTED, ref j, task 6"
            do! tell "DONE, ref j, task 6, ok True, outcome completed, attempts 1"
            do! client.Send "{\"type\":\"STATUS\"}"
            let! status = client.Expect "STATUS"

            for field, count in
                [
                    "queued", 0L
                    "running", 0L
                    "quarantined", 0L
                    "finished", 4L
                    "cancelled", 2L
                ] do
                Expect.equal (status.Number field) count $"{field} of {status}"

            Expect.equal (status.line.GetProperty("workers").GetArrayLength()) 1 $"{status}"
        }

let private large =
    scenario "sends and gets what nobody holds in memory"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use scheduler = scheduler
            use! client = Peer.client port

            let payload =
                Array.init 40_000_000 (fun i ->
                    if i % 80 = 79 then '\n'B else byte 'A' + byte (i % 26))

            do! submit client "a" "\"name\":\"n\"," payload
            let! _ = client.Expect "ACCEPTED"
            let! finished = client.Expect "DONE"

            let right =
                payload |> Array.map (fun each -> if each = '\n'B then each else each + 32uy)

            Expect.isTrue
                (finished.payload.AsSpan().SequenceEqual(ReadOnlySpan right))
                "each byte is lower"

            let ownFiles =
                Directory.EnumerateFiles(Path.Combine(place.At ".fs-scheduler", "spool"))

            do! eventually "its own copies are gone" (fun () -> Seq.isEmpty ownFiles)

            Expect.isLessThan
                (scheduler.Memory / 1_048_576L)
                200L
                "MiB of memory, for 40 MB both ways"
        }

let private document =
    test "docs/protocol.md shows frames that are right, with payloads of the size that they say" {
        let text = File.ReadAllText(Path.Combine(Repository.root, "docs", "protocol.md"))

        let frames =
            Regex.Matches(text, @"(?m)^    ([CSW]): (\{.*\})(⏎\n {7}((?:.*⏎\n {7})*.*))?$")

        Expect.isGreaterThan frames.Count 30 "examples"

        for frame in frames do
            let line = Encoding.UTF8.GetBytes frame.Groups[2].Value

            let problem, bytes =
                if frame.Groups[1].Value = "S" then
                    match Codec.decodeFromScheduler (ReadOnlySpan line) with
                    | Ok frame -> "", int64 frame.bytes
                    | Error error -> error.message, int64 error.bytes
                else
                    match Codec.decodeToScheduler (ReadOnlySpan line) with
                    | Ok frame -> "", int64 frame.bytes
                    | Error error -> error.message, int64 error.bytes

            // One of them is wrong, to show what is said about it.
            if not (frame.Value.Contains "\"high\"") then
                Expect.equal problem "" frame.Value

            // A payload of several lines has each behind the other.
            let payload = frame.Groups[4].Value.Replace("⏎\n       ", "\n").Replace('⏎', '\n')
            Expect.equal bytes (int64 (Encoding.UTF8.GetByteCount payload)) frame.Value

        Expect.isFalse (text.Contains "/shared/") "it stands by itself"
    }

[<Tests>]
let tests = testList "clients" [ dialogue; large; document ]
