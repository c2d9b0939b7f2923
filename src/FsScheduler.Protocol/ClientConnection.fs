namespace FsScheduler.Protocol

open System
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform

/// Why a client got no WELCOME.
type HandshakeFailure =
    /// The token is missing, or not one of this scheduler's.
    | Unauthorized
    /// The scheduler answered with an ERROR.
    | Refused of code: ErrorCode * message: string
    /// No answer came in time.
    | Silent
    /// The connection ended, or its first message was no answer to HELLO.
    | NoScheduler

/// <summary>A client's connection: messages out, messages in, in order. One thread receives; any may post.</summary>
/// <param name="stream">Connected; closed with the connection.</param>
/// <param name="folder">The folder for results too large for memory, over 1 MiB.</param>
/// <param name="clock">Measures the scheduler's silence. A scheduler that is silent is asked for its status, and the
/// connection is closed if no answer comes (<c>Silence</c>): a machine that has failed closes no connection.</param>
[<Sealed>]
type ClientConnection private (stream: Stream, folder: string, clock: Clock) =
    static let memoryMax = 1024L * 1024L * 1L<B>
    static let checkInterval = TimeSpan.FromSeconds 1.0
    let arrived = Queue<IncomingMessage<FromScheduler>>()
    // Files of all connections of this process: those of an earlier one may still be in use.
    static let mutable files = 0L

    let bodies = {
        new IPayloadSource<ToScheduler, Content> with
            member _.TryBytes content = Content.tryBytes content
            member _.MemorySize content = Content.memorySize content
            member _.Posted _ = ()

            member _.Open departure =
                try
                    ValueSome(Body.OfContent departure.payload)
                with
                | :? IOException
                | :? UnauthorizedAccessException ->
                    stream.Dispose() // ends the wait for an answer that will not come
                    ValueNone

            member _.Instead _ = ValueNone

            member _.Sent(_, body, whole) =
                match body.file with
                | null -> ()
                | file ->
                    file.Dispose()

                    if not whole then
                        stream.Dispose()

            member _.Unsent _ = ()
    }

    let writer =
        FrameWriter<ToScheduler, Content>(
            PipeWriter.Create(stream, StreamPipeWriterOptions(leaveOpen = true)),
            Encoder<ToScheduler>(fun output message bytes ->
                Codec.encodeToScheduler output message bytes),
            bodies,
            clock
        )

    let admit (frame: Result<Frame<FromScheduler>, FrameError>) =
        match frame with
        | Ok _ -> FrameHandling.Take
        | Error { code = ErrorCode.UnknownType } -> FrameHandling.Skip
        | Error _ -> FrameHandling.Stop

    let reader =
        FrameReader<FromScheduler>(
            PipeReader.Create(stream, StreamPipeReaderOptions(leaveOpen = true)),
            Decoder<FromScheduler>(fun line -> Codec.decodeFromScheduler line),
            Func<_, _> admit,
            Func<_, _>(fun _ ->
                let number = Interlocked.Increment &files
                let path = Path.Combine(folder, $".fss-{Environment.ProcessId}-{number}.tmp")

                // The file becomes the user's result, and so has the rights that the umask allows.
                try
                    File.Create(path).Dispose()
                with
                | :? IOException
                | :? UnauthorizedAccessException -> () // writing the file will report why

                Task.FromResult<string | null> path),
            memoryMax,
            clock
        )

    let batch = List<IncomingMessage<FromScheduler>>()
    let gate = obj ()
    // For each STATUS that waits for its answer, in order: whether it only probes the connection.
    let pendingStatus = Queue<bool>()
    let mutable probedAt = ValueNone
    let mutable lastSent = clock.Now
    let mutable sent = 0L<B> // since the last message came

    let post (message: ToScheduler) payload isProbe =
        let posted =
            lock gate (fun () ->
                match message with
                | ToScheduler.Status -> pendingStatus.Enqueue isProbe
                | _ -> ()

                writer.Post { message = message; payload = payload })

        writer.Signal()
        posted

    /// Probes a silent scheduler, and closes the connection of one that does not answer.
    let checkSilence () =
        if writer.IsWriting && writer.StuckFor < 2_000L<ms> then
            lastSent <- clock.Now

        let isProbed =
            match probedAt with
            | ValueSome at -> at >= reader.LastRead
            | ValueNone -> false

        match Silence.decide (min reader.SilentFor (clock.Now - lastSent)) isProbed sent with
        | Silence.Wait -> ()
        | Silence.Ask ->
            probedAt <- ValueSome clock.Now
            post ToScheduler.Status Content.empty true |> ignore
        | Silence.Lost -> stream.Dispose() // ends the wait for an answer that will not come

    let mutable checking: ITimer | null = null

    /// Whether a message answers a probe, and so is no answer to the caller.
    let isOfProbe (incoming: IncomingMessage<FromScheduler>) =
        match incoming.message with
        | FromScheduler.Status _ ->
            lock gate (fun () -> pendingStatus.Count > 0 && pendingStatus.Dequeue())
        | _ -> false

    let startChecking () =
        // One check after the other: a check that takes long never meets the next.
        let checkAgain _ =
            checkSilence ()

            match checking with
            | null -> ()
            | timer -> timer.Change(checkInterval, Timeout.InfiniteTimeSpan) |> ignore

        checking <-
            clock.Provider.CreateTimer(checkAgain, null, checkInterval, Timeout.InfiniteTimeSpan)

    /// The scheduler's answer to HELLO.
    member val Welcome: Welcome = Unchecked.defaultof<Welcome> with get, private set

    member private _.StartChecking() = startChecking ()

    /// Queues a message with a payload, a file with its present size. False: the connection has ended.
    member _.Post(message: ToScheduler, payload: Content) : bool =
        sent <- sent + Content.size payload
        post message payload false

    member client.Post(message: ToScheduler) = client.Post(message, Content.empty)

    /// The next message; None when the connection has ended.
    member _.ReceiveAsync(ct: CancellationToken) : Task<IncomingMessage<FromScheduler> option> =
        task {
            let mutable goOn = arrived.Count = 0

            try
                while goOn do
                    let! more = reader.ReadAsync(batch, ct)

                    for incoming in batch do
                        sent <- 0L<B>

                        if not (isOfProbe incoming) then
                            arrived.Enqueue incoming

                    batch.Clear()
                    goOn <- more && arrived.Count = 0
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException -> ()

            return if arrived.Count = 0 then None else Some(arrived.Dequeue())
        }

    /// <summary>Waits for a task that completes by a message to come, which another call receives. A large message may
    /// take longer than the limit, which is for the wait until it begins, and for each silence within it.</summary>
    /// <param name="limit">More than 0 ms.</param>
    /// <param name="answered">Completes once the message is received.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="T:System.TimeoutException">The scheduler was silent for longer than the limit.</exception>
    member _.WithinAsync<'answer>
        (limit: Duration, answered: Task<'answer>, ct: CancellationToken)
        : Task<'answer> =
        task {
            let mutable left = limit

            while left > 0L<ms> do
                try
                    let span = TimeSpan.FromMilliseconds(float (int64 left))
                    let! _ = answered.WaitAsync(span, clock.Provider, ct)
                    left <- 0L<ms>
                with :? TimeoutException when not answered.IsCompleted ->
                    left <-
                        if reader.IsWithinFrame then
                            limit - reader.SilentFor
                        else
                            0L<ms>

            if answered.IsCompleted then
                return! answered
            else
                return raise (TimeoutException())
        }

    /// <summary>Sends HELLO, and waits for WELCOME.</summary>
    /// <param name="stream">Connected; closed with the connection, or at once if no WELCOME comes.</param>
    /// <param name="name">The name of the client, for people.</param>
    /// <param name="token">A client's token, if the scheduler has tokens.</param>
    /// <param name="folder">The folder for results too large for memory.</param>
    /// <param name="limit">Ends the wait for WELCOME: <c>Silent</c>.</param>
    static member StartAsync
        (
            stream: Stream,
            name: string,
            token: string option,
            folder: string,
            limit: CancellationToken
        ) : Task<Result<ClientConnection, HandshakeFailure>> =
        ClientConnection.StartAsync(stream, name, token, folder, Clock TimeProvider.System, limit)

    /// The same, with a clock of the caller's.
    static member internal StartAsync
        (
            stream: Stream,
            name: string,
            token: string option,
            folder: string,
            clock: Clock,
            limit: CancellationToken
        ) : Task<Result<ClientConnection, HandshakeFailure>> =
        task {
            let client = new ClientConnection(stream, folder, clock)

            let hello: Hello = {
                protocol = Codec.protocolVersion
                role = Role.Client
                name = name
                token = token
                holding = [||]
                sharedFiles = false
            }

            client.Post(ToScheduler.Hello hello) |> ignore

            let! answer =
                task {
                    try
                        return! client.ReceiveAsync limit
                    with :? OperationCanceledException ->
                        return None
                }

            let refuse reason =
                (client :> IDisposable).Dispose()
                Error reason

            match answer with
            | Some { message = FromScheduler.Welcome welcome } ->
                client.Welcome <- welcome
                client.StartChecking()
                return Ok client
            | Some { message = FromScheduler.Error(ErrorCode.Unauthorized, _) } ->
                return refuse Unauthorized
            | Some { message = FromScheduler.Error(code, message) } ->
                return refuse (Refused(code, message))
            | None when limit.IsCancellationRequested -> return refuse Silent
            | Some _
            | None -> return refuse NoScheduler
        }

    interface IDisposable with
        member _.Dispose() =
            match checking with
            | null -> ()
            | timer -> timer.Dispose()

            stream.Dispose()

            for incoming in arrived do
                SpoolFile.discard incoming.payload
