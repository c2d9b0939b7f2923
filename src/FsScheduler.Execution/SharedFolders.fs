namespace FsScheduler.Execution

open System
open System.IO
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open FsScheduler.Protocol
open Microsoft.Win32.SafeHandles

/// A range of an open file, which is closed with the stream. The version is checked at the end of the range.
[<Sealed>]
type private FileRange(file: SafeFileHandle, start: Size, size: Size, check: unit -> unit) =
    inherit Stream()
    let mutable at = int64 start
    let last = int64 start + int64 size

    override _.Read(buffer: Span<byte>) =
        let length = int (min (int64 buffer.Length) (last - at))
        let count = RandomAccess.Read(file, buffer.Slice(0, length), at)

        if count = 0 && length > 0 then
            raise (EndOfStreamException $"the file ends at its byte {at}, not at {last}")

        at <- at + int64 count

        if at = last then
            check ()

        count

    override this.Read(buffer: byte[], offset: int, count: int) =
        this.Read(Span(buffer, offset, count))

    // Synchronous: asynchronous reads of files make the same call on another thread.
    override this.ReadAsync(buffer: Memory<byte>, _) =
        Threading.Tasks.ValueTask<int>(this.Read buffer.Span)

    override _.CanRead = true
    override _.CanWrite = false
    override _.CanSeek = false
    override _.Length = int64 size

    override _.Position
        with get () = at - int64 start
        and set _ = raise (NotSupportedException())

    override _.Flush() = ()
    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())
    override _.Write(_: byte[], _: int, _: int) = raise (NotSupportedException())

    override _.Dispose(isDisposing: bool) =
        if isDisposing then
            file.Dispose()

/// <summary>The folders in which a worker reads and writes the files that its scheduler names, chosen by the owner of
/// the worker. No path from the wire leads outside, whatever links there are: on Linux the real paths of the open file
/// and folder are checked, elsewhere the path right before opening. A result is always a new file.</summary>
/// <param name="paths">The folders.</param>
/// <exception cref="T:System.IO.DirectoryNotFoundException">One of them is missing.</exception>
[<Sealed>]
type SharedFolders(paths: string list) =
    let folders = [ for path in paths -> InputFolder path ]

    do
        for folder in folders do
            if not (folder.Refresh()) then
                raise (DirectoryNotFoundException $"there is no folder '{folder.Path}'")

    let holds (real: string) =
        folders |> List.exists (fun folder -> folder.Holds real)

    let refuse (path: string) =
        raise (
            UnauthorizedAccessException
                $"'{Terminal.printable path}' is in none of the folders that this worker shares (--shared-files)"
        )

    /// The real path of a folder, or of a file of that name in the folder.
    let locate (path: string) (name: string) =
        match InputFolder.RealPathOf path with
        | ValueNone -> raise (FileNotFoundException $"there is no '{Terminal.printable path}' here")
        | ValueSome real ->
            let real = Path.Combine(real, name)

            if Path.IsPathFullyQualified path && holds real then
                real
            else
                refuse path

    let openOnLinux (path: string) =
        match Linux.openForReading path with
        | Error errno -> raise (IOException $"'{Terminal.printable path}': {Linux.message errno}")
        | Ok fd ->
            let file = new SafeFileHandle(nativeint fd, ownsHandle = true)

            match Linux.statusOfOpen fd, Linux.pathOf fd with
            | Ok status, Ok real when status.kind = Linux.S_IFREG && holds real -> file
            | _ ->
                file.Dispose()
                refuse path

    let createOnLinux (folder: string) (name: string) =
        let create real at =
            if holds (Path.Combine(real, name)) then
                new StraightFile(Path.Combine(at, name), FileMode.CreateNew)
            else
                refuse folder

        match Linux.inFolder folder create with
        | Ok file -> file
        | Error errno -> raise (IOException $"'{Terminal.printable folder}': {Linux.message errno}")

    let versionOf (file: SafeFileHandle) : SharedFileVersion voption =
        FileStatus.ofOpen file |> ValueOption.bind SharedFileVersion.ofVersion

    /// Whether there are no shared folders.
    member _.IsEmpty = folders.IsEmpty

    /// <summary>Opens a payload.</summary>
    /// <exception cref="T:System.IO.IOException">The file is missing, cannot be read, or is another version. Also
    /// thrown while reading, if the file is too short or has changed.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">The file is unreadable, or in no shared
    /// folder.</exception>
    member _.Open(files: SharedFiles) : Stream =
        let path = locate files.source ""

        let file =
            if OperatingSystem.IsLinux() then
                openOnLinux path
            else
                File.OpenHandle(
                    path,
                    FileMode.Open,
                    FileAccess.Read,
                    FileShare.ReadWrite ||| FileShare.Delete
                )

        let check () =
            match files.version with
            | ValueSome version when versionOf file <> ValueSome version ->
                raise (
                    IOException
                        $"'{Terminal.printable path}' is another version here than where the scheduler is"
                )
            | _ -> ()

        try
            check ()
            new FileRange(file, files.start, files.size, check)
        with _ ->
            file.Dispose()
            reraise ()

    /// <summary>Creates the file of a result.</summary>
    /// <exception cref="T:System.IO.IOException">The file exists already, or cannot be written.</exception>
    /// <exception cref="T:System.UnauthorizedAccessException">The file is not writable, or in no shared
    /// folder.</exception>
    /// <returns>The path, and the open file.</returns>
    member _.Create(files: SharedFiles) : struct (string * StraightFile) =
        match Path.GetDirectoryName files.target with
        | null -> refuse files.target
        | folder ->
            let name = nonNull (Path.GetFileName files.target)
            let path = locate folder name

            if OperatingSystem.IsLinux() then
                struct (path, createOnLinux folder name)
            else
                struct (path, new StraightFile(path, FileMode.CreateNew))
