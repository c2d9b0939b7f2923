namespace FsScheduler.Execution

open System
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol

/// How a worker's connection ended.
type SessionEnd =
    /// It was asked to stop, and has finished or dropped its work.
    | Stopped
    /// The connection broke, or the scheduler fell silent; worth another try.
    | Broken of reason: string
    /// The scheduler will not have this worker; another try would end the same.
    | SentAway of message: string

/// What a worker brings to its scheduler.
type WorkerProfile = {
    name: string
    slots: int
    token: string option
    /// All that it can run: built-in ones, and those of `functions`.
    stages: string[]
    functions: IReadOnlyDictionary<string, StageFunction>
    /// Whether it sees files of its scheduler.
    sharesFiles: bool
    /// How long it may go on with what it holds once it is asked to stop.
    drain: TimeSpan
    clock: Clock
    log: ILogger
}

/// <summary>One connection of a worker: HELLO, READY, then work until it ends.</summary>
/// <param name="stream">Connected. It is closed at the end.</param>
/// <param name="profile">What the worker brings.</param>
/// <param name="holdings">What it has in its hands, also from connections before.</param>
/// <param name="executor">Runs it, and tells the holdings.</param>
/// <param name="newFile">Names a file for a payload that is too large for memory.</param>
/// <param name="unable">Told when a payload could not be stored, and says why for people.</param>
[<Sealed>]
type WorkerSession
    (
        stream: Stream,
        profile: WorkerProfile,
        holdings: HeldTasks,
        executor: TaskRunner,
        newFile: unit -> string,
        unable: string -> string
    ) =
    static let memoryMax = 1024L * 1024L * 1L<B>
    // Until WELCOME says otherwise.
    static let patience = 10_000L<ms>
    // No scheduler that makes sense asks for more, or for less.
    static let beatMin = 10L<ms>
    static let beatMax = 3_600_000L<ms>

    let lost = new CancellationTokenSource()
    let mutable lostAfter = patience
    let mutable maxResult = Int64.MaxValue * 1L<B>
    let mutable ending: SessionEnd voption = ValueNone
    let mutable isWelcome = false
    let mutable beating = Task.CompletedTask

    let emptied =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    let mutable lastTaken = profile.clock.Now
    let mutable isDraining = false

    let bodies = {
        new IPayloadSource<ToScheduler> with
            member _.Posted _ = ()

            member _.Open departure =
                match departure.payload with
                | Spooled(path, size) -> ValueSome(Body.OfFile(path, size))
                | Packed
                | Journaled
                | Recorded _
                | Bytes _
                | Input _
                | Slice _ -> ValueNone

            member _.Instead _ = ValueNone

            member _.Sent(departure, body, _) =
                match body.file with
                | null -> ()
                | file -> file.Dispose()

                SpoolFile.discard departure.payload

            member _.Unsent departure = SpoolFile.discard departure.payload
    }

    let writer =
        FrameWriter<ToScheduler>(
            PipeWriter.Create(
                stream,
                StreamPipeWriterOptions(minimumBufferSize = 32 * 1024, leaveOpen = true)
            ),
            Encoder<ToScheduler>(fun output message bytes ->
                Codec.encodeToScheduler output message bytes),
            bodies,
            profile.clock
        )

    /// False: nothing more goes out, and the payload is still the caller's.
    let tryPost message payload =
        writer.Post { message = message; payload = payload; submission = ValueNone; isLast = true }

    let post message = tryPost message Payload.empty |> ignore

    let deliver (work: Process) (result: JobResult) =
        let size = Payload.size result.payload

        if size > maxResult then
            let message = $"a result of {size} bytes; the scheduler takes {maxResult}"

            let sent =
                tryPost (ToScheduler.Result(work.attempt, Failed(message, false))) Payload.empty

            if sent then
                SpoolFile.discard result.payload

            sent
        else
            match result.message with
            | ToScheduler.Stored _ -> tryPost result.message Payload.empty // it stays where it is
            | message -> tryPost message result.payload

    let deliverHeld (job: AssignedTask) (result: JobResult) =
        let sent = deliver job.work result
        writer.Signal()

        // Only now: who drains closes when nothing is held, and the result has to be in the queue before.
        if sent && isDraining && holdings.Count <= 1 then
            emptied.TrySetResult() |> ignore

        sent

    let beat (period: TimeSpan) =
        task {
            use timer = new PeriodicTimer(period, profile.clock.Provider)

            try
                let mutable goOn = true

                while goOn do
                    let! _ = timer.WaitForNextTickAsync lost.Token
                    post ToScheduler.Beat
                    writer.Signal()
            with :? OperationCanceledException ->
                ()
        }

    let admit (frame: Result<Frame<FromScheduler>, FrameError>) =
        match frame with
        | Ok _ -> FrameHandling.Take
        | Error { code = ErrorCode.UnknownType } -> FrameHandling.Skip
        | Error error ->
            ending <- ValueSome(Broken $"the scheduler sent what is no frame: {error.message}")
            FrameHandling.Stop

    let reader =
        FrameReader<FromScheduler>(
            PipeReader.Create(
                stream,
                StreamPipeReaderOptions(bufferSize = 64 * 1024, leaveOpen = true)
            ),
            Decoder<FromScheduler>(fun line -> Codec.decodeFromScheduler line),
            Func<_, _> admit,
            Func<_, _>(fun _ -> Task.FromResult<string | null>(newFile ())),
            memoryMax,
            profile.clock
        )

    let drain () =
        task {
            isDraining <- true

            if isWelcome then
                post (ToScheduler.Ready 0)

            writer.Signal()

            if holdings.IsEmpty then
                emptied.TrySetResult() |> ignore

            try
                do! emptied.Task.WaitAsync(profile.drain)
                do! writer.DrainAsync().WaitAsync(profile.drain)
            with :? TimeoutException ->
                profile.log.LogWarning(
                    "{Count} tasks were not finished within {Drain}",
                    holdings.Count,
                    profile.drain
                )

            if ending.IsNone then
                ending <- ValueSome Stopped

            lost.Cancel()
        }

    /// As if it had been asked to stop, but once.
    let dismiss () =
        if not isDraining then
            drain () |> ignore

    let start (work: Process) payload =
        match executor.TryRunAtOnce(work, payload) with
        | ValueSome result -> deliver work result |> ignore // it is in memory: nothing is left behind
        | ValueNone -> executor.Take(holdings.Add(work, payload))

    let welcomed (welcome: Welcome) =
        isWelcome <- true
        lostAfter <- welcome.lostAfter
        maxResult <- welcome.maxResult
        executor.ResultMax <- welcome.maxResult
        holdings.Attach(welcome.keep, deliverHeld)
        post (ToScheduler.Ready(if isDraining then 0 else profile.slots))
        let period = welcome.beat |> max beatMin |> min beatMax
        beating <- beat (TimeSpan.FromMilliseconds(float period))

        profile.log.LogInformation(
            "{Name} is session {Session}, with {Slots} slots, and goes on with {Count} tasks",
            profile.name,
            welcome.session,
            profile.slots,
            holdings.Count
        )

    let take (arrival: IncomingMessage<FromScheduler>) =
        match arrival.message with
        | FromScheduler.Welcome _ when isWelcome ->
            ending <- ValueSome(Broken "the scheduler sent a second WELCOME")
        | FromScheduler.Welcome welcome -> welcomed welcome
        | FromScheduler.Process work when not (isNull arrival.failure) ->
            let reason = unable $"the worker could not store its input: {arrival.failure}"
            post (ToScheduler.Result(work.attempt, Unable reason))
        | FromScheduler.Process work -> start work arrival.payload
        | FromScheduler.Cancel attempt ->
            holdings.Cancel attempt

            if isDraining && holdings.IsEmpty then
                emptied.TrySetResult() |> ignore
        | FromScheduler.Error(code, message) ->
            match code with
            | ErrorCode.Unauthorized
            | ErrorCode.BadVersion -> ending <- ValueSome(SentAway message)
            | _ -> profile.log.LogWarning("the scheduler says {Code}: {Message}", code, message)
        | FromScheduler.Drain ->
            profile.log.LogInformation("the scheduler asks {Name} to finish and go", profile.name)
            dismiss ()
        | FromScheduler.Beat -> ()
        | FromScheduler.Accepted _
        | FromScheduler.Done _
        | FromScheduler.Rejected _
        | FromScheduler.Explanation _
        | FromScheduler.Events _
        | FromScheduler.List _
        | FromScheduler.Stages
        | FromScheduler.Fetch _
        | FromScheduler.Status _ ->
            profile.log.LogWarning("the scheduler sent a worker what is a client's")

    let readAll () =
        task {
            let arrivals = List<IncomingMessage<FromScheduler>>()
            let mutable goOn = true

            while goOn do
                let! more = reader.ReadAsync(arrivals, lost.Token)

                for index in 0 .. arrivals.Count - 1 do
                    take arrivals[index]

                arrivals.Clear()
                writer.Signal()
                goOn <- more && ending.IsNone
        }

    /// Takes a scheduler that gives no sign of life for lost.
    let watch () =
        task {
            use timer =
                new PeriodicTimer(TimeSpan.FromMilliseconds 100.0, profile.clock.Provider)

            try
                while ending.IsNone do
                    let! _ = timer.WaitForNextTickAsync lost.Token

                    // No beat goes out within a long result, and so none comes back: who takes it is there.
                    if writer.IsWriting && writer.StuckFor <= lostAfter then
                        lastTaken <- profile.clock.Now

                    let silence =
                        min (profile.clock.Now - reader.LastRead) (profile.clock.Now - lastTaken)

                    if not (isNull writer.Failure) then
                        let reason = (nonNull writer.Failure).Message

                        ending <-
                            ValueSome(Broken $"nothing can be sent to the scheduler: {reason}")

                        lost.Cancel()
                    elif silence > lostAfter then
                        ending <- ValueSome(Broken $"the scheduler was silent for {silence} ms")
                        lost.Cancel()
            with :? OperationCanceledException ->
                ()
        }

    /// Whether the scheduler has taken this worker in.
    member _.IsWelcome = isWelcome

    /// How long the scheduler waits for a worker that is silent.
    member _.LostAfter = lostAfter

    /// <summary>Serves the scheduler until the connection ends.</summary>
    /// <param name="stop">Asks it to finish what it holds and to take nothing new.</param>
    member _.RunAsync(stop: CancellationToken) : Task<SessionEnd> =
        task {
            let hello: Hello = {
                protocol = Codec.protocolVersion
                role = Worker(Some profile.stages)
                name = profile.name
                token = profile.token
                holding = holdings.Holding
                sharedFiles = profile.sharesFiles
            }

            post (ToScheduler.Hello hello)
            writer.Signal()
            let watching = watch ()
            use _ = stop.Register(fun () -> dismiss ())

            try
                do! readAll ()
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()

            holdings.Detach()
            lost.Cancel()
            stream.Dispose()
            do! watching
            do! beating

            match ending with
            | ValueSome ending -> return ending
            | ValueNone -> return Broken "the connection was closed"
        }
