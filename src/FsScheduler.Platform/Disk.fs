namespace FsScheduler.Platform

open System
open System.IO
open FsScheduler.Core
open Microsoft.Win32.SafeHandles

/// How a disk says no.
module Disk =

    let private ENOSPC = Linux.Errno.ENOSPC
    let private EDQUOT = Linux.Errno.EDQUOT
    let private EIO = 5
    let private EROFS = 30

    /// Of Windows: ERROR_DISK_FULL.
    let private diskFull = 0x80070070

    let private tooLarge =
        "the file is larger than a limit of the process ('ulimit -f') or of the file system allows"

    /// Whether there is no room left. On Unix .NET keeps errno in HResult where it has no exception of its own for it.
    let isFull (error: exn) =
        error.HResult = ENOSPC || error.HResult = EDQUOT || error.HResult = diskFull

    /// Whether the disk itself fails, or has become read-only.
    let isBroken (error: exn) =
        not (OperatingSystem.IsWindows())
        && (error.HResult = EIO || error.HResult = EROFS)

    /// Whether it says nothing of this file, and passes when the disk is well again.
    let passes (error: exn) = isFull error || isBroken error

    /// What the disk, and nothing else, is to blame for, with a sentence. A file that outgrows a limit of its process
    /// or of its file system is an `ArgumentOutOfRangeException` in .NET.
    let (|StorageError|_|) (error: exn) : string option =
        match error with
        | :? IOException when error.HResult = Linux.Errno.EFBIG -> Some tooLarge
        | :? IOException
        | :? UnauthorizedAccessException -> Some error.Message
        | :? ArgumentOutOfRangeException -> Some tooLarge
        | _ -> None

    /// The size of a file. None where there is nothing, or something else: a link, a fifo (told on Linux only), a folder.
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

    /// <summary>Makes a file to be written, and takes room for it. On Linux all of it or none, where the file system can:
    /// two files that have each half of what they need would wait for ever. Elsewhere the room is taken as it is
    /// written. What is made is its owner's; what is there keeps its rights.</summary>
    /// <param name="path">Replaced, if it is there.</param>
    /// <param name="size">How much will be written, from 1.</param>
    /// <exception cref="T:System.IO.IOException">There is no room, which `isFull` tells, or it cannot be made.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">It may not be made.</exception>
    let create (path: string) (size: int64) : SafeFileHandle =
        if not (File.Exists path) then
            (new FileStream(
                path,
                Rights.options FileMode.OpenOrCreate FileAccess.Write FileShare.Delete
            ))
                .Dispose()

        let file =
            File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Delete)

        // An empty one that is cut counts as replaced for ext4, which then writes all of it to the disk when it is closed:
        // the next flush of the journal would wait for that.
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

    /// <summary>Whether a folder that has no room for a file has some for smaller ones: then that file is to wait, and
    /// nothing else. Payloads up to this size are not even files.</summary>
    /// <param name="folder">Where there was no room.</param>
    let hasRoomForOthers (folder: string) : bool =
        let small: byte[] = Array.zeroCreate (64 * 1024)
        // Swept, if a crash leaves it.
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
