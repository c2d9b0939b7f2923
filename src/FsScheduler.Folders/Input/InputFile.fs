namespace FsScheduler.Folders

open System
open System.IO
open FsScheduler.Core
open FsScheduler.Platform
open Microsoft.Win32.SafeHandles

/// Why an input cannot be read as the version that was taken.
type InputFailure =
    /// It is not to be seen: deleted, or its folder is away.
    | Gone
    /// It is another version by now, or it is being written.
    | Changed
    | NotReadable of Refusal
    /// The disk or the rights say no; it may work later.
    | Failing of reason: string
    /// Somebody writes to it; who, as a sentence.
    | BeingWritten of who: string
    /// It cannot be moved or deleted, and stays where it is.
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

/// What has become of a version since it was read.
[<RequireQualifiedAccess>]
type InputState =
    | Current
    /// Another version, or something else, stands in its place.
    | Replaced
    /// Nothing is to be seen in its place: it was deleted, or its folder is away. Somebody will tell which.
    | OutOfSight

/// What happens to an input whose task is done.
type OnDone =
    | Keep
    /// Into `.processados/` of the input folder, under the same name.
    | Move
    | Delete

/// <summary>
/// Reads inputs. On Linux the guarantee is that no byte comes from outside the input folder, whatever
/// links and folders are swapped meanwhile: the path is judged after opening, by where the open file really is. Elsewhere
/// it is judged right before opening, which leaves a moment. A fifo put in place of a file makes nobody wait
/// on Linux. The bytes are those of the stamp: it is compared after opening, and after reading too where
/// the reading is done here.
/// </summary>
module InputFile =

    /// Inputs up to this are read by `tryRead`, in bytes.
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
            Changed // somebody, such as Samba, holds a lease on it, and gives it back now
        else
            Failing(Linux.message errno)

    let private hasStamp (stamp: FileVersion) (status: Linux.Status) =
        FileVersion.isSame stamp (FileStatus.ofStatus status)

    /// An open descriptor of exactly that version, inside the folder.
    let private openOnLinux (folder: InputFolder) (name: TaskName) (stamp: FileVersion) =
        match Linux.openForReading (folder.Locate(TaskName.toString name)) with
        | Error errno -> Error(failedToOpen errno)
        | Ok fd ->
            let refused =
                match Linux.statusOfOpen fd with
                | Error errno -> Some(Failing(Linux.message errno))
                | Ok status when status.kind <> Linux.S_IFREG -> Some(NotReadable NotRegular)
                | Ok status when not (hasStamp stamp status) -> Some Changed
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

    /// What the calls that every system has tell of a version.
    let private portable (stamp: FileVersion) =
        FileVersion.ofTime stamp.size stamp.modified

    let private openAnywhere (folder: InputFolder) (name: TaskName) (stamp: FileVersion) =
        let relative = TaskName.toString name

        match folder.Examine(relative, false) with
        | Present found when found = portable stamp ->
            try
                let handle =
                    IO.File.OpenHandle(
                        folder.Locate relative,
                        FileMode.Open,
                        FileAccess.Read,
                        FileShare.ReadWrite ||| FileShare.Delete
                    )

                if FileStatus.portableOfOpen handle = portable stamp then
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

    let private readOnLinux folder name (stamp: FileVersion) =
        match openOnLinux folder name stamp with
        | Error failure -> Error failure
        | Ok fd ->
            try
                let bytes = GC.AllocateUninitializedArray<byte>(int stamp.size)
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
                | None, Ok status when count = bytes.Length && hasStamp stamp status -> Ok bytes
                | None, _ -> Error Changed
            finally
                Linux.close fd

    let private readAnywhere folder name (stamp: FileVersion) =
        match openAnywhere folder name stamp with
        | Error failure -> Error failure
        | Ok handle ->
            use handle = handle

            try
                let bytes = GC.AllocateUninitializedArray<byte>(int stamp.size)
                let count = RandomAccess.Read(handle, bytes.AsSpan(), 0L)

                if count = bytes.Length && FileStatus.portableOfOpen handle = portable stamp then
                    Ok bytes
                else
                    Error Changed
            with
            | :? UnauthorizedAccessException
            | :? IOException as e -> Error(Failing e.Message)

    /// Through the calls of Linux, or through those that every system has.
    let internal openOn linux folder name stamp : Result<SafeFileHandle, InputFailure> =
        if linux then
            openOnLinux folder name stamp
            |> Result.map (fun fd -> new SafeFileHandle(nativeint fd, ownsHandle = true))
        else
            openAnywhere folder name stamp

    /// The same choice for small inputs.
    let internal readOn linux folder name stamp : Result<byte[], InputFailure> =
        if linux then
            readOnLinux folder name stamp
        else
            readAnywhere folder name stamp

    /// <summary>Opens an input for reading, at the version that was taken. Whoever reads it compares the
    /// stamp again at the end (<c>isCurrent</c>): a writer may be at work.</summary>
    let openInput (folder: InputFolder) (name: TaskName) (stamp: FileVersion) =
        openOn (OperatingSystem.IsLinux()) folder name stamp

    /// <summary>Reads a small input whole: open, two looks at its stamp, one at where it is, read, close.</summary>
    /// <param name="folder">The input folder.</param>
    /// <param name="name">The input.</param>
    /// <param name="stamp">The version; its size is at most <c>smallMax</c>.</param>
    /// <exception cref="T:System.ArgumentOutOfRangeException">The size is above <c>smallMax</c>.</exception>
    let tryRead
        (folder: InputFolder)
        (name: TaskName)
        (stamp: FileVersion)
        : Result<byte[], InputFailure> =
        ArgumentOutOfRangeException.ThrowIfGreaterThan(int64 stamp.size, int64 smallMax)
        readOn (OperatingSystem.IsLinux()) folder name stamp

    /// Whether the file is still that version.
    let isCurrent (folder: InputFolder) (name: TaskName) (stamp: FileVersion) =
        match folder.Examine(TaskName.toString name) with
        | Present found -> FileVersion.isSame stamp found
        | FolderEntry.Folder
        | Absent
        | Refused _
        | Unknown _ -> false

    /// What has become of that version.
    let stateOf (folder: InputFolder) (name: TaskName) (stamp: FileVersion) : InputState =
        match folder.Examine(TaskName.toString name) with
        | Present found when FileVersion.isSame stamp found -> InputState.Current
        | Present _
        | FolderEntry.Folder
        | Refused _ -> InputState.Replaced
        | Absent
        | Unknown _ -> InputState.OutOfSight
