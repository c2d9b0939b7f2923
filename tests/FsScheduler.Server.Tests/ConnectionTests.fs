module FsScheduler.Server.Tests.ConnectionTests

open System
open System.IO
open System.Net
open System.Net.Sockets
open System.Text.Json
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Abstractions
open Expecto
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Server
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster

let private plain = id<SchedulerOptions>

let private guarded (options: SchedulerOptions) = {
    options with
        rules = { options.rules with tokens = Some tokens }
}

let private small (options: SchedulerOptions) = {
    options with
        rules = { options.rules with maxPayload = 1_000L<B>; maxResult = 2_000L<B> }
}

let private hello role =
    $"""{{"type":"HELLO","protocol":1,"role":"{role}","name":"x"}}"""

let private helloWith role token =
    $"""{{"type":"HELLO","protocol":1,"role":"{role}","name":"x","token":"{token}"}}"""

let private submit ref want bytes =
    $"""{{"type":"SUBMIT","ref":"{ref}","name":"{ref}.txt","pipeline":"lower","want":"{want}","bytes":{bytes}}}"""

let private expectError (code: string) (json: JsonElement) =
    Expect.equal (text json "type", text json "code") ("ERROR", code) $"{json}"
    Expect.isNotEmpty (text json "message") "says what is wrong"

/// What a stranger, a worker or a client says, and how it is sent away.
let private refusals
    : (string * (SchedulerOptions -> SchedulerOptions) * string list * byte[] * string) list = [
    "BEAT before HELLO", plain, [], utf8 "{\"type\":\"BEAT\"}\n", "not-welcome"
    "an unknown type before HELLO", plain, [], utf8 "{\"type\":\"NEW\"}\n", "not-welcome"
    "a second HELLO", plain, [ hello "worker" ], utf8 (hello "worker" + "\n"), "not-welcome"
    "a SUBMIT of a worker",
    plain,
    [ hello "worker" ],
    utf8 (submit "a" "none" 0 + "\n"),
    "not-welcome"
    "a BEAT of a client", plain, [ hello "client" ], utf8 "{\"type\":\"BEAT\"}\n", "not-welcome"
    "a READY of a client",
    plain,
    [ hello "client" ],
    utf8 "{\"type\":\"READY\",\"slots\":1}\n",
    "not-welcome"
    "what only a scheduler says",
    plain,
    [ hello "client" ],
    utf8 "{\"type\":\"WELCOME\"}\n",
    "not-welcome"
    "no JSON", plain, [], utf8 "GET / HTTP/1.1\r\n", "bad-frame"
    "an array", plain, [], utf8 "[]\n", "bad-frame"
    "no UTF-8",
    plain,
    [ hello "client" ],
    Array.append [| byte '"'; 0xFFuy; byte '"' |] "\n"B,
    "bad-frame"
    "1 MB without a newline", plain, [], Array.create 1_000_000 (byte 'x'), "bad-frame"
    "1 MB without a newline, later",
    plain,
    [ hello "worker" ],
    Array.create 1_000_000 0uy,
    "bad-frame"
    "another version",
    plain,
    [],
    utf8 "{\"type\":\"HELLO\",\"protocol\":2,\"role\":\"client\",\"name\":\"x\"}\n",
    "bad-version"
    "no token", guarded, [], utf8 (hello "client" + "\n"), "unauthorized"
    "a wrong token", guarded, [], utf8 (helloWith "worker" "wrong" + "\n"), "unauthorized"
    "a worker's token for a client",
    guarded,
    [],
    utf8 (helloWith "client" "of-the-workers-0001" + "\n"),
    "unauthorized"
    "a client's token for a worker",
    guarded,
    [],
    utf8 (helloWith "worker" "of-the-clients-0001" + "\n"),
    "unauthorized"
    "a SUBMIT that is too large",
    small,
    [ hello "client" ],
    Array.append (utf8 (submit "a" "none" 1_001 + "\n")) (Array.zeroCreate 1_001),
    "too-large"
    "a RESULT that is too large",
    small,
    [ hello "worker" ],
    utf8 "{\"type\":\"RESULT\",\"task\":1,\"attempt\":1,\"ok\":true,\"bytes\":2001}\n",
    "too-large"
]

