/// Hostile bytes on a live port: the right ERROR, the others undisturbed, memory bounded.
module FsScheduler.System.Tests.HostileTests

open System
open System.Text
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.TestProgram
open FsScheduler.TestKit.Farm

let private client =
    "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"client\",\"name\":\"n\"}\n"

let private worker =
    "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"worker\",\"name\":\"n\"}\n"

/// What is sent at once, the code of the ERROR that follows, and a part of its message. Then it is closed.
let private closing: (string * byte[] * string * string) list = [
    "no JSON", "GET / HTTP/1.1\n"B, "bad-frame", "JSON"
    "no object", "[1]\n"B, "bad-frame", "object"
    "two objects", "{\"type\":\"BEAT\"}{}\n"B, "bad-frame", "one JSON object"
    "an empty line", "\n"B, "bad-frame", "JSON"
    "no UTF-8", [| yield! "{\"type\":\""B; 0xFFuy; yield! "\"}\n"B |], "bad-frame", "UTF-8"
    "a size below zero", "{\"type\":\"HELLO\",\"bytes\":-1}\n"B, "bad-frame", "bytes"
    "a size that is no number",
    utf8 (client + "{\"type\":\"SUBMIT\",\"bytes\":\"9\"}\n"),
    "bad-frame",
    "bytes"
    "nested too deep", utf8 (String('[', 60_000) + "\n"), "bad-frame", "JSON"
    "1 MB without a newline", Array.create 1_000_000 'a'B, "bad-frame", "65536"
    "the same, after HELLO",
    Array.append (utf8 client) (Array.create 1_000_000 0uy),
    "bad-frame",
    "65536"
    "BEAT first", "{\"type\":\"BEAT\"}\n"B, "not-welcome", "HELLO"
    "SUBMIT first",
    "{\"type\":\"SUBMIT\",\"ref\":\"\",\"name\":\"n\",\"bytes\":5}\nhello"B,
    "not-welcome",
    "HELLO"
    "an unknown type first", "{\"type\":\"HI\"}\n"B, "not-welcome", "HELLO"
    "a second HELLO", utf8 (client + client), "not-welcome", "second"
    "READY from a client",
    utf8 (client + "{\"type\":\"READY\",\"slots\":1}\n"),
    "not-welcome",
    "client"
    "SUBMIT from a worker",
    utf8 (worker + "{\"type\":\"SUBMIT\",\"ref\":\"\",\"name\":\"n\"}\n"),
    "not-welcome",
    "worker"
    "WELCOME from a client",
    utf8 (client + "{\"type\":\"WELCOME\",\"protocol\":1}\n"),
    "not-welcome",
    "WELCOME"
    "another version",
    utf8 "{\"type\":\"HELLO\",\"protocol\":2,\"role\":\"client\",\"name\":\"n\"}\n",
    "bad-version",
    "this scheduler supports: 1"
    "a SUBMIT that is too large",
    utf8 (client + "{\"type\":\"SUBMIT\",\"ref\":\"\",\"name\":\"n\",\"bytes\":1048577}\n"),
    "too-large",
    "1048576"
    "a RESULT that is too large",
    utf8 (
        worker
        + "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":2097153}\n"
    ),
    "too-large",
    "2097152"
]

/// Frames of a client that are answered with an ERROR and stepped over, payload and all.
let private stepping: (string * string * string) list = [
    "{\"type\":\"SUBMIT\",\"name\":\"n\",\"bytes\":6}\n{\"a\":\n", "bad-field", "'ref'"
    "{\"type\":\"SUBMIT\",\"ref\":\"r\",\"name\":\"n\",\"priority\":\"high\"}\n",
    "bad-field",
    "'priority'"
    "{\"type\":\"SUBMIT\",\"ref\":\"r\",\"name\":\"n\",\"want\":\"all\"}\n", "bad-field", "'want'"
    "{\"type\":\"CANCEL\",\"task\":0}\n", "bad-field", "'task'"
    "{\"type\":\"RETRY\",\"task\":123456}\n", "bad-field", "123456"
    "{\"bytes\":3}\n\n\n\n", "bad-field", "'type'"
    "{\"type\":\"DANCE\",\"bytes\":16}\n{\"type\":\"BEAT\"}\n", "unknown-type", "DANCE"
    "{\"type\":\"status\"}\n", "unknown-type", "status"
]

