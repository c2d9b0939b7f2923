/// How a worker finds its scheduler and joins, and when it gives up.
module FsScheduler.Execution.Tests.WorkerTests

open System
open System.IO
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Execution
open FsScheduler.TestKit
open FsScheduler.Execution.Tests.RunningWorker
open FsScheduler.Execution.Tests.WorkerExchange

let private opening =
    testList "opening" [
        testTask "HELLO, READY, BEAT" {
            use fake = new FakeScheduler()

            let own = {
                options fake.Address with
                    token = Some "secret"
                    builtIn = [ "lower"; "upper" ]
                    functions = [ "own", StageFunction.ofText id ]
            }

            use _ = new Running(own)
            let! (peer: Peer) = fake.AcceptAsync()
            let! (hello: JsonElement) = peer.ReadJson()

            Expect.equal
                [
                    for field in [ "type"; "protocol"; "role"; "name"; "token"; "stages" ] ->
                        text hello field
                ]
                [ "HELLO"; "1"; "worker"; "w"; "secret"; "[\"lower\",\"upper\",\"own\"]" ]
                "who it is"

            do! peer.Send(welcomeOf 10 60_000 1_000)
            let! (ready: JsonElement) = peer.ReadJson()
            Expect.equal (text ready "type", text ready "slots") ("READY", "4") "its slots"

            for _ in 1..5 do
                let! (beat: JsonElement) = peer.ReadJson()
                Expect.equal (text beat "type") "BEAT" "it beats"
        }

        testTask "a scheduler that does not authorize it ends it at once" {
            use fake = new FakeScheduler()
            use worker = new Running(options fake.Address)
            let! (peer: Peer) = fake.AcceptAsync()
            let! _ = peer.ReadJson()
            do! peer.Send """{"type":"ERROR","code":"unauthorized","message":"not authorized"}"""
            let! (ending: WorkerEnd) = worker.Ending

            match ending with
            | Unserved reason -> Expect.stringContains reason "not authorized" "why"
            | Ended -> failtest "it was not asked to end"
        }

        testTask "any other error is no reason to give up" {
            use fake = new FakeScheduler()
            use _ = new Running(options fake.Address)
            let! (first: Peer) = fake.AcceptAsync()
            do! first.Send """{"type":"ERROR","code":"timeout","message":"too slow"}"""
            (first :> IDisposable).Dispose()
            let! _ = fake.WelcomeWorkerAsync welcome
            ()
        }

        testTask "who takes connections and ends them is no scheduler: it gives up" {
            use fake = new FakeScheduler()

            use worker =
                new Running(
                    { options fake.Address with giveUp = Some(TimeSpan.FromMilliseconds 300.0) }
                )

            let attempts = ref 0

            let refusing =
                task {
                    while true do
                        let! peer = fake.AcceptAsync()
                        attempts.Value <- attempts.Value + 1
                        (peer :> IDisposable).Dispose()
                }

            let! (ending: WorkerEnd) = worker.Ending
            Expect.isTrue ending.IsUnserved $"{ending}"
            // 50 to 100 ms, then 100 to 200 ms, then 200 to 400 ms.
            Expect.isLessThan attempts.Value 7 "with backoff"
            Expect.isFalse refusing.IsCompleted "nobody else stopped it"
        }

        testTask "without a scheduler it gives up, or is stopped" {
            use closed = new FakeScheduler()
            let address = closed.Address
            do! (closed :> IAsyncDisposable).DisposeAsync()

            use hopeless =
                new Running({ options address with giveUp = Some(TimeSpan.FromMilliseconds 100.0) })

            let! (ending: WorkerEnd) = hopeless.Ending

            match ending with
            | Unserved reason -> Expect.stringContains reason address "where it looked"
            | Ended -> failtest "it was not asked to end"

            use patient = new Running(options address)
            patient.Stop()
            let! (ending: WorkerEnd) = patient.Ending
            Expect.equal ending Ended "as asked"
        }

        testTask "a silent scheduler is left, and looked for again" {
            use fake = new FakeScheduler()
            use _ = new Running(options fake.Address)
            let! (first: Peer) = fake.WelcomeWorkerAsync(welcomeOf 50 300 1_000)

            let mutable isOpen = true

            // It beats, and then closes.
            while isOpen do
                try
                    let! (beat: JsonElement) = first.ReadJson()
                    Expect.equal (text beat "type") "BEAT" "it beats"
                with
                | :? EndOfStreamException
                | :? IOException -> isOpen <- false

            let! (second: Peer) = fake.WelcomeWorkerAsync welcome
            do! give second 1 "\"lower\"" (utf8 "A")
            let! struct (_, bytes) = result second
            Expect.equal bytes (utf8 "a") "at work again"
        }

        // No beat goes out within it, and so none is answered: it took the scheduler for lost.
        testTask "a long result that is taken slowly is no silence" {
            use fake = new FakeScheduler()
            fake.BufferLittle()
            // Far more than the worker's own socket buffers: that much goes unseen at the end.
            let size = 64_000_000
            let pieces = 128

            let own = {
                options fake.Address with
                    functions = [ "long", functionOf (fun _ -> Array.zeroCreate size) ]
            }

            use _ = new Running(own)
            let! (peer: Peer) = fake.WelcomeWorkerAsync(welcomeOf 50 1_000 100_000_000)
            do! give peer 1 "\"long\"" [||]
            let mutable bytes = ""

            while bytes = "" do
                let! (line: JsonElement) = peer.ReadJson()

                if text line "type" = "BEAT" then
                    do! peer.Send """{"type":"BEAT"}"""
                else
                    bytes <- text line "bytes"

            Expect.equal bytes (string size) "its result"

            // At least twice as long as the silence that it would bear.
            for _ in 1..pieces do
                let! (_: byte[]) = peer.ReadBytes(size / pieces)
                do! Task.Delay 16

            do! give peer 2 "\"lower\"" (utf8 "A")
            let! struct (_, bytes) = result peer
            Expect.equal bytes (utf8 "a") "it is still there"
        }

        for what, change in
            [
                "0 slots", (fun options -> { options with WorkerOptions.slots = 0 })
                "an address without a port", (fun options -> { options with connect = "here" })
                "a name that is too long", (fun options -> { options with name = String('x', 201) })
                "a token that is too long",
                (fun options -> { options with token = Some(String('x', 1_001)) })
                "a stage that is not built in",
                (fun options -> { options with builtIn = [ "lowr" ] })
                "a stage that cannot be one",
                (fun options -> { options with functions = [ "a b", StageFunction.ofText id ] })
                "two stages of one name",
                (fun options -> {
                    options with
                        functions = [ "a", StageFunction.ofText id; "a", StageFunction.ofText id ]
                })
            ] do
            testTask $"{what}: refused" {
                let mutable isRefused = false

                try
                    let! _ =
                        within (
                            Worker.runAsync (change (options "127.0.0.1:1")) CancellationToken.None
                        )

                    ()
                with :? ArgumentException ->
                    isRefused <- true

                Expect.isTrue isRefused what
            }
    ]

[<Tests>]
let tests = testSequencedGroup "workers" (testList "worker" [ opening ])
