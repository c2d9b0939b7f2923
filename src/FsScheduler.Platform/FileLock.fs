namespace FsScheduler.Platform

open System
open System.IO
open System.Runtime.InteropServices
open Microsoft.Win32.SafeHandles

/// Why a lock was not taken.
type LockRefusal =
    /// Another process has it, or another place of this one.
    | HeldElsewhere
    /// The file system, or the system, has no such locks.
    | NoLocks of reason: string

module private Flock =

    [<DllImport("libc", SetLastError = true)>]
    extern int flock(SafeHandle handle, int operation)

/// <summary>A file, or a folder, that one process holds at a time. The system lets go of it with the process, however that
/// ends.</summary>
/// <remarks>The runtime locks what is opened with <c>FileShare.None</c> as well, but goes on without a lock where
/// <c>DOTNET_SYSTEM_IO_DISABLEFILELOCKING</c> is set or the file system refuses. Here the call is made by ourselves and its
/// answer is heard. It is the call that the runtime uses, so that earlier versions of ours are kept out too.</remarks>
[<Sealed>]
type FileLock private (held: IDisposable) =
    static let LOCK_EX = 2
    static let LOCK_NB = 4
    static let EINTR = 4
    static let EWOULDBLOCK = if OperatingSystem.IsLinux() then 11 else 35

    static let hasFlock =
        OperatingSystem.IsLinux()
        || OperatingSystem.IsMacOS()
        || OperatingSystem.IsFreeBSD()

    // How the runtime says that it could not lock: on Unix with an errno, and with ERROR_SHARING_VIOLATION or
    // ERROR_LOCK_VIOLATION on Windows.
    static let heldResults = [ EWOULDBLOCK; 0x80070020; 0x80070021 ]

    static let rec take (held: IDisposable) (handle: SafeHandle) : Result<FileLock, LockRefusal> =
        if Flock.flock (handle, LOCK_EX ||| LOCK_NB) = 0 then
            Ok(new FileLock(held))
        else
            match Marshal.GetLastPInvokeError() with
            | errno when errno = EINTR -> take held handle
            | errno ->
                held.Dispose()

                Error(
                    if errno = EWOULDBLOCK then
                        HeldElsewhere
                    else
                        NoLocks(Marshal.GetPInvokeErrorMessage errno)
                )

    // Who may open it may hold it.
    static let openFile path mode share =
        new FileStream(path, Rights.options mode FileAccess.ReadWrite share)

    static let refuse (path: string) (errno: int) : exn =
        let message = $"'{path}' cannot be opened: {Linux.message errno}"

        if errno = Linux.Errno.ENOENT then
            match Path.GetDirectoryName path with
            | null
            | "" -> FileNotFoundException message
            | folder when Directory.Exists folder -> FileNotFoundException message
            | _ -> DirectoryNotFoundException message
        elif errno = Linux.Errno.EACCES || errno = Linux.Errno.EPERM then
            UnauthorizedAccessException message
        else
            IOException(message, errno)

    static let takeOpen (path: string) (opened: Result<int, int>) =
        match opened with
        | Ok fd ->
            let handle = new SafeFileHandle(nativeint fd, true)
            take handle handle
        | Error errno -> raise (refuse path errno)

    /// <summary>Takes the lock of a file, at once or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="mode">`Open`, `OpenOrCreate`, or `CreateNew`, which follows no link. What is made belongs to its owner
    /// alone.</param>
    /// <exception cref="T:System.IO.IOException">It cannot be opened.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">It may not be opened.</exception>
    static member TryTake(path: string, mode: FileMode) : Result<FileLock, LockRefusal> =
        if OperatingSystem.IsLinux() then
            Linux.openForLock path (mode <> FileMode.Open) (mode = FileMode.CreateNew)
            |> takeOpen path
        else
            try
                if hasFlock then
                    let file = openFile path mode (FileShare.ReadWrite ||| FileShare.Delete)
                    take file file.SafeFileHandle
                else
                    Ok(new FileLock(openFile path mode FileShare.None))
            with :? IOException as error when List.contains error.HResult heldResults ->
                Error HeldElsewhere

    /// <summary>Takes the lock of a folder itself: it is held also when a lock file in it is deleted under its holder, and those
    /// who clean temporary folders leave it alone. On Linux; some network file systems have none.</summary>
    /// <param name="path">The folder.</param>
    /// <exception cref="T:System.IO.IOException">It cannot be opened.</exception>
    static member TryTakeFolder(path: string) : Result<FileLock, LockRefusal> =
        if OperatingSystem.IsLinux() then
            Linux.openForReading path |> takeOpen path
        else
            Error(NoLocks "this system locks files only")

    interface IDisposable with
        member _.Dispose() = held.Dispose()
