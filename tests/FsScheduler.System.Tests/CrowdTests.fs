/// More peers than a scheduler has room for.
module FsScheduler.System.Tests.CrowdTests

open System
open System.IO
open System.Net.Sockets
open System.Text
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

let private hello =
    """{"type":"HELLO","protocol":1,"role":"client","name":"idle"}""" + "\n"

/// A scheduler that may have no more descriptors than this.
let private startWith (place: Workplace) (descriptors: int) =
    task {
        if not (OperatingSystem.IsLinux()) then
            skiptest "it looks at limits of Linux"

        let scheduler =
            new Program(
                "/bin/sh",
                [
                    "-c"
                    $"ulimit -n {descriptors} && exec '{schedulerPath}' --listen 127.0.0.1:0"
                ],
                place.Path
            )

        let! line = scheduler.Output.First(_.StartsWith("listening"))
        return struct (scheduler, int (line.Substring(line.LastIndexOf ':' + 1)))
    }

/// The first line that a peer is answered.
let private answerTo (client: TcpClient) (said: string) =
    task {
        let stream = client.GetStream()

        if said <> "" then
            do! stream.WriteAsync(ReadOnlyMemory(Encoding.UTF8.GetBytes said))

        use reader = new StreamReader(stream, leaveOpen = true)
        let! line = awaited "an answer" (reader.ReadLineAsync())
        return if isNull line then "" else nonNull line
    }

let private idleClients =
    scenario "a crowd of clients leaves room for files and workers, and who finds none is told why"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startWith place 512
            use _ = scheduler
            let clients = ResizeArray<TcpClient>()

            try
                let mutable refusal = ""

                // Of the 512, some are open, and more than a hundred are for libraries and files.
                while refusal = "" && clients.Count < 400 do
                    let client = new TcpClient("127.0.0.1", port)
                    clients.Add client
                    let! answer = answerTo client hello

                    if not (answer.Contains "WELCOME") then
                        refusal <- answer

                Expect.isGreaterThan clients.Count 100 refusal
                Expect.isLessThan clients.Count 300 refusal
                Expect.stringContains refusal "\"ERROR\"" "a frame, and no end without a word"
                Expect.stringContains refusal "ulimit -n" "what to do"

                use status = startCommand place port [ "status" ]

                let! code = status.Exit
                Expect.equal code 3 status.Said
                Expect.stringContains status.Said "ulimit -n" "the verb says it too"

                use worker = startWorker place port []

                for number in 1..50 do
                    place.Put($"{number}.txt", String.replicate 20_000 "CONTEÚDO\n")

                do!
                    eventually "they are done" (fun () ->
                        Seq.forall (fun number -> place.HasResult $"{number}.txt.out") [ 1..50 ])

                clients[0].Dispose()

                let served () =
                    use again = startCommand place port [ "status" ]

                    again.Exit.GetAwaiter().GetResult() = 0

                do! eventually "when one goes, another finds room" served
            finally
                for client in clients do
                    client.Dispose()
        }

let private strangers =
    scenario "peers that never say who they are make room for those that do"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startWith place 512
            use _ = scheduler
            let peers = ResizeArray<TcpClient>()

            try
                for _ in 1..500 do
                    peers.Add(new TcpClient("127.0.0.1", port))

                let! first = answerTo peers[0] ""
                Expect.stringContains first "\"ERROR\"" "the first ones had to go, and were told"

                Expect.stringContains
                    first
                    "connections are taken"
                    "at once, for the sake of others"

                place.Put("a.txt", "A")
                use worker = startWorker place port []
                do! eventually "a result" (fun () -> place.HasResult "a.txt.out")
            finally
                for peer in peers do
                    peer.Dispose()
        }

[<Tests>]
let tests = testList "a crowd" [ idleClients; strangers ]
