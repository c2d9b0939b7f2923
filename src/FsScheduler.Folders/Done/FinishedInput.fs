namespace FsScheduler.Folders

open System
open System.IO
open System.IO.Hashing
open System.Text
open FsScheduler.Core
open FsScheduler.Platform

/// Moves or deletes inputs whose results are published; never a version that was not processed.
module FinishedInput =

    /// The folder of finished inputs; hidden, so that nothing in it is an input.
    let folderName = ".processados"

    /// Files of one name kept there, at most.
    let copiesMax = 10_000

    [<Struct>]
    type private Renamed =
        | Done
        /// The new name is taken.
        | Taken
        | OtherFileSystem

    /// Renames, and never replaces anything.
    let private rename (source: string) (target: string) : Renamed =
        if OperatingSystem.IsLinux() then
            match Linux.renameToNew source target with
            | Ok() -> Done
            | Error errno when errno = Linux.Errno.EEXIST -> Taken
            | Error errno when errno = Linux.Errno.EXDEV -> OtherFileSystem
            | Error errno when errno = Linux.Errno.ENOENT -> raise (FileNotFoundException source)
            | Error errno -> raise (IOException($"{source}: {Linux.message errno}", errno))
        elif Path.Exists target then
            Taken
        else
            IO.File.Move(source, target, overwrite = false)
            Done

    /// The path for `d/a.txt` is `d/a.txt`, and if that exists `d/a.1.txt`, `d/a.2.txt` and so on.
    let private target (folder: InputFolder) (name: TaskName) (copy: int) =
        let plain = folder.Locate(folderName + "/" + TaskName.toString name)

        if copy = 0 then
            plain
        else
            let stem =
                Path.Combine(
                    nonNull (Path.GetDirectoryName plain),
                    nonNull (Path.GetFileNameWithoutExtension plain)
                )

            $"{stem}.{copy}{Path.GetExtension plain}"

    let private tooMany () =
        raise (IOException $"{folderName} has {copiesMax} files of that name")

    /// Renames to the first free name. None: the folder is in another file system.
    let rec private toFree (source: string) folder name (copy: int) : string voption =
        let target = target folder name copy

        if copy >= copiesMax then
            tooMany ()
        else
            match rename source target with
            | Done -> ValueSome target
            | Taken -> toFree source folder name (copy + 1)
            | OtherFileSystem -> ValueNone

    /// Puts back a file that was moved away, unless a newer one has its name by now.
    let private putBack (folder: InputFolder) (name: TaskName) (moved: string) =
        try
            rename moved (folder.Locate(TaskName.toString name)) |> ignore
        with :? IOException ->
            ()

    /// An input that is held on Linux; elsewhere only its path is known.
    type private Input = { at: string; version: FileVersion; held: HeldInput voption }

    /// Whether a file renamed to `moved` is the version that was processed; nobody replaces it there any more.
    let private isProcessed (input: Input) (moved: string) =
        match input.held with
        | ValueSome held ->
            let isIt = held.Is moved

            if isIt then
                held.NoteOwnChange 1u

            isIt
        | ValueNone ->
            // A relative link leads elsewhere from its new place; it was checked in its old one.
            (FileInfo moved).LinkTarget <> null
            || match FileStatus.ofFile moved with
               | ValueSome found -> FileVersion.isSameRenamed input.version found
               | ValueNone -> false

    /// Renames to a hidden name before deleting: exactly the file that was checked is deleted.
    let private deleteInput (folder: InputFolder) (name: TaskName) (input: Input) =
        let beside = nonNull (Path.GetDirectoryName input.at)
        let aside = Path.Combine(beside, ".done-" + Guid.NewGuid().ToString "N")
        rename input.at aside |> ignore
        let processed = isProcessed input aside

        if not processed then
            putBack folder name aside

        // Still there only after success, or if a newer file has the name.
        IO.File.Delete aside

        if processed then
            input.held |> ValueOption.iter (fun held -> held.NoteOwnChange 0u)

        if processed then Ok() else Error Changed

    let private holdsSame (path: string) (held: HeldInput) (size: Size) =
        try
            use copy = IO.File.OpenHandle path
            let first, second = Array.zeroCreate<byte> 65_536, Array.zeroCreate<byte> 65_536
            let mutable at = 0L
            let mutable same = RandomAccess.GetLength copy = int64 size

            while same && at < int64 size do
                let count = RandomAccess.Read(held.File, Span first, at)
                let other = RandomAccess.Read(copy, Span(second, 0, count), at)

                same <-
                    count > 0
                    && count = other
                    && Span(first, 0, count).SequenceEqual(ReadOnlySpan(second, 0, count))

                at <- at + int64 count

            same
        with
        | :? IOException
        | :? UnauthorizedAccessException -> false

    /// Copies the open file, with its rights and, where .NET can read it, its time, and flushes the copy.
    let private copyBytes (held: HeldInput) (version: FileVersion) (path: string) =
        use copy =
            new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1)

        let buffer = Array.zeroCreate<byte> 131_072
        let mutable at = 0L
        let mutable count = RandomAccess.Read(held.File, Span buffer, at)

        while count > 0 do
            copy.Write(buffer, 0, count)
            at <- at + int64 count
            count <- RandomAccess.Read(held.File, Span buffer, at)

        if version.modified > 0L && version.modified < DateTime.MaxValue.Ticks then
            IO.File.SetLastWriteTimeUtc(
                copy.SafeFileHandle,
                DateTime(version.modified, DateTimeKind.Utc)
            )

        if not (OperatingSystem.IsWindows()) then
            IO.File.SetUnixFileMode(copy.SafeFileHandle, IO.File.GetUnixFileMode held.File)

        copy.Flush true

    /// <summary>Copies to another file system, under a hidden name until the copy is complete and flushed. A killed
    /// process leaves the original, and a partial copy that the next attempt overwrites.</summary>
    let private copyAway (folder: InputFolder) (name: TaskName) (input: Input) (held: HeldInput) =
        let first = target folder name 0
        let beside = nonNull (Path.GetDirectoryName first)
        let mark = XxHash3.HashToUInt64(ReadOnlySpan(Encoding.UTF8.GetBytes first))
        let hidden = Path.Combine(beside, $".moving-%016x{mark}")
        IO.File.Delete hidden

        let copies =
            Seq.init copiesMax (target folder name)
            |> Seq.takeWhile Path.Exists
            |> Seq.tryLast

        let isThere =
            match copies with
            | Some last -> not held.IsLink && holdsSame last held input.version.size
            | None -> false

        try
            if not isThere then
                if held.IsLink then
                    let text = nonNull (FileInfo input.at).LinkTarget
                    IO.File.CreateSymbolicLink(hidden, text) |> ignore
                else
                    copyBytes held input.version hidden

                if held.IsUntouched then
                    toFree hidden folder name 0 |> ignore
                    Linux.syncFolder beside |> ignore // not every file system can
        finally
            IO.File.Delete hidden

        if held.IsUntouched then
            deleteInput folder name input
        else
            Error Changed

    let private moveInput (folder: InputFolder) (name: TaskName) (input: Input) =
        let beside = nonNull (Path.GetDirectoryName(target folder name 0))

        try
            Directory.CreateDirectory beside |> ignore
        with :? IOException as e when not (Directory.Exists beside) ->
            // Otherwise a missing folder here would be taken for a missing input.
            raise (IOException($"no folder '{beside}' can be made: {e.Message}", e))

        match InputFolder.RealPathOf beside |> ValueOption.bind folder.InputAt with
        | ValueSome _ ->
            raise (
                IOException
                    $"'{beside}' leads back into the folder of inputs, where it would be taken again"
            )
        | ValueNone -> ()

        match toFree input.at folder name 0, input.held with
        | ValueSome moved, _ ->
            if isProcessed input moved then
                Ok()
            else
                putBack folder name moved
                Error Changed
        | ValueNone, ValueSome held -> copyAway folder name input held
        | ValueNone, ValueNone -> Error(Stuck $"{folderName} is in another file system")

    let private holding action (folder: InputFolder) (name: TaskName) (version: FileVersion) =
        let at = folder.Locate(TaskName.toString name)

        if OperatingSystem.IsLinux() then
            match HeldInput.TryHold(at, version) with
            | Error failure -> Error failure
            | Ok held ->
                use held = held
                action folder name { at = at; version = version; held = ValueSome held }
        else
            action folder name { at = at; version = version; held = ValueNone }

    /// Without the check before it, for the tests.
    let internal move folder name version = holding moveInput folder name version

    let internal delete folder name version = holding deleteInput folder name version

    /// <summary>Moves, deletes or keeps an input whose result is published.</summary>
    /// <param name="folder">The input folder.</param>
    /// <param name="onDone">What to do.</param>
    /// <param name="name">The input.</param>
    /// <param name="version">The version that was processed; another one is left in its place.</param>
    /// <returns><c>Changed</c> or <c>Gone</c> without that version, <c>BeingWritten</c> with a writer: nothing was
    /// done.</returns>
    let finish
        (folder: InputFolder)
        (onDone: OnDone)
        (name: TaskName)
        (version: FileVersion)
        : Result<unit, InputFailure> =
        let unlessReplaced action =
            match folder.Examine(TaskName.toString name) with
            | Present found when FileVersion.isSame version found ->
                try
                    action folder name version
                with
                | :? FileNotFoundException
                | :? DirectoryNotFoundException -> Error Gone
                | :? UnauthorizedAccessException
                | :? IOException as e -> Error(Stuck e.Message)
            | Absent -> Error Gone
            | Unknown reason -> Error(Stuck reason)
            | Present _
            | FolderEntry.Folder
            | Refused _ -> Error Changed

        match onDone with
        | Keep -> Ok()
        | Move -> unlessReplaced move
        | Delete -> unlessReplaced delete

/// The folder of inputs, for the publisher of their results. Safe for any thread.
type IInputFolder =
    /// Whether a file of this name is an input now.
    abstract IsInput: name: TaskName -> bool

    /// The state of a version.
    abstract StateOf: name: TaskName * version: FileVersion -> InputState

    /// Moves or deletes an input whose result is published.
    abstract Finish: name: TaskName * version: FileVersion -> Result<unit, InputFailure>

/// <summary>The folder as it is.</summary>
/// <param name="folder">The folder.</param>
/// <param name="onDone">What becomes of an input whose result is published.</param>
[<Sealed>]
type Inputs(folder: InputFolder, onDone: OnDone) =
    interface IInputFolder with
        member _.IsInput name =
            match folder.Examine(TaskName.toString name) with
            | Present _ -> true
            | _ -> false

        member _.StateOf(name, version) = InputFile.stateOf folder name version

        member _.Finish(name, version) =
            FinishedInput.finish folder onDone name version