let private limits = [ "--max-payload"; "1MiB"; "--max-result"; "2MiB" ]

let private expectClosed port (what: string, bytes: byte[], code: string, part: string) =
    task {
        use peer = new Peer(port = port)
        do! peer.Write bytes
        let! last = peer.Last()

        match last with
        | Some error ->
            Expect.equal (error.Type + " " + error.Text "code") $"ERROR {code}" $"{what}: {error}"
            Expect.stringContains (error.Text "message") part what
        | None -> failtest $"{what}: closed without a word"
    }

let private rows =
    scenario "each row of the error table has its ERROR, and disturbs nobody"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place limits
            use scheduler = scheduler
            use _ = startWorker place port []
            use! good = Peer.client port
            let! warm = Peer.submit good "WARM"
            Expect.equal warm "warm" "a good client"

            for each in closing do
                do! expectClosed port each
                let! answer = Peer.submit good "AINDA AQUI"
                Expect.equal answer "ainda aqui" "the good client goes on"

            use! odd = Peer.client port

            for frame, code, part in stepping do
                do! odd.Write frame
                let! error = odd.Expect "ERROR"
                Expect.equal (error.Text "code") code frame
                Expect.stringContains (error.Text "message") part frame
                let! answer = Peer.submit odd "E EU"
                Expect.equal answer "e eu" "the same connection goes on"

            Expect.equal
                (scheduler.Errors.Count(fun line -> line.Contains " joined as session "))
                3
                "one worker of ours, two of strangers"
        }

let private bytewise =
    scenario "a HELLO is understood a byte at a time"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler
            use peer = new Peer(port = port)

            for each in utf8 client do
                do! peer.Write [| each |]

            let! _ = peer.Expect "WELCOME"

            for each in "{\"type\":\"STATUS\"}\n"B do
                do! peer.Write [| each |]

            let! _ = peer.Expect "STATUS"
            ()
        }

let private silence =
    scenario
        "who says no HELLO, or stops in the middle of a frame, is sent away for the time it took"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler
            use silent = new Peer(port = port)
            use inHello = new Peer(port = port)
            do! inHello.Write "{\"type\":\"HEL"
            use! inLine = Peer.client port
            do! inLine.Write "{\"type\":\"STA"
            use! inPayload = Peer.client port

            do!
                inPayload.Write
                    "{\"type\":\"SUBMIT\",\"ref\":\"\",\"name\":\"n\",\"bytes\":100000}\nhalf of it"

            for peer, part in
                [
                    silent, "no HELLO"
                    inHello, "no HELLO"
                    inLine, "has not ended"
                    inPayload, "has not ended"
                ] do
                let! last = peer.Last()
                let said = Option.get last
                Expect.equal (said.Text "code") "timeout" $"{said}"
                Expect.stringContains (said.Text "message") part $"{said}"
        }

/// Tells what it costs the scheduler to hold many who send much and end nothing.
[<Tests>]
let memory =
    scenarioAlone "memory stays bounded, whatever a hundred connections pile up"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place limits
            use scheduler = scheduler
            use _ = startWorker place port []
            use! good = Peer.client port
            let! _ = Peer.submit good "WARM"
            let before = scheduler.Memory
            let peers = ResizeArray<Peer>()

            try
                for _ in 1..100 do
                    let! peer = Peer.client port
                    peers.Add peer
                    // A payload that never ends, and lines that nobody could hold all of.
                    do!
                        peer.Write
                            "{\"type\":\"SUBMIT\",\"ref\":\"\",\"name\":\"n\",\"bytes\":1000000}\n"

                    do! peer.Write(Array.zeroCreate<byte> 900_000)

                do!
                    Task.WhenAll [
                        for _ in 1..100 ->
                            expectClosed
                                port
                                ("1 MB", Array.create 1_000_000 'a'B, "bad-frame", "65536")
                    ]
                    :> Task

                let! answer = Peer.submit good "AINDA"
                Expect.equal answer "ainda" "the good client goes on"
                let grown = (scheduler.Memory - before) / 1_048_576L
                // All that was sent is 190 MB. A connection holds 64 KiB of it at a time, and some buffers.
                Expect.isLessThan grown 90L $"MiB more, after {before / 1_048_576L}"
            finally
                for peer in peers do
                    (peer :> IDisposable).Dispose()
        }

[<Tests>]
let tests = testList "hostile bytes" [ silence; rows; bytewise ]
