/// The other end of a connection, in bytes: a worker or a client that says whatever a test wants.
namespace FsScheduler.System.Tests

open System
open System.IO
open System.Net.Sockets
open System.Text
open System.Text.Json
open System.Threading.Tasks
open Expecto

/// What came over a connection.
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

type Peer(port: int) =
    let client = new TcpClient("127.0.0.1", port, NoDelay = true)
    let stream = client.GetStream()
    let input = new BufferedStream(stream, 64 * 1024)

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

    member _.Send(bytes: byte[]) : Task =
        stream.WriteAsync(bytes, 0, bytes.Length)

    member peer.Send(text: string) : Task = peer.Send(Encoding.UTF8.GetBytes text)

    /// Nothing more will be sent; what comes is still read.
    member _.HalfClose() =
        client.Client.Shutdown SocketShutdown.Send

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
                    return Some { line = line; payload = payload }
            with
            | :? IOException
            | :? SocketException -> return None
        }
        |> Farm.within "a frame from the scheduler"

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

    interface IDisposable with
        member _.Dispose() = client.Dispose()

module Peer =

    /// A client, once it is welcome.
    let client (port: int) =
        task {
            let peer = new Peer(port)

            do!
                peer.Send
                    "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"client\",\"name\":\"test\"}\n"

            let! _ = peer.Expect "WELCOME"
            return peer
        }

    /// A worker for these stages, as they stand in JSON, once it is welcome; and READY, if it has slots.
    let worker (port: int) (stages: string) (slots: int) =
        task {
            let peer = new Peer(port)

            do!
                peer.Send
                    $"{{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"worker\",\"name\":\"peer\",\"stages\":[{stages}]}}\n"

            let! _ = peer.Expect "WELCOME"

            if slots > 0 then
                do! peer.Send $"{{\"type\":\"READY\",\"slots\":{slots}}}\n"

            return peer
        }

    let private result (work: Received) (fields: string) =
        let task, attempt = work.Number "task", work.Number "attempt"
        $"{{\"type\":\"RESULT\",\"task\":{task},\"attempt\":{attempt},{fields}}}\n"

    /// Sends the result of a PROCESS.
    let answer (peer: Peer) (work: Received) (text: string) =
        let size = Encoding.UTF8.GetByteCount text
        peer.Send(result work $"\"ok\":true,\"bytes\":{size}" + text)

    /// Says that a PROCESS has failed; it may be tried again.
    let fail (peer: Peer) (work: Received) (error: string) =
        peer.Send(result work $"\"ok\":false,\"error\":\"{error}\"")

    /// Submits a text to be made lower, and returns what becomes of it.
    let submit (peer: Peer) (text: string) =
        task {
            let size = Encoding.UTF8.GetByteCount text

            do!
                peer.Send
                    $"{{\"type\":\"SUBMIT\",\"ref\":\"r\",\"name\":\"n\",\"pipeline\":\"lower\",\"bytes\":{size}}}\n{text}"

            let! _ = peer.Expect "ACCEPTED"
            let! finished = peer.Expect "DONE"
            return Encoding.UTF8.GetString finished.payload
        }
