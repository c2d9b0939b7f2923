namespace FsScheduler.Runtime.Files

open System
open System.IO
open Microsoft.Win32.SafeHandles
open FsScheduler.Core

/// Reads the versions of files. No time of a file is made a `DateTime` where that can be helped: a file may be from
/// before the year 1, or from after 9999, and .NET throws then.
module FileStamp =

    let internal ofStatus (status: Linux.Status) : Stamp = {
        size = status.size * 1L<B>
        modified = status.modified
        changed = status.changed
        inode = if status.isLasting then status.inode else 0L
    }

    /// Of a system that tells size and time alone.
    let private portable (size: int64) (time: unit -> DateTime) : Stamp =
        let modified =
            try
                (time ()).Ticks
            with :? ArgumentOutOfRangeException ->
                0L

        Stamp.ofTime (size * 1L<B>) modified

    let portableOf (info: FileInfo) : Stamp =
        portable info.Length (fun () -> info.LastWriteTimeUtc)

    let portableOfOpen (file: SafeFileHandle) : Stamp =
        portable (RandomAccess.GetLength file) (fun () -> File.GetLastWriteTimeUtc file)

    /// Of what is open; none, if it cannot be said.
    let ofOpen (file: SafeFileHandle) : Stamp voption =
        if OperatingSystem.IsLinux() then
            match Linux.statusOfOpen (int (file.DangerousGetHandle())) with
            | Ok status -> ValueSome(ofStatus status)
            | Error _ -> ValueNone
        else
            ValueSome(portableOfOpen file)

    /// Of a file, or of the one that a link leads to; none, if there is no such file.
    let ofFile (path: string) : Stamp voption =
        if OperatingSystem.IsLinux() then
            match Linux.statusOfTarget path with
            | Ok status when status.kind = Linux.S_IFREG -> ValueSome(ofStatus status)
            | Ok _
            | Error _ -> ValueNone
        else
            let info = FileInfo path

            if info.Exists then
                ValueSome(portableOf info)
            else
                ValueNone
