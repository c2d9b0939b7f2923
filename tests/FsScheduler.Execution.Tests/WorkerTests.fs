module FsScheduler.Execution.Tests.WorkerTests

open System
open System.Collections.Concurrent
open System.IO
open System.Net
open System.Net.Sockets
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Protocol
open FsScheduler.Execution
open FsScheduler.TestKit
open FsScheduler.Execution.Tests.RunningWorker

let welcomeOf (beatMs: int) (lostAfterMs: int) (maxResult: int) =
    $"""{{"type":"WELCOME","protocol":1,"session":"1","beatMs":{beatMs},"lostAfterMs":{lostAfterMs},"maxPayload":1000000000,"maxResult":{maxResult}}}"""

let welcome = welcomeOf 60_000 60_000 1_000_000_000

/// A scheduler that says what the test says.
type FakeScheduler() =
    let listener = new TcpListener(IPAddress.Loopback, 0)
    do listener.Start()

    // A socket that the test does not name any more is closed by the garbage collector, and its worker goes on alone.
    let peers = ConcurrentBag<Peer>()

    member _.Address = string listener.LocalEndpoint

    /// Of connections from now on: what is not read stays with the worker.
    member _.BufferLittle() =
        listener.Server.ReceiveBufferSize <- 64 * 1024

    member _.AcceptAsync() : Task<Peer> =
        task {
            let! socket = within (listener.AcceptSocketAsync())
            let peer = new Peer(socket)
            peers.Add peer
            return peer
        }

    /// A worker that was taken in: after its HELLO and READY.
    member fake.WelcomeAsync(line: string) : Task<Peer> =
        task {
            let! peer = fake.AcceptAsync()
            let! hello = peer.ReadJson()
            Expect.equal (text hello "type") "HELLO" "first"
            do! peer.Send line
            let! ready = peer.ReadJson()
            Expect.equal (text ready "type") "READY" "then"
            return peer
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            listener.Stop()

            for peer in peers do
                (peer :> IDisposable).Dispose()

            ValueTask.CompletedTask

let private processOf task (stages: string) bytes =
    $"""{{"type":"PROCESS","task":{task},"attempt":1,"name":"a/b.txt","stages":[{stages}],"timeoutMs":1000,"bytes":{bytes}}}"""

let give (peer: Peer) task stages (payload: byte[]) =
    peer.Send(processOf task stages payload.Length, payload)

/// The next RESULT with its payload. READY may come before or after what was finished earlier.
let result (peer: Peer) : Task<struct (JsonElement * byte[])> =
    task {
        let! first = peer.ReadJsonExcept "BEAT"

        let! result =
            if text first "type" = "READY" then
                peer.ReadJsonExcept "BEAT"
            else
                Task.FromResult first

        Expect.equal (text result "type") "RESULT" $"{result}"

        let! bytes =
            match text result "bytes" with
            | ""
            | "0" -> Task.FromResult [||]
            | size -> peer.ReadBytes(int size)

        return struct (result, bytes)
    }

let private functionOf (run: StageCall -> byte[]) =
    StageFunction(fun call -> Task.FromResult(ReadOnlyMemory(run call)))

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
            let! _ = fake.WelcomeAsync welcome
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
            let! (first: Peer) = fake.WelcomeAsync(welcomeOf 50 300 1_000)

            let mutable isOpen = true

            // It beats, and then closes.
            while isOpen do
                try
                    let! (beat: JsonElement) = first.ReadJson()
                    Expect.equal (text beat "type") "BEAT" "it beats"
                with
                | :? EndOfStreamException
                | :? IOException -> isOpen <- false

            let! (second: Peer) = fake.WelcomeAsync welcome
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
            let! (peer: Peer) = fake.WelcomeAsync(welcomeOf 50 1_000 100_000_000)
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
            let! (peer: Peer) = fake.WelcomeAsync welcome

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
            let! (peer: Peer) = fake.WelcomeAsync welcome
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

            for folder in folders () - before do
                do! eventually "no file is left" (fun () -> filesIn folder = [])
        }

        testTask "a file between two stages is gone when the second fails" {
            use fake = new FakeScheduler()
            let before = folders ()

            let own = {
                options fake.Address with
                    functions = [ "fail", functionOf (fun _ -> failwith "no") ]
            }

            use _ = new Running(own)
            let! (peer: Peer) = fake.WelcomeAsync welcome
            do! give peer 1 "\"lower\",\"fail\"" (Array.create 9_000_000 65uy)
            let! struct (json, _) = result peer
            Expect.equal (text json "ok") "False" "failed"

            for folder in folders () - before do
                do! eventually "no file is left" (fun () -> filesIn folder = [])
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
            let! (peer: Peer) = fake.WelcomeAsync welcome

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
            let! (peer: Peer) = fake.WelcomeAsync welcome
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
            let! (first: Peer) = fake.WelcomeAsync welcome

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
            let! (peer: Peer) = fake.WelcomeAsync welcome
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
            let! (peer: Peer) = fake.WelcomeAsync welcome
            do! peer.Send("""{"type":"NEWS","bytes":5}""", utf8 "{}\n\n\n")
            do! give peer 1 "\"lower\"" (utf8 "A")
            let! struct (_, bytes) = result peer
            Expect.equal bytes (utf8 "a") "in step"
        }

        testTask "a result that the scheduler would not take is a failure" {
            use fake = new FakeScheduler()
            use _ = new Running(options fake.Address)
            let! (peer: Peer) = fake.WelcomeAsync(welcomeOf 60_000 60_000 10)
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
            let! (peer: Peer) = fake.WelcomeAsync welcome
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
            let! (peer: Peer) = fake.WelcomeAsync welcome
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

let private addresses =
    testList "addresses" [
        for text, host, port in
            [
                "127.0.0.1:7070", "127.0.0.1", 7070
                "a.example:1", "a.example", 1
                "[::1]:65535", "::1", 65535
            ] do
            test text {
                match SchedulerAddress.parse text with
                | Ok address -> Expect.equal (address.Host, address.Port) (host, port) text
                | Error message -> failtest message
            }

        for text in [ ""; "here"; ":7070"; "here:"; "here:0"; "here:65536"; "here:x" ] do
            test $"'{text}' is refused" {
                match SchedulerAddress.parse text with
                | Ok _ -> failtest "it was taken"
                | Error message -> Expect.stringContains message "HOST:PORT" "says what is wanted"
            }
    ]

[<Tests>]
let tests =
    testSequencedGroup "workers" (testList "worker" [ addresses; opening; work ])
