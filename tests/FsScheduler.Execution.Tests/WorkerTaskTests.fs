/// What a worker does with its tasks: small and large ones, failures, CANCEL, and its end with tasks in hand.
module FsScheduler.Execution.Tests.WorkerTaskTests

open System
open System.IO
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Stages
open FsScheduler.Execution
open FsScheduler.TestKit
open FsScheduler.Execution.Tests.RunningWorker
open FsScheduler.Execution.Tests.WorkerExchange

/// Threads that the pool starts without hesitating.
let private threadsAtOnce () =
    let mutable threads = 0
    let mutable completions = 0
    ThreadPool.GetMinThreads(&threads, &completions)
    struct (threads, completions)

/// Temporary folders of workers; those of other tests too.
let private folders () =
    Directory.GetDirectories(Path.GetTempPath(), "fs-worker-*") |> Set.ofArray

/// What is in one of them, beside its lock; those of other tests may go at any moment.
let private filesIn (folder: string) =
    try
        [
            for file in Directory.GetFiles folder do
                if Path.GetFileName file <> "lock" then
                    file
        ]
    with :? DirectoryNotFoundException -> []

/// No file is left in the folders of workers that came since.
let private noFileIsLeft (before: Set<string>) =
    task {
        for folder in folders () - before do
            do! eventually "no file is left" (fun () -> filesIn folder = [])
    }

