namespace FsScheduler.Protocol

open System
open System.Buffers
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Threading
open System.Threading.Tasks
open Microsoft.Win32.SafeHandles
open FsScheduler.Core
open FsScheduler.Platform

/// A message to send.
[<Struct>]
type OutgoingMessage<'message, 'payload> = { message: 'message; payload: 'payload }

/// A payload opened for sending.
[<Struct>]
type Body = {
    bytes: ReadOnlyMemory<byte>
    /// The file of the payload; null: `bytes` has all of it.
    file: SafeFileHandle | null
    /// The offset of the payload in the file.
    start: Size
    size: Size
} with

    /// <summary>Opens a file, to send its first <c>size</c> bytes.</summary>
    /// <exception cref="T:System.IO.IOException">The file is missing, or cannot be read.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">The rights forbid reading the file.</exception>
    static member OfFile(path: string, size: Size) : Body =
        let file =
            File.OpenHandle(
                path,
                FileMode.Open,
                FileAccess.Read,
                FileShare.ReadWrite ||| FileShare.Delete,
                FileOptions.SequentialScan
            )

        { bytes = ReadOnlyMemory.Empty; file = file; start = 0L<B>; size = size }

    static member OfBytes(bytes: ReadOnlyMemory<byte>) : Body = {
        bytes = bytes
        file = null
        start = 0L<B>
        size = int64 bytes.Length * 1L<B>
    }

    /// As `OfBytes` or `OfFile`.
    static member OfContent(content: Content) : Body =
        match content with
        | Bytes bytes -> Body.OfBytes(ReadOnlyMemory bytes)
        | Spooled(path, size) -> Body.OfFile(path, size)

/// Writes the line of a message, and its newline.
type Encoder<'message> =
    delegate of output: IBufferWriter<byte> * message: 'message * bytes: Size -> unit

/// Opens the payloads of messages, and is told what becomes of the messages.
type IPayloadSource<'message, 'payload> =
    /// The bytes of a payload in memory; none: the payload is opened when its message is sent.
    abstract TryBytes: 'payload -> ReadOnlyMemory<byte> voption
    /// The bytes of memory that a payload takes until its message is sent, and not longer.
    abstract MemorySize: 'payload -> int64
    /// A message was posted whose payload is to be opened; `Open` or `Unsent` follows.
    abstract Posted: OutgoingMessage<'message, 'payload> -> unit
    /// Opens the payload. None: it cannot be read; the source has reported this, and the message is not sent.
    abstract Open: OutgoingMessage<'message, 'payload> -> Body voption
    /// The message, without a payload, that the peer gets if `Open` has failed; none: the peer does not wait for one.
    abstract Instead: OutgoingMessage<'message, 'payload> -> 'message voption
    /// The message was sent, or the stream failed meanwhile. `whole`: the file had as many bytes as its size says.
    abstract Sent: OutgoingMessage<'message, 'payload> * Body * whole: bool -> unit
    /// The stream failed before `Open`: the message is not sent.
    abstract Unsent: OutgoingMessage<'message, 'payload> -> unit

