module FsScheduler.Runtime.Tests.WireSupport

open System
open System.Buffers
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Net
open System.Net.Sockets
open System.Text
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Runtime.Tests.FileSupport

/// Moments that a test decides; its timers are real ones.
type HandTime() =
    inherit TimeProvider()
    let mutable ticks = 0L

    member _.Advance(span: TimeSpan) =
        Interlocked.Add(&ticks, span.Ticks) |> ignore

    override _.TimestampFrequency = TimeSpan.TicksPerSecond
    override _.GetTimestamp() = Volatile.Read &ticks

let seconds (count: float) = TimeSpan.FromSeconds count

/// Opens spooled payloads, and remembers what became of them.
type SpoolBodies<'message>() =
    let sent = List<struct (string * bool)>()
    let unsent = List<Payload>()
    let posted = List<Payload>()
    member _.Posted = lock posted (fun () -> List.ofSeq posted)
    member _.Sent = lock sent (fun () -> List.ofSeq sent)
    member _.Unsent = lock unsent (fun () -> List.ofSeq unsent)

    interface IPayloadSource<'message> with
        member _.Posted departure =
            lock posted (fun () -> posted.Add departure.payload)

        member _.Open departure =
            match departure.payload with
            | Spooled(path, size) ->
                ValueSome {
                    bytes = ReadOnlyMemory.Empty
                    file = IO.File.OpenHandle path
                    start = 0L<B>
                    size = size
                }
            | _ -> ValueNone

        member _.Instead _ = ValueNone

        member _.Sent(departure, body, whole) =
            (nonNull body.file).Dispose()

            match departure.payload with
            | Spooled(path, _) -> lock sent (fun () -> sent.Add(struct (path, whole)))
            | _ -> ()

        member _.Unsent departure =
            lock unsent (fun () -> unsent.Add departure.payload)

/// A stream whose every write waits for the test, and may fail.
type GatedStream() =
    inherit Stream()
    let permits = new SemaphoreSlim(0)
    let waiting = new SemaphoreSlim(0)
    let written = new MemoryStream()
    let mutable flushes = 0
    let mutable isOpen = false

    member val Failure: exn | null = null with get, set
    member _.Flushes = flushes
    member _.Written = lock written (fun () -> written.ToArray())
    /// Ends when a write waits that has not been waited for before.
    member _.WaitingAsync() : Task = ended (waiting.WaitAsync())
    /// Lets one write happen.
    member _.Permit() = permits.Release() |> ignore

    /// Lets all writes happen from now on.
    member _.Open() =
        Volatile.Write(&isOpen, true)
        permits.Release 1_000 |> ignore

    override stream.WriteAsync(buffer: ReadOnlyMemory<byte>, _: CancellationToken) =
        ValueTask(
            task {
                if not (Volatile.Read &isOpen) then
                    waiting.Release() |> ignore
                    do! permits.WaitAsync()

                match stream.Failure with
                | null -> lock written (fun () -> written.Write buffer.Span)
                | failure -> raise failure
            }
            :> Task
        )

    override _.FlushAsync(_: CancellationToken) =
        Interlocked.Increment &flushes |> ignore
        Task.CompletedTask

    override _.CanRead = false
    override _.CanSeek = false
    override _.CanWrite = true
    override _.Length = raise (NotSupportedException())

    override _.Position
        with get () = raise (NotSupportedException())
        and set _ = raise (NotSupportedException())

    override _.Flush() = ()
    override _.Read(_: byte[], _: int, _: int) : int = raise (NotSupportedException())
    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())
    override _.Write(_: byte[], _: int, _: int) : unit = raise (NotSupportedException())

let departure message payload = {
    message = message
    payload = payload
    submission = ValueNone
    isLast = true
}

/// The other end of a connection, as simple as a peer in any language.
type Peer(socket: Socket) =
    let stream = new NetworkStream(socket, ownsSocket = true)

    static member ConnectAsync(address: IPEndPoint) =
        task {
            let socket = new Socket(SocketType.Stream, ProtocolType.Tcp, NoDelay = true)
            do! socket.ConnectAsync address
            return new Peer(socket)
        }

    member _.Socket = socket

    member _.SendBytes(bytes: byte[]) : Task =
        ended (stream.WriteAsync(ReadOnlyMemory bytes).AsTask())

    member peer.Send(line: string) : Task =
        peer.SendBytes(Encoding.UTF8.GetBytes(line + "\n"))

    member peer.Send(line: string, payload: byte[]) : Task =
        peer.SendBytes(Array.append (Encoding.UTF8.GetBytes(line + "\n")) payload)

    member _.ReadBytes(count: int) : Task<byte[]> =
        within (
            task {
                let bytes = Array.zeroCreate count
                do! stream.ReadExactlyAsync(bytes, 0, count)
                return bytes
            }
        )

    /// The next line as JSON; fails at the end of the stream.
    member _.ReadJson() : Task<JsonElement> =
        within (
            task {
                let line = List<byte>()
                let one = Array.zeroCreate<byte> 1
                let mutable isOpen = true

                while isOpen do
                    do! stream.ReadExactlyAsync(one, 0, 1)

                    if one[0] = byte '\n' then
                        isOpen <- false
                    else
                        line.Add one[0]

                use document = JsonDocument.Parse(line.ToArray())
                return document.RootElement.Clone()
            }
        )

    /// The next line that is not of this type.
    member peer.ReadJsonExcept(kind: string) : Task<JsonElement> =
        task {
            let mutable found = ValueNone

            while found.IsNone do
                let! next = peer.ReadJson()

                if next.GetProperty("type").GetString() <> kind then
                    found <- ValueSome next

            return found.Value
        }

    /// Ends when the other side has closed, and fails if it has sent anything before.
    member _.ReadEnd() : Task =
        task {
            let! count = within (stream.ReadAsync(Array.zeroCreate<byte> 1, 0, 1))

            if count > 0 then
                failwith "the connection should have been closed, but there is more"
        }

    interface IDisposable with
        member _.Dispose() = stream.Dispose()

    interface IAsyncDisposable with
        member _.DisposeAsync() = stream.DisposeAsync()

