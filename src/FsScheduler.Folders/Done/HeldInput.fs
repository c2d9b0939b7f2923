namespace FsScheduler.Folders

open System
open System.IO
open FsScheduler.Core
open FsScheduler.Platform
open Microsoft.Win32.SafeHandles

/// <summary>
/// An input that is done, held open while it is moved or deleted: what is open stays the same file, whatever its name leads
/// to by then. On Linux a lease tells whether somebody has opened it for writing meanwhile, which neither size nor time
/// has to show yet. A link is held as such, together with the file that it leads to.
/// </summary>
[<Sealed>]
type HeldInput
    private (file: SafeFileHandle, stamp: FileVersion, isLeased: bool, link: Linux.Status voption) =
    let fd = int (file.DangerousGetHandle())

    let isSameLink (found: Linux.Status) =
        match link with
        | ValueSome held ->
            found.kind = held.kind
            && found.device = held.device
            && found.inode = held.inode
            && found.modified = held.modified
        | ValueNone -> false

    let isUnwritten () = not isLeased || Linux.Lease.isHeld fd

    /// The bytes.
    member _.File = file

    member _.IsLink = link.IsSome

    /// <summary>One of its names was changed or removed here: where it has others, those are no new version for that.</summary>
    /// <param name="names">How many of its names are this one: 1, or 0 once that is removed.</param>
    member _.NoteOwnChange(names: uint) =
        if isLeased && link.IsNone then
            match Linux.statusOfOpen fd with
            // Nobody can have written before that look, if nobody has opened it by now.
            | Ok status when status.links > names && Linux.Lease.isHeld fd ->
                OwnChanges.note stamp status
            | Ok _
            | Error _ -> ()

    /// Whether it is still the version that was processed, and nobody writes.
    member _.IsUntouched =
        match FileStatus.ofOpen file with
        | ValueSome found -> FileVersion.isSame stamp found && isUnwritten ()
        | ValueNone -> false

    /// Whether what was renamed to a path is it, and still the version that was processed.
    member held.Is(moved: string) : bool =
        match Linux.statusOf moved, Linux.statusOfOpen fd with
        | Ok found, _ when link.IsSome -> isSameLink found && held.IsUntouched
        | Ok found, Ok status ->
            found.device = status.device
            && found.inode = status.inode
            && FileVersion.isSameRenamed stamp (FileStatus.ofStatus status)
            && isUnwritten ()
        | _ -> false

    /// <summary>Holds a file, on Linux.</summary>
    /// <param name="path">Where it is.</param>
    /// <param name="stamp">The version that was processed.</param>
    static member TryHold(path: string, stamp: FileVersion) : Result<HeldInput, InputFailure> =
        let link =
            match Linux.statusOf path with
            | Ok status when status.kind = Linux.S_IFLNK -> ValueSome status
            | Ok _
            | Error _ -> ValueNone

        match Linux.openForReading path with
        | Error errno when errno = Linux.Errno.ENOENT -> Error Gone
        | Error errno when errno = Linux.Errno.EAGAIN -> Error Changed
        | Error errno -> Error(Stuck(Linux.message errno))
        | Ok fd ->
            let file = new SafeFileHandle(nativeint fd, ownsHandle = true)

            let refuse failure =
                Linux.Lease.release fd
                file.Dispose()
                Error failure

            match OpenWriters.ofOpen fd with
            | Writer who -> refuse (BeingWritten who)
            | found ->
                let held = new HeldInput(file, stamp, found.IsNoWriter, link)
                if held.IsUntouched then Ok held else refuse Changed

    interface IDisposable with
        member _.Dispose() =
            Linux.Lease.release fd
            file.Dispose()
