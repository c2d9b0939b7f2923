namespace FsScheduler.Execution.Exec

open System
open System.Buffers
open System.IO
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Protocol

/// <summary>Collects the bytes of a result: in memory, and in a file once there are too many.</summary>
/// <param name="newFile">A new path, for a result too large for memory.</param>
/// <param name="memoryMax">The largest result in memory, in bytes.</param>
/// <param name="bytesMax">The largest result, in bytes.</param>
[<Sealed>]
type internal ResultSink(newFile: unit -> string, memoryMax: int, bytesMax: Size) =
    let memory = ArrayBufferWriter<byte>()
    let mutable file: FileStream | null = null
    let mutable size = 0L

    static member TooLarge(bytesMax: Size) =
        StageException(
            $"the result has more than the {bytesMax} bytes that the scheduler takes",
            false
        )

    member _.BytesMax = bytesMax

    /// <exception cref="T:FsScheduler.Stages.StageException">The result is too large.</exception>
    member _.WriteAsync(bytes: ReadOnlyMemory<byte>) : Task =
        size <- size + int64 bytes.Length

        if size > int64 bytesMax then
            raise (ResultSink.TooLarge bytesMax)

        match file with
        | null when size <= int64 memoryMax ->
            memory.Write bytes.Span
            Task.CompletedTask
        | null ->
            let created = new FileStream(newFile (), FileMode.CreateNew, FileAccess.Write)
            file <- created

            task {
                do! created.WriteAsync memory.WrittenMemory
                memory.Clear()
                do! created.WriteAsync bytes
            }
        | file -> file.WriteAsync(bytes).AsTask()

    /// The collected result.
    member _.FinishAsync() : Task<Content> =
        task {
            match file with
            | null -> return Bytes(memory.WrittenSpan.ToArray())
            | file ->
                do! file.DisposeAsync()
                return Spooled(file.Name, size * 1L<B>)
        }

    /// Deletes the collected result.
    member _.Discard() =
        match file with
        | null -> ()
        | file ->
            file.Dispose()
            SpoolFile.delete file.Name
