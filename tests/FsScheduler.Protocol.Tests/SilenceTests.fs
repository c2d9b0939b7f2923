module FsScheduler.Protocol.Tests.SilenceTests

open System
open System.IO.Pipelines
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.TestKit

let private judged silent isAsked sent =
    Silence.decide (silent * 1L<ms>) isAsked (sent * 1L<B>)

/// Both ends of a connection in memory.
let private duplex () =
    let there, back = Pipe(), Pipe()

    let stream (input: Pipe) (output: Pipe) = {
        new IO.Stream() with
            override _.CanRead = true
            override _.CanWrite = true
            override _.CanSeek = false
            override _.Length = raise (NotSupportedException())

            override _.Position
                with get () = raise (NotSupportedException())
                and set _ = raise (NotSupportedException())

            override _.Seek(_, _) = raise (NotSupportedException())
            override _.SetLength _ = raise (NotSupportedException())
            override _.Flush() = ()
            override _.FlushAsync _ = Task.CompletedTask

            override _.Read(buffer: byte[], offset: int, count: int) =
                input.Reader.AsStream().Read(buffer, offset, count)

            override _.ReadAsync(buffer: Memory<byte>, ct: CancellationToken) =
                input.Reader.AsStream(true).ReadAsync(buffer, ct)

            override _.Write(buffer: byte[], offset: int, count: int) =
                output.Writer.AsStream(true).Write(buffer, offset, count)

            override _.WriteAsync(buffer: ReadOnlyMemory<byte>, ct: CancellationToken) =
                output.Writer.AsStream(true).WriteAsync(buffer, ct)

            override _.Dispose _ =
                output.Writer.Complete()
                input.Writer.Complete()
    }

    stream back there, stream there back

/// A scheduler that is played by hand, and a client that is welcome.
type private Meeting = {
    client: ClientConnection
    /// What the client says.
    lines: IO.StreamReader
    say: FromScheduler -> Task
    /// Bytes of a payload.
    send: byte[] -> Task
}

let private meet (clock: ManualClock) : Task<Meeting> =
    task {
        let ours, theirs = duplex ()
        let lines = new IO.StreamReader(theirs, UTF8Encoding false, false, 1)

        let say (message: FromScheduler) : Task =
            let output = Buffers.ArrayBufferWriter<byte>()
            Codec.encodeFromScheduler output message 0L<B>
            theirs.WriteAsync(output.WrittenMemory).AsTask()

        let starting =
            ClientConnection.StartAsync(
                ours,
                "client",
                None,
                IO.Path.GetTempPath(),
                Clock clock,
                CancellationToken.None
            )

        let! hello = within (lines.ReadLineAsync())
        Expect.stringContains (nonNull hello) "HELLO" "it says who it is"

        do!
            say (
                FromScheduler.Welcome {
                    protocol = Codec.protocolVersion
                    session = "1"
                    beat = 1_000L<ms>
                    lostAfter = 5_000L<ms>
                    maxPayload = 1_000L<B>
                    maxResult = 1_000L<B>
                    keep = [||]
                }
            )

        match! within starting with
        | Ok client ->
            let send (bytes: byte[]) =
                theirs.WriteAsync(ReadOnlyMemory bytes).AsTask()

            return { client = client; lines = lines; say = say; send = send }
        | Error reason -> return failtest $"{reason}"
    }

/// So many seconds pass.
let private pass (clock: ManualClock) seconds =
    task {
        for _ in 1..seconds do
            do! clock.Advance 1_000
    }

