namespace FsScheduler.Folders

open System
open System.IO
open FsScheduler.Core
open FsScheduler.Platform
open Microsoft.Win32.SafeHandles

/// Why the version of an input that was taken cannot be used.
type InputFailure =
    /// Out of sight: deleted, or the folder is away.
    | Gone
    /// Another version by now, or being written.
    | Changed
    | NotReadable of Refusal
    /// The disk or the rights forbid it; may work later.
    | Failing of reason: string
    /// Being written; the writer, as a sentence.
    | BeingWritten of who: string
    /// Cannot be moved or deleted, and stays.
    | Stuck of reason: string

    /// A sentence about the file, without its subject.
    member failure.Message =
        match failure with
        | Gone -> "it is no longer there"
        | Changed -> "it changed since it was taken"
        | NotReadable refusal -> refusal.Message
        | Failing reason -> $"it cannot be read: {reason}"
        | BeingWritten who -> who
        | Stuck reason -> $"it cannot be moved or deleted: {reason}"

/// The state of a version since it was read.
[<RequireQualifiedAccess>]
type InputState =
    | Current
    /// Another version, or something else, has its name.
    | Replaced
    /// Nothing has its name: deleted, or the folder is away. The inbox will tell which.
    | OutOfSight

/// What happens to an input whose task is done.
type OnDone =
    | Keep
    /// To `.processados/` of the input folder, under the same name.
    | Move
    | Delete

