namespace FsScheduler.TestKit

open System
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Sockets
open System.Text
open System.Text.Json
open System.Threading.Tasks
open Expecto

/// What came over a connection.
[<RequireQualifiedAccess>]
type Received = {
    line: JsonElement
    payload: byte[]
} with

    /// The value of a field that is a text, or "".
    member frame.Text(field: string) =
        match frame.line.TryGetProperty field with
        | true, value -> value.ToString()
        | _ -> ""

    member frame.Number(field: string) =
        frame.line.GetProperty(field).GetInt64()

    member frame.Type = frame.Text "type"
    override frame.ToString() = frame.line.GetRawText()

/// The other end of a connection, as simple as a peer in any language.
type Peer(socket: Socket) =
    let stream = new NetworkStream(socket, ownsSocket = true)
    // Little, so that what a test does not read stays with the other side.
    let input = new BufferedStream(stream, 4 * 1024)

    let readLine () =
        task {
            let line = new MemoryStream()
            let one = Array.zeroCreate 1
            let mutable goOn = true

            while goOn do
                let! count = input.ReadAsync(one, 0, 1)

                if count = 0 || one[0] = byte '\n' then
                    goOn <- false
                else
                    line.WriteByte one[0]

            return line.ToArray()
        }

    new(address: IPEndPoint) =
        let socket = new Socket(SocketType.Stream, ProtocolType.Tcp, NoDelay = true)
        socket.Connect address
        new Peer(socket)

    new(port: int) = new Peer(IPEndPoint(IPAddress.Loopback, port))

    member _.Socket = socket

    /// These bytes as they are.
    member _.Write(bytes: byte[]) : Task =
        ended (stream.WriteAsync(ReadOnlyMemory bytes).AsTask())

    /// This text as it is, in UTF-8.
    member peer.Write(text: string) : Task = peer.Write(utf8 text)

    /// A line, with its end.
    member peer.Send(line: string) : Task = peer.Write(line + "\n")

    /// A line and the payload that it announces.
    member peer.Send(line: string, payload: byte[]) : Task =
        peer.Write(Array.append (utf8 (line + "\n")) payload)

    /// Nothing more will be sent; what comes is still read.
    member _.HalfClose() = socket.Shutdown SocketShutdown.Send

    /// The next frame, or None when the other side has closed.
    member _.TryReceive() : Task<Received option> =
        task {
            try
                let! line = readLine ()

                if line.Length = 0 then
                    return None
                else
                    use document = JsonDocument.Parse(ReadOnlyMemory line)
                    let line = document.RootElement.Clone()

                    let size =
                        match line.TryGetProperty "bytes" with
                        | true, bytes -> bytes.GetInt32()
                        | _ -> 0

                    let payload = Array.zeroCreate size
                    do! input.ReadExactlyAsync(payload, 0, size)
                    return Some { Received.line = line; Received.payload = payload }
            with
            | :? IOException
            | :? SocketException -> return None
        }
        |> awaited "a frame from the scheduler"

    /// The next frame that is no BEAT.
    member peer.Receive() : Task<Received> =
        task {
            let mutable found = None

            while found.IsNone do
                match! peer.TryReceive() with
                | Some frame when frame.Type = "BEAT" -> ()
                | Some frame -> found <- Some frame
                | None -> failtest "the scheduler has closed the connection"

            return found.Value
        }

    /// The next frame that is no BEAT; it must be of this type.
    member peer.Expect(kind: string) : Task<Received> =
        task {
            let! frame = peer.Receive()
            Expect.equal frame.Type kind $"{frame}"
            return frame
        }

    /// Reads until the scheduler closes: the last frame before, if there was one.
    member peer.Last() : Task<Received option> =
        task {
            let mutable last = None
            let mutable goOn = true

            while goOn do
                let! next = peer.TryReceive()
                last <- Option.orElse last next
                goOn <- next.IsSome

            return last
        }

    member _.ReadBytes(count: int) : Task<byte[]> =
        within (
            task {
                let bytes = Array.zeroCreate count
                do! input.ReadExactlyAsync(bytes, 0, count)
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
                    do! input.ReadExactlyAsync(one, 0, 1)

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
            let! count = within (input.ReadAsync(Array.zeroCreate<byte> 1, 0, 1))

            if count > 0 then
                failwith "the connection should have been closed, but there is more"
        }

    interface IDisposable with
        member _.Dispose() = stream.Dispose()

    interface IAsyncDisposable with
        member _.DisposeAsync() = stream.DisposeAsync()

module Peer =

    /// A client, once it is welcome.
    let client (port: int) =
        task {
            let peer = new Peer(port)

            do!
                peer.Write
                    "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"client\",\"name\":\"test\"}\n"

            let! _ = peer.Expect "WELCOME"
            return peer
        }

    /// A worker for these stages, as they stand in JSON, once it is welcome; and READY, if it has slots.
    let worker (port: int) (stages: string) (slots: int) =
        task {
            let peer = new Peer(port)

            do!
                peer.Write
                    $"{{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"worker\",\"name\":\"peer\",\"stages\":[{stages}]}}\n"

            let! _ = peer.Expect "WELCOME"

            if slots > 0 then
                do! peer.Write $"{{\"type\":\"READY\",\"slots\":{slots}}}\n"

            return peer
        }

    let private result (work: Received) (fields: string) =
        let task, attempt = work.Number "task", work.Number "attempt"
        $"{{\"type\":\"RESULT\",\"task\":{task},\"attempt\":{attempt},{fields}}}\n"

    /// Sends the result of a PROCESS.
    let answerBytes (peer: Peer) (work: Received) (payload: byte[]) =
        peer.Write(
            Array.append (utf8 (result work $"\"ok\":true,\"bytes\":{payload.Length}")) payload
        )

    /// As `answerBytes`, with the text in UTF-8.
    let answer peer work (text: string) = answerBytes peer work (utf8 text)

    /// Says that a PROCESS has failed; it may be tried again.
    let fail (peer: Peer) (work: Received) (error: string) =
        peer.Write(result work $"\"ok\":false,\"error\":\"{error}\"")

    /// Submits a text to be made lower, and returns what becomes of it.
    let submit (peer: Peer) (text: string) =
        task {
            let size = Encoding.UTF8.GetByteCount text

            do!
                peer.Write
                    $"{{\"type\":\"SUBMIT\",\"ref\":\"r\",\"name\":\"n\",\"pipeline\":\"lower\",\"bytes\":{size}}}\n{text}"

            let! _ = peer.Expect "ACCEPTED"
            let! finished = peer.Expect "DONE"
            return Encoding.UTF8.GetString finished.payload
        }