/// What is answered, and the connection goes on.
let private answers = [
    "an unknown type", "client", "{\"type\":\"NEW\",\"bytes\":4}\n\n{}\n", "unknown-type"
    "a missing field", "client", "{\"type\":\"CANCEL\"}\n", "bad-field"
    "a wrong field, with a payload",
    "client",
    "{\"type\":\"SUBMIT\",\"ref\":7,\"bytes\":3}\n{}\n",
    "bad-field"
    "slots below 0", "worker", "{\"type\":\"READY\",\"slots\":-1}\n", "bad-field"
    "a task nobody knows", "client", "{\"type\":\"RETRY\",\"task\":99}\n", "bad-field"
]

let private errors =
    testList "errors" [
        for what, change, before, bytes, code in refusals do
            testTask $"{what}: {code}, and closed" {
                use cluster = new Cluster(change)
                use! (other: Peer) = cluster.ConnectAsync()
                use! (peer: Peer) = cluster.ConnectAsync()

                for line in before do
                    do! peer.Send line
                    let! (welcome: JsonElement) = peer.ReadJson()
                    Expect.equal (text welcome "type") "WELCOME" "taken in"

                do! peer.Write bytes
                let! (error: JsonElement) = peer.ReadJson()
                expectError code error
                do! peer.ReadEnd()

                // Nobody else notices.
                do! other.Send(helloWith "client" "of-the-clients-0001")
                let! (welcome: JsonElement) = other.ReadJson()
                Expect.equal (text welcome "type") "WELCOME" "undisturbed"
            }

        for what, role, bytes, code in answers do
            testTask $"{what}: {code}, and goes on" {
                use cluster = new Cluster(plain)
                use! (peer: Peer) = cluster.JoinAsync(hello role)
                do! peer.Write(utf8 bytes)
                let! (error: JsonElement) = peer.ReadJson()
                expectError code error
                let next = if role = "worker" then "BEAT" else "STATUS"
                do! peer.Send $"""{{"type":"{next}"}}"""
                let! (answer: JsonElement) = peer.ReadJson()
                Expect.equal (text answer "type") next "goes on"
            }

        testTask "an error reaches a peer that goes on sending" {
            use cluster = new Cluster(small)
            use! (peer: Peer) = cluster.JoinAsync(hello "client")
            // Closing with bytes unread resets a connection, and takes back what was sent.
            do! peer.Send(submit "a" "none" 900_000, Array.zeroCreate 900_000)
            let! (error: JsonElement) = peer.ReadJson()
            expectError "too-large" error
            do! peer.ReadEnd()
        }

        testTask "no HELLO within 10 s: timeout" {
            use cluster = new Cluster(plain)
            use! (peer: Peer) = cluster.ConnectAsync()
            do! peer.Write(utf8 "{\"type\":\"HEL")
            use! (client: Peer) = cluster.ClientAsync()
            cluster.Time.Advance(seconds 9.9)
            do! client.Send """{"type":"STATUS"}"""
            let! _ = client.ReadJson()
            cluster.Time.Advance(seconds 0.2)
            let! (error: JsonElement) = peer.ReadJson()
            expectError "timeout" error
            do! peer.ReadEnd()
            do! client.Send """{"type":"STATUS"}"""
            let! (status: JsonElement) = client.ReadJson()
            Expect.equal (text status "type") "STATUS" "who has said HELLO may be silent"
        }

        testTask "a frame that stops for 30 s: timeout; a byte in between helps" {
            use cluster = new Cluster(plain)
            use! (client: Peer) = cluster.ClientAsync()
            do! client.Write(utf8 (submit "a" "none" 10 + "\n123"))

            // The bytes are there when the answer to what came after them on another connection is.
            for part in [ "4"; "5" ] do
                cluster.Time.Advance(seconds 29.0)
                do! client.Write(utf8 part)
                use! (other: Peer) = cluster.ClientAsync()

                for _ in 1..20 do
                    do! other.Send """{"type":"STATUS"}"""
                    let! _ = other.ReadJson()
                    ()

            cluster.Time.Advance(seconds 31.0)
            let! (error: JsonElement) = client.ReadJson()
            expectError "timeout" error
            do! client.ReadEnd()
        }
    ]

