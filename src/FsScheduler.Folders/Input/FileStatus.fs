namespace FsScheduler.Folders

open System
open System.Collections.Concurrent
open System.IO
open Microsoft.Win32.SafeHandles
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>Changes of ctime by this process, which renames or deletes one of several names of a file that nobody can
/// write to. The other names still have the same version; without this record their tasks would be run again.</summary>
module internal OwnChanges =

    /// Beyond this number all records are forgotten, and some files processed again.
    let private most = 100_000

    /// By inode and present ctime: the ctime before the change.
    let private known = ConcurrentDictionary<struct (int64 * int64), int64>()

    /// Records a change of ctime by this process.
    let note (before: FileVersion) (now: Linux.Status) =
        if before.changed <> 0L then
            if known.Count >= most then
                known.Clear()

            known[struct (now.inode, now.changed)] <- before.changed

    /// The ctime before changes by this process.
    let changed (status: Linux.Status) : int64 =
        match known.TryGetValue(struct (status.inode, status.changed)) with
        | true, before -> before
        | _ -> status.changed

/// Reads the versions of files. Times are not converted to `DateTime` where that can be avoided: a file may be from
/// before the year 1 or after 9999, and .NET throws then.
module FileStatus =

    let internal ofStatus (status: Linux.Status) : FileVersion = {
        size = status.size * 1L<B>
        modified = status.modified
        changed = OwnChanges.changed status
        inode = if status.isLasting then status.inode else 0L
    }

    /// Where the system tells size and time alone.
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

    /// The version of an open file; none if the system does not tell.
    let ofOpen (file: SafeFileHandle) : FileVersion voption =
        if OperatingSystem.IsLinux() then
            match Linux.statusOfOpen (int (file.DangerousGetHandle())) with
            | Ok status -> ValueSome(ofStatus status)
            | Error _ -> ValueNone
        else
            ValueSome(portableOfOpen file)

    /// The version of a file, links followed; none if there is no such file.
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
