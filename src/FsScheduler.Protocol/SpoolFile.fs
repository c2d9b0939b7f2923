namespace FsScheduler.Protocol

open System
open System.IO
open System.IO.Hashing
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>A file that is read or written from its beginning to its end. What is asynchronous elsewhere is done at once:
/// on files it would be the same call on another thread, and dearer than what it waits for.</summary>
/// <param name="path">The file.</param>
/// <param name="mode">Opened to be read; else made, or opened, to be written. What is made is its owner's.</param>
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

/// <summary>A result that is written from its beginning to its end, and hashed on the way: to publish it, nobody has to
/// read it again.</summary>
/// <param name="file">Empty. Closed with this.</param>
/// <param name="flush">Brings what was written to the device.</param>
[<Sealed>]
type ProvenFile(file: Stream, flush: unit -> unit) =
    inherit Stream()
    let hash = XxHash3()

    /// <param name="path">Replaced, if it is there.</param>
    static member Create(path: string) =
        let file = new StraightFile(path, FileMode.OpenOrCreate)

        if file.Length > 0L then
            file.SetLength 0L // as in Disk.create: not where there is nothing to cut

        new ProvenFile(file, fun () -> file.Flush true)

    member _.ContentHash: ContentHash = {
        size = file.Length * 1L<B>
        hash = hash.GetCurrentHashAsUInt64()
    }

    /// To the device.
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

/// Files of payloads that are too large for memory. Each has one owner at a time, who deletes it.
module SpoolFile =

    /// Deletes one. What cannot be deleted stays until its folder is emptied: at the scheduler's next start,
    /// at the worker's end.
    let delete (path: string) =
        try
            File.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    /// Deletes the file of content that is in one.
    let discard (content: Content) =
        ValueOption.iter delete (Content.file content)

    /// Reads content.
    let openContent (content: Content) : Stream =
        match content with
        | Bytes bytes -> new MemoryStream(bytes, false)
        | Spooled(path, _) -> new StraightFile(path, FileMode.Open)

/// Files of payloads, as the scheduler's own work sees them. From any thread.
type ISpool =
    /// Whether there is a file.
    abstract Has: path: string -> bool

    /// <summary>Opens one to be read.</summary>
    /// <exception cref="T:System.IO.IOException">It is not there, or cannot be read.</exception>
    abstract Open: path: string -> Stream

    /// <summary>Makes one, or replaces it.</summary>
    /// <exception cref="T:System.IO.IOException">It cannot be made.</exception>
    abstract Create: path: string -> ProvenFile

    /// <summary>Deletes one; nothing happens where there is none.</summary>
    /// <exception cref="T:System.IO.IOException">It cannot be deleted.</exception>
    abstract Delete: path: string -> unit

    /// Whether a folder that has no room for a file has some for smaller ones.
    abstract HasRoomForOthers: folder: string -> bool

/// Files as they are.
[<Sealed>]
type Spool() =
    /// Deletes one. What cannot be deleted stays until the next start.
    static member discard (files: ISpool) (path: string) =
        try
            files.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    interface ISpool with
        member _.Has path = File.Exists path
        member _.Open path = new StraightFile(path, FileMode.Open)
        member _.Create path = ProvenFile.Create path
        member _.Delete path = File.Delete path
        member _.HasRoomForOthers folder = Disk.hasRoomForOthers folder