let private work =
    testList "work" [
        testTask "functions and built-in stages in one pipeline, small and large" {
            use fake = new FakeScheduler()
            let before = folders ()
            let seen = Collector<StageCall>()

            let double (call: StageCall) =
                seen.Add call
                Array.append (call.payload.ToArray()) (call.payload.ToArray())

            let own = {
                options fake.Address with
                    functions = [
                        "double", functionOf double
                        "upper", StageFunction.ofText (fun text -> text + "!")
                    ]
            }

            let worker = new Running(own)
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome

            for size in [ 0; 3; 10_000; 3_000_000 ] do
                do!
                    give
                        peer
                        (size + 1)
                        "\"lower\",\"double:x:y\",\"upper\",\"trim\""
                        (Array.create size 65uy)

                let! struct (json, bytes) = result peer

                Expect.equal
                    (text json "task", text json "ok")
                    (string (size + 1), "True")
                    $"{json}"

                let expected = Array.append (Array.create (2 * size) 97uy) "!"B
                Expect.isTrue (bytes.AsSpan().SequenceEqual(ReadOnlySpan expected)) $"{size} bytes"

            let call: StageCall = seen.Items.Head
            Expect.equal (call.argument, call.name) ("x:y", "a/b.txt") "what it is called with"
            let mine = folders () - before

            for folder in mine do
                do! eventually "no file is left" (fun () -> filesIn folder = [])

            do! (worker :> IAsyncDisposable).DisposeAsync()
            Expect.isEmpty (mine |> Set.filter Directory.Exists) "nor a folder"
        }

        testTask "large payloads of built-in stages go through files, which are gone afterwards" {
            use fake = new FakeScheduler()
            let before = folders ()
            use _ = new Running(options fake.Address)
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            do! give peer 1 "\"lower\"" (Array.create 9_000_000 65uy)
            let! struct (_, bytes) = result peer

            Expect.isTrue
                (bytes.AsSpan().SequenceEqual(ReadOnlySpan(Array.create 9_000_000 97uy)))
                "lower"
            // Invalid UTF-8 at its end: the result has already been begun.
            do! give peer 2 "\"lower\"" (Array.append (Array.create 9_000_000 65uy) [| 0xFFuy |])
            let! struct (json, _) = result peer
            Expect.equal (text json "ok", text json "retry") ("False", "False") $"{json}"
            Expect.stringContains (text json "error") "9000000" "where"
            do! noFileIsLeft before
        }

        testTask "a file between two stages is gone when the second fails" {
            use fake = new FakeScheduler()
            let before = folders ()

            let own = {
                options fake.Address with
                    functions = [ "fail", functionOf (fun _ -> failwith "no") ]
            }

            use _ = new Running(own)
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            do! give peer 1 "\"lower\",\"fail\"" (Array.create 9_000_000 65uy)
            let! struct (json, _) = result peer
            Expect.equal (text json "ok") "False" "failed"
            do! noFileIsLeft before
        }

        testTask "what a function throws says whether another attempt makes sense" {
            use fake = new FakeScheduler()

            let own = {
                options fake.Address with
                    functions = [
                        "never", functionOf (fun _ -> raise (StageException("bad input", false)))
                        "later", functionOf (fun _ -> raise (StageException("try again", true)))
                        "broken", functionOf (fun _ -> invalidOp "oops")
                        "text", StageFunction.ofText id
                        "async",
                        StageFunction(fun _ ->
                            Task.FromException<_>(StageException("in a task", false)))
                    ]
            }

            use _ = new Running(own)
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome

            for stage, payload, error, retry in
                [
                    "never", "", "bad input", "False"
                    "later", "", "try again", "True"
                    "broken", "", "InvalidOperationException: oops", "True"
                    "async", "", "in a task", "False"
                ] do
                do! give peer 1 $"\"{stage}\"" (utf8 payload)
                let! struct (json, _) = result peer
                Expect.equal (text json "ok") "False" "failed"
                Expect.equal (text json "error") error "why"
                let told = text json "retry"
                Expect.equal (if told = "" then "True" else told) retry stage

            do! give peer 1 "\"text\"" [| 97uy; 98uy; 0xFFuy |]
            let! struct (json, _) = result peer

            Expect.equal
                (text json "error", text json "retry")
                ("invalid UTF-8 at byte 2", "False")
                "strict"
        }

        testTask "a cancelled task brings no result; the worker goes on" {
            use fake = new FakeScheduler()

            let started =
                TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

            let ended' = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

            let wait =
                StageFunction(fun call ->
                    task {
                        started.SetResult()
                        let cancelled = TaskCompletionSource()
                        use _ = call.cancellation.Register(fun () -> cancelled.SetResult())
                        do! cancelled.Task
                        ended'.SetResult()
                        return call.payload // all the same
                    })

            use _ = new Running({ options fake.Address with functions = [ "wait", wait ] })
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            do! give peer 1 "\"wait\"" (utf8 "A")
            do! ended started.Task
            do! peer.Send """{"type":"CANCEL","task":1,"attempt":2}""" // another attempt
            do! peer.Send """{"type":"CANCEL","task":1,"attempt":1}"""
            do! ended ended'.Task
            do! give peer 2 "\"lower\"" (utf8 "B")
            let! struct (json, _) = result peer
            Expect.equal (text json "task") "2" "the next one"
            do! give peer 3 "\"lower\"" (Array.create 100_000 65uy)
            let! struct (json, _) = result peer
            Expect.equal (text json "task") "3" "and the one after it"
        }

        testTask
            "work goes on while the scheduler is away, and what may be kept is delivered to the next" {
            use fake = new FakeScheduler()
            let gates = [| for _ in 1..3 -> TaskCompletionSource() |]
            let allStarted = new CountdownEvent(3)
            let stopped = TaskCompletionSource()

            let gated =
                StageFunction(fun call ->
                    task {
                        let index = int call.payload.Span[0] - int '1'

                        use _ =
                            call.cancellation.Register(fun () ->
                                if index = 1 then
                                    stopped.TrySetResult() |> ignore)

                        allStarted.Signal() |> ignore
                        do! gates[index].Task
                        return ReadOnlyMemory(utf8 $"done {index + 1}")
                    })

            use _ = new Running({ options fake.Address with functions = [ "gated", gated ] })
            let! (first: Peer) = fake.WelcomeWorkerAsync welcome

            for task in 1..3 do
                do! give first task "\"gated\"" (utf8 (string task))

            do! ended (Task.Run(fun () -> allStarted.Wait()))
            (first :> IDisposable).Dispose()
            let! (second: Peer) = fake.AcceptAsync()
            let! hello = second.ReadJson()
            Expect.equal (text hello "holding") "[[1,1],[2,1],[3,1]]" "what it has"
            gates[0].SetResult() // nobody has been there to take it
            do! second.Send(welcome.Replace("}", ",\"keep\":[[1,1],[3,1]]}"))
            let! struct (one, bytes) = result second
            Expect.equal (text one "task", bytes) ("1", utf8 "done 1") "finished meanwhile"
            do! ended stopped.Task
            gates[1].SetResult()
            gates[2].SetResult()
            let! struct (three, bytes) = result second
            Expect.equal (text three "task", bytes) ("3", utf8 "done 3") "and not the second"
        }

        testTask "functions that block leave threads for the beats" {
            use fake = new FakeScheduler()
            let slots = 40
            let everybody = new CountdownEvent(slots)

            let block (call: StageCall) =
                everybody.Signal() |> ignore
                everybody.Wait call.cancellation
                call.payload.ToArray()

            let own = {
                options fake.Address with
                    slots = slots
                    functions = [ "block", functionOf block ]
            }

            use _ = new Running(own)
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            let struct (threads, _) = threadsAtOnce ()
            Expect.isGreaterThan threads slots "the pool does not hesitate"

            for index in 1..slots do
                do! give peer index "\"block\"" [| 1uy |]

            for _ in 1..slots do
                let! struct (json, _) = result peer
                Expect.equal (text json "ok") "True" "all ran at once"
        }

        testTask "a type that it does not know is read over" {
            use fake = new FakeScheduler()
            use _ = new Running(options fake.Address)
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            do! peer.Send("""{"type":"NEWS","bytes":5}""", utf8 "{}\n\n\n")
            do! give peer 1 "\"lower\"" (utf8 "A")
            let! struct (_, bytes) = result peer
            Expect.equal bytes (utf8 "a") "in step"
        }

        testTask "a result that the scheduler would not take is a failure" {
            use fake = new FakeScheduler()
            use _ = new Running(options fake.Address)
            let! (peer: Peer) = fake.WelcomeWorkerAsync(welcomeOf 60_000 60_000 10)
            do! give peer 1 "\"lower\"" (Array.create 10 65uy)
            let! struct (json, _) = result peer
            Expect.equal (text json "ok") "True" "10 bytes"

            for size in [ 11; 100_000; 5_000_000 ] do
                do! give peer 1 "\"lower\"" (Array.create size 65uy)
                let! struct (json, _) = result peer
                Expect.equal (text json "ok", text json "retry") ("False", "False") $"{size} bytes"
        }

        testTask "asked to stop, it says so, finishes what it holds, and closes" {
            use fake = new FakeScheduler()

            let started =
                TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

            let goOn = TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

            let wait =
                StageFunction(fun call ->
                    task {
                        started.SetResult()
                        do! goOn.Task
                        return call.payload
                    })

            let own = {
                options fake.Address with
                    functions = [ "wait", wait ]
                    drain = seconds 60.0
            }

            let worker = new Running(own)
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            do! give peer 1 "\"wait\"" (Array.create 2_000_000 65uy)
            do! ended started.Task
            worker.Stop()
            let! (ready: JsonElement) = peer.ReadJson()
            Expect.equal (text ready "type", text ready "slots") ("READY", "0") "nothing new"
            goOn.SetResult()
            let! struct (json, bytes) = result peer
            Expect.equal (text json "ok") "True" "finished"
            Expect.hasLength bytes 2_000_000 "whole"
            do! peer.ReadEnd()
            let! (ending: WorkerEnd) = worker.Ending
            Expect.equal ending Ended "as asked"
        }

        testTask "asked to stop, it waits no longer than it may" {
            use fake = new FakeScheduler()

            let started =
                TaskCompletionSource TaskCreationOptions.RunContinuationsAsynchronously

            let wait =
                StageFunction(fun call ->
                    started.SetResult()
                    TaskCompletionSource<ReadOnlyMemory<byte>>().Task)

            let own = {
                options fake.Address with
                    functions = [ "wait", wait ]
                    drain = TimeSpan.FromMilliseconds 50.0
            }

            let worker = new Running(own)
            let! (peer: Peer) = fake.WelcomeWorkerAsync welcome
            do! give peer 1 "\"wait\"" (utf8 "A")
            do! ended started.Task
            worker.Stop()
            let! (ready: JsonElement) = peer.ReadJson()
            Expect.equal (text ready "slots") "0" "nothing new"
            do! peer.ReadEnd()
            let! (ending: WorkerEnd) = worker.Ending
            Expect.equal ending Ended "as asked"
        }
    ]

[<Tests>]
let tests = testSequencedGroup "workers" (testList "worker" [ work ])