let text (json: JsonElement) (field: string) =
    match json.TryGetProperty field with
    | true, value -> value.ToString()
    | _ -> ""

let pipelineOf text =
    match Pipeline.parse (HashSet()) text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

let settings: Settings = {
    Settings.defaults (pipelineOf "lower") with
        expected = [| "own" |]
        seed = 1UL
}

let tokens =
    match Tokens.parse "worker of-the-workers-0001\nclient of-the-clients-0001" with
    | Ok tokens -> tokens
    | Error reason -> failwith reason

/// A scheduler of this process, on folders and a port of its own.
type Cluster(change: SchedulerOptions -> SchedulerOptions) =
    let folder = new TempFolder()
    let time = HandTime()
    let state = new StateFolder(folder.At "state")
    let clock = Clock time
    let outage = StorageOutage NullLogger.Instance

    let options =
        for name in [ "entrada"; "resultados" ] do
            Directory.CreateDirectory(folder.At name) |> ignore

        change {
            listen = IPEndPoint(IPAddress.Loopback, 0)
            entrada = folder.At "entrada"
            ignored = IgnoreRules.BuiltIn
            resultados = folder.At "resultados"
            state = state
            sync = Sync.Normal
            settings = settings
            rules = {
                tokens = None
                maxPayload = 64L * 1024L * 1024L * 1L<B>
                maxResult = 64L * 1024L * 1024L * 1L<B>
            }
            beat = 1_000L<ms>
            settle = 0L<ms>
            onDone = OnDone.Keep
            again = false
            sharesFiles = false
            routes = []
            openJournal =
                fun () ->
                    StateJournal.over (new MemoryStore()) (Guid.NewGuid()) state.Path outage clock
            retention = { age = 1_000_000_000_000L<ms>; bytes = 1_000_000_000_000L<B> }
            outage = outage
            clock = clock
            log = NullLogger.Instance
        }

    let server =
        try
            SchedulerServer.StartAsync(options).GetAwaiter().GetResult()
        with _ ->
            (state :> IDisposable).Dispose()
            (folder :> IDisposable).Dispose()
            reraise ()

    member _.Server = server
    member _.Journal = server.Journal
    member _.Time = time
    member _.Folder = folder
    member _.Address = string server.EndPoint
    member _.ConnectAsync() = Peer.ConnectAsync server.EndPoint

    /// Files that wait in the spool folder.
    member _.Spooled = Directory.GetFiles(folder.At "state/spool")

    /// A peer that has said HELLO and read WELCOME.
    member cluster.JoinAsync(hello: string) =
        task {
            let! peer = cluster.ConnectAsync()
            do! peer.Send hello
            let! welcome = peer.ReadJson()

            if text welcome "type" <> "WELCOME" then
                failwith $"{welcome}"

            return peer
        }

    member cluster.WorkerAsync(stages: string, slots: int) =
        task {
            let! peer =
                cluster.JoinAsync
                    $"""{{"type":"HELLO","protocol":1,"role":"worker","name":"w","stages":[{stages}]}}"""

            do! peer.Send $"""{{"type":"READY","slots":{slots}}}"""
            return peer
        }

    member cluster.ClientAsync() =
        cluster.JoinAsync """{"type":"HELLO","protocol":1,"role":"client","name":"c"}"""

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            ValueTask(
                task {
                    do! (server :> IAsyncDisposable).DisposeAsync()
                    (state :> IDisposable).Dispose()
                    (folder :> IDisposable).Dispose()
                }
                :> Task
            )

/// Ends when it is so. For what no event tells; looks often and gives up late.
let eventually (what: string) (isSo: unit -> bool) : Task =
    task {
        use timer = new PeriodicTimer(TimeSpan.FromMilliseconds 5.0)
        let mutable left = 12_000

        while not (isSo ()) do
            left <- left - 1

            if left = 0 then
                failwith $"never: {what}"

            let! _ = timer.WaitForNextTickAsync()
            ()
    }
