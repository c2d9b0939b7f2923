namespace FsScheduler.Folders

open System
open System.IO
open FsScheduler.Core
open FsScheduler.Platform
open Microsoft.Win32.SafeHandles

/// <summary>
/// A finished input, held open while it is moved or deleted, so that it stays the same file wherever its name leads. On
/// Linux a lease tells whether somebody has opened it for writing meanwhile, which size and time may not show yet. A
/// link is held together with its target.
/// </summary>
[<Sealed>]
type HeldInput
    private (file: SafeFileHandle, version: FileVersion, isLeased: bool, link: Linux.Status voption)
    =
    let fd = int (file.DangerousGetHandle())

    let isSameLink (found: Linux.Status) =
        match link with
        | ValueSome held ->
            found.kind = held.kind
            && found.device = held.device
            && found.inode = held.inode
            && found.modified = held.modified
        | ValueNone -> false

    let isUnwritten () = not isLeased || FileLease.isHeld fd

    /// The open file.
    member _.File = file

    member _.IsLink = link.IsSome

    /// <summary>Records that this process renamed or removed one name: other names keep their version.</summary>
    /// <param name="names">How many names are ours: 1, or 0 once it is removed.</param>
    member _.NoteOwnChange(names: uint) =
        if isLeased && link.IsNone then
            match Linux.statusOfOpen fd with
            // Nobody can have written before the status was read if nobody has opened the file by now.
            | Ok status when status.links > names && FileLease.isHeld fd ->
                OwnChanges.note version status
            | Ok _
            | Error _ -> ()

    /// Whether the file still has the version that was processed, and no writer.
    member _.IsUntouched =
        match FileStatus.ofOpen file with
        | ValueSome found -> FileVersion.isSame version found && isUnwritten ()
        | ValueNone -> false

    /// Whether a renamed file is this one, still with the version that was processed.
    member held.Is(moved: string) : bool =
        match Linux.statusOf moved, Linux.statusOfOpen fd with
        | Ok found, _ when link.IsSome -> isSameLink found && held.IsUntouched
        | Ok found, Ok status ->
            found.device = status.device
            && found.inode = status.inode
            && FileVersion.isSameRenamed version (FileStatus.ofStatus status)
            && isUnwritten ()
        | _ -> false

    /// <summary>Holds a file, on Linux.</summary>
    /// <param name="path">Where it is.</param>
    /// <param name="version">The version that was processed.</param>
    static member TryHold(path: string, version: FileVersion) : Result<HeldInput, InputFailure> =
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
                FileLease.release fd
                file.Dispose()
                Error failure

            match OpenWriters.ofOpen fd with
            | Writer who -> refuse (BeingWritten who)
            | found ->
                let held = new HeldInput(file, version, found.IsNoWriter, link)
                if held.IsUntouched then Ok held else refuse Changed

    interface IDisposable with
        member _.Dispose() =
            FileLease.release fd
            file.Dispose()
