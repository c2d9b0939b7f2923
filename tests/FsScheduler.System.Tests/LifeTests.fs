/// How processes end, and who ends with them; tokens and logs.
module FsScheduler.System.Tests.LifeTests

open System
open System.IO
open System.Text.Json
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

let private slow = [ "--pipeline"; "slow"; "--expect"; "slow" ]

let private ending =
    testList "a signal" [
        scenario "SIGTERM lets a running task finish, gives out no other, and ends with 130"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "A")
                place.Put("b.txt", "B")
                let! struct (scheduler, port) = startScheduler place (slow @ [ "--drain"; "1m" ])
                use scheduler = scheduler
                use! client = Peer.client port
                use! worker = Peer.worker port "\"slow\"" 1
                let! work = worker.Expect "PROCESS"
                scheduler.Signal Signal.Term
                // Once it counts no slots any more, it gives nothing out.
                let mutable slots = 1L

                while slots > 0L do
                    do! client.Write "{\"type\":\"STATUS\"}\n"
                    let! status = client.Expect "STATUS"
                    slots <- status.line.GetProperty("workers").[0].GetProperty("slots").GetInt64()

                Expect.isFalse scheduler.HasExited "it waits for the task"
                do! Peer.answer worker work "done"
                let! code = scheduler.Exit
                Expect.equal code 130 scheduler.Said
                Expect.equal place.Results [ work.Text "name" + ".out" ] scheduler.Said
                let! last = worker.Last()

                Expect.isNone
                    (last |> Option.filter (fun frame -> frame.Type = "PROCESS"))
                    "nothing new"
            }

        scenario "SIGTERM ends with 130 after --drain, whatever still runs"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "A")
                let! struct (scheduler, port) = startScheduler place (slow @ [ "--drain"; "200ms" ])
                use scheduler = scheduler
                use! worker = Peer.worker port "\"slow\"" 1
                let! _ = worker.Expect "PROCESS"
                scheduler.Signal Signal.Term
                let! code = scheduler.Exit
                Expect.equal (code, place.Results) (130, []) scheduler.Said
            }

        scenario "SIGINT ends a scheduler with 130; and a worker SIGTERM"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place []
                use scheduler = scheduler
                use worker = startWorker place port []
                let! _ = worker.Says "is session"
                worker.Signal Signal.Term
                let! code = worker.Exit
                Expect.equal code 130 worker.Said
                scheduler.Signal Signal.Interrupt
                let! code = scheduler.Exit
                Expect.equal code 130 scheduler.Said
            }
    ]

let private joined (line: string) = line.Contains " joined as session "

let private localWorkers =
    testList "--workers" [
        scenario "starts them, starts a killed one again, and ends them at its own end"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, _) = startScheduler place [ "--workers"; "2" ]
                use scheduler = scheduler
                do! eventually "two have joined" (fun () -> scheduler.Errors.Count joined = 2)
                let before = childrenOf scheduler.Id
                Expect.hasLength before 2 "its workers"
                signal before[0] Signal.Kill
                do! eventually "a third has joined" (fun () -> scheduler.Errors.Count joined = 3)
                let! _ = scheduler.Says "ended: exit code 137; started again"
                let after = childrenOf scheduler.Id
                Expect.hasLength after 2 "its workers"
                Expect.contains after before[1] "the other one was left alone"
                scheduler.Signal Signal.Term
                let! code = scheduler.Exit
                Expect.equal code 130 scheduler.Said
                Expect.isEmpty (List.filter isAlive (before @ after)) "they are gone"
            }

        scenario "end when their scheduler is killed"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, _) = startScheduler place [ "--workers"; "2" ]
                use scheduler = scheduler
                do! eventually "two have joined" (fun () -> scheduler.Errors.Count joined = 2)
                let workers = childrenOf scheduler.Id
                Expect.hasLength workers 2 "its workers"
                scheduler.Signal Signal.Kill
                do! eventually "they have ended" (fun () -> not (List.exists isAlive workers))
            }
    ]

let private tokens =
    scenario "tokens open the way for their own role, also beyond loopback; logs are JSON if asked"
    <| fun () ->
        task {
            use place = new Workplace()

            File.WriteAllText(
                place.At "tokens",
                "worker 0123456789abcdef\nclient fedcba9876543210\n"
            )

            place.Put("a.txt", "A")

            let! struct (scheduler, port) =
                startScheduler place [
                    "--listen"
                    "0.0.0.0:0"
                    "--token-file"
                    "tokens"
                    "--log-format"
                    "json"
                    "--workers"
                    "1"
                ]

            use scheduler = scheduler
            Expect.stringStarts scheduler.Output.All[0] "listening on 0.0.0.0:" "the first line"
            do! eventually "its own worker has the token" (fun () -> place.HasResult "a.txt.out")

            let hello role token =
                task {
                    use peer = new Peer(port)

                    do!
                        peer.Write
                            $"{{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"{role}\",\"name\":\"n\"{token}}}\n"

                    let! first = peer.Receive()
                    return first.Type + " " + first.Text "code" + first.Text "message"
                }

            let worker, client =
                ",\"token\":\"0123456789abcdef\"", ",\"token\":\"fedcba9876543210\""

            for role, token in [ "worker", worker; "client", client ] do
                let! answer = hello role token
                Expect.equal answer "WELCOME " $"{role} with its token"

            for role, token in
                [
                    "worker", client
                    "client", worker
                    "worker", ""
                    "client", ",\"token\":\"\""
                ] do
                let! answer = hello role token
                Expect.equal answer "ERROR unauthorizednot authorized" $"{role} with '{token}'"

            use stranger = startWorker place port []
            let! code = stranger.Exit
            Expect.equal code 3 stranger.Said
            scheduler.Signal Signal.Term
            let! code = scheduler.Exit
            Expect.equal code 130 scheduler.Said

            for line in scheduler.Errors.All do
                use document = JsonDocument.Parse line
                Expect.isNotNull (document.RootElement.GetProperty("Message").GetString()) line
                Expect.isFalse (line.Contains "0123456789abcdef") "no token stands in a log"
        }

[<Tests>]
let tests = testList "life and death" [ ending; localWorkers; tokens ]
