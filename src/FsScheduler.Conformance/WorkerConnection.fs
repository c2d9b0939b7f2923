namespace FsScheduler.Conformance

open System
open System.Buffers
open System.Diagnostics
open System.IO
open System.Net.Sockets
open System.Text
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol

/// A message from a worker.
[<RequireQualifiedAccess>]
type WorkerMessage =
    | Hello of Hello
    | Ready of slots: int
    | Beat
    /// The payload is empty unless the outcome is a success.
    | Result of Attempt * Outcome * payload: byte[]
    /// A message that no worker may send; later messages are not read.
    | Violation of expected: string * seen: string
    | Closed

/// <summary>A connection of a worker. It is read all the time; checks take the messages in order.</summary>
/// <param name="socket">The accepted socket, which is closed with the connection.</param>
/// <param name="assignments">The attempts assigned to the worker.</param>
/// <param name="patience">The longest wait for each expected message.</param>
[<Sealed>]
type WorkerConnection(socket: Socket, assignments: AssignmentLog, patience: TimeSpan) =
    static let payloadMax = 256L * 1024L * 1024L

    let stream = new NetworkStream(socket, ownsSocket = true)
    let messages = Channel.CreateUnbounded<WorkerMessage>()
    let writing = new SemaphoreSlim(1)
    let buffer = Array.zeroCreate<byte>(64 * 1024)
    let mutable first = 0
    let mutable last = 0
    let mutable lastRead = Stopwatch.GetTimestamp()
    let mutable longestSilence = TimeSpan.Zero
    let mutable beats = 0
    let mutable isAnswering = true
    let mutable pace = TimeSpan.Zero
    let mutable unpaced = 0 // bytes since the last pause
    let mutable isIntroduced = false

    let encode message bytes =
        let output = ArrayBufferWriter<byte>()
        Codec.encodeFromScheduler output message bytes
        output.WrittenSpan.ToArray()

    let silence () = Stopwatch.GetElapsedTime lastRead

    /// False: the connection has ended.
    let fill () =
        task {
            if pace > TimeSpan.Zero && unpaced >= buffer.Length then
                unpaced <- 0
                do! Task.Delay pace

            let! count = stream.ReadAsync(buffer, 0, buffer.Length)
            longestSilence <- max longestSilence (silence ())
            lastRead <- Stopwatch.GetTimestamp()
            first <- 0
            last <- count
            unpaced <- unpaced + count
            return count > 0
        }

    /// A line without its newline; null: the line was too long, or the connection has ended.
    let readLine () =
        task {
            let line = ArrayBufferWriter<byte>()
            let mutable isWhole = false
            let mutable goOn = true

            while goOn do
                let piece = ReadOnlySpan(buffer, first, last - first)
                let newline = piece.IndexOf '\n'B
                let taken = if newline < 0 then piece.Length else newline
                line.Write(piece.Slice(0, taken))
                first <- first + taken
                isWhole <- newline >= 0

                if isWhole then
                    first <- first + 1
                    goOn <- false
                elif line.WrittenCount >= Codec.lineBytesMax then
                    goOn <- false
                else
                    let! more = fill ()
                    goOn <- more

            return
                struct (isWhole && line.WrittenCount < Codec.lineBytesMax,
                        line.WrittenSpan.ToArray())
        }

    /// Null: the connection ended first.
    let readPayload (size: int) : Task<byte[] | null> =
        task {
            let payload = Array.zeroCreate<byte> size
            let mutable at = 0
            let mutable goOn = true

            while goOn && at < size do
                if first = last then
                    let! more = fill ()
                    goOn <- more

                let count = min (size - at) (last - first)
                Buffer.BlockCopy(buffer, first, payload, at, count)
                first <- first + count
                at <- at + count

            return if at = size then payload else null
        }

    let excerpt (line: byte[]) =
        let text = Encoding.UTF8.GetString line |> Terminal.printable

        if text.Length > 120 then
            text.Substring(0, 120) + "…"
        else
            text

    let enqueue one = messages.Writer.TryWrite one |> ignore

    let violation expected seen =
        enqueue (WorkerMessage.Violation(expected, seen))
        false

    let send (bytes: ReadOnlyMemory<byte>[]) (pause: TimeSpan) =
        task {
            do! writing.WaitAsync()

            try
                for piece in bytes do
                    use limit = new CancellationTokenSource(patience)
                    do! stream.WriteAsync(piece, limit.Token)

                    if pause > TimeSpan.Zero then
                        do! Task.Delay pause
            finally
                writing.Release() |> ignore
        }

    /// Answers without waiting: the next message of the worker shows whether the answer has arrived.
    let answer message =
        task {
            try
                do! send [| ReadOnlyMemory(encode message 0L<B>) |] TimeSpan.Zero
            with
            | :? IOException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()
        }
        |> ignore

    /// False: stop reading.
    let take (message: ToScheduler) (payload: byte[]) (line: byte[]) =
        match message with
        | ToScheduler.Hello _ when isIntroduced ->
            violation "one HELLO" $"a second one: {excerpt line}"
        | ToScheduler.Hello hello ->
            isIntroduced <- true
            enqueue (WorkerMessage.Hello hello)
            true
        | _ when not isIntroduced -> violation "HELLO before anything else" (excerpt line)
        | ToScheduler.Beat ->
            beats <- beats + 1

            if isAnswering then
                answer FromScheduler.Beat

            enqueue WorkerMessage.Beat
            true
        | ToScheduler.Ready slots ->
            enqueue (WorkerMessage.Ready slots)
            true
        | ToScheduler.Stored _
        | ToScheduler.Unshared _ ->
            violation "a RESULT with its payload: PROCESS has named no file" (excerpt line)
        | ToScheduler.Result(attempt, outcome) ->
            match assignments.Answer attempt with
            | Some(expected, seen) -> violation expected seen
            | None ->
                enqueue (
                    WorkerMessage.Result(
                        attempt,
                        outcome,
                        (if outcome = Succeeded then payload else [||])
                    )
                )

                true
        | ToScheduler.Submit _
        | ToScheduler.Status
        | ToScheduler.Cancel _
        | ToScheduler.Retry _
        | ToScheduler.RetryWith _
        | ToScheduler.RetryAll
        | ToScheduler.RetryAllWith _
        | ToScheduler.Drain _
        | ToScheduler.Explain _
        | ToScheduler.Events _
        | ToScheduler.List _
        | ToScheduler.Stages
        | ToScheduler.Fetch _ ->
            violation "HELLO, READY, BEAT and RESULT, nothing else" (excerpt line)

    /// Reads one frame. False: stop reading.
    let readFrame () =
        task {
            match! readLine () with
            | struct (false, line) when line.Length >= Codec.lineBytesMax ->
                return violation $"lines of at most {Codec.lineBytesMax} bytes" "a longer one"
            | struct (false, _) ->
                enqueue WorkerMessage.Closed
                return false
            | struct (true, line) ->
                let decoded = Codec.decodeToScheduler (ReadOnlySpan line)

                let size =
                    match decoded with
                    | Ok frame -> int64 frame.bytes
                    | Error error -> int64 error.bytes

                if size > payloadMax then
                    return violation $"no payload over {payloadMax} bytes" (excerpt line)
                else
                    match! readPayload (int size) with
                    | null ->
                        enqueue WorkerMessage.Closed
                        return false
                    | payload ->
                        match decoded with
                        | Ok frame -> return take frame.message payload line
                        | Error { code = ErrorCode.UnknownType; message = message } ->
                            answer (FromScheduler.Error(ErrorCode.UnknownType, message))
                            return true
                        | Error error ->
                            return
                                violation
                                    $"a frame of this protocol; {error.message}"
                                    (excerpt line)
        }

    let reading =
        task {
            let mutable goOn = true

            try
                while goOn do
                    let! more = readFrame ()
                    goOn <- more
            with
            | :? IOException
            | :? ObjectDisposedException -> enqueue WorkerMessage.Closed
        }

    member _.Beats = Volatile.Read &beats

    /// The longest time without a byte, up to now.
    member _.LongestSilence = max longestSilence (silence ())

    /// Whether each BEAT is answered with a BEAT.
    member _.IsAnswering
        with set value = isAnswering <- value

    /// The pause after every 64 KiB that are read.
    member _.Pace
        with set value = pace <- value

    /// <summary>Sends pieces with a pause after each, and no other message in between.</summary>
    /// <exception cref="T:FsScheduler.Conformance.CheckFailed">The worker closes the connection, or does not read.</exception>
    member _.SendPieces(pieces: byte[] seq, pause: TimeSpan) : Task<unit> =
        task {
            try
                do! send [| for piece in pieces -> ReadOnlyMemory piece |] pause
            with
            | :? IOException
            | :? ObjectDisposedException ->
                failCheck
                    "the connection to stay"
                    "the worker closed it while a frame was sent to it"
            | :? OperationCanceledException ->
                failCheck
                    "the worker to read what is sent"
                    $"it took nothing for {patience.TotalSeconds} s"
        }

    /// Sends bytes in one write; see `SendPieces`.
    member connection.Send(bytes: byte[]) : Task<unit> =
        connection.SendPieces([ bytes ], TimeSpan.Zero)

    member connection.Send(message: FromScheduler) : Task<unit> =
        connection.Send(encode message 0L<B>)

    /// <summary>The next message.</summary>
    /// <param name="limit">The longest wait.</param>
    /// <returns>None: nothing came in that time.</returns>
    /// <exception cref="T:FsScheduler.Conformance.CheckFailed">The message is one that no worker may send.</exception>
    member _.NextWithin(limit: TimeSpan) : Task<WorkerMessage option> =
        task {
            use source = new CancellationTokenSource(limit)

            try
                match! messages.Reader.ReadAsync source.Token with
                | WorkerMessage.Violation(expected, seen) -> return failCheck expected seen
                | WorkerMessage.Closed ->
                    enqueue WorkerMessage.Closed // for the next call
                    return Some WorkerMessage.Closed
                | one -> return Some one
            with :? OperationCanceledException ->
                return None
        }

    /// The next message, except BEAT.
    member connection.TryNext(limit: TimeSpan) : Task<WorkerMessage option> =
        task {
            let started = Stopwatch.StartNew()
            let mutable found = None
            let mutable goOn = true

            while goOn do
                let left = limit - started.Elapsed

                match! connection.NextWithin(max TimeSpan.Zero left) with
                | Some WorkerMessage.Beat -> ()
                | other ->
                    found <- other
                    goOn <- false

            return found
        }

    /// <summary>The next message, except BEAT.</summary>
    /// <param name="expected">The expected message, for the error.</param>
    /// <exception cref="T:FsScheduler.Conformance.CheckFailed">Nothing comes, or the connection ends.</exception>
    member connection.Next(expected: string) : Task<WorkerMessage> =
        connection.NextBefore(patience, expected)

    member connection.NextBefore(limit: TimeSpan, expected: string) : Task<WorkerMessage> =
        task {
            match! connection.TryNext limit with
            | None -> return failCheck expected $"nothing for {limit.TotalSeconds} s"
            | Some WorkerMessage.Closed ->
                return failCheck expected "the worker closed the connection"
            | Some one -> return one
        }

    /// Closes the sending side; messages of the worker are still read.
    member _.CloseHalf() =
        try
            socket.Shutdown SocketShutdown.Send
        with :? SocketException ->
            ()

    /// Closes at once, as a killed process does: bytes on their way are lost.
    member _.Abort() =
        socket.LingerState <- LingerOption(true, 0)
        stream.Dispose()

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                stream.Dispose()
                do! reading
            }
            |> ValueTask
