/// Messages of clients and workers that are welcome: tasks, results, keys and what is asked.
module FsScheduler.Server.Tests.MessageHandlerTests

open System
open System.IO
open System.Text.Json
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

let private accept (client: Peer) : Task<Received> = client.Expect "ACCEPTED"

let private isRejected code (client: Peer) what =
    task {
        let! (rejected: Received) = client.Expect "REJECTED"
        Expect.equal (rejected.Text "code") code what
    }

let private nothingIsLeft (cluster: Cluster) =
    eventually "no file is left" (fun () -> cluster.Spooled.Length = 0)

let private work =
    testList "work" [
        testTask "the payload of a BEAT is read over, and a RESULT for nobody too" {
            use cluster = new Cluster(id)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            do! worker.Send("""{"type":"BEAT","bytes":100000}""", Array.create 100_000 10uy)
            do! expectNext "BEAT" worker

            for size in [ 5; 500_000 ] do
                do!
                    worker.Send(
                        $"""{{"type":"RESULT","task":77,"attempt":1,"ok":true,"bytes":{size}}}""",
                        Array.create size 10uy
                    )

            let! _ = expectAnswer "BEAT" worker
            Expect.isEmpty cluster.Spooled "nothing is kept"
        }

        testTask "a task goes from client to worker and back; 'none' brings no payload" {
            use cluster = new Cluster(id)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()

            for want, expected in [ "result", "abc"; "none", "" ] do
                do! client.Send(submit want want 3, utf8 "ABC")
                let! (accepted: Received) = accept client
                Expect.equal (accepted.Text "ref") want "durable"
                let task = accepted.Text "task"
                let! (given: Received) = worker.Expect "PROCESS"
                Expect.equal (given.Text "task") task "given out"
                Expect.equal (given.Text "name") $"{want}.txt" "its name"
                Expect.equal given.payload (utf8 "ABC") "the payload"
                do! Peer.answer worker given "abc"
                let! (ended: Received) = client.Expect "DONE"

                Expect.equal
                    [ for field in [ "ref"; "task"; "ok" ] -> ended.Text field ]
                    [ want; task; "True" ]
                    "done"

                Expect.equal ended.payload (utf8 expected) "the result"
        }

        testTask "want file: the result is in resultados" {
            use cluster = new Cluster(id)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()

            for name, size in [ "small", 3; "large", 1_000_000 ] do
                do! client.Send(submit name "file" 1, "A"B)
                let! _ = accept client
                let! (given: Received) = worker.Expect "PROCESS"
                let content = Array.create size 97uy
                do! Peer.answerBytes worker given content
                let! (ended: Received) = client.Expect "DONE"
                Expect.equal (ended.Text "bytes") "" "without the result"
                let result = File.ReadAllBytes(cluster.Folder.At $"resultados/{name}.txt.out")
                Expect.equal result content "stored"
        }

        testTask "5 MiB go both ways through files, and none is left" {
            use cluster = new Cluster(id)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()
            let size = 5 * 1024 * 1024
            let payload = Array.init size (fun index -> byte (index * 7))
            do! client.Send(submit "a" "result" size, payload)
            let! _ = accept client
            Expect.isNonEmpty cluster.Spooled "in a file"
            let! (given: Received) = worker.Expect "PROCESS"
            Expect.isTrue (given.payload.AsSpan().SequenceEqual payload) "whole"
            Array.Reverse given.payload
            do! Peer.answerBytes worker given given.payload
            let! (ended: Received) = client.Expect "DONE"
            Expect.isTrue (ended.payload.AsSpan().SequenceEqual given.payload) "whole"
            do! nothingIsLeft cluster
        }

        testTask "a client that goes leaves no file, whatever it was about to get" {
            use cluster = new Cluster(id)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            let size = 8 * 1024 * 1024
            let! (client: Peer) = cluster.ClientAsync()

            for ref in [ "a"; "b"; "c" ] do
                do! client.Send(submit ref "result" 1, "A"B)

            for _ in 1..3 do
                let! (given: Received) = worker.Expect "PROCESS"
                do! Peer.answerBytes worker given (Array.zeroCreate size)

            // It reads nothing: results wait for it in files.
            let! _ = expectAnswer "BEAT" worker
            (client :> IDisposable).Dispose()
            do! nothingIsLeft cluster
        }

        testTask "half a large SUBMIT leaves no file" {
            use cluster = new Cluster(id)
            let! (client: Peer) = cluster.ClientAsync()
            do! client.Send(submit "a" "result" 1_000_000, Array.zeroCreate 500_000)
            do! eventually "it has begun" (fun () -> cluster.Spooled.Length = 1)
            (client :> IDisposable).Dispose()
            do! nothingIsLeft cluster
        }

        testTask "a lost worker's task is given out again" {
            use cluster = new Cluster(id)
            use! (first: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            use! (client: Peer) = cluster.ClientAsync()
            do! client.Send(submit "a" "none" 0)
            let! (given: Received) = first.Expect "PROCESS"
            Expect.equal (given.Text "attempt") "1" "the first attempt"
            use! (second: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            (first :> IDisposable).Dispose()
            let! (again: Received) = second.Expect "PROCESS"
            Expect.equal (again.Text "task") (given.Text "task") "the same task"
            Expect.equal (again.Text "attempt") "2" "the second attempt"
        }

        testTask "a worker that is silent is lost, one that beats is not" {
            use cluster = new Cluster(id)
            use! (silent: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            use! (beating: Peer) = cluster.WorkerAsync("\"upper\"", 1)
            use! (client: Peer) = cluster.ClientAsync()

            let mutable workers = 2
            let mutable passed = 0

            // Time passes slowly enough not to look like a scheduler that slept.
            while workers = 2 && passed < 60_000 do
                passed <- passed + 1
                cluster.Time.Advance(seconds 0.001)

                if passed % 100 = 0 then
                    let! _ = expectAnswer "BEAT" beating
                    ()

                let! (status: JsonElement) = expectAnswer "STATUS" client
                workers <- status.GetProperty("workers").GetArrayLength()

            Expect.equal workers 1 "one is lost"
            Expect.isGreaterThan passed 5_000 "after 5 s"
            do! silent.ReadEnd()
            let! _ = expectAnswer "BEAT" beating
            ()
        }

        testTask "a key runs once" {
            use cluster = new Cluster(id)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()

            for size in [ 3; 100_000 ] do
                let keyed ref =
                    $"""{{"type":"SUBMIT","ref":"{ref}","name":"n.txt","pipeline":"lower","key":"k{size}","bytes":{size}}}"""

                let content = Array.create size 65uy
                do! client.Send(keyed "a", content)
                let! (first: Received) = accept client
                do! client.Send(keyed "b", content)
                let! (second: Received) = accept client
                Expect.equal (second.Text "ref") "b" "accepted"
                Expect.equal (second.Text "task") (first.Text "task") "the same task"
                do! client.Send(keyed "c", Array.create size 66uy)
                do! isRejected "bad-key" client "other content"
                let! (given: Received) = worker.Expect "PROCESS"
                Expect.hasLength given.payload size "the payload"
                do! Peer.answerBytes worker given [||]
                let! (done1: Received) = client.Expect "DONE"
                let! (done2: Received) = client.Expect "DONE"
                Expect.equal [ done1.Text "ref"; done2.Text "ref" ] [ "a"; "b" ] "both are told"

            do! nothingIsLeft cluster
        }

        testTask "what cannot be done is rejected, and the payload thrown away" {
            use cluster = new Cluster(id)
            use! (client: Peer) = cluster.ClientAsync()

            for size in [ 3; 200_000 ] do
                for name, pipeline, code in
                    [ "../a", "lower", "bad-name"; "a", "lowr", "bad-pipeline" ] do
                    do!
                        client.Send(
                            $"""{{"type":"SUBMIT","ref":"r","name":"{name}","pipeline":"{pipeline}","bytes":{size}}}""",
                            Array.zeroCreate size
                        )

                    do! isRejected code client name

            do! nothingIsLeft cluster
        }

        testTask "a payload that cannot be stored is rejected as busy" {
            use cluster = new Cluster(id)
            use! (client: Peer) = cluster.ClientAsync()
            Directory.Delete(cluster.Folder.At "state/spool")
            do! client.Send(submit "a" "none" 200_000, Array.zeroCreate 200_000)
            do! isRejected "busy" client "later"
            Directory.CreateDirectory(cluster.Folder.At "state/spool") |> ignore
            do! client.Send(submit "b" "none" 200_000, Array.zeroCreate 200_000)
            let! _ = accept client // It was later.
            ()
        }

        testTask "CANCEL takes the task from its worker" {
            use cluster = new Cluster(id)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            use! (client: Peer) = cluster.ClientAsync()
            do! client.Send(submit "a" "none" 0)
            let! (accepted: Received) = accept client
            let! _ = worker.Expect "PROCESS"
            do! client.Send $"""{{"type":"CANCEL","task":{accepted.Text "task"}}}"""
            let! (cancel: Received) = worker.Expect "CANCEL"
            Expect.equal (cancel.Text "task") (accepted.Text "task") "the worker"
            let! (ended: Received) = client.Expect "DONE"
            Expect.equal (ended.Text "ok") "False" "the client"
        }

        testTask "STATUS counts tasks and workers" {
            use cluster = new Cluster(id)
            use! (client: Peer) = cluster.ClientAsync()

            for ref in [ "a"; "b"; "c" ] do
                do! client.Send(submit ref "none" 0)
                let! _ = accept client
                ()

            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 2)
            let! _ = worker.Expect "PROCESS"
            let! (status: JsonElement) = expectAnswer "STATUS" client

            Expect.equal
                [ for field in [ "queued"; "running"; "idle"; "busy" ] -> text status field ]
                [ "1"; "2"; "0"; "1" ]
                "three tasks, two slots"

            Expect.equal (status.GetProperty("workers").GetArrayLength()) 1 "one worker"
        }

        testTask "a worker that does not read is not read from, and disturbs nobody" {
            use cluster = new Cluster(id)
            use! (deaf: Peer) = cluster.JoinAsync(hello "worker")
            let beats = utf8 (String.replicate 4_000 "{\"type\":\"BEAT\"}\n")
            let sent = ref 0L

            // Nothing of the answers is read: sooner or later nobody takes what is sent.
            let flood =
                task {
                    while true do
                        let! count = deaf.Socket.SendAsync(ReadOnlyMemory beats)
                        sent.Value <- sent.Value + int64 count
                }

            let mutable before = -1L
            let mutable still = 0
            use! (client: Peer) = cluster.ClientAsync()

            while still < 200 do
                let! _ = expectAnswer "STATUS" client
                still <- if sent.Value = before then still + 1 else 0
                before <- sent.Value

            Expect.isFalse flood.IsCompleted "it waits, and is not sent away"
            Expect.isLessThan sent.Value 200_000_000L "not much was taken"
        }
    ]

[<Tests>]
let tests = testList "connections" [ work ]
