/// A large payload through a scheduler: cut, worked on in pieces, and one result.
module FsScheduler.Server.Tests.PieceTests

open System
open System.Collections.Generic
open System.IO
open System.Text
open Expecto
open FsScheduler.Core
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

let private lines from last =
    utf8 (String.concat "" [ for number in from..last -> $"LINE {number:D8}\n" ])

/// 20,000 lines of 14 bytes, and room for two pieces and a bit.
let private splitting (options: SchedulerOptions) = {
    options with
        settings = { options.settings with split = 131_072L<B> }
}

/// One piece, as a worker that lowers gets it and answers.
let private workOn (worker: Peer) =
    task {
        let! (given: Received) = worker.Expect "PROCESS"
        do! Peer.answer worker given ((Encoding.UTF8.GetString given.payload).ToLowerInvariant())
        return given
    }

let private working =
    testList "a scheduler" [
        testTask "gives a large file out in pieces, and publishes one result" {
            use cluster = new Cluster(splitting)
            let content = lines 0 19_999
            cluster.Put("big.txt", Encoding.UTF8.GetString content)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            let pieces = List<Received>()

            for _ in 1..3 do
                let! piece = workOn worker
                pieces.Add piece

            Expect.equal [ for piece in pieces -> piece.Text "piece" ] [ "0"; "1"; "2" ] "pieces"
            Expect.equal (Array.concat [ for piece in pieces -> piece.payload ]) content "all of it"

            let result = cluster.Folder.At "resultados/big.txt.out"
            do! eventually "the result" (fun () -> File.Exists result)

            Expect.equal
                (File.ReadAllText result)
                ((Encoding.UTF8.GetString content).ToLowerInvariant())
                "the result"

            do! eventually "no part is left" (fun () -> cluster.Spooled.Length = 0)
        }

        testTask "and a large payload of a client likewise" {
            use cluster = new Cluster(splitting)
            let content = lines 0 19_999
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()

            do!
                client.Send(
                    $"""{{"type":"SUBMIT","ref":"r","name":"big","pipeline":"lower","bytes":{content.Length}}}""",
                    content
                )

            let! _ = client.Expect "ACCEPTED"

            for _ in 1..3 do
                let! _ = workOn worker
                ()

            let! (ended: Received) = client.Expect "DONE"
            Expect.equal (ended.Text "ok") "True" "done"

            Expect.equal
                (Encoding.UTF8.GetString ended.payload)
                ((Encoding.UTF8.GetString content).ToLowerInvariant())
                "the result"

            do! eventually "nothing is left" (fun () -> cluster.Spooled.Length = 0)
        }
    ]

[<Tests>]
let tests = testList "pieces" [ working ]
