namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol

/// The connection of one peer: incoming frames in batches, and outgoing messages.
[<Sealed>]
type Connection(session: SessionId, socket: Socket, context: ConnectionContext) =
    static let memoryMax = 64L * 1024L * 1L<B>
    // A peer that leaves this many bytes unread is not read from.
    static let backlogMax = 4L * 1024L * 1024L
    // A peer that reads nothing for this long is disconnected.
    static let stuckMax = 60_000L<ms>
    static let finalBytesMax = 16 * 1024 * 1024

    let remote = string socket.RemoteEndPoint
    let stream = new NetworkStream(socket, ownsSocket = true)
    let clock = context.clock
    let openedAt = clock.Now
    let closing = new CancellationTokenSource()
    let received = List<IncomingMessage<ToScheduler>>()
    let mutable role = PeerRole.Stranger
    let mutable heardAt = openedAt
    let mutable finalMessages = 0 // final messages, at most one
    let storage = StorageWait(context, closing.Token)
    let mutable isAsking = false
    let mutable beatAt = openedAt

    /// Deletes a file whose path came too late.
    let deleteLate (asked: Task<string | null>) =
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
                    deleteLate asked |> ignore
        }

    let writer =
        FrameWriter<FromScheduler, OutgoingPayload>(
            PipeWriter.Create(
                stream,
                StreamPipeWriterOptions(minimumBufferSize = 32 * 1024, leaveOpen = true)
            ),
            Encoder<FromScheduler>(fun output message bytes ->
                Codec.encodeFromScheduler output message bytes),
            context.payloads,
            clock
        )

    let postWith message payload =
        writer.Post { message = message; payload = OutgoingPayload.Kept payload }
        |> ignore

    let post message = postWith message KeptContent.empty

    let handler =
        MessageHandler(session, context, storage, postWith, closing.Token, Name = remote)

    let inputs = handler.Inputs

    let close code message =
        // The reader and the sweep may both send it.
        if Interlocked.Exchange(&finalMessages, 1) = 0 then
            let text = FromScheduler.Error(code, message)

            context.log.LogInformation(
                "{Peer} is disconnected: {Code} {Message}",
                handler.Name,
                code,
                message
            )

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
                "{Peer} is given no shared files for {Minutes} min: {Reason}",
                handler.Name,
                minutes,
                Terminal.printable reason
            )

        WorkerSharing(session, sharing, SharingBackoff(clock, hello.holding), warn, closing.Token)

    let welcome (hello: Hello) =
        handler.Name <- $"{Terminal.printable hello.name} ({remote})"

        match hello.role with
        | Role.Worker stages ->
            role <- PeerRole.Worker

            if hello.sharedFiles then
                handler.Sharing <- context.sharing |> ValueOption.map (shareWith hello)

            let stages =
                stages
                |> Option.defaultWith (fun () -> [| for stage in Stage.builtIn -> stage.name |])

            inputs.Add(Input.Join(session, hello.name, stages))
            // WELCOME follows when the machine has decided which attempts the worker may keep.
            inputs.Add(Input.Claim(session, hello.holding))

            context.log.LogInformation(
                "worker {Peer} joined as session {Session}",
                handler.Name,
                session
            )
        | Role.Client ->
            role <- PeerRole.Client
            postWelcome [||]

    let admit (frame: Result<Frame<ToScheduler>, FrameError>) =
        match AccessControl.admit context.rules role frame with
        | Admission.Open hello ->
            match
                (match hello.role with
                 | Role.Client -> context.places.TryEnterClient()
                 | Role.Worker _ -> Ok())
            with
            | Ok() ->
                welcome hello
                FrameHandling.Skip
            | Error reason ->
                close ErrorCode.NotWelcome reason
                FrameHandling.Stop
        | Admission.Deliver ->
            match frame with
            | Ok frame when frame.bytes > 0L<B> && not (AccessControl.hasPayload frame.message) ->
                received.Add { message = frame.message; payload = Content.empty; failure = null }
                FrameHandling.Skip
            | Ok _
            | Error _ -> FrameHandling.Take
        | Admission.Answer(code, message) ->
            post (FromScheduler.Error(code, message))
            FrameHandling.Skip
        | Admission.Close(code, message) ->
            close code message
            FrameHandling.Stop

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
            StorageRetry<_>(fun message path _ refusal ->
                storage.RetryAsync(message, path, refusal))
        )

    let deliver () =
        task {
            for index in 0 .. received.Count - 1 do
                let taking = handler.Take received[index]

                if not taking.IsCompletedSuccessfully then
                    do! taking

            received.Clear()

            if inputs.Count > 0 then
                let batch = inputs.ToArray()
                inputs.Clear()
                do! context.agent.PostAsync(batch, CancellationToken.None)
        }

    /// Sends the final message and waits for the peer to close: closing with bytes unread would discard it.
    let sendFinalMessage () =
        task {
            use patience = new CancellationTokenSource(2_000)

            try
                writer.Signal()
                do! writer.DrainAsync().WaitAsync patience.Token

                if finalMessages > 0 then
                    socket.Shutdown SocketShutdown.Send
                    let buffer: byte[] = Array.zeroCreate (16 * 1024)
                    let mutable left = finalBytesMax

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
                let! more = reader.ReadAsync(received, closing.Token)
                do! deliver ()
                writer.Signal()
                let room = writer.RoomAsync backlogMax

                if not room.IsCompletedSuccessfully then
                    do! room.WaitAsync closing.Token

                goOn <- more
        }

    /// Payloads and results up to this size are held in memory with their tasks.
    static member MemoryMax: Size = memoryMax

    member _.Session = session
    member _.Name = handler.Name

    member val IsTouched = false with get, set

    member _.Post(outgoing) =
        match handler.Sharing with
        | ValueSome work -> writer.Post(work.Refer outgoing)
        | ValueNone -> writer.Post outgoing

    member _.Signal() = writer.Signal()

    member _.Welcome(keep: Attempt[]) = postWelcome keep

    member _.Dismiss() = post FromScheduler.Drain

    member _.Close(reason: string) =
        context.log.LogWarning("{Peer} is disconnected: {Reason}", handler.Name, reason)
        closing.Cancel()

    /// Whether the peer has not said HELLO, and may still.
    member _.IsStranger = role = PeerRole.Stranger && finalMessages = 0

    /// Ends the connection so that others get its place.
    member _.MakeRoom(reason: string) =
        close ErrorCode.NotWelcome reason
        closing.Cancel()

    /// Ends the connection in order.
    member _.End() = closing.Cancel()

    /// Ends the connection of a peer that is silent or reads nothing. True if a worker gave a sign of life.
    member _.Sweep() : bool =
        let lateness =
            match role with
            | PeerRole.Stranger when clock.Now - openedAt > AccessControl.helloWithin ->
                ValueSome AccessControl.helloIsLate
            | _ when reader.StuckFor > AccessControl.frameSilenceMax ->
                ValueSome AccessControl.frameIsStuck
            | _ -> ValueNone

        match lateness with
        | ValueSome(Admission.Close(code, message)) when not closing.IsCancellationRequested ->
            close code message
            closing.Cancel()
        | _ -> ()

        if not (isNull writer.Failure) then
            closing.Cancel() // the socket may still bring bytes, but no answer could be sent
        elif writer.StuckFor > stuckMax && not closing.IsCancellationRequested then
            context.log.LogWarning(
                "{Peer} has read nothing for {Seconds} s: disconnected",
                handler.Name,
                stuckMax / 1_000L<ms>
            )

            closing.Cancel()

        let isOurDoing =
            role = PeerRole.Worker && (isAsking || handler.IsFetching || storage.IsWaiting)

        // The beats of the worker are not read meanwhile, and the worker expects a sign of life.
        if isOurDoing && clock.Now - beatAt >= context.beat then
            beatAt <- clock.Now
            post FromScheduler.Beat
            writer.Signal()

        let heard = role = PeerRole.Worker && (isOurDoing || reader.LastRead > heardAt)

        heardAt <- reader.LastRead
        heard

    /// Serves the peer until it leaves or is disconnected. An error ends this connection and no other.
    member _.RunAsync() : Task =
        task {
            try
                do! readAll ()
            with
            | :? IOException
            | :? SocketException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()
            | error -> context.log.LogError(error, "{Peer} is disconnected", handler.Name)

            storage.End()

            for incoming in received do
                SpoolFile.discard incoming.payload // received, and not handed on

            for input in inputs do
                match input with
                | Input.Report(_, _, _, result) -> SpoolFile.discard result
                | _ -> ()

            do! sendFinalMessage ()
            stream.Dispose()

            match role with
            | PeerRole.Worker -> context.log.LogInformation("worker {Peer} left", handler.Name)
            | PeerRole.Client -> context.places.LeaveClient()
            | PeerRole.Stranger -> ()

            do! context.agent.PostAsync([| Input.Leave session |], CancellationToken.None)
        }

    interface IPeer with
        member connection.IsTouched
            with get () = connection.IsTouched
            and set value = connection.IsTouched <- value

        member connection.Post outgoing = connection.Post outgoing
        member connection.Signal() = connection.Signal()
        member connection.Welcome keep = connection.Welcome keep
        member connection.Dismiss() = connection.Dismiss()
        member connection.Close reason = connection.Close reason
