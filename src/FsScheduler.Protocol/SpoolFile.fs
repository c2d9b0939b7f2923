namespace FsScheduler.Protocol

open System
open System.IO
open System.IO.Hashing
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>A file that is read or written from its beginning to its end. Asynchronous calls are done synchronously: on
/// files they are the same calls on another thread, and cost more than the wait.</summary>
/// <param name="path">The file.</param>
/// <param name="mode"><c>Open</c> is for reading; the others are for writing, and a new file belongs to its owner
/// alone.</param>
[<Sealed>]
type StraightFile(path: string, mode: FileMode) =
    inherit
        FileStream(
            path,
            Rights.options
                mode
                (if mode = FileMode.Open then
                     FileAccess.Read
                 else
                     FileAccess.Write)
                (FileShare.ReadWrite ||| FileShare.Delete)
        )

    override file.ReadAsync(buffer: Memory<byte>, _: CancellationToken) =
        ValueTask<int>(file.Read buffer.Span)

    override file.WriteAsync(buffer: ReadOnlyMemory<byte>, _: CancellationToken) =
        file.Write buffer.Span
        ValueTask.CompletedTask

/// <summary>A result that is hashed while it is written from its beginning to its end, so that publishing need not read
/// it again.</summary>
/// <param name="file">Empty; closed with this stream.</param>
/// <param name="flush">Flushes the file to the device.</param>
[<Sealed>]
type HashedFile(file: Stream, flush: unit -> unit) =
    inherit Stream()
    let hash = XxHash3()

    /// <param name="path">A file that exists is replaced.</param>
    static member Create(path: string) =
        let file = new StraightFile(path, FileMode.OpenOrCreate)

        if file.Length > 0L then
            file.SetLength 0L // not on an empty file, as in `Disk.create`

        new HashedFile(file, fun () -> file.Flush true)

    member _.ContentHash: ContentHash = {
        size = file.Length * 1L<B>
        hash = hash.GetCurrentHashAsUInt64()
    }

    member _.FlushToDisk() = flush ()

    override _.Write(bytes: ReadOnlySpan<byte>) =
        file.Write bytes
        hash.Append bytes

    override this.Write(buffer: byte[], offset: int, count: int) =
        this.Write(ReadOnlySpan(buffer, offset, count))

    override this.WriteAsync(bytes: ReadOnlyMemory<byte>, _: CancellationToken) =
        this.Write bytes.Span
        ValueTask.CompletedTask

    override this.WriteAsync(buffer: byte[], offset: int, count: int, _: CancellationToken) =
        this.Write(buffer, offset, count)
        Task.CompletedTask

    override _.CanWrite = true
    override _.CanRead = false
    override _.CanSeek = false
    override _.Length = file.Length

    override _.Position
        with get () = file.Position
        and set _ = raise (NotSupportedException())

    override _.Flush() = file.Flush()
    override _.Read(_: byte[], _: int, _: int) : int = raise (NotSupportedException())
    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())

    override _.Dispose(isDisposing: bool) =
        if isDisposing then
            file.Dispose()

/// Files of payloads too large for memory. Each file has one owner at a time, which deletes it.
module SpoolFile =

    /// Deletes a file. One that cannot be deleted stays until its folder is emptied, at the scheduler's next start or at
    /// the worker's end.
    let delete (path: string) =
        try
            File.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    /// Deletes the file of content that is in one.
    let discard (content: Content) =
        ValueOption.iter delete (Content.file content)

    /// Opens content for reading.
    let openContent (content: Content) : Stream =
        match content with
        | Bytes bytes -> new MemoryStream(bytes, false)
        | Spooled(path, _) -> new StraightFile(path, FileMode.Open)

/// The files of payloads, as the scheduler reads and writes them itself. Safe for any thread.
type ISpool =
    /// Whether the file exists.
    abstract Has: path: string -> bool

    /// <summary>Opens a file for reading.</summary>
    /// <exception cref="T:System.IO.IOException">The file is missing, or cannot be read.</exception>
    abstract Open: path: string -> Stream

    /// <summary>Makes a file, or replaces it.</summary>
    /// <exception cref="T:System.IO.IOException">The file cannot be made.</exception>
    abstract Create: path: string -> HashedFile

    /// <summary>Deletes a file, if it exists.</summary>
    /// <exception cref="T:System.IO.IOException">The file cannot be deleted.</exception>
    abstract Delete: path: string -> unit

    /// Whether a folder without room for a large file still has room for smaller ones.
    abstract HasRoomForOthers: folder: string -> bool

/// Files on disk.
[<Sealed>]
type Spool() =
    /// Deletes a file. One that cannot be deleted stays until the next start.
    static member discard (files: ISpool) (path: string) =
        try
            files.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    interface ISpool with
        member _.Has path = File.Exists path
        member _.Open path = new StraightFile(path, FileMode.Open)
        member _.Create path = HashedFile.Create path
        member _.Delete path = File.Delete path
        member _.HasRoomForOthers folder = Disk.hasRoomForOthers folder
