namespace FsScheduler.Protocol

open System
open System.Buffers
open System.Collections.Generic
open System.IO
open System.IO.Pipelines
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform

/// A received message, with its payload in memory or in a file of its own.
[<Struct>]
type IncomingMessage<'message> = {
    message: 'message
    payload: Content
    /// Why the payload could not be stored; null: it was stored.
    failure: string | null
}

/// What the reader does with a frame once its line is read.
type FrameHandling =
    | Take = 0
    /// Skip the payload, and drop the message.
    | Skip = 1
    /// Read no more from this connection.
    | Stop = 2

/// Decodes a line, which comes without its newline.
type Decoder<'message> = delegate of line: ReadOnlySpan<byte> -> Result<Frame<'message>, FrameError>

/// Decides whether a write to a payload's file, which the disk has refused, is tried again; completes when it is time.
type StorageRetry<'message> =
    delegate of message: 'message * path: string * size: Size * refusal: exn -> Task<bool>

/// <summary>Reads messages from a stream, in batches: all frames that one read completes.</summary>
/// <param name="input">The stream.</param>
/// <param name="decode">Decodes a line.</param>
/// <param name="admit">Decides on each frame, before its payload is read.</param>
/// <param name="spool">Gives a path for a payload too large for memory; null: the payload is skipped.</param>
/// <param name="memoryMax">The largest payload in memory.</param>
/// <param name="clock">Measures the peer's silence.</param>
/// <remarks>`isKept` says whether the file at a path is flushed to disk before its message is handed on; by default none
/// is. `retry` decides about a write that the disk has refused; by default it is not tried again.</remarks>
[<Sealed>]
type FrameReader<'message>
    (
        input: PipeReader,
        decode: Decoder<'message>,
        admit: Func<Result<Frame<'message>, FrameError>, FrameHandling>,
        spool: Func<'message, Task<string | null>>,
        memoryMax: Size,
        clock: Clock,
        ?isKept: string -> bool,
        ?retry: StorageRetry<'message>
    ) =
    let isKept = defaultArg isKept (fun _ -> false)
    let retry = defaultArg retry (StorageRetry<_>(fun _ _ _ _ -> Task.FromResult false))

    let mutable rest = ReadOnlySequence<byte>.Empty
    let mutable awaited: Frame<'message> voption = ValueNone // a frame whose payload is incomplete
    let mutable skip = 0L
    let mutable isCut = false // a line is incomplete
    let mutable stopped = false
    let mutable lastRead = clock.Now
    let mutable isWaiting = false
    let mutable waitingSince = lastRead

    /// Starts a read. From here to `hasRead` the reader waits for its peer alone.
    let startRead (ct: CancellationToken) =
        let reading = input.ReadAsync ct

        if not reading.IsCompleted then
            waitingSince <- clock.Now
            Volatile.Write(&isWaiting, true)

        reading

    let hasRead () =
        Volatile.Write(&isWaiting, false)
        lastRead <- clock.Now

    let readLine (arrivals: List<IncomingMessage<'message>>) (line: ReadOnlySpan<byte>) =
        let frame = decode.Invoke line

        match admit.Invoke frame, frame with
        | FrameHandling.Stop, _ -> stopped <- true
        | FrameHandling.Take, Ok frame when frame.bytes = 0L<B> ->
            arrivals.Add { message = frame.message; payload = Content.empty; failure = null }
        | FrameHandling.Take, Ok frame -> awaited <- ValueSome frame
        | _, Ok frame -> skip <- int64 frame.bytes
        | _, Error error -> skip <- int64 error.bytes

    /// Takes a line from `rest`. False: `rest` has no whole line.
    let tryLine arrivals =
        let first = rest.FirstSpan
        let index = first.IndexOf(byte '\n')

        if index >= 0 && index < Codec.lineBytesMax then
            readLine arrivals (first.Slice(0, index))
            rest <- rest.Slice(int64 index + 1L)
            true
        else
            let position = rest.PositionOf(byte '\n')

            let length =
                if position.HasValue then
                    rest.Slice(0, position.Value).Length
                else
                    rest.Length

            if length >= int64 Codec.lineBytesMax then
                let message = $"no newline within {Codec.lineBytesMax} bytes"

                admit.Invoke(Error { code = ErrorCode.BadFrame; message = message; bytes = 0L<B> })
                |> ignore

                stopped <- true
                false
            elif position.HasValue then
                let line = ArrayPool.Shared.Rent(int length)
                rest.Slice(0, length).CopyTo(line.AsSpan())
                readLine arrivals (ReadOnlySpan(line, 0, int length))
                ArrayPool.Shared.Return line
                rest <- rest.Slice(length + 1L)
                true
            else
                false

    /// Takes every whole frame from `rest`, but leaves a large payload to `streamTo`.
    let parse (arrivals: List<IncomingMessage<'message>>) =
        let mutable goOn = true

        while goOn && not stopped do
            if skip > 0L then
                let skipped = min skip rest.Length
                rest <- rest.Slice skipped
                skip <- skip - skipped
                goOn <- skip = 0L
            else
                match awaited with
                | ValueSome frame when frame.bytes > memoryMax -> goOn <- false
                | ValueSome frame ->
                    let size = int64 frame.bytes

                    if rest.Length < size then
                        goOn <- false
                    else
                        let bytes = GC.AllocateUninitializedArray<byte>(int size)
                        rest.Slice(0, size).CopyTo(bytes.AsSpan())
                        rest <- rest.Slice size
                        awaited <- ValueNone

                        arrivals.Add {
                            message = frame.message
                            payload = Bytes bytes
                            failure = null
                        }
                | ValueNone -> goOn <- not rest.IsEmpty && tryLine arrivals

    /// Writes to a payload's file, until it succeeds or is given up. The result says why it failed; null: it succeeded.
    let store message path size (write: unit -> unit) : Task<string | null> =
        task {
            let mutable failure: string | null = null
            let mutable goOn = true

            while goOn do
                try
                    write ()
                    failure <- null
                    goOn <- false
                with Disk.StorageError reason as refusal ->
                    failure <- reason
                    let! again = retry.Invoke(message, path, size * 1L<B>, refusal)
                    goOn <- again

            return failure
        }

    let streamTo message (path: string) (size: int64) ct =
        task {
            let mutable failure: string | null = null
            let mutable handle = Unchecked.defaultof<Microsoft.Win32.SafeHandles.SafeFileHandle>
            let mutable offset = 0L
            let mutable ended = false

            try
                let! unopened = store message path size (fun () -> handle <- Disk.create path size)

                failure <- unopened

                while offset < size && not ended do
                    let! read = startRead ct
                    hasRead ()
                    let piece = read.Buffer.Slice(0, min (size - offset) read.Buffer.Length)
                    let mutable segments = piece.GetEnumerator()

                    while segments.MoveNext() do
                        let segment = segments.Current

                        if isNull failure then
                            let at = offset

                            let! unwritten =
                                store message path size (fun () ->
                                    RandomAccess.Write(handle, segment.Span, at))

                            failure <- unwritten

                        offset <- offset + int64 segment.Length

                    input.AdvanceTo piece.End
                    ended <- read.IsCompleted && piece.IsEmpty

                if isNull failure && not ended && isKept path then
                    try
                        RandomAccess.FlushToDisk handle
                    with Disk.StorageError reason ->
                        failure <- reason
            finally
                if not (obj.ReferenceEquals(handle, null)) then
                    handle.Dispose()

                if offset < size || not (isNull failure) then
                    SpoolFile.delete path

            return struct (not ended, failure)
        }

    /// When the last byte came; before the first one, when the reader was made.
    member _.LastRead = lastRead

    /// How long a read has waited for the next byte; 0 ms if no read waits.
    member _.SilentFor: Duration =
        if Volatile.Read &isWaiting then
            clock.Now - waitingSince
        else
            0L<ms>

    /// Whether a frame has begun that is not complete.
    member _.IsWithinFrame = awaited.IsSome || skip > 0L || isCut

    /// How long a read has waited for the next byte of an incomplete frame. The peer is not blamed for the time in which
    /// earlier messages are processed: no read waits then.
    member reader.StuckFor: Duration =
        if reader.IsWithinFrame then reader.SilentFor else 0L<ms>

    /// <summary>Waits for bytes, and adds the messages that they complete, perhaps none.</summary>
    /// <param name="arrivals">Gets the messages.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>False: no more messages will come.</returns>
    member _.ReadAsync
        (arrivals: List<IncomingMessage<'message>>, ct: CancellationToken)
        : Task<bool> =
        task {
            match awaited with
            | ValueSome frame when frame.bytes > memoryMax ->
                match! spool.Invoke frame.message with
                | null ->
                    awaited <- ValueNone
                    skip <- int64 frame.bytes
                    return true
                | path ->
                    let! struct (whole, failure) =
                        streamTo frame.message path (int64 frame.bytes) ct

                    awaited <- ValueNone
                    isCut <- false // the rest of the previous read was part of this payload

                    if whole then
                        let payload =
                            if isNull failure then
                                Spooled(path, frame.bytes)
                            else
                                Content.empty

                        arrivals.Add {
                            message = frame.message
                            payload = payload
                            failure = failure
                        }

                    return whole
            | _ ->
                let! read = startRead ct
                hasRead ()
                rest <- read.Buffer
                parse arrivals
                let consumed = rest.Start
                let toStream = awaited.IsSome && awaited.Value.bytes > memoryMax
                isCut <- not rest.IsEmpty
                rest <- ReadOnlySequence<byte>.Empty
                input.AdvanceTo(consumed, (if toStream then consumed else read.Buffer.End))
                return not stopped && (toStream || not read.IsCompleted)
        }