/// <summary>Writes messages to a stream: all queued messages in one flush.</summary>
/// <param name="output">The stream.</param>
/// <param name="encode">Writes the line of a message.</param>
/// <param name="bodies">Opens payloads.</param>
/// <param name="clock">Measures for how long the peer reads nothing.</param>
/// <remarks>The thread that signals also writes, unless another thread is writing: no switch of threads for each message
/// of a quiet system. Messages with files are written by a thread of the pool.</remarks>
[<Sealed>]
type FrameWriter<'message, 'payload>
    (
        output: PipeWriter,
        encode: Encoder<'message>,
        bodies: IPayloadSource<'message, 'payload>,
        clock: Clock
    ) =
    let flushBytes = 64 * 1024
    let gate = obj ()
    let mutable queued = List<OutgoingMessage<'message, 'payload>>()
    let mutable spare = List<OutgoingMessage<'message, 'payload>>()
    let mutable queuedFiles = false
    let mutable isWriting = false
    let mutable backlog = 0L // bytes of queued messages and of the present batch, estimated
    let mutable queuedCost = 0L // of the queued messages alone
    let mutable batchCost = 0L // of the present batch
    let mutable unflushed = 0
    let mutable failure: exn | null = null // written inside the gate
    let mutable reached = 0 // messages of the present batch that were begun

    let drained =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    let mutable isClosing = false
    let mutable lastProgress = clock.Now
    let mutable room: TaskCompletionSource | null = null // set while a caller waits for a smaller backlog

    let makeRoom () =
        match Interlocked.Exchange(&room, null) with
        | null -> ()
        | waiting -> waiting.TrySetResult() |> ignore

    /// An interlocked store: a plain one could come after the caller's next read of the backlog, and `makeRoom` would
    /// miss the waiting caller.
    let awaitRoom waiting =
        Interlocked.Exchange(&room, waiting) |> ignore

    let finishFlush (flush: ValueTask<FlushResult>) =
        task {
            let! _ = flush
            lastProgress <- clock.Now
        }

    let flushAt limit =
        if unflushed < limit then
            ValueTask.CompletedTask
        else
            unflushed <- 0
            let flush = output.FlushAsync()

            if flush.IsCompletedSuccessfully then
                flush.Result |> ignore // a ValueTask gives its source back when its result is read
                lastProgress <- clock.Now
                ValueTask.CompletedTask
            else
                ValueTask(finishFlush flush :> Task)

    /// Reads from a file; 0 bytes if the file can no longer be read. Synchronous: an asynchronous read is the same call
    /// on another thread, and costs more than the wait.
    let readAt file (piece: Memory<byte>) (offset: int64) =
        try
            RandomAccess.Read(file, piece.Span, offset)
        with :? IOException ->
            0

    let writeFile (departure: OutgoingMessage<'message, 'payload>) (body: Body) =
        task {
            let file = nonNull body.file
            let size = int64 body.size
            let mutable offset = 0L
            let mutable whole = true

            try
                while offset < size do
                    let memory = output.GetMemory(flushBytes)
                    let piece = memory.Slice(0, int (min (size - offset) (int64 memory.Length)))

                    let read =
                        if whole then
                            readAt file piece (int64 body.start + offset)
                        else
                            0

                    // The line has promised the size: bytes that the file has lost since are sent as zeros, and `Sent`
                    // is told.
                    if read = 0 then
                        whole <- false
                        piece.Span.Clear()

                    let count = if read = 0 then piece.Length else read
                    output.Advance count
                    offset <- offset + int64 count
                    unflushed <- unflushed + count
                    do! flushAt flushBytes
            finally
                bodies.Sent(departure, body, whole)
        }

    let writeBytes (message: 'message) (bytes: ReadOnlyMemory<byte>) =
        encode.Invoke(output, message, int64 bytes.Length * 1L<B>)

        if not bytes.IsEmpty then
            output.Write bytes.Span

        unflushed <- unflushed + bytes.Length + 128

    /// Flushes in pieces, so that a slow peer makes progress that `StuckFor` sees.
    let writePieces (message: 'message) (bytes: ReadOnlyMemory<byte>) : Task =
        task {
            encode.Invoke(output, message, int64 bytes.Length * 1L<B>)
            unflushed <- unflushed + 128

            let mutable offset = 0

            while offset < bytes.Length do
                let length = min flushBytes (bytes.Length - offset)
                output.Write(bytes.Span.Slice(offset, length))
                offset <- offset + length
                unflushed <- unflushed + length
                do! flushAt flushBytes
        }

    let write (departure: OutgoingMessage<'message, 'payload>) : Task =
        match bodies.TryBytes departure.payload with
        | ValueSome bytes when bytes.Length > flushBytes -> writePieces departure.message bytes
        | ValueSome bytes ->
            writeBytes departure.message bytes
            Task.CompletedTask
        | ValueNone ->
            match bodies.Open departure with
            | ValueNone ->
                match bodies.Instead departure with
                | ValueSome message -> writeBytes message ReadOnlyMemory.Empty
                | ValueNone -> ()

                Task.CompletedTask
            | ValueSome body when isNull body.file ->
                writeBytes departure.message body.bytes
                bodies.Sent(departure, body, true)
                Task.CompletedTask
            | ValueSome body ->
                encode.Invoke(output, departure.message, body.size)
                unflushed <- unflushed + 128
                writeFile departure body

    let takeQueued () : List<OutgoingMessage<'message, 'payload>> | null =
        lock gate (fun () ->
            if queued.Count = 0 then
                isWriting <- false

                if isClosing then
                    drained.TrySetResult() |> ignore

                null
            else
                let batch = queued
                batchCost <- queuedCost
                queuedCost <- 0L
                queued <- spare
                spare <- batch
                queuedFiles <- false
                reached <- 0
                batch)

    /// Stops sending, and tells the source of each message that was not begun.
    let giveUp (error: exn) =
        let unsent =
            lock gate (fun () ->
                failure <- error

                // `spare` is the batch that failed; it is empty if it was finished.
                let unsent = [|
                    for index in reached .. spare.Count - 1 -> spare[index]
                    yield! queued
                |]

                spare.Clear()
                queued.Clear()
                unsent)

        for departure in unsent do
            bodies.Unsent departure

        makeRoom ()
        drained.TrySetResult() |> ignore

    let writeAll () =
        task {
            try
                let mutable next = takeQueued ()

                while not (isNull next) do
                    let batch = nonNull next

                    for index in 0 .. batch.Count - 1 do
                        let departure = batch[index]
                        reached <- index + 1
                        let writing = write departure

                        if not writing.IsCompletedSuccessfully then
                            do! writing

                        let flush = flushAt flushBytes

                        if not flush.IsCompletedSuccessfully then
                            do! flush

                    do! flushAt 1
                    batch.Clear()
                    Interlocked.Add(&backlog, -batchCost) |> ignore
                    makeRoom ()
                    next <- takeQueued ()
            with error ->
                giveUp error
        }

    /// The bytes of queued messages, estimated: 100 for each message, and its payload if that is in memory.
    member _.Backlog = Volatile.Read &backlog

    /// Whether messages are being written.
    member _.IsWriting = Volatile.Read &isWriting

    /// How long the peer has taken no byte of the messages being written; 0 ms if there are none.
    member _.StuckFor: Duration =
        if Volatile.Read &isWriting then
            clock.Now - lastProgress
        else
            0L<ms>

    /// Why the stream has failed; null: it has not.
    member _.Failure = failure

    /// Waits until `Backlog` is less than `backlogMax`, or the stream has failed. One caller at a time.
    member writer.RoomAsync(backlogMax: int64) : Task =
        if writer.Backlog < backlogMax then
            Task.CompletedTask
        else
            task {
                while isNull failure && writer.Backlog >= backlogMax do
                    let waiting =
                        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

                    awaitRoom waiting

                    if isNull failure && writer.Backlog >= backlogMax then
                        do! waiting.Task
            }

    /// Queues a message; `Signal` sends it. False: the stream has failed.
    member _.Post(departure: OutgoingMessage<'message, 'payload>) : bool =
        lock gate (fun () ->
            if isNull failure then
                queued.Add departure

                if (bodies.TryBytes departure.payload).IsNone then
                    queuedFiles <- true
                    bodies.Posted departure

                let cost = 100L + bodies.MemorySize departure.payload
                queuedCost <- queuedCost + cost
                Interlocked.Add(&backlog, cost) |> ignore
                true
            else
                false)

    /// Starts to send the queued messages, unless another thread is writing and will send them too.
    member _.Signal() =
        let mutable start = false
        let mutable withFiles = false

        lock gate (fun () ->
            if not isWriting && queued.Count > 0 && isNull failure then
                isWriting <- true
                lastProgress <- clock.Now
                start <- true
                withFiles <- queuedFiles)

        if start then
            if withFiles then
                Task.Run<unit>(fun () -> writeAll ()) |> ignore
            else
                writeAll () |> ignore

    /// Completes when every posted message is sent, or the stream has failed.
    member writer.DrainAsync() : Task =
        lock gate (fun () ->
            isClosing <- true

            if not isWriting && queued.Count = 0 then
                drained.TrySetResult() |> ignore)

        writer.Signal()
        drained.Task
