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

/// What comes from a worker.
[<RequireQualifiedAccess>]
type Heard =
    | Hello of Hello
    | Ready of slots: int
    | Beat
    /// The payload is empty unless the outcome is a success.
    | Result of Attempt * Outcome * payload: byte[]
    /// Something that no worker may say; nothing after it is looked at.
    | Wrong of expected: string * seen: string
    | Closed

/// <summary>One connection of a worker. It reads whatever comes, and checks what holds at any time; rows ask for it in
/// its order.</summary>
/// <param name="socket">Accepted. It is closed with this.</param>
/// <param name="ledger">What was given to this worker.</param>
/// <param name="patience">The longest wait for what is to come.</param>
[<Sealed>]
type WorkerConnection(socket: Socket, ledger: AssignmentLog, patience: TimeSpan) =
    static let payloadMax = 256L * 1024L * 1024L

    let stream = new NetworkStream(socket, ownsSocket = true)
    let heard = Channel.CreateUnbounded<Heard>()
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

    /// False: nothing more comes.
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

    /// A line without its newline; null: it was too long, or the connection has ended.
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

    /// Null: the connection ended before.
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

    let hear one = heard.Writer.TryWrite one |> ignore

    let wrong expected seen =
        hear (Heard.Wrong(expected, seen))
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

    /// An answer nobody waits for: whether it arrives, the worker's next message tells.
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

    /// False: there is no use in reading on.
    let take (message: ToScheduler) (payload: byte[]) (line: byte[]) =
        match message with
        | ToScheduler.Hello _ when isIntroduced -> wrong "one HELLO" $"a second one: {excerpt line}"
        | ToScheduler.Hello hello ->
            isIntroduced <- true
            hear (Heard.Hello hello)
            true
        | _ when not isIntroduced -> wrong "HELLO before anything else" (excerpt line)
        | ToScheduler.Beat ->
            beats <- beats + 1

            if isAnswering then
                answer FromScheduler.Beat

            hear Heard.Beat
            true
        | ToScheduler.Ready slots ->
            hear (Heard.Ready slots)
            true
        | ToScheduler.Stored _
        | ToScheduler.Unshared _ ->
            wrong "a RESULT with its payload: no file was named here" (excerpt line)
        | ToScheduler.Result(attempt, outcome) ->
            match ledger.Answer attempt with
            | Some(expected, seen) -> wrong expected seen
            | None ->
                hear (
                    Heard.Result(attempt, outcome, (if outcome = Succeeded then payload else [||]))
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
        | ToScheduler.Fetch _ -> wrong "HELLO, READY, BEAT and RESULT, nothing else" (excerpt line)

    /// Reads one frame. False: there is no use in reading on.
    let readFrame () =
        task {
            match! readLine () with
            | struct (false, line) when line.Length >= Codec.lineBytesMax ->
                return wrong $"lines of at most {Codec.lineBytesMax} bytes" "a longer one"
            | struct (false, _) ->
                hear Heard.Closed
                return false
            | struct (true, line) ->
                let decoded = Codec.decodeToScheduler (ReadOnlySpan line)

                let size =
                    match decoded with
                    | Ok frame -> int64 frame.bytes
                    | Error error -> int64 error.bytes

                if size > payloadMax then
                    return wrong $"no payload over {payloadMax} bytes" (excerpt line)
                else
                    match! readPayload (int size) with
                    | null ->
                        hear Heard.Closed
                        return false
                    | payload ->
                        match decoded with
                        | Ok frame -> return take frame.message payload line
                        | Error { code = ErrorCode.UnknownType; message = message } ->
                            answer (FromScheduler.Error(ErrorCode.UnknownType, message))
                            return true
                        | Error error ->
                            return wrong $"a frame of this protocol; {error.message}" (excerpt line)
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
            | :? ObjectDisposedException -> hear Heard.Closed
        }

    /// How many BEATs have come.
    member _.Beats = Volatile.Read &beats

    /// The longest time between any two bytes, the one since the last included.
    member _.LongestSilence = max longestSilence (silence ())

    /// Whether each BEAT is answered with one.
    member _.IsAnswering
        with set value = isAnswering <- value

    /// How long it waits after each 64 KiB.
    member _.Pace
        with set value = pace <- value

    /// <summary>Sends pieces, with a pause after each; nothing else gets in between.</summary>
    /// <exception cref="T:FsScheduler.Conformance.Unfit">The worker closes, or does not read.</exception>
    member _.SendPieces(pieces: byte[] seq, pause: TimeSpan) : Task<unit> =
        task {
            try
                do! send [| for piece in pieces -> ReadOnlyMemory piece |] pause
            with
            | :? IOException
            | :? ObjectDisposedException ->
                raise (
                    Unfit("the connection to stay", "the worker closed it while a frame was sent")
                )
            | :? OperationCanceledException ->
                raise (
                    Unfit(
                        "the worker to read what is sent",
                        $"it took nothing for {patience.TotalSeconds} s"
                    )
                )
        }

    /// As `SendPieces`, in one write.
    member link.Send(bytes: byte[]) : Task<unit> =
        link.SendPieces([ bytes ], TimeSpan.Zero)

    member link.Send(message: FromScheduler) : Task<unit> = link.Send(encode message 0L<B>)

    /// <summary>What comes next.</summary>
    /// <param name="limit">How long to wait for it.</param>
    /// <returns>None: nothing came in that time.</returns>
    /// <exception cref="T:FsScheduler.Conformance.Unfit">It is what no worker may say.</exception>
    member _.NextWithin(limit: TimeSpan) : Task<Heard option> =
        task {
            use source = new CancellationTokenSource(limit)

            try
                match! heard.Reader.ReadAsync source.Token with
                | Heard.Wrong(expected, seen) -> return raise (Unfit(expected, seen))
                | Heard.Closed ->
                    hear Heard.Closed // it stays so
                    return Some Heard.Closed
                | one -> return Some one
            with :? OperationCanceledException ->
                return None
        }

    /// What comes next that is no BEAT.
    member link.TryNext(limit: TimeSpan) : Task<Heard option> =
        task {
            let started = Stopwatch.StartNew()
            let mutable found = None
            let mutable goOn = true

            while goOn do
                let left = limit - started.Elapsed

                match! link.NextWithin(max TimeSpan.Zero left) with
                | Some Heard.Beat -> ()
                | other ->
                    found <- other
                    goOn <- false

            return found
        }

    /// <summary>What comes next that is no BEAT.</summary>
    /// <param name="expected">What it should be, for the sentence when nothing comes, or the end.</param>
    /// <exception cref="T:FsScheduler.Conformance.Unfit">Nothing comes, or the end.</exception>
    member link.Next(expected: string) : Task<Heard> = link.NextBefore(patience, expected)

    /// As `Next`, with a time limit of its own.
    member link.NextBefore(limit: TimeSpan, expected: string) : Task<Heard> =
        task {
            match! link.TryNext limit with
            | None -> return raise (Unfit(expected, $"nothing for {limit.TotalSeconds} s"))
            | Some Heard.Closed ->
                return raise (Unfit(expected, "the worker closed the connection"))
            | Some one -> return one
        }

    /// Says that nothing more comes from here; what comes from there is still read.
    member _.CloseHalf() =
        try
            socket.Shutdown SocketShutdown.Send
        with :? SocketException ->
            ()

    /// Closes at once, as when the process is killed: what is on its way is lost.
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
