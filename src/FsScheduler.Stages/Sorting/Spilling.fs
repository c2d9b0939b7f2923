namespace FsScheduler.Stages

open System
open System.Buffers
open System.IO
open Microsoft.Win32.SafeHandles

/// The limits of memory of `sort`, `top`, `freq` and merges, and the folder for what exceeds them.
type internal Spilling = {
    /// An existing folder for spill files.
    folder: string
    /// Bytes of lines or words sorted in memory, with 16 for each; at least `lineBytesMax` + 64.
    bufferBytesMax: int
    /// Bytes of the longest line without its newline, or of the longest word.
    lineBytesMax: int
    /// The most runs merged at once.
    runsMax: int
    /// Bytes of one read of a run, and of one write to a spill file.
    readBytes: int
    /// Bytes of the read buffers of all runs of a merge, unless two runs alone need more.
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

/// A temporary file that does not outlive a killed process: Windows deletes the file when its
/// handle is closed; elsewhere the file is deleted as soon as it is open.
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

    /// Empties the file, which frees its space on the disk.
    member file.Clear() =
        RandomAccess.SetLength(handle, 0L)
        file.Length <- 0L

    interface IDisposable with
        member _.Dispose() = handle.Dispose()

/// Appends to a spill file once `writtenAt` bytes have come; `Flush` appends the rest.
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
