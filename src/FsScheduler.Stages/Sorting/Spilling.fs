namespace FsScheduler.Stages

open System
open System.Buffers
open System.IO
open Microsoft.Win32.SafeHandles

/// Where stages put what does not fit into memory, and how much does.
type internal Spilling = {
    /// An existing folder.
    folder: string
    /// Bytes of lines or words that are put in order at once, with 16 for each; at least 64 more than
    /// `lineBytesMax`.
    bufferBytesMax: int
    /// Bytes of a line without its newline, or of a word.
    lineBytesMax: int
    /// How many runs are merged at once.
    runsMax: int
    /// Bytes that are read at once of each of them.
    readBytes: int
    /// Bytes of all buffers that are read into at once, unless two lines alone take more.
    mergeBytesMax: int
} with

    static member Into(folder: string) = {
        folder = folder
        bufferBytesMax = 67_108_864 + 64
        lineBytesMax = 67_108_864
        runsMax = 64
        readBytes = 262_144
        mergeBytesMax = 67_108_864
    }

/// A file without a name. On Windows it is deleted when it is closed, and elsewhere as soon as it is open, so that it
/// does not outlive a process that is killed.
[<Sealed>]
type internal SpillFile(folder: string) =

    let handle =
        let path = Path.Combine(folder, $"spill-{Guid.NewGuid():N}")

        let handle =
            File.OpenHandle(
                path,
                FileMode.CreateNew,
                FileAccess.ReadWrite,
                FileShare.Delete,
                FileOptions.DeleteOnClose
            )

        if not (OperatingSystem.IsWindows()) then
            File.Delete path

        handle

    member val Length = 0L with get, set

    member file.Append(bytes: ReadOnlySpan<byte>) =
        RandomAccess.Write(handle, bytes, file.Length)
        file.Length <- file.Length + int64 bytes.Length

    member _.Read(bytes: Span<byte>, offset: int64) =
        RandomAccess.Read(handle, bytes, offset)

    /// Gives the room back.
    member file.Clear() =
        RandomAccess.SetLength(handle, 0L)
        file.Length <- 0L

    interface IDisposable with
        member _.Dispose() = handle.Dispose()

/// Appends to a spill file, in large pieces.
[<Sealed>]
type internal SpillWriter(file: SpillFile, writtenAt: int) =

    let buffer = ArrayBufferWriter<byte>()

    member _.Flush() =
        if buffer.WrittenCount > 0 then
            file.Append buffer.WrittenSpan
            buffer.ResetWrittenCount()

    interface IBufferWriter<byte> with
        member writer.Advance count =
            buffer.Advance count

            if buffer.WrittenCount >= writtenAt then
                writer.Flush()

        member _.GetMemory sizeHint = buffer.GetMemory sizeHint
        member _.GetSpan sizeHint = buffer.GetSpan sizeHint
