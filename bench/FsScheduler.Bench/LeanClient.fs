namespace FsScheduler.Bench

open System
open System.Net.Sockets
open System.Text

/// A client that costs next to nothing, so that what is measured is the scheduler: it writes requests that were
/// made before the clock started, and counts answers by looking for their types.
[<Sealed>]
type LeanClient(port: int) =
    let socket =
        new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp, NoDelay = true)

    let buffer: byte[] = Array.zeroCreate (1 <<< 20)
    let mutable have = 0
    let mutable skip = 0

    // The type stands first in what this scheduler writes.
    let doneMark = "{\"type\":\"DONE\""B
    let acceptedMark = "{\"type\":\"ACCEPTED\""B
    let errorMarks = [| "{\"type\":\"ERROR\""B; "{\"type\":\"REJECTED\""B |]
    let statusMark = "{\"type\":\"STATUS\""B
    let finishedMark = "\"finished\":"B
    let okMark = "\"ok\":true"B
    let bytesMark = "\"bytes\":"B

    /// The number after the first such mark; 0 without it.
    let numberAfter (mark: byte[]) (line: ReadOnlySpan<byte>) =
        let at = line.IndexOf(ReadOnlySpan mark)
        let mutable value = 0
        let mutable read = 0

        if at >= 0 then
            System.Buffers.Text.Utf8Parser.TryParse(line.Slice(at + mark.Length), &value, &read)
            |> ignore

        value

    let send (bytes: ReadOnlySpan<byte>) =
        let mutable sent = 0

        while sent < bytes.Length do
            sent <- sent + socket.Send(bytes.Slice sent)

    do
        socket.Connect("127.0.0.1", port)

        send (
            ReadOnlySpan
                "{\"type\":\"HELLO\",\"protocol\":1,\"role\":\"client\",\"name\":\"bench\"}\n"B
        )

    member val Done = 0L with get, set
    member val Accepted = 0L with get, set

    /// Of all tasks of the scheduler, by its last STATUS; -1 while it has not come.
    member val Finished = -1 with get, set

    /// Requests with 64 bytes each, for `Run`.
    static member Requests(count: int) : byte[] = LeanClient.Requests(count, 64)

    /// Requests with so many bytes each.
    static member Requests(count: int, size: int) : byte[] =
        let text = StringBuilder()
        let payload = String('A', size)

        for number in 1..count do
            text
                .Append(
                    $"{{\"type\":\"SUBMIT\",\"ref\":\"{number}\",\"name\":\"t{number}\",\"pipeline\":\"lower\","
                )
                .Append($"\"want\":\"result\",\"bytes\":{size}}}\n")
                .Append(payload)
            |> ignore

        Encoding.UTF8.GetBytes(text.ToString())

    /// Takes what has come, and counts it. Waits for something if there is nothing.
    member client.Receive() =
        let count = socket.Receive(Span(buffer, have, buffer.Length - have))

        if count = 0 then
            failwith "the scheduler closed the connection"

        have <- have + count
        let mutable at = 0
        let mutable goOn = true

        while goOn do
            let skipped = min skip (have - at)
            at <- at + skipped
            skip <- skip - skipped
            let rest = ReadOnlySpan(buffer, at, have - at)
            let length = if skip > 0 then -1 else rest.IndexOf(byte '\n')

            if length < 0 then
                goOn <- false
            else
                let line = rest.Slice(0, length)

                if line.StartsWith(ReadOnlySpan doneMark) then
                    if line.IndexOf(ReadOnlySpan okMark) < 0 then
                        failwith (Encoding.UTF8.GetString line)

                    client.Done <- client.Done + 1L
                elif line.StartsWith(ReadOnlySpan acceptedMark) then
                    client.Accepted <- client.Accepted + 1L
                elif line.StartsWith(ReadOnlySpan statusMark) then
                    client.Finished <- numberAfter finishedMark line
                else
                    for mark in errorMarks do
                        if line.StartsWith(ReadOnlySpan mark) then
                            failwith (Encoding.UTF8.GetString line)

                skip <- numberAfter bytesMark line
                at <- at + length + 1

        Buffer.BlockCopy(buffer, at, buffer, 0, have - at)
        have <- have - at

    /// Sends requests and takes answers as they come, until `isOver`.
    member client.Run(requests: byte[], isOver: unit -> bool) =
        let mutable sent = 0
        socket.Blocking <- false

        while not (isOver ()) do
            let canWrite = sent < requests.Length

            if canWrite then
                try
                    sent <-
                        sent
                        + socket.Send(
                            ReadOnlySpan(requests, sent, min 262_144 (requests.Length - sent))
                        )
                with :? SocketException as error when error.SocketErrorCode = SocketError.WouldBlock ->
                    ()

            if socket.Available > 0 then
                client.Receive()
            elif sent = requests.Length then
                if not (socket.Poll(20_000_000, SelectMode.SelectRead)) then
                    failwith $"stuck: {client.Accepted} accepted, {client.Done} done"
            else
                socket.Poll(1_000, SelectMode.SelectRead) |> ignore

        socket.Blocking <- true

    /// Sends one request, and waits until it is done.
    member client.RoundTrip(request: byte[]) =
        let before = client.Done
        send (ReadOnlySpan request)

        while client.Done = before do
            client.Receive()

    /// Asks how many tasks the scheduler has finished.
    member client.AskFinished() =
        client.Finished <- -1
        send (ReadOnlySpan "{\"type\":\"STATUS\"}\n"B)

        while client.Finished < 0 do
            client.Receive()

        client.Finished

    interface IDisposable with
        member _.Dispose() = socket.Dispose()
