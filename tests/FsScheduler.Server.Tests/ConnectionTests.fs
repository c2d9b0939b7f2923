/// How connections open, what they are refused, and how they end.
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
open FsScheduler.Machine
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

let private helloWith role token =
    $"""{{"type":"HELLO","protocol":1,"role":"{role}","name":"x","token":"{token}"}}"""

let private isError (code: string) (json: JsonElement) =
    Expect.equal (text json "type", text json "code") ("ERROR", code) $"{json}"
    Expect.isNotEmpty (text json "message") "says what is wrong"

/// The next line is an ERROR of this code.
let private expectError (code: string) (peer: Peer) =
    task {
        let! error = peer.ReadJson()
        isError code error
    }

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
                    do! expectNext "WELCOME" peer

                do! peer.Write bytes
                do! expectError code peer
                do! peer.ReadEnd()

                // Nobody else notices.
                do! other.Send(helloWith "client" "of-the-clients-0001")
                do! expectNext "WELCOME" other
            }

        for what, role, bytes, code in answers do
            testTask $"{what}: {code}, and goes on" {
                use cluster = new Cluster(plain)
                use! (peer: Peer) = cluster.JoinAsync(hello role)
                do! peer.Write(utf8 bytes)
                do! expectError code peer
                let kind = if role = "worker" then "BEAT" else "STATUS"
                let! _ = expectAnswer kind peer
                ()
            }

        testTask "an error reaches a peer that goes on sending" {
            use cluster = new Cluster(small)
            use! (peer: Peer) = cluster.JoinAsync(hello "client")
            // Closing with bytes unread resets a connection, and takes back what was sent.
            do! peer.Send(submit "a" "none" 900_000, Array.zeroCreate 900_000)
            do! expectError "too-large" peer
            do! peer.ReadEnd()
        }

        testTask "no HELLO within 10 s: timeout" {
            use cluster = new Cluster(plain)
            use! (peer: Peer) = cluster.ConnectAsync()
            do! peer.Write(utf8 "{\"type\":\"HEL")
            use! (client: Peer) = cluster.ClientAsync()
            cluster.Time.Advance(seconds 9.9)
            let! _ = expectAnswer "STATUS" client
            cluster.Time.Advance(seconds 0.2)
            do! expectError "timeout" peer
            do! peer.ReadEnd()
            // Who has said HELLO may be silent.
            let! _ = expectAnswer "STATUS" client
            ()
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
                    let! _ = expectAnswer "STATUS" other
                    ()

            cluster.Time.Advance(seconds 31.0)
            do! expectError "timeout" client
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

            do! expectNext "WELCOME" peer
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
            isError "not-welcome" refusal.RootElement
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

[<Tests>]
let tests = testList "connections" [ opening; errors ]
