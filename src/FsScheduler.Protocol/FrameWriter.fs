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

/// A message to be sent.
[<Struct>]
type OutgoingMessage<'message, 'payload> = { message: 'message; payload: 'payload }

/// The bytes of a payload, opened to be sent.
[<Struct>]
type Body = {
    bytes: ReadOnlyMemory<byte>
    /// Null when the bytes are all there is.
    file: SafeFileHandle | null
    /// Where in the file it begins.
    start: Size
    size: Size
} with

    /// <summary>A file, of which so many bytes are sent.</summary>
    /// <exception cref="T:System.IO.IOException">It is missing, or cannot be read.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">It may not be read.</exception>
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

/// Writes a line and its newline.
type Encoder<'message> =
    delegate of output: IBufferWriter<byte> * message: 'message * bytes: Size -> unit

/// Where the payloads of messages are.
type IPayloadSource<'message, 'payload> =
    /// The bytes of a payload that is in memory; none: it is opened when it is its turn.
    abstract TryBytes: 'payload -> ReadOnlyMemory<byte> voption
    /// How many bytes of memory a payload takes until it is sent, and not longer.
    abstract MemorySize: 'payload -> int64
    /// It was posted with a payload that is to be opened; `Open` or `Unsent` follows.
    abstract Posted: OutgoingMessage<'message, 'payload> -> unit
    /// None: the payload is not to be had, and so its message is not sent. Who opens says so to whom it concerns.
    abstract Open: OutgoingMessage<'message, 'payload> -> Body voption
    /// What is said, without a payload, to one who would wait for ever for a message whose payload is not to be had.
    abstract Instead: OutgoingMessage<'message, 'payload> -> 'message voption
    /// After the last byte, or instead of it: `whole` says whether the file still had all that was promised.
    abstract Sent: OutgoingMessage<'message, 'payload> * Body * whole: bool -> unit
    /// Instead of both: it was posted, and the stream failed before it was its turn.
    abstract Unsent: OutgoingMessage<'message, 'payload> -> unit

/// <summary>Messages to bytes of a stream: whatever is queued goes out in one flush.</summary>
/// <param name="output">The bytes go here.</param>
/// <param name="encode">Writes one line.</param>
/// <param name="bodies">Opens payloads.</param>
/// <param name="clock">Tells how long the peer has read nothing.</param>
/// <remarks>The thread that signals does the writing if nobody is at it, which saves a switch of threads for every
/// message of a quiet system; messages with files are written by a pool thread.</remarks>
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
    let mutable backlog = 0L // payload bytes and messages that have not gone out
    let mutable unflushed = 0
    let mutable failure: exn | null = null // written inside the gate
    let mutable reached = 0 // how far the batch that is being written has come

    let drained =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    let mutable isClosing = false
    let mutable lastProgress = clock.Now
    let mutable room: TaskCompletionSource | null = null // somebody waits for the backlog to go down

    let cost (departure: OutgoingMessage<'message, 'payload>) =
        100L + bodies.MemorySize departure.payload

    let makeRoom () =
        match Interlocked.Exchange(&room, null) with
        | null -> ()
        | waiting -> waiting.TrySetResult() |> ignore

    /// Whoever makes room afterwards sees it: a plain store could come after the look at the backlog that follows.
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
                flush.Result |> ignore // gives back what the result was kept in
                lastProgress <- clock.Now
                ValueTask.CompletedTask
            else
                ValueTask(finishFlush flush :> Task)

    /// A file that cannot be read any more has nothing any more. Not async: that would be the same call on another thread,
    /// and dearer than what it waits for.
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

                    // The size has been promised: what a file has lost meanwhile is made up, and said.
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

    /// In pieces, so that a peer that takes them slowly is seen to take them.
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
                queued <- spare
                spare <- batch
                queuedFiles <- false
                reached <- 0
                batch)

    /// What was posted and will not go out.
    let giveUp (error: exn) =
        let unsent =
            lock gate (fun () ->
                failure <- error

                // `spare` is the batch that failed, unless it was finished and cleared.
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
                    let mutable written = 0L

                    for index in 0 .. batch.Count - 1 do
                        let departure = batch[index]
                        reached <- index + 1
                        let writing = write departure

                        if not writing.IsCompletedSuccessfully then
                            do! writing

                        written <- written + cost departure
                        let flush = flushAt flushBytes

                        if not flush.IsCompletedSuccessfully then
                            do! flush

                    do! flushAt 1
                    batch.Clear()
                    Interlocked.Add(&backlog, -written) |> ignore
                    makeRoom ()
                    next <- takeQueued ()
            with error ->
                giveUp error
        }

    /// Bytes that wait to go out, roughly.
    member _.Backlog = Volatile.Read &backlog

    /// Whether something is going out, or waits to.
    member _.IsWriting = Volatile.Read &isWriting

    /// How long something has been waiting to go out without any of it going.
    member _.StuckFor: Duration =
        if Volatile.Read &isWriting then
            clock.Now - lastProgress
        else
            0L<ms>

    /// Why nothing is sent any more; null while all is well.
    member _.Failure = failure

    /// Waits until less than this is waiting to go out, or nothing goes out any more. One at a time.
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

    /// Puts a message into the queue; `Signal` sends it. False: nothing is sent any more.
    member _.Post(departure: OutgoingMessage<'message, 'payload>) : bool =
        lock gate (fun () ->
            if isNull failure then
                queued.Add departure

                if (bodies.TryBytes departure.payload).IsNone then
                    queuedFiles <- true
                    bodies.Posted departure

                Interlocked.Add(&backlog, cost departure) |> ignore
                true
            else
                false)

    /// Sees to it that what is queued is sent.
    member _.Signal() =
        let mutable start = false
        let mutable elsewhere = false

        lock gate (fun () ->
            if not isWriting && queued.Count > 0 && isNull failure then
                isWriting <- true
                lastProgress <- clock.Now
                start <- true
                elsewhere <- queuedFiles)

        if start then
            if elsewhere then
                Task.Run<unit>(fun () -> writeAll ()) |> ignore
            else
                writeAll () |> ignore

    /// Completes when all that was posted has gone out, or cannot.
    member writer.DrainAsync() : Task =
        lock gate (fun () ->
            isClosing <- true

            if not isWriting && queued.Count = 0 then
                drained.TrySetResult() |> ignore)

        writer.Signal()
        drained.Task
