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

/// Why there is no WELCOME.
type Unwelcome =
    /// No token, or one that the scheduler does not know.
    | Unauthorized
    | Refused of code: ErrorCode * message: string
    /// No answer in time.
    | Silent
    /// It ended, or said something else first.
    | NoScheduler

/// <summary>A client's connection: messages out, messages in, in order. One thread receives; any may post.</summary>
/// <param name="stream">Connected. It is closed at the end.</param>
/// <param name="folder">Results that are too large for memory become files here.</param>
/// <param name="clock">Tells how long the scheduler has been silent. While somebody waits for it and it says nothing it is asked
/// for its status, and the connection is closed when it does not answer: a machine that is gone says no goodbye.</param>
[<Sealed>]
type ClientConnection private (stream: Stream, folder: string, clock: Clock) =
    static let memoryMax = 1024L * 1024L * 1L<B>
    static let lookEvery = TimeSpan.FromSeconds 1.0
    let arrived = Queue<IncomingMessage<FromScheduler>>()
    // Of all connections: what an earlier one has left in the folder may be in use still.
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
                    stream.Dispose() // whoever waits for an answer learns that there will be none
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

                // It becomes the result, which has the rights that the umask says.
                try
                    File.Create(path).Dispose()
                with
                | :? IOException
                | :? UnauthorizedAccessException -> () // writing it will say why

                Task.FromResult<string | null> path),
            memoryMax,
            clock
        )

    let batch = List<IncomingMessage<FromScheduler>>()
    let gate = obj ()
    // Of each STATUS that waits for its answer, in order: whether it was asked only to hear something.
    let asked = Queue<bool>()
    let mutable askedAt = ValueNone
    let mutable goneOutAt = clock.Now
    let mutable sent = 0L<B> // since a message came last

    let post (message: ToScheduler) payload isOurs =
        let posted =
            lock gate (fun () ->
                match message with
                | ToScheduler.Status -> asked.Enqueue isOurs
                | _ -> ()

                writer.Post { message = message; payload = payload })

        writer.Signal()
        posted

    /// Looks at the time, now and then.
    let look () =
        if writer.IsWriting && writer.StuckFor < 2_000L<ms> then
            goneOutAt <- clock.Now

        let isAsked =
            match askedAt with
            | ValueSome at -> at >= reader.LastRead
            | ValueNone -> false

        match Silence.decide (min reader.SilentFor (clock.Now - goneOutAt)) isAsked sent with
        | Silence.Wait -> ()
        | Silence.Ask ->
            askedAt <- ValueSome clock.Now
            post ToScheduler.Status Content.empty true |> ignore
        | Silence.Lost -> stream.Dispose() // whoever waits for an answer learns that there will be none

    let mutable looking: ITimer | null = null

    /// Whether it answers a question that nobody but us has asked.
    let isOurs (arrival: IncomingMessage<FromScheduler>) =
        match arrival.message with
        | FromScheduler.Status _ -> lock gate (fun () -> asked.Count > 0 && asked.Dequeue())
        | _ -> false

    let startLooking () =
        let lookAgain _ =
            look ()

            match looking with
            | null -> ()
            | timer -> timer.Change(lookEvery, Timeout.InfiniteTimeSpan) |> ignore

        looking <- clock.Provider.CreateTimer(lookAgain, null, lookEvery, Timeout.InfiniteTimeSpan)

    /// What the scheduler said when it let us in.
    member val Welcome: Welcome = Unchecked.defaultof<Welcome> with get, private set

    member private _.StartLooking() = startLooking ()

    /// Queues a message with a payload; a file's is its size now. False: the connection is gone.
    member _.Post(message: ToScheduler, payload: Content) : bool =
        sent <- sent + Content.size payload
        post message payload false

    member client.Post(message: ToScheduler) = client.Post(message, Content.empty)

    /// <summary>The next message; None when the connection has ended.</summary>
    member _.ReceiveAsync(ct: CancellationToken) : Task<IncomingMessage<FromScheduler> option> =
        task {
            let mutable goOn = arrived.Count = 0

            try
                while goOn do
                    let! more = reader.ReadAsync(batch, ct)

                    for arrival in batch do
                        sent <- 0L<B>

                        if not (isOurs arrival) then
                            arrived.Enqueue arrival

                    batch.Clear()
                    goOn <- more && arrived.Count = 0
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException -> ()

            return if arrived.Count = 0 then None else Some(arrived.Dequeue())
        }

    /// <summary>Waits for what a message that is still to come leads to, while another call receives. However large the message
    /// is: the limit is for the wait until it begins to arrive, and for each silence within it.</summary>
    /// <param name="limit">More than 0.</param>
    /// <param name="answered">Ends with the message.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="T:System.TimeoutException">The limit is over.</exception>
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

    /// <summary>Says HELLO over a stream that is connected, and waits for WELCOME.</summary>
    /// <param name="stream">It is closed with the client, and at once if there is no WELCOME.</param>
    /// <param name="name">What the client is called, for people.</param>
    /// <param name="token">A client's, where one is asked for.</param>
    /// <param name="folder">For results that are too large for memory.</param>
    /// <param name="limit">Ends the wait for WELCOME, which is then <c>Silent</c>.</param>
    static member StartAsync
        (
            stream: Stream,
            name: string,
            token: string option,
            folder: string,
            limit: CancellationToken
        ) : Task<Result<ClientConnection, Unwelcome>> =
        ClientConnection.StartAsync(stream, name, token, folder, Clock TimeProvider.System, limit)

    /// As above, by a clock of one's own.
    static member internal StartAsync
        (
            stream: Stream,
            name: string,
            token: string option,
            folder: string,
            clock: Clock,
            limit: CancellationToken
        ) : Task<Result<ClientConnection, Unwelcome>> =
        task {
            let client = new ClientConnection(stream, folder, clock)

            let hello: Hello = {
                protocol = Codec.protocolVersion
                role = Client
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
                client.StartLooking()
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
            match looking with
            | null -> ()
            | timer -> timer.Dispose()

            stream.Dispose()

            for arrival in arrived do
                SpoolFile.discard arrival.payload
