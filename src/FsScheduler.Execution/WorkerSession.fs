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
    /// The worker was asked to stop, and has finished or dropped its tasks.
    | Stopped
    /// The connection broke, or the scheduler was silent; worth another try.
    | Broken of reason: string
    /// The scheduler refuses this worker; another try would end the same.
    | SentAway of message: string

/// The worker's side of a connection.
type WorkerProfile = {
    name: string
    slots: int
    token: string option
    /// All stages: built-in ones, and those of `functions`.
    stages: string[]
    functions: IReadOnlyDictionary<string, StageFunction>
    /// Whether the worker sees files of its scheduler.
    sharesFiles: bool
    /// How long held tasks may go on once the worker is asked to stop.
    drain: TimeSpan
    clock: Clock
    log: ILogger
}

/// <summary>One connection of a worker: HELLO, READY, then tasks until the end.</summary>
/// <param name="stream">Connected; closed at the end.</param>
/// <param name="profile">The worker.</param>
/// <param name="heldTasks">The held tasks, also of earlier connections.</param>
/// <param name="taskRunner">Runs tasks, and reports to the held tasks.</param>
/// <param name="newFile">A new path, for a payload too large for memory.</param>
/// <param name="unable">Told that a payload could not be stored; returns the message for people.</param>
[<Sealed>]
type WorkerSession
    (
        stream: Stream,
        profile: WorkerProfile,
        heldTasks: HeldTasks,
        taskRunner: TaskRunner,
        newFile: unit -> string,
        unable: string -> string
    ) =
    static let memoryMax = 1024L * 1024L * 1L<B>
    // Until WELCOME says otherwise.
    static let patience = 10_000L<ms>
    // A reasonable scheduler asks for no other interval.
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

    let payloads = {
        new IPayloadSource<ToScheduler, Content> with
            member _.TryBytes content = Content.tryBytes content
            member _.MemorySize content = Content.memorySize content
            member _.Posted _ = ()

            member _.Open outgoing =
                ValueSome(Body.OfContent outgoing.payload)

            member _.Instead _ = ValueNone

            member _.Sent(outgoing, body, _) =
                match body.file with
                | null -> ()
                | file -> file.Dispose()

                SpoolFile.discard outgoing.payload

            member _.Unsent outgoing = SpoolFile.discard outgoing.payload
    }

    let writer =
        FrameWriter<ToScheduler, Content>(
            PipeWriter.Create(
                stream,
                StreamPipeWriterOptions(minimumBufferSize = 32 * 1024, leaveOpen = true)
            ),
            Encoder<ToScheduler>(fun output message bytes ->
                Codec.encodeToScheduler output message bytes),
            payloads,
            profile.clock
        )

    /// False: nothing more is sent, and the caller still owns the payload.
    let tryPost message payload =
        writer.Post { message = message; payload = payload }

    let post message = tryPost message Content.empty |> ignore

    let deliver (work: Process) (result: TaskReport) =
        let size = Content.size result.payload

        if size > maxResult then
            let message = $"a result of {size} bytes; the scheduler takes {maxResult}"

            let sent =
                tryPost (ToScheduler.Result(work.attempt, Failed(message, false))) Content.empty

            if sent then
                SpoolFile.discard result.payload

            sent
        else
            match result.message with
            | ToScheduler.Stored _ -> tryPost result.message Content.empty // the result stays in its file
            | message -> tryPost message result.payload

    let deliverHeld (assigned: AssignedTask) (result: TaskReport) =
        let sent = deliver assigned.work result
        writer.Signal()

        // After the result is queued: a draining worker closes once it holds nothing.
        if sent && isDraining && heldTasks.Count <= 1 then
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
            ending <- ValueSome(Broken $"the scheduler sent an invalid frame: {error.message}")
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

            if heldTasks.IsEmpty then
                emptied.TrySetResult() |> ignore

            try
                do! emptied.Task.WaitAsync(profile.drain)
                do! writer.DrainAsync().WaitAsync(profile.drain)
            with :? TimeoutException ->
                profile.log.LogWarning(
                    "{Count} tasks were not finished within {Drain}, and are dropped",
                    heldTasks.Count,
                    profile.drain
                )

            if ending.IsNone then
                ending <- ValueSome Stopped

            lost.Cancel()
        }

    /// Asks the worker to stop, once.
    let dismiss () =
        if not isDraining then
            drain () |> ignore

    let start (work: Process) payload =
        match taskRunner.TryRunAtOnce(work, payload) with
        | ValueSome result -> deliver work result |> ignore // in memory: nothing is left behind
        | ValueNone -> taskRunner.Take(heldTasks.Add(work, payload))

    let welcomed (welcome: Welcome) =
        isWelcome <- true
        lostAfter <- welcome.lostAfter
        maxResult <- welcome.maxResult
        taskRunner.ResultMax <- welcome.maxResult
        heldTasks.Attach(welcome.keep, deliverHeld)
        post (ToScheduler.Ready(if isDraining then 0 else profile.slots))
        let period = welcome.beat |> max beatMin |> min beatMax
        beating <- beat (TimeSpan.FromMilliseconds(float period))

        profile.log.LogInformation(
            "{Name} is session {Session}, with {Slots} slots, and goes on with {Count} tasks",
            profile.name,
            welcome.session,
            profile.slots,
            heldTasks.Count
        )

    let take (incoming: IncomingMessage<FromScheduler>) =
        match incoming.message with
        | FromScheduler.Welcome _ when isWelcome ->
            ending <- ValueSome(Broken "the scheduler sent a second WELCOME")
        | FromScheduler.Welcome welcome -> welcomed welcome
        | FromScheduler.Process work when not (isNull incoming.failure) ->
            let reason = unable $"the worker could not store its input: {incoming.failure}"
            post (ToScheduler.Result(work.attempt, Unable reason))
        | FromScheduler.Process work -> start work incoming.payload
        | FromScheduler.Cancel attempt ->
            heldTasks.Cancel attempt

            if isDraining && heldTasks.IsEmpty then
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
            profile.log.LogWarning("the scheduler sent a message for clients; ignored")

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

    /// Ends the connection of a scheduler without a sign of life.
    let watch () =
        task {
            use timer =
                new PeriodicTimer(TimeSpan.FromMilliseconds 100.0, profile.clock.Provider)

            try
                while ending.IsNone do
                    let! _ = timer.WaitForNextTickAsync lost.Token

                    // No beat is sent within a long result, and none comes back: a scheduler that reads it is alive.
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

    /// Whether the scheduler has welcomed this worker.
    member _.IsWelcome = isWelcome

    /// How long the scheduler waits for a silent worker.
    member _.LostAfter = lostAfter

    /// <summary>Serves the scheduler until the connection ends.</summary>
    /// <param name="stop">Asks the worker to finish its tasks and take no new ones.</param>
    member _.RunAsync(stop: CancellationToken) : Task<SessionEnd> =
        task {
            let hello: Hello = {
                protocol = Codec.protocolVersion
                role = Role.Worker(Some profile.stages)
                name = profile.name
                token = profile.token
                holding = heldTasks.Holding
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

            heldTasks.Detach()
            lost.Cancel()
            stream.Dispose()
            do! watching
            do! beating

            match ending with
            | ValueSome ending -> return ending
            | ValueNone -> return Broken "the connection was closed"
        }
