namespace FsScheduler.Server

open System
open System.Buffers
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

/// What all connections of a scheduler share.
type ConnectionContext = {
    rules: GateRules
    beat: Duration
    lostAfter: Duration
    agent: SchedulerAgent
    bodies: IBodies<FromScheduler>
    /// None: bytes always travel.
    sharing: Sharing voption
    /// A path for a payload that is too large for memory; null where nobody wants it.
    spool: ToScheduler -> Task<string | null>
    /// Whether a payload at this path has to outlive the scheduler.
    isKept: string -> bool
    /// Answers EXPLAIN and EVENTS: the message and its payload.
    answer: ToScheduler -> Task<struct (FromScheduler * Payload)>
    /// Where it is said that the disk takes nothing.
    holdup: Holdup
    /// Told of a payload of a SUBMIT that found no room on the disk: where, and why.
    noRoom: string -> string -> unit
    /// Whether no worker gets anything new, whatever it says.
    isDraining: unit -> bool
    places: Places
    clock: Clock
    log: ILogger
}

/// One peer: its frames in, in batches, and its messages out.
[<Sealed>]
type Connection(session: SessionId, socket: Socket, context: ConnectionContext) =
    static let memoryMax = 64L * 1024L * 1L<B>
    // A peer that leaves this much unread is not read from either.
    static let backlogMax = 4L * 1024L * 1024L
    // And is cut off when it has read nothing for this long.
    static let stuckMax = 60_000L<ms>
    static let farewellBytesMax = 16 * 1024 * 1024

    let remote = string socket.RemoteEndPoint
    let stream = new NetworkStream(socket, ownsSocket = true)
    let clock = context.clock
    let openedAt = clock.Now
    let closing = new CancellationTokenSource()
    let arrivals = List<Arrival<ToScheduler>>()
    let inputs = List<Input>()
    let mutable standing = Standing.Stranger
    let mutable name = remote
    let mutable heardAt = openedAt
    let mutable farewells = 0 // the last words to it, at most one
    let submissions = Submissions session
    // What is read waits for the disk: the silence of the peer is our doing.
    let mutable heldUpAt: string | null = null
    let mutable isAsking = false
    let mutable shared: SharedWork voption = ValueNone // with a worker that sees the same files
    let mutable beatAt = openedAt

    let endHoldup () =
        match Interlocked.Exchange(&heldUpAt, null) with
        | null -> ()
        | place -> context.holdup.End place

    /// A result is not thrown away because the disk is full: it waits, and with it its worker, as long as somebody waits
    /// for it. One that is only larger than what is left would hold up all others: its task is tried again later. A
    /// SUBMIT is refused.
    let insist message (path: string) (refusal: exn) =
        task {
            let folder = nonNull (Path.GetDirectoryName path)

            match message with
            | ToScheduler.Result _ when Disk.isFull refusal && Disk.hasRoomForOthers folder ->
                return false
            | ToScheduler.Result(attempt, _) when Disk.passes refusal ->
                heldUpAt <- path
                context.holdup.Begin(path, refusal.Message)

                try
                    do! Task.Delay(TimeSpan.FromSeconds 1.0, clock.Provider, closing.Token)

                    let isOver scheduler =
                        (Destination.ofResult attempt scheduler).IsNowhere

                    let! isOver = context.agent.LookAsync(isOver).WaitAsync closing.Token
                    return not isOver
                with :? OperationCanceledException ->
                    return false
            | ToScheduler.Submit _ when Disk.passes refusal ->
                context.noRoom folder refusal.Message
                return false
            | _ -> return false
        }

    /// What was made for nobody.
    let abandon (asked: Task<string | null>) =
        task {
            match! asked with
            | null -> ()
            | path -> SpoolFile.delete path
        }

    let spoolFor message =
        task {
            isAsking <- true
            let asked = context.spool message
            let mutable isTaken = false

            try
                let! path = asked.WaitAsync closing.Token
                isTaken <- true
                return path
            finally
                isAsking <- false

                if not isTaken then
                    abandon asked |> ignore
        }

    let writer =
        FrameWriter<FromScheduler>(
            PipeWriter.Create(
                stream,
                StreamPipeWriterOptions(minimumBufferSize = 32 * 1024, leaveOpen = true)
            ),
            Encoder<FromScheduler>(fun output message bytes ->
                Codec.encodeFromScheduler output message bytes),
            context.bodies,
            clock
        )

    let postWith message payload =
        writer.Post { message = message; payload = payload; submission = ValueNone; isLast = false }
        |> ignore

    let post message = postWith message Payload.empty

    let close code message =
        // The reader and the sweep may both want to.
        if Interlocked.Exchange(&farewells, 1) = 0 then
            let text = FromScheduler.Error(code, message)
            context.log.LogInformation("{Peer} is sent away: {Code} {Message}", name, code, message)
            post text

    let postWelcome keep =
        post (
            FromScheduler.Welcome {
                protocol = Codec.protocolVersion
                session = string session
                beat = context.beat
                lostAfter = context.lostAfter
                maxPayload = context.rules.maxPayload
                maxResult = context.rules.maxResult
                keep = keep
            }
        )

    let shareWith (hello: Hello) sharing =
        let warn reason minutes =
            context.log.LogWarning(
                "{Peer} gets bytes for {Minutes} min: {Reason}",
                name,
                minutes,
                Terminal.printable reason
            )

        SharedWork(session, sharing, References(clock, hello.holding), warn, closing.Token)

    let welcome (hello: Hello) =
        name <- $"{Terminal.printable hello.name} ({remote})"

        match hello.role with
        | Worker stages ->
            standing <- Standing.Worker

            if hello.sharedFiles then
                shared <- context.sharing |> ValueOption.map (shareWith hello)

            let stages =
                stages
                |> Option.defaultWith (fun () -> [| for stage in Stage.builtIn -> stage.name |])

            inputs.Add(Input.Join(session, hello.name, stages))
            // Its WELCOME comes when the machine has decided what it may keep.
            inputs.Add(Input.Claim(session, hello.holding))
            context.log.LogInformation("worker {Peer} joined as session {Session}", name, session)
        | Client ->
            standing <- Standing.Client
            postWelcome [||]

    let admit (frame: Result<Frame<ToScheduler>, FrameError>) =
        match Gate.judge context.rules standing frame with
        | Verdict.Open hello ->
            match
                (match hello.role with
                 | Client -> context.places.TryEnterClient()
                 | Worker _ -> Ok())
            with
            | Ok() ->
                welcome hello
                Admission.Skip
            | Error reason ->
                close ErrorCode.NotWelcome reason
                Admission.Stop
        | Verdict.Deliver ->
            match frame with
            | Ok frame when frame.bytes > 0L<B> && not (Gate.hasPayload frame.message) ->
                arrivals.Add { message = frame.message; payload = Payload.empty; trouble = null }
                Admission.Skip
            | Ok _
            | Error _ -> Admission.Take
        | Verdict.Answer(code, message) ->
            post (FromScheduler.Error(code, message))
            Admission.Skip
        | Verdict.Close(code, message) ->
            close code message
            Admission.Stop

    let reader =
        FrameReader<ToScheduler>(
            PipeReader.Create(
                stream,
                StreamPipeReaderOptions(bufferSize = 64 * 1024, leaveOpen = true)
            ),
            Decoder<ToScheduler>(fun line -> Codec.decodeToScheduler line),
            Func<_, _> admit,
            Func<_, _> spoolFor,
            memoryMax,
            clock,
            context.isKept,
            Insistence<_>(fun message path _ refusal -> insist message path refusal)
        )

    let reject (submit: Submit) code message =
        post (FromScheduler.Rejected(submit.ref, code, message))

    let submit (submit: Submit) payload =
        task {
            match! submissions.ReadAsync(submit, payload) with
            | Ok submission -> inputs.Add(Input.Submit(submission, submit.pipeline))
            | Error reason ->
                SpoolFile.discard payload

                reject
                    submit
                    RejectionCode.BadName
                    $"the name '{submit.name}' cannot be used: {reason}"
        }

    /// A result that is somewhere else waits for us, and with it its worker.
    let fetch (answer: Task<Input>) : Task =
        task {
            isAsking <- true

            try
                let! input = answer
                inputs.Add input
            finally
                isAsking <- false
        }

    /// The worker was told files for this attempt, and what it says is the last of it.
    let endsShared attempt =
        match shared with
        | ValueSome work when work.Ends attempt -> shared
        | _ -> ValueNone

    let unshared attempt error : Task =
        match endsShared attempt with
        | ValueSome work -> fetch (work.UnsharedAsync(attempt, error))
        | ValueNone ->
            let error = $"it says that it cannot use a file, and was told none: {error}"
            inputs.Add(Input.Report(session, attempt, Failed(error, true), Payload.empty))
            Task.CompletedTask

    let stored attempt size : Task =
        match shared with
        | ValueSome work ->
            work.Ends attempt |> ignore
            fetch (work.StoredAsync(attempt, size))
        | ValueNone ->
            let error = "it says that it has stored a result, and was told no file"
            inputs.Add(Input.Report(session, attempt, Failed(error, true), Payload.empty))
            Task.CompletedTask

    let report attempt outcome payload : Task =
        let said = Input.Report(session, attempt, outcome, payload)

        match endsShared attempt with
        | ValueSome work -> fetch (work.JudgeAsync(attempt, said, payload))
        | ValueNone ->
            inputs.Add said
            Task.CompletedTask

    let take (arrival: Arrival<ToScheduler>) : Task =
        match arrival.message with
        | ToScheduler.Beat ->
            post FromScheduler.Beat
            Task.CompletedTask
        | ToScheduler.Submit message when not (isNull arrival.trouble) ->
            context.log.LogWarning(
                "{Peer}: the payload of a SUBMIT could not be stored: {Reason}",
                name,
                arrival.trouble
            )

            reject message RejectionCode.Busy $"the payload could not be stored: {arrival.trouble}"
            Task.CompletedTask
        | ToScheduler.Submit message ->
            match context.holdup.Reason with
            | null -> submit message arrival.payload
            | reason ->
                SpoolFile.discard arrival.payload
                reject message RejectionCode.Busy $"no new work is taken now: {reason}"
                Task.CompletedTask
        | ToScheduler.Result(attempt, Succeeded) when not (isNull arrival.trouble) ->
            endHoldup ()

            context.log.LogWarning(
                "{Peer}: the result of task {Task} could not be stored: {Reason}",
                name,
                attempt.task,
                arrival.trouble
            )

            let error =
                $"the result could not be stored: {arrival.trouble}; it is tried again, and holds up nothing else: make room, or cancel the task"

            inputs.Add(Input.Unstored(session, attempt, error))
            Task.CompletedTask
        | ToScheduler.Result(attempt, outcome) ->
            endHoldup ()
            report attempt outcome arrival.payload
        | ToScheduler.Stored(attempt, size) -> stored attempt size
        | ToScheduler.Unshared(attempt, error) -> unshared attempt error
        | ToScheduler.Ready slots ->
            inputs.Add(Input.Ready(session, (if context.isDraining () then 0 else slots)))
            Task.CompletedTask
        | ToScheduler.Status ->
            match context.holdup.Reason with
            | null -> inputs.Add(Input.Ask session)
            | reason ->
                post (
                    FromScheduler.Status { context.agent.LatestStatus with trouble = Some reason }
                )

            Task.CompletedTask
        | ToScheduler.Cancel task ->
            inputs.Add(Input.Cancel(task, session))
            Task.CompletedTask
        | ToScheduler.Retry task ->
            inputs.Add(Input.Retry(task, session))
            Task.CompletedTask
        | ToScheduler.RetryWith(task, pipeline) ->
            inputs.Add(Input.RetryWith(task, pipeline, session))
            Task.CompletedTask
        | ToScheduler.RetryAll ->
            inputs.Add(Input.RetryAll session)
            Task.CompletedTask
        | ToScheduler.RetryAllWith pipeline ->
            inputs.Add(Input.RetryAllWith(pipeline, session))
            Task.CompletedTask
        | ToScheduler.Drain worker ->
            inputs.Add(Input.Drain(worker, session))
            Task.CompletedTask
        | ToScheduler.Explain _
        | ToScheduler.Events _
        | ToScheduler.List _
        | ToScheduler.Stages
        | ToScheduler.Fetch _ as question ->
            task {
                let! struct (answer, payload) = (context.answer question).WaitAsync closing.Token

                postWith answer payload
            }
        | ToScheduler.Hello _ -> Task.CompletedTask // the gate has opened, or not

    let deliver () =
        task {
            for index in 0 .. arrivals.Count - 1 do
                let taking = take arrivals[index]

                if not taking.IsCompletedSuccessfully then
                    do! taking

            arrivals.Clear()

            if inputs.Count > 0 then
                let batch = inputs.ToArray()
                inputs.Clear()
                do! context.agent.PostAsync(batch, CancellationToken.None)
        }

    /// Lets the last words reach the peer: closing with bytes unread would take them back.
    let sayFarewell () =
        task {
            use patience = new CancellationTokenSource(2_000)

            try
                writer.Signal()
                do! writer.DrainAsync().WaitAsync patience.Token

                if farewells > 0 then
                    socket.Shutdown SocketShutdown.Send
                    let buffer: byte[] = Array.zeroCreate (16 * 1024)
                    let mutable left = farewellBytesMax

                    while left > 0 do
                        let! read = stream.ReadAsync(buffer.AsMemory(), patience.Token)
                        left <- if read = 0 then 0 else left - read
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()
        }

    let readAll () =
        task {
            let mutable goOn = true

            while goOn do
                let! more = reader.ReadAsync(arrivals, closing.Token)
                do! deliver ()
                writer.Signal()
                let room = writer.RoomAsync backlogMax

                if not room.IsCompletedSuccessfully then
                    do! room.WaitAsync closing.Token

                goOn <- more
        }

    /// A payload, or a result, up to this size is held in memory with its task.
    static member MemoryMax: Size = memoryMax

    member _.Session = session
    member _.Name = name

    /// Set while effects are let out: it has something to send.
    member val IsTouched = false with get, set

    /// Queues a message; `Signal` sends what is queued. False: the peer is gone.
    member _.Post(departure) =
        match shared with
        | ValueSome work -> writer.Post(work.Refer departure)
        | ValueNone -> writer.Post departure

    member _.Signal() = writer.Signal()

    /// The machine has taken a worker in, which may go on with these of what it holds.
    member _.Welcome(keep: Attempt[]) = postWelcome keep

    /// The worker is to finish what it has and go.
    member _.Dismiss() = post FromScheduler.Drain

    /// Ends it, because of something that is wrong with it.
    member _.Close(reason: string) =
        context.log.LogWarning("{Peer} is disconnected: {Reason}", name, reason)
        closing.Cancel()

    /// Whether it has not said who it is, and may still.
    member _.IsStranger = standing = Standing.Stranger && farewells = 0

    /// Ends it for the sake of others, who get its place.
    member _.MakeRoom(reason: string) =
        close ErrorCode.NotWelcome reason
        closing.Cancel()

    /// Ends it in order.
    member _.End() = closing.Cancel()

    /// Looks at the time: ends a peer that keeps us waiting. Tells whether a worker gave a sign of life.
    member _.Sweep() : bool =
        let verdict =
            match standing with
            | Standing.Stranger when clock.Now - openedAt > Gate.helloWithin ->
                ValueSome Gate.helloIsLate
            | _ when reader.StuckFor > Gate.frameSilenceMax -> ValueSome Gate.frameIsStuck
            | _ -> ValueNone

        match verdict with
        | ValueSome(Verdict.Close(code, message)) when not closing.IsCancellationRequested ->
            close code message
            closing.Cancel()
        | _ -> ()

        if not (isNull writer.Failure) then
            closing.Cancel() // its socket may still bring bytes, but nobody could answer
        elif writer.StuckFor > stuckMax && not closing.IsCancellationRequested then
            context.log.LogWarning(
                "{Peer} has read nothing for {Seconds} s: disconnected",
                name,
                stuckMax / 1_000L<ms>
            )

            closing.Cancel()

        let isOurDoing = standing = Standing.Worker && (isAsking || not (isNull heldUpAt))

        // Its own beats are not read meanwhile, and it wants a sign of life.
        if isOurDoing && clock.Now - beatAt >= context.beat then
            beatAt <- clock.Now
            post FromScheduler.Beat
            writer.Signal()

        let heard = standing = Standing.Worker && (isOurDoing || reader.LastRead > heardAt)

        heardAt <- reader.LastRead
        heard

    /// Serves the peer until it goes or is sent away. Whatever goes wrong ends this connection and no other.
    member _.RunAsync() : Task =
        task {
            try
                do! readAll ()
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()
            | error -> context.log.LogError(error, "{Peer} is disconnected", name)

            endHoldup ()

            for arrival in arrivals do
                SpoolFile.discard arrival.payload // came, and was not handed on

            for input in inputs do
                match input with
                | Input.Report(_, _, _, result) -> SpoolFile.discard result
                | _ -> ()

            do! sayFarewell ()
            stream.Dispose()

            match standing with
            | Standing.Worker -> context.log.LogInformation("worker {Peer} left", name)
            | Standing.Client -> context.places.LeaveClient()
            | Standing.Stranger -> ()

            do! context.agent.PostAsync([| Input.Leave session |], CancellationToken.None)
        }

    interface IPeer with
        member connection.IsTouched
            with get () = connection.IsTouched
            and set value = connection.IsTouched <- value

        member connection.Post departure = connection.Post departure
        member connection.Signal() = connection.Signal()
        member connection.Welcome keep = connection.Welcome keep
        member connection.Dismiss() = connection.Dismiss()
        member connection.Close reason = connection.Close reason
