namespace FsScheduler.Folders

open System
open System.IO
open System.IO.Hashing
open System.Text
open FsScheduler.Core
open FsScheduler.Platform

/// What happens to inputs whose results are published. A version that nobody processed is never moved
/// away or deleted.
module FinishedInput =

    /// Where finished inputs go; hidden, so nothing in it is an input.
    let folderName = ".processados"

    /// How many files of one name are kept there.
    let copiesMax = 10_000

    [<Struct>]
    type private Renamed =
        | Done
        /// The new name is taken.
        | Taken
        | OtherFileSystem

    /// Never replaces anything.
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

    /// `d/a.txt` is moved to `d/a.txt`, and when there is one already to `d/a.1.txt`, `d/a.2.txt` and so on.
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

    /// Gives something the first name that is free. None: that is in another file system.
    let rec private toFree (source: string) folder name (copy: int) : string voption =
        let target = target folder name copy

        if copy >= copiesMax then
            tooMany ()
        else
            match rename source target with
            | Done -> ValueSome target
            | Taken -> toFree source folder name (copy + 1)
            | OtherFileSystem -> ValueNone

    /// Puts back what was moved away, unless something newer stands there: then that is what counts, and
    /// what was moved stays where it is.
    let private putBack (folder: InputFolder) (name: TaskName) (moved: string) =
        try
            rename moved (folder.Locate(TaskName.toString name)) |> ignore
        with :? IOException ->
            ()

    /// A file that is held on Linux; elsewhere its path alone is known.
    type private Input = { at: string; stamp: FileVersion; held: HeldInput voption }

    /// Judges what was renamed to `moved`, where nobody replaces it any more.
    let private isProcessed (input: Input) (moved: string) =
        match input.held with
        | ValueSome held ->
            let isIt = held.Is moved

            if isIt then
                held.NoteOwnChange 1u

            isIt
        | ValueNone ->
            // A link that is relative leads elsewhere from its new place; it was judged in its old one.
            (FileInfo moved).LinkTarget <> null
            || match FileStatus.ofFile moved with
               | ValueSome found -> FileVersion.isSameRenamed input.stamp found
               | ValueNone -> false

    /// By way of a hidden name beside it: what is deleted is what was looked at.
    let private deleteInput (folder: InputFolder) (name: TaskName) (input: Input) =
        let beside = nonNull (Path.GetDirectoryName input.at)
        let aside = Path.Combine(beside, ".done-" + Guid.NewGuid().ToString "N")
        rename input.at aside |> ignore
        let processed = isProcessed input aside

        if not processed then
            putBack folder name aside

        // Still there only if it is done with, or if something newer has taken its place.
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

    /// Copies what is open, and flushes it. The copy has the rights of the original and, where .NET knows it, its time.
    let private copyBytes (held: HeldInput) (stamp: FileVersion) (path: string) =
        use copy =
            new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1)

        let buffer = Array.zeroCreate<byte> 131_072
        let mutable at = 0L
        let mutable count = RandomAccess.Read(held.File, Span buffer, at)

        while count > 0 do
            copy.Write(buffer, 0, count)
            at <- at + int64 count
            count <- RandomAccess.Read(held.File, Span buffer, at)

        if stamp.modified > 0L && stamp.modified < DateTime.MaxValue.Ticks then
            IO.File.SetLastWriteTimeUtc(
                copy.SafeFileHandle,
                DateTime(stamp.modified, DateTimeKind.Utc)
            )

        if not (OperatingSystem.IsWindows()) then
            IO.File.SetUnixFileMode(copy.SafeFileHandle, IO.File.GetUnixFileMode held.File)

        copy.Flush true

    /// <summary>To another file system: under a hidden name until all of it is there and flushed. A process that is killed
    /// leaves the original, and what it has copied under a name that the next attempt takes again.</summary>
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
            | Some last -> not held.IsLink && holdsSame last held input.stamp.size
            | None -> false

        try
            if not isThere then
                if held.IsLink then
                    let text = nonNull (FileInfo input.at).LinkTarget
                    IO.File.CreateSymbolicLink(hidden, text) |> ignore
                else
                    copyBytes held input.stamp hidden

                if held.IsUntouched then
                    toFree hidden folder name 0 |> ignore
                    Linux.syncFolder beside |> ignore // what cannot be flushed there, nobody can
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
            // As such: a folder that is missing here is not the input.
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

    let private holding action (folder: InputFolder) (name: TaskName) (stamp: FileVersion) =
        let at = folder.Locate(TaskName.toString name)

        if OperatingSystem.IsLinux() then
            match HeldInput.TryHold(at, stamp) with
            | Error failure -> Error failure
            | Ok held ->
                use held = held
                action folder name { at = at; stamp = stamp; held = ValueSome held }
        else
            action folder name { at = at; stamp = stamp; held = ValueNone }

    /// Without the look before it, for the tests.
    let internal move folder name stamp = holding moveInput folder name stamp

    let internal delete folder name stamp = holding deleteInput folder name stamp

    /// <summary>Does what is to be done with an input whose result is published.</summary>
    /// <param name="folder">The input folder.</param>
    /// <param name="onDone">What is to be done.</param>
    /// <param name="name">The input.</param>
    /// <param name="stamp">The version that was processed; another one is left in its place.</param>
    /// <returns><c>Changed</c> or <c>Gone</c> when that version is not there any more, <c>BeingWritten</c> when somebody writes to
    /// it: nothing was done.</returns>
    let finish
        (folder: InputFolder)
        (onDone: OnDone)
        (name: TaskName)
        (stamp: FileVersion)
        : Result<unit, InputFailure> =
        let unlessReplaced action =
            match folder.Examine(TaskName.toString name) with
            | Present found when FileVersion.isSame stamp found ->
                try
                    action folder name stamp
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

/// The folder of inputs, as whoever publishes their results sees it. From any thread.
type IInputFolder =
    /// Whether a file of that name is an input now.
    abstract IsInput: name: TaskName -> bool

    /// What has become of a version.
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
