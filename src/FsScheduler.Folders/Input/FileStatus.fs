namespace FsScheduler.Folders

open System
open System.Collections.Concurrent
open System.IO
open Microsoft.Win32.SafeHandles
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>Changes of a ctime that this process has made itself, by renaming or deleting one of several names of a file while
/// nobody could write to it: the others are still the version that they were. Each of them would be processed again
/// otherwise, whenever one is done.</summary>
module internal OwnChanges =

    /// Beyond this all are forgotten, and some files processed once more.
    let private most = 100_000

    /// The ctime as it was, by inode and ctime.
    let private known = ConcurrentDictionary<struct (int64 * int64), int64>()

    /// What the file was before, and is now.
    let note (before: FileVersion) (now: Linux.Status) =
        if before.changed <> 0L then
            if known.Count >= most then
                known.Clear()

            known[struct (now.inode, now.changed)] <- before.changed

    /// The ctime that counts.
    let changed (status: Linux.Status) : int64 =
        match known.TryGetValue(struct (status.inode, status.changed)) with
        | true, before -> before
        | _ -> status.changed

/// Reads the versions of files. No time of a file is made a `DateTime` where that can be helped: a file may be from
/// before the year 1, or from after 9999, and .NET throws then.
module FileStatus =

    let internal ofStatus (status: Linux.Status) : FileVersion = {
        size = status.size * 1L<B>
        modified = status.modified
        changed = OwnChanges.changed status
        inode = if status.isLasting then status.inode else 0L
    }

    /// Of a system that tells size and time alone.
    let private portable (size: int64) (time: unit -> DateTime) : FileVersion =
        let modified =
            try
                (time ()).Ticks
            with :? ArgumentOutOfRangeException ->
                0L

        FileVersion.ofTime (size * 1L<B>) modified

    let portableOf (info: FileInfo) : FileVersion =
        portable info.Length (fun () -> info.LastWriteTimeUtc)

    let portableOfOpen (file: SafeFileHandle) : FileVersion =
        portable (RandomAccess.GetLength file) (fun () -> File.GetLastWriteTimeUtc file)

    /// Of what is open; none, if it cannot be said.
    let ofOpen (file: SafeFileHandle) : FileVersion voption =
        if OperatingSystem.IsLinux() then
            match Linux.statusOfOpen (int (file.DangerousGetHandle())) with
            | Ok status -> ValueSome(ofStatus status)
            | Error _ -> ValueNone
        else
            ValueSome(portableOfOpen file)

    /// Of a file, or of the one that a link leads to; none, if there is no such file.
    let ofFile (path: string) : FileVersion voption =
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