/// <summary>
/// Reads inputs. On Linux no byte comes from outside the input folder, whatever links and folders are swapped
/// meanwhile: the real path of the open file is checked. Elsewhere the path is checked right before opening, which
/// leaves a moment. A fifo in place of a file blocks nobody on Linux. The bytes are those of the given version, which
/// is compared after opening and after reading.
/// </summary>
module InputFile =

    /// The largest input, in bytes, that `tryRead` reads.
    let smallMax: Size = 65_536L<B>

    let private failure (look: FolderEntry) =
        match look with
        | Present _ -> Changed
        | Absent -> Gone
        | FolderEntry.Folder -> NotReadable NotRegular
        | Refused refusal -> NotReadable refusal
        | Unknown reason -> Failing reason

    let private failedToOpen errno =
        if
            errno = Linux.Errno.ENOENT
            || errno = Linux.Errno.ENOTDIR
            || Linux.Errno.isAway errno
        then
            Gone
        elif errno = Linux.Errno.ELOOP then
            NotReadable BrokenLink
        elif errno = Linux.Errno.EAGAIN then
            Changed // somebody, such as Samba, holds a lease, and gives it back now
        else
            Failing(Linux.message errno)

    let private hasVersion (version: FileVersion) (status: Linux.Status) =
        FileVersion.isSame version (FileStatus.ofStatus status)

    /// Opens exactly this version, inside the folder.
    let private openOnLinux (folder: InputFolder) (name: TaskName) (version: FileVersion) =
        match Linux.openForReading (folder.Locate(TaskName.toString name)) with
        | Error errno -> Error(failedToOpen errno)
        | Ok fd ->
            let refused =
                match Linux.statusOfOpen fd with
                | Error errno -> Some(Failing(Linux.message errno))
                | Ok status when status.kind <> Linux.S_IFREG -> Some(NotReadable NotRegular)
                | Ok status when not (hasVersion version status) -> Some Changed
                | Ok _ ->
                    match Linux.pathOf fd with
                    | Error errno -> Some(Failing(Linux.message errno))
                    | Ok real when folder.Holds real -> None
                    | Ok real -> Some(NotReadable(LinkOutside real))

            match refused with
            | None -> Ok fd
            | Some failure ->
                Linux.close fd
                Error failure

    /// The part of a version that every system tells.
    let private portable (version: FileVersion) =
        FileVersion.ofTime version.size version.modified

    let private openAnywhere (folder: InputFolder) (name: TaskName) (version: FileVersion) =
        let relative = TaskName.toString name

        match folder.Examine(relative, false) with
        | Present found when found = portable version ->
            try
                let handle =
                    IO.File.OpenHandle(
                        folder.Locate relative,
                        FileMode.Open,
                        FileAccess.Read,
                        FileShare.ReadWrite ||| FileShare.Delete
                    )

                if FileStatus.portableOfOpen handle = portable version then
                    Ok handle
                else
                    handle.Dispose()
                    Error Changed
            with
            | :? FileNotFoundException
            | :? DirectoryNotFoundException -> Error Gone
            | :? UnauthorizedAccessException
            | :? IOException as e -> Error(Failing e.Message)
        | look -> Error(failure look)

    let private readOnLinux folder name (version: FileVersion) =
        match openOnLinux folder name version with
        | Error failure -> Error failure
        | Ok fd ->
            try
                let bytes = GC.AllocateUninitializedArray<byte>(int version.size)
                let mutable count = 0
                let mutable ended = bytes.Length = 0
                let mutable failure = None

                while not ended do
                    match Linux.read fd (bytes.AsSpan count) with
                    | Ok 0 -> ended <- true
                    | Ok more ->
                        count <- count + more
                        ended <- count = bytes.Length
                    | Error errno ->
                        failure <- Some(Failing(Linux.message errno))
                        ended <- true

                match failure, Linux.statusOfOpen fd with
                | Some failure, _ -> Error failure
                | None, Ok status when count = bytes.Length && hasVersion version status -> Ok bytes
                | None, _ -> Error Changed
            finally
                Linux.close fd

    let private readAnywhere folder name (version: FileVersion) =
        match openAnywhere folder name version with
        | Error failure -> Error failure
        | Ok handle ->
            use handle = handle

            try
                let bytes = GC.AllocateUninitializedArray<byte>(int version.size)
                let count = RandomAccess.Read(handle, bytes.AsSpan(), 0L)

                if count = bytes.Length && FileStatus.portableOfOpen handle = portable version then
                    Ok bytes
                else
                    Error Changed
            with
            | :? UnauthorizedAccessException
            | :? IOException as e -> Error(Failing e.Message)

    /// By the calls of Linux, or by those that every system has.
    let internal openOn linux folder name version : Result<SafeFileHandle, InputFailure> =
        if linux then
            openOnLinux folder name version
            |> Result.map (fun fd -> new SafeFileHandle(nativeint fd, ownsHandle = true))
        else
            openAnywhere folder name version

    /// By the calls of Linux, or by those that every system has.
    let internal readOn linux folder name version : Result<byte[], InputFailure> =
        if linux then
            readOnLinux folder name version
        else
            readAnywhere folder name version

    /// <summary>Opens a version of an input for reading. The reader compares the version again at the end
    /// (<c>isCurrent</c>), since somebody may be writing.</summary>
    let openInput (folder: InputFolder) (name: TaskName) (version: FileVersion) =
        openOn (OperatingSystem.IsLinux()) folder name version

    /// <summary>Reads a small input as a whole, comparing the version before and after.</summary>
    /// <param name="folder">The input folder.</param>
    /// <param name="name">The input.</param>
    /// <param name="version">The version; its size is at most <c>smallMax</c>.</param>
    /// <exception cref="T:System.ArgumentOutOfRangeException">The size is above <c>smallMax</c>.</exception>
    let tryRead
        (folder: InputFolder)
        (name: TaskName)
        (version: FileVersion)
        : Result<byte[], InputFailure> =
        ArgumentOutOfRangeException.ThrowIfGreaterThan(int64 version.size, int64 smallMax)
        readOn (OperatingSystem.IsLinux()) folder name version

    /// Whether the file still has this version.
    let isCurrent (folder: InputFolder) (name: TaskName) (version: FileVersion) =
        match folder.Examine(TaskName.toString name) with
        | Present found -> FileVersion.isSame version found
        | FolderEntry.Folder
        | Absent
        | Refused _
        | Unknown _ -> false

    /// The state of a version.
    let stateOf (folder: InputFolder) (name: TaskName) (version: FileVersion) : InputState =
        match folder.Examine(TaskName.toString name) with
        | Present found when FileVersion.isSame version found -> InputState.Current
        | Present _
        | FolderEntry.Folder
        | Refused _ -> InputState.Replaced
        | Absent
        | Unknown _ -> InputState.OutOfSight
