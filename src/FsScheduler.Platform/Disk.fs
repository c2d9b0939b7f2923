namespace FsScheduler.Platform

open System
open System.IO
open FsScheduler.Core
open Microsoft.Win32.SafeHandles

/// Tells errors of a disk, and creates files with their space.
module Disk =

    let private ENOSPC = Linux.Errno.ENOSPC
    let private EDQUOT = Linux.Errno.EDQUOT
    let private EIO = 5
    let private EROFS = 30

    let private diskFull = 0x80070070

    let private tooLarge =
        "the file is larger than a limit of the process ('ulimit -f') or of the file system allows"

    /// Whether the disk is full. On Unix .NET keeps errno in HResult, unless it has an exception of its own for it.
    let isFull (error: exn) =
        error.HResult = ENOSPC || error.HResult = EDQUOT || error.HResult = diskFull

    /// Whether the disk fails, or has become read-only.
    let isBroken (error: exn) =
        not (OperatingSystem.IsWindows())
        && (error.HResult = EIO || error.HResult = EROFS)

    /// Whether the error is of the disk, not of this file, and passes when the disk is well again.
    let passes (error: exn) = isFull error || isBroken error

    /// An error of the disk, with its message. .NET raises `ArgumentOutOfRangeException` for a file that exceeds a
    /// limit of its process or of its file system.
    let (|StorageError|_|) (error: exn) : string option =
        match error with
        | :? IOException when error.HResult = Linux.Errno.EFBIG -> Some tooLarge
        | :? IOException
        | :? UnauthorizedAccessException -> Some error.Message
        | :? ArgumentOutOfRangeException -> Some tooLarge
        | _ -> None

    /// The size of a regular file; none: there is none, or a link, a fifo (told on Linux only), or a folder.
    let sizeOfFile (path: string) : Size voption =
        if OperatingSystem.IsLinux() then
            match Linux.statusOf path with
            | Ok status when status.kind = Linux.S_IFREG -> ValueSome(status.size * 1L<B>)
            | Ok _
            | Error _ -> ValueNone
        else
            let info = FileInfo path

            if info.Exists && isNull info.LinkTarget then
                ValueSome(info.Length * 1L<B>)
            else
                ValueNone

    /// <summary>Creates a file to write, and allocates its space. Linux allocates all of it or none, where the file
    /// system can: two files with half of their space each would wait for ever. Elsewhere the space is allocated by
    /// writing. A new file is its owner's alone; an existing one keeps its rights.</summary>
    /// <param name="path">The file, replaced if it exists.</param>
    /// <param name="size">Bytes that will be written, from 1.</param>
    /// <exception cref="T:System.IO.IOException">No space (`isFull`), or no file.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">The file may not be created.</exception>
    let create (path: string) (size: int64) : SafeFileHandle =
        if not (File.Exists path) then
            (new FileStream(
                path,
                Rights.options FileMode.OpenOrCreate FileAccess.Write FileShare.Delete
            ))
                .Dispose()

        let file =
            File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Delete)

        // Truncating even an empty file makes ext4 write all of it to the disk when it is closed, and the next flush of
        // the journal wait for that.
        if RandomAccess.GetLength file > 0L then
            RandomAccess.SetLength(file, 0L)

        if OperatingSystem.IsLinux() then
            match Linux.allocate (int (file.DangerousGetHandle())) size with
            | Error errno when errno = ENOSPC || errno = EDQUOT || errno = Linux.Errno.EFBIG ->
                file.Dispose()
                File.Delete path
                raise (IOException($"{path}: {Linux.message errno}", errno))
            | Ok()
            | Error _ -> () // not every file system can

        file

    /// <summary>Whether a folder without space for one file has space for small ones: then only that file is to wait.
    /// Payloads up to this size are no files.</summary>
    /// <param name="folder">The folder.</param>
    let hasRoomForOthers (folder: string) : bool =
        let small: byte[] = Array.zeroCreate (64 * 1024)
        // Deleted at the next start, if a crash leaves it.
        let probe =
            Path.Combine(folder, $".room.fss-{Random.Shared.NextInt64():x16}-00000000.tmp")

        try
            try
                use file = create probe small.LongLength
                RandomAccess.Write(file, ReadOnlySpan small, 0L)
                true
            finally
                File.Delete probe
        with StorageError _ ->
            false
