namespace FsScheduler.Stages

open System
open System.Buffers
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core

/// The result has outgrown its limit. It never leaves this file.
[<Sealed>]
type private ResultTooLarge() =
    inherit Exception()

/// A result in memory.
[<Sealed>]
type private LimitedResult(bytesMax: int) =

    /// A buffer that has grown beyond this is not kept for the next result.
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

/// A result on its way into a stream.
[<Sealed>]
type internal StreamResult(stream: Stream, ct: CancellationToken) =

    /// From here on it does not wait for the end of the piece, but writes at once: a few bytes can
    /// become very many (`replace`), and a stage cannot wait in the middle of a piece.
    static let writtenAt = 1_048_576

    let buffer = ArrayBufferWriter<byte>()

    /// Bytes that have left the buffer.
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
/// Runs stages over payloads, one after the other, and keeps what it can between them: the same
/// stages again are not parsed again, and buffers stay. For one caller at a time.
/// </summary>
/// <param name="tryStart">`BuiltIn.tryStart`, or what knows more stages than that.</param>
/// <param name="resultBytesMax">The largest result that is kept in memory.</param>
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

    /// <summary>Runs stages over a payload in memory. Allocates nothing once it is warm.</summary>
    /// <param name="stages">Each `name` or `name:argument`, at least one.</param>
    /// <param name="payload">The whole payload.</param>
    /// <param name="place">What the payload is to a file.</param>
    /// <returns>
    /// The result, valid until the next call; nothing if it is larger than `resultBytesMax`, and
    /// `RunAsync` has to be used.
    /// </returns>
    /// <exception cref="T:FsScheduler.Stages.StageException">The payload has no result.</exception>
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

    /// `TryRun` of a payload that is no piece.
    member runner.TryRun(stages: string[], payload: ReadOnlySpan<byte>) =
        runner.TryRun(stages, payload, PayloadPlace.Whole)

    member private _.PushChunk(chain: Chain, length: int, output: IBufferWriter<byte>) =
        chain.Push(ReadOnlySpan(chunk, 0, length), output)

    /// <summary>Runs stages over a payload of any size, in bounded memory.</summary>
    /// <param name="stages">Each `name` or `name:argument`, at least one.</param>
    /// <param name="input">Read to its end.</param>
    /// <param name="place">What the payload is to a file.</param>
    /// <param name="output">Gets the result. After an exception it may hold a part of one.</param>
    /// <param name="ct">Looked at before each chunk of 64 KiB, and by stages that take long with one.</param>
    /// <returns>The size of the result.</returns>
    /// <exception cref="T:FsScheduler.Stages.StageException">The payload has no result.</exception>
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

    /// `RunAsync` of a payload that is no piece.
    member runner.RunAsync(stages: string[], input: Stream, output: Stream, ct: CancellationToken) =
        runner.RunAsync(stages, input, PayloadPlace.Whole, output, ct)
