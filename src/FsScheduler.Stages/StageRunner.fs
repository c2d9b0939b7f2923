namespace FsScheduler.Stages

open System
open System.Buffers
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core

/// The result has outgrown its limit: `TryRun` catches this exception.
[<Sealed>]
type private ResultTooLarge() =
    inherit Exception()

/// A result in memory, up to `bytesMax` bytes.
[<Sealed>]
type private LimitedResult(bytesMax: int) =

    /// Bytes of the largest buffer that is kept for the next result.
    static let keptBytesMax = 1_048_576

    let mutable buffer = ArrayBufferWriter<byte>()

    member _.Written = buffer.WrittenMemory

    member _.Clear() =
        if buffer.Capacity > keptBytesMax then
            buffer <- ArrayBufferWriter()
        else
            buffer.ResetWrittenCount()

    interface IBufferWriter<byte> with
        member _.Advance count =
            buffer.Advance count

            if buffer.WrittenCount > bytesMax then
                raise (ResultTooLarge())

        member _.GetMemory sizeHint = buffer.GetMemory sizeHint
        member _.GetSpan sizeHint = buffer.GetSpan sizeHint

/// A result on its way into a stream: buffered, and written by `FlushAsync`.
[<Sealed>]
type internal StreamResult(stream: Stream, ct: CancellationToken) =

    /// Bytes in the buffer at which `Advance` writes them, and blocks. A short piece can have a
    /// very long result (`replace`), and a stage cannot await in the middle of a piece.
    static let writtenAt = 1_048_576

    let buffer = ArrayBufferWriter<byte>()

    /// Bytes written to the stream, without those in the buffer.
    member val Written = 0L with get, set

    member result.FlushAsync() : Task =
        task {
            if buffer.WrittenCount > 0 then
                do! stream.WriteAsync(buffer.WrittenMemory, ct)
                result.Written <- result.Written + int64 buffer.WrittenCount
                buffer.ResetWrittenCount()
        }

    interface IBufferWriter<byte> with
        member result.Advance count =
            buffer.Advance count

            if buffer.WrittenCount >= writtenAt then
                ct.ThrowIfCancellationRequested()
                stream.Write buffer.WrittenSpan
                result.Written <- result.Written + int64 buffer.WrittenCount
                buffer.ResetWrittenCount()

        member _.GetMemory sizeHint = buffer.GetMemory sizeHint
        member _.GetSpan sizeHint = buffer.GetSpan sizeHint

/// <summary>
/// Runs stages over payloads, one payload after the other. A payload with the same stages as the
/// last reuses the parsed stages and their buffers. For one caller at a time.
/// </summary>
/// <param name="tryStart">`BuiltIn.tryStart`, or a function that knows more stages.</param>
/// <param name="resultBytesMax">Bytes of the largest result of `TryRun`.</param>
[<Sealed>]
type StageRunner(tryStart: Stage -> StageRun voption, resultBytesMax: int) =

    static let chunkBytes = 65_536

    let result = LimitedResult resultBytesMax
    let mutable stagesOfChain: string[] = [||]
    let mutable chain: Chain voption = ValueNone
    let mutable chunk: byte[] = [||]

    let start (stages: string[]) place =
        match chain with
        | ValueSome chain when stages.AsSpan().SequenceEqual(ReadOnlySpan stagesOfChain) ->
            chain.Reset()
            chain.Begin place
            chain
        | _ ->
            let started = Chain.Start(tryStart, stages)
            started.Reset()
            started.Begin place
            stagesOfChain <- Array.copy stages
            chain <- ValueSome started
            started

    /// <summary>Runs stages over a payload in memory. Allocates nothing once the buffers have
    /// grown.</summary>
    /// <param name="stages">Each `name` or `name:argument`, at least one.</param>
    /// <param name="payload">All bytes of the payload.</param>
    /// <param name="place">Which piece of a large input the payload is.</param>
    /// <returns>
    /// The result, valid until the next call; none if the result is larger than `resultBytesMax`:
    /// then call `RunAsync`.
    /// </returns>
    /// <exception cref="T:FsScheduler.Stages.StageException">The payload has no result, or a stage
    /// cannot run here.</exception>
    member _.TryRun
        (stages: string[], payload: ReadOnlySpan<byte>, place: PayloadPlace)
        : ReadOnlyMemory<byte> voption =
        let chain = start stages place
        result.Clear()

        chain.Heed CancellationToken.None
        let mutable hasEnded = false

        try
            try
                chain.Push(payload, result)
                chain.Finish result
                hasEnded <- true
                ValueSome result.Written
            with :? ResultTooLarge ->
                result.Clear()
                ValueNone
        finally
            if not hasEnded then
                chain.Reset()

    /// `TryRun` for a payload that is no piece.
    member runner.TryRun(stages: string[], payload: ReadOnlySpan<byte>) =
        runner.TryRun(stages, payload, PayloadPlace.Whole)

    member private _.PushChunk(chain: Chain, length: int, output: IBufferWriter<byte>) =
        chain.Push(ReadOnlySpan(chunk, 0, length), output)

    /// <summary>Runs stages over a payload of any size, in bounded memory.</summary>
    /// <param name="stages">Each `name` or `name:argument`, at least one.</param>
    /// <param name="input">The payload, read to its end and not closed.</param>
    /// <param name="place">Which piece of a large input the payload is.</param>
    /// <param name="output">Receives the result; incomplete after an exception.</param>
    /// <param name="ct">Cancels the run, before a chunk of 64 KiB or inside a stage that works long
    /// on one.</param>
    /// <returns>The size of the result in bytes.</returns>
    /// <exception cref="T:FsScheduler.Stages.StageException">The payload has no result, or a stage
    /// cannot run here.</exception>
    member runner.RunAsync
        (stages: string[], input: Stream, place: PayloadPlace, output: Stream, ct: CancellationToken) : Task<
            Size
                                                                                                         >
        =
        task {
            let chain = start stages place
            let result = StreamResult(output, ct)

            if chunk.Length = 0 then
                chunk <- Array.zeroCreate chunkBytes

            chain.Heed ct
            let mutable hasEnded = false

            try
                let! first = input.ReadAsync(chunk.AsMemory(), ct)
                let mutable length = first

                while length > 0 do
                    runner.PushChunk(chain, length, result)
                    do! result.FlushAsync()
                    let! next = input.ReadAsync(chunk.AsMemory(), ct)
                    length <- next

                chain.Finish result
                do! result.FlushAsync()
                hasEnded <- true
                return result.Written * 1L<B>
            finally
                if not hasEnded then
                    chain.Reset()
        }

    /// `RunAsync` for a payload that is no piece.
    member runner.RunAsync(stages: string[], input: Stream, output: Stream, ct: CancellationToken) =
        runner.RunAsync(stages, input, PayloadPlace.Whole, output, ct)