[<Tests>]
let tests =
    testList "a scheduler that is silent" [
        test "is asked after a while, and given up when it does not answer" {
            Expect.equal (judged 14_999L false 0L) Silence.Wait "it may have nothing to say"
            Expect.equal (judged 15_000L false 0L) Silence.Ask "is it there?"
            Expect.equal (judged 44_999L true 0L) Silence.Wait "it may be busy"
            Expect.equal (judged 45_000L true 0L) Silence.Lost "it is not"
        }

        test "has time for what was sent before the question, on slow ways too" {
            Expect.equal (judged 45_000L true 32_000_000L) Silence.Wait "a large payload"
            Expect.equal (judged 320_000L true 100_000_000_000L) Silence.Lost "not any time"
        }

        testTask "while a client waits is asked for its status, whose answer nobody sees" {
            let clock = ManualClock()
            let! meeting = meet clock
            let client = meeting.client
            let receiving = client.ReceiveAsync CancellationToken.None

            do! pass clock 16
            let! asked = within (meeting.lines.ReadLineAsync())
            Expect.stringContains (nonNull asked) "STATUS" "the question"
            client.Post ToScheduler.Status |> ignore
            let! own = within (meeting.lines.ReadLineAsync())
            Expect.stringContains (nonNull own) "STATUS" "the client's own"
            let report count = { Scheduler(SchedulerFixture.settings).Status with queued = count }
            do! meeting.say (FromScheduler.Status(report 1L))
            do! meeting.say (FromScheduler.Status(report 2L))

            match! within receiving with
            | Some { IncomingMessage.message = FromScheduler.Status report } ->
                Expect.equal report.queued 2L "the answer to the client's own question"
            | other -> failtest $"{other}"
        }

        testTask "again after it has answered is asked again" {
            let clock = ManualClock()
            let! meeting = meet clock
            let client = meeting.client
            let answer = FromScheduler.Status(Scheduler(SchedulerFixture.settings).Status)
            // So much has half a minute of its own, until something is heard.
            let payload = 1_000_000
            client.Post(ToScheduler.Status, Bytes(Array.zeroCreate payload)) |> ignore
            let! own = within (meeting.lines.ReadLineAsync())
            Expect.stringContains (nonNull own) "STATUS" "the client's own"
            let! _ = within (meeting.lines.ReadBlockAsync(Array.zeroCreate payload, 0, payload))
            let receiving = client.ReceiveAsync CancellationToken.None
            do! meeting.say answer
            let! answered = within receiving
            Expect.isSome answered "the answer"

            for _ in 1..2 do
                let receiving = client.ReceiveAsync CancellationToken.None

                do! pass clock 20
                let! asked = within (meeting.lines.ReadLineAsync())
                Expect.stringContains (nonNull asked) "STATUS" "the question"
                // Nobody sees its answer; another one behind it shows that it was read.
                do! meeting.say answer
                do! meeting.say answer
                let! seen = within receiving
                Expect.isSome seen "the other one"

            let receiving = client.ReceiveAsync CancellationToken.None

            do! pass clock 60
            let! last = within receiving
            Expect.isNone last "gone: what was sent before the answer gives it no time"
        }

        testTask "and stays so is gone: whoever waits is told, by the end of the connection" {
            let clock = ManualClock()
            let! meeting = meet clock
            let client = meeting.client
            let receiving = client.ReceiveAsync CancellationToken.None

            do! pass clock 40
            Expect.isFalse receiving.IsCompleted "it may answer yet"

            do! pass clock 10
            let! ended = within receiving
            Expect.isNone ended "the connection has ended"
        }

        test "is looked for by the system too, on both sides" {
            use socket = new Socket(SocketType.Stream, ProtocolType.Tcp)
            KeepAlive.enable socket

            let option level name =
                int (nonNull (socket.GetSocketOption(level, name)) :?> int)

            Expect.notEqual
                (option SocketOptionLevel.Socket SocketOptionName.KeepAlive)
                0
                "it is asked for"

            let seconds name = option SocketOptionLevel.Tcp name

            Expect.equal
                (seconds SocketOptionName.TcpKeepAliveTime
                 + seconds SocketOptionName.TcpKeepAliveInterval
                   * seconds SocketOptionName.TcpKeepAliveRetryCount)
                60
                "for a minute"

            if OperatingSystem.IsLinux() then
                let unacknowledged: byte[] = Array.zeroCreate 4
                socket.GetRawSocketOption(6, 18, unacknowledged.AsSpan()) |> ignore
                Expect.equal (BitConverter.ToInt32 unacknowledged) 60_000 "what is on its way too"
        }

        testTask "within a limit of the client is given up; what arrives may take longer than that" {
            let clock = ManualClock()
            let! meeting = meet clock
            let client = meeting.client
            let limit = 30_000L<ms>
            let size = 2 * 1024 * 1024

            /// Ends when the client has taken some of it: a pipe takes no more unread.
            let begin' () =
                task {
                    let ct = CancellationToken.None
                    let receiving = client.WithinAsync(limit, client.ReceiveAsync ct, ct)

                    do! pass clock 20
                    let line = $$"""{"type":"FETCH","task":1,"name":"n","bytes":{{size}}}"""
                    do! meeting.send (Encoding.UTF8.GetBytes(line + "\n"))
                    do! meeting.send (Array.zeroCreate (size / 8))
                    return receiving
                }

            let! (receiving: Task<IncomingMessage<FromScheduler> option>) = begin' ()

            for _ in 2..8 do
                do! pass clock 20
                do! meeting.send (Array.zeroCreate (size / 8))

            match! within receiving with
            | Some { payload = Spooled(path, whole) } ->
                Expect.equal (int64 whole, (IO.FileInfo path).Length) (int64 size, int64 size) "it"
                IO.File.Delete path
            | other -> failtest $"{other}"

            let! (receiving: Task<IncomingMessage<FromScheduler> option>) = begin' ()

            do! pass clock 29
            Expect.isFalse receiving.IsCompleted "it has begun"

            // On a crowded machine it may have taken some of it meanwhile, and has the time anew: 29 s and a limit, at most.
            let mutable left = 31

            while not receiving.IsCompleted && left > 0 do
                left <- left - 1
                do! clock.Advance 1_000

            let! _ = within (Task.WhenAny [ receiving :> Task ])

            match receiving.Exception with
            | null -> failtest "it went on"
            | error -> Expect.isTrue (error.InnerException :? TimeoutException) $"{error}"
        }

        testTask "is no concern of a client that does not listen" {
            let clock = ManualClock()
            let! meeting = meet clock
            let client = meeting.client

            do! pass clock 200
            do! meeting.say (FromScheduler.Accepted("a", 1L<taskId>))
            let! arrival = within (client.ReceiveAsync CancellationToken.None)
            Expect.isSome arrival "the connection is there"
        }
    ]
