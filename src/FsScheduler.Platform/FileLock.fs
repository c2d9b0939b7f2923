namespace FsScheduler.Platform

open System
open System.IO
open System.Runtime.InteropServices
open Microsoft.Win32.SafeHandles

/// Why a lock was not taken.
type LockRefusal =
    /// Another process holds the lock, or another handle of this one.
    | HeldElsewhere
    /// The system or the file system has no such locks.
    | NoLocks of reason: string

module private Flock =

    [<DllImport("libc", SetLastError = true)>]
    extern int flock(SafeHandle handle, int operation)

/// <summary>A lock on a file or a folder for one process. The system releases it at the end of the process.</summary>
/// <remarks>The runtime too locks files that are opened with <c>FileShare.None</c>, but goes on without a lock where
/// <c>DOTNET_SYSTEM_IO_DISABLEFILELOCKING</c> is set or the file system refuses. This calls flock itself and checks the
/// answer: the call of the runtime, so that it also keeps out earlier versions of this program.</remarks>
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

    // HResults of the runtime for a file that is locked: errno on Unix, ERROR_SHARING_VIOLATION and
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

    // The right to open the file is the right to lock it.
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
    /// <param name="mode">`Open`, `OpenOrCreate`, or `CreateNew`, which follows no link. New files are their
    /// owner's.</param>
    /// <exception cref="T:System.IO.IOException">The file cannot be opened.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">The file may not be opened.</exception>
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

    /// <summary>Takes the lock of a folder itself, which survives the deletion of a lock file in it, and keeps cleaners
    /// of temporary folders away. On Linux; some network file systems have no such lock.</summary>
    /// <param name="path">The folder.</param>
    /// <exception cref="T:System.IO.IOException">The folder cannot be opened.</exception>
    static member TryTakeFolder(path: string) : Result<FileLock, LockRefusal> =
        if OperatingSystem.IsLinux() then
            Linux.openForReading path |> takeOpen path
        else
            Error(NoLocks "this system locks files only")

    interface IDisposable with
        member _.Dispose() = held.Dispose()