/// Of messages without payloads.
let private noPayloads = {
    new IPayloadSource<FromScheduler, OutgoingPayload> with
        member _.TryBytes _ = ValueSome ReadOnlyMemory.Empty
        member _.MemorySize _ = 0L
        member _.Posted _ = ()
        member _.Open _ = ValueNone
        member _.Instead _ = ValueNone
        member _.Sent(_, _, _) = ()
        member _.Unsent _ = ()
}

/// A worker's connection by itself: it has said HELLO.
type private Alone(agent: SchedulerAgent, connection: Connection, peer: Peer) =
    let running = connection.RunAsync()
    member _.Agent = agent
    member _.Connection = connection
    member _.Peer = peer
    member _.Running = running

    /// `spool` names the file of a large payload.
    static member StartAsync(spool, log: ILogger) =
        task {
            let clock = Clock(HandTime())
            let mutable connection: Connection voption = ValueNone

            let welcome =
                Release(fun effects ->
                    for effect in effects do
                        match effect, connection with
                        | Effect.ToPeer(PeerEffect.Welcome(_, keep)), ValueSome connection ->
                            connection.Welcome keep
                            connection.Signal()
                        | _ -> ())

            let agent = SchedulerAgent(Scheduler settings, MemoryJournal 10, welcome, clock)

            let context = {
                rules = { tokens = None; maxPayload = 1_000_000L<B>; maxResult = 1_000_000L<B> }
                beat = 1_000L<ms>
                lostAfter = 5_000L<ms>
                agent = agent
                payloads = noPayloads
                sharing = ValueNone
                spool = spool
                isKept = fun _ -> false
                answer = fun _ -> invalidOp "a bug"
                outage = StorageOutage log
                noRoom = fun _ _ -> ()
                isDraining = fun () -> false
                places = ConnectionSlots(ConnectionLimits.ofDescriptors ValueNone 0L)
                clock = clock
                log = log
            }

            let listener = new TcpListener(IPAddress.Loopback, 0)
            listener.Start()
            let peer = new Peer(listener.LocalEndpoint :?> IPEndPoint)
            let! (socket: Socket) = within (listener.AcceptSocketAsync())
            listener.Stop()
            let made = Connection(1L<sessionId>, socket, context)
            connection <- ValueSome made
            let alone = new Alone(agent, made, peer)
            do! peer.Send(hello "worker")
            let! _ = peer.ReadJson()
            return alone
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            (peer :> IAsyncDisposable).DisposeAsync()

let private result =
    """{"type":"RESULT","task":1,"attempt":1,"ok":true,"bytes":100000}"""

let private opening =
    testList "opening" [
        testTask "WELCOME says what the scheduler expects" {
            use cluster = new Cluster(small)
            use! (peer: Peer) = cluster.ConnectAsync()
            do! peer.Send(hello "worker")
            let! (welcome: JsonElement) = peer.ReadJson()

            Expect.equal
                [
                    for field in
                        [ "type"; "protocol"; "beatMs"; "lostAfterMs"; "maxPayload"; "maxResult" ] ->
                        text welcome field
                ]
                [ "WELCOME"; "1"; "1000"; "5000"; "1000"; "2000" ]
                "as set"

            Expect.isNotEmpty (text welcome "session") "a session"
        }

        testTask "a HELLO may come byte by byte" {
            use cluster = new Cluster(plain)
            use! (peer: Peer) = cluster.ConnectAsync()

            for letter in utf8 (hello "client" + "\n") do
                do! peer.Write [| letter |]

            let! (welcome: JsonElement) = peer.ReadJson()
            Expect.equal (text welcome "type") "WELCOME" "taken in"
        }

        testTask "each token opens its role" {
            use cluster = new Cluster(guarded)

            for role in [ "worker"; "client" ] do
                use! (_: Peer) = cluster.JoinAsync(helloWith role $"of-the-{role}s-0001")
                ()
        }

        test "who finds no place is told so, and that is the end of the connection" {
            use listener = new TcpListener(IPAddress.Loopback, 0)
            listener.Start()
            use peer = new TcpClient()
            peer.Connect(listener.LocalEndpoint :?> IPEndPoint)
            let socket = listener.AcceptSocket()
            let refusing = (ConnectionSlots { all = 7; clients = 6 }).RefuseAsync socket
            use reader = new StreamReader(peer.GetStream())
            let line = nonNull (reader.ReadLine())
            use refusal = JsonDocument.Parse line
            expectError "not-welcome" refusal.RootElement
            Expect.stringContains line "all 7 connections are taken" "why"
            Expect.equal (reader.ReadToEnd()) "" "the end"
            peer.Close()
            Expect.isTrue (refusing.Wait(TimeSpan.FromSeconds 30.0)) "and nothing is left of it"
        }

        testTask "who resets the connection at once disturbs nobody" {
            use cluster = new Cluster(plain)

            for _ in 1..50 do
                let! (peer: Peer) = cluster.ConnectAsync()
                peer.Socket.LingerState <- LingerOption(true, 0)
                (peer :> IDisposable).Dispose()

            use! (_: Peer) = cluster.ClientAsync()
            Expect.isFalse cluster.Server.Completion.IsCompleted "it goes on"
        }

        testTask "whatever goes wrong in a connection ends only it, and the machine is told" {
            let log = RecordingLog()
            use! (alone: Alone) = Alone.StartAsync((fun _ -> invalidOp "a bug"), log)
            let! (workers: WorkerReport[]) = alone.Agent.QueryAsync _.Status.workers
            Expect.hasLength workers 1 "it has joined"
            do! alone.Peer.Send result
            do! ended alone.Running
            let! (workers: WorkerReport[]) = alone.Agent.QueryAsync _.Status.workers
            Expect.isEmpty workers "it has left"
            Expect.exists log.Lines (fun line -> line.StartsWith "Error") "and the log tells"
        }

        testTask "a file that was made for a result after its worker has gone is deleted" {
            use folder = new TempFolder()
            let path = folder.At "late"
            let asked = TaskCompletionSource()
            let made = TaskCompletionSource<string | null>()

            let spool _ =
                asked.SetResult()
                made.Task

            use! (alone: Alone) = Alone.StartAsync(spool, NullLogger.Instance)
            do! alone.Peer.Send result
            do! asked.Task
            (alone.Peer :> IDisposable).Dispose()
            alone.Connection.Close "gone"
            do! ended alone.Running
            File.WriteAllBytes(path, [||])
            made.SetResult path
            do! eventually "it is deleted" (fun () -> not (File.Exists path))
        }

        testTask "it ends without a fault" {
            let cluster = new Cluster(plain)
            use! (peer: Peer) = cluster.ClientAsync()
            do! (cluster :> IAsyncDisposable).DisposeAsync()
            do! peer.ReadEnd()
            Expect.isFalse cluster.Server.Completion.IsFaulted "nothing has failed"
        }
    ]

let private work =
    testList "work" [
        testTask "the payload of a BEAT is read over, and a RESULT for nobody too" {
            use cluster = new Cluster(plain)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            do! worker.Send("""{"type":"BEAT","bytes":100000}""", Array.create 100_000 10uy)
            let! (beat: JsonElement) = worker.ReadJson()
            Expect.equal (text beat "type") "BEAT" "answered"

            for size in [ 5; 500_000 ] do
                do!
                    worker.Send(
                        $"""{{"type":"RESULT","task":77,"attempt":1,"ok":true,"bytes":{size}}}""",
                        Array.create size 10uy
                    )

            do! worker.Send """{"type":"BEAT"}"""
            let! (beat: JsonElement) = worker.ReadJson()
            Expect.equal (text beat "type") "BEAT" "in step"
            Expect.isEmpty cluster.Spooled "nothing is kept"
        }

        testTask "a task goes from client to worker and back; 'none' brings no payload" {
            use cluster = new Cluster(plain)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()

            for want, expected in [ "result", "abc"; "none", "" ] do
                do! client.Send(submit want want 3, utf8 "ABC")
                let! (accepted: JsonElement) = client.ReadJson()

                Expect.equal
                    (text accepted "type", text accepted "ref")
                    ("ACCEPTED", want)
                    "durable"

                let task = text accepted "task"
                let! (given: JsonElement) = worker.ReadJson()
                Expect.equal (text given "type", text given "task") ("PROCESS", task) "given out"
                Expect.equal (text given "name") $"{want}.txt" "its name"
                let! (payload: byte[]) = worker.ReadBytes 3
                Expect.equal payload (utf8 "ABC") "the payload"

                do!
                    worker.Send(
                        $"""{{"type":"RESULT","task":{task},"attempt":1,"ok":true,"bytes":3}}""",
                        utf8 "abc"
                    )

                let! (ended: JsonElement) = client.ReadJson()

                Expect.equal
                    [ for field in [ "type"; "ref"; "task"; "ok" ] -> text ended field ]
                    [ "DONE"; want; task; "True" ]
                    "done"

                let! (result: byte[]) = client.ReadBytes expected.Length
                Expect.equal result (utf8 expected) "the result"
        }

        testTask "want file: the result is in resultados" {
            use cluster = new Cluster(plain)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()

            for name, size in [ "small", 3; "large", 1_000_000 ] do
                do! client.Send(submit name "file" 1, "A"B)
                let! (accepted: JsonElement) = client.ReadJson()
                let! _ = worker.ReadJson()
                let! _ = worker.ReadBytes 1

                do!
                    worker.Send(
                        $"""{{"type":"RESULT","task":{text accepted "task"},"attempt":1,"ok":true,"bytes":{size}}}""",
                        Array.create size 97uy
                    )

                let! (ended: JsonElement) = client.ReadJson()

                Expect.equal
                    (text ended "type", text ended "bytes")
                    ("DONE", "")
                    "without the result"

                let result = IO.File.ReadAllBytes(cluster.Folder.At $"resultados/{name}.txt.out")
                Expect.equal result (Array.create size 97uy) "stored"
        }

        testTask "5 MiB go both ways through files, and none is left" {
            use cluster = new Cluster(plain)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()
            let size = 5 * 1024 * 1024
            let payload = Array.init size (fun index -> byte (index * 7))
            do! client.Send(submit "a" "result" size, payload)
            let! (accepted: JsonElement) = client.ReadJson()
            Expect.isNonEmpty cluster.Spooled "in a file"
            let! _ = worker.ReadJson()
            let! (given: byte[]) = worker.ReadBytes size
            Expect.isTrue (given.AsSpan().SequenceEqual payload) "whole"
            Array.Reverse given

            do!
                worker.Send(
                    $"""{{"type":"RESULT","task":{text accepted "task"},"attempt":1,"ok":true,"bytes":{size}}}""",
                    given
                )

            let! _ = client.ReadJson()
            let! (result: byte[]) = client.ReadBytes size
            Expect.isTrue (result.AsSpan().SequenceEqual given) "whole"
            do! eventually "no file is left" (fun () -> cluster.Spooled.Length = 0)
        }

        testTask "a client that goes leaves no file, whatever it was about to get" {
            use cluster = new Cluster(plain)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            let size = 8 * 1024 * 1024
            let! (client: Peer) = cluster.ClientAsync()

            for ref in [ "a"; "b"; "c" ] do
                do! client.Send(submit ref "result" 1, "A"B)

            for _ in 1..3 do
                let! (given: JsonElement) = worker.ReadJson()
                let! _ = worker.ReadBytes 1

                do!
                    worker.Send(
                        $"""{{"type":"RESULT","task":{text given "task"},"attempt":1,"ok":true,"bytes":{size}}}""",
                        Array.zeroCreate size
                    )

            // It reads nothing: results wait for it in files.
            do! worker.Send """{"type":"BEAT"}"""
            let! _ = worker.ReadJson()
            (client :> IDisposable).Dispose()
            do! eventually "no file is left" (fun () -> cluster.Spooled.Length = 0)
        }

        testTask "half a large SUBMIT leaves no file" {
            use cluster = new Cluster(plain)
            let! (client: Peer) = cluster.ClientAsync()
            do! client.Send(submit "a" "result" 1_000_000, Array.zeroCreate 500_000)
            do! eventually "it has begun" (fun () -> cluster.Spooled.Length = 1)
            (client :> IDisposable).Dispose()
            do! eventually "no file is left" (fun () -> cluster.Spooled.Length = 0)
        }

        testTask "a lost worker's task is given out again" {
            use cluster = new Cluster(plain)
            use! (first: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            use! (client: Peer) = cluster.ClientAsync()
            do! client.Send(submit "a" "none" 0)
            let! (given: JsonElement) = first.ReadJson()
            Expect.equal (text given "attempt") "1" "the first attempt"
            use! (second: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            (first :> IDisposable).Dispose()
            let! (again: JsonElement) = second.ReadJson()
            Expect.equal (text again "task") (text given "task") "the same task"
            Expect.equal (text again "attempt") "2" "the second attempt"
        }

        testTask "a worker that is silent is lost, one that beats is not" {
            use cluster = new Cluster(plain)
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
                    do! beating.Send """{"type":"BEAT"}"""
                    let! _ = beating.ReadJson()
                    ()

                do! client.Send """{"type":"STATUS"}"""
                let! (status: JsonElement) = client.ReadJson()
                workers <- status.GetProperty("workers").GetArrayLength()

            Expect.equal workers 1 "one is lost"
            Expect.isGreaterThan passed 5_000 "after 5 s"
            do! silent.ReadEnd()
            do! beating.Send """{"type":"BEAT"}"""
            let! (beat: JsonElement) = beating.ReadJson()
            Expect.equal (text beat "type") "BEAT" "still there"
        }

        testTask "a key runs once" {
            use cluster = new Cluster(plain)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 4)
            use! (client: Peer) = cluster.ClientAsync()

            let keyed ref bytes =
                $"""{{"type":"SUBMIT","ref":"{ref}","name":"n.txt","pipeline":"lower","key":"k","bytes":{bytes}}}"""

            for size in [ 3; 100_000 ] do
                let key ref =
                    (keyed ref size).Replace("\"k\"", $"\"k{size}\"")

                let content = Array.create size 65uy
                do! client.Send(key "a", content)
                let! (first: JsonElement) = client.ReadJson()
                do! client.Send(key "b", content)
                let! (second: JsonElement) = client.ReadJson()
                Expect.equal (text second "ref") "b" "accepted"
                Expect.equal (text second "task") (text first "task") "the same task"
                do! client.Send(key "c", Array.create size 66uy)
                let! (other: JsonElement) = client.ReadJson()

                Expect.equal
                    (text other "type", text other "code")
                    ("REJECTED", "bad-key")
                    "other content"

                let! _ = worker.ReadJson()
                let! _ = worker.ReadBytes size

                do!
                    worker.Send
                        $"""{{"type":"RESULT","task":{text first "task"},"attempt":1,"ok":true}}"""

                let! (done1: JsonElement) = client.ReadJson()
                let! (done2: JsonElement) = client.ReadJson()
                Expect.equal [ text done1 "ref"; text done2 "ref" ] [ "a"; "b" ] "both are told"

            do! eventually "no file is left" (fun () -> cluster.Spooled.Length = 0)
        }

        testTask "what cannot be done is rejected, and the payload thrown away" {
            use cluster = new Cluster(plain)
            use! (client: Peer) = cluster.ClientAsync()

            for size in [ 3; 200_000 ] do
                for name, pipeline, code in
                    [ "../a", "lower", "bad-name"; "a", "lowr", "bad-pipeline" ] do
                    do!
                        client.Send(
                            $"""{{"type":"SUBMIT","ref":"r","name":"{name}","pipeline":"{pipeline}","bytes":{size}}}""",
                            Array.zeroCreate size
                        )

                    let! (rejected: JsonElement) = client.ReadJson()

                    Expect.equal
                        (text rejected "type", text rejected "code")
                        ("REJECTED", code)
                        name

            do! eventually "no file is left" (fun () -> cluster.Spooled.Length = 0)
        }

        testTask "a payload that cannot be stored is rejected as busy" {
            use cluster = new Cluster(plain)
            use! (client: Peer) = cluster.ClientAsync()
            Directory.Delete(cluster.Folder.At "state/spool")
            do! client.Send(submit "a" "none" 200_000, Array.zeroCreate 200_000)
            let! (rejected: JsonElement) = client.ReadJson()
            Expect.equal (text rejected "type", text rejected "code") ("REJECTED", "busy") "later"
            Directory.CreateDirectory(cluster.Folder.At "state/spool") |> ignore
            do! client.Send(submit "b" "none" 200_000, Array.zeroCreate 200_000)
            let! (accepted: JsonElement) = client.ReadJson()
            Expect.equal (text accepted "type") "ACCEPTED" "it was later"
        }

        testTask "CANCEL takes the task from its worker" {
            use cluster = new Cluster(plain)
            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 1)
            use! (client: Peer) = cluster.ClientAsync()
            do! client.Send(submit "a" "none" 0)
            let! (accepted: JsonElement) = client.ReadJson()
            let! _ = worker.ReadJson()
            do! client.Send $"""{{"type":"CANCEL","task":{text accepted "task"}}}"""
            let! (cancel: JsonElement) = worker.ReadJson()

            Expect.equal
                (text cancel "type", text cancel "task")
                ("CANCEL", text accepted "task")
                "the worker"

            let! (ended: JsonElement) = client.ReadJson()
            Expect.equal (text ended "type", text ended "ok") ("DONE", "False") "the client"
        }

        testTask "STATUS counts tasks and workers" {
            use cluster = new Cluster(plain)
            use! (client: Peer) = cluster.ClientAsync()

            for ref in [ "a"; "b"; "c" ] do
                do! client.Send(submit ref "none" 0)
                let! _ = client.ReadJson()
                ()

            use! (worker: Peer) = cluster.WorkerAsync("\"lower\"", 2)
            let! _ = worker.ReadJson()
            do! client.Send """{"type":"STATUS"}"""
            let! (status: JsonElement) = client.ReadJson()

            Expect.equal
                [
                    for field in [ "type"; "queued"; "running"; "idle"; "busy" ] ->
                        text status field
                ]
                [ "STATUS"; "1"; "2"; "0"; "1" ]
                "three tasks, two slots"

            Expect.equal (status.GetProperty("workers").GetArrayLength()) 1 "one worker"
        }

        testTask "a worker that does not read is not read from, and disturbs nobody" {
            use cluster = new Cluster(plain)
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
                do! client.Send """{"type":"STATUS"}"""
                let! (status: JsonElement) = client.ReadJson()
                Expect.equal (text status "type") "STATUS" "undisturbed"
                still <- if sent.Value = before then still + 1 else 0
                before <- sent.Value

            Expect.isFalse flood.IsCompleted "it waits, and is not sent away"
            Expect.isLessThan sent.Value 200_000_000L "not much was taken"
        }
    ]

[<Tests>]
let tests = testList "connections" [ opening; errors; work ]
