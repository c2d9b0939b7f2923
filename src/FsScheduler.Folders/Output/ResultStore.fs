namespace FsScheduler.Folders

open System
open System.Collections.Concurrent
open System.IO
open System.Text.RegularExpressions
open System.Threading
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>
/// Publishes results: <c>NAME.out</c> for <c>NAME</c> in the same subfolder, and <c>NAME.err</c> for failures, each
/// written under a temporary name and renamed, so that a final name always has a complete file. Safe for any thread. A
/// <c>TaskName</c> cannot lead outside, and folders on the path must not be links. Nothing is flushed to the device
/// here.
/// </summary>
/// <param name="path">The folder of results; created if missing.</param>
type ResultStore(path: string) =
    static let slashed (path: string) =
        path.Replace(Path.DirectorySeparatorChar, '/')

    let root = slashed (Path.TrimEndingDirectorySeparator(Path.GetFullPath path))
    do Directory.CreateDirectory root |> ignore

    /// Known folders below `root`, by absolute path. One that was deleted since is created again.
    let folders = ConcurrentDictionary<string, unit>()

    /// Existing `NAME.err`, by absolute path: saves thousands of results a look at the disk.
    let errors = ConcurrentDictionary<string, unit>()

    let mutable count = 0L

    /// Tells the temporary files of this run from others.
    let run = Random.Shared.NextInt64().ToString "x16"

    /// `.NAME.out.fss-<run>-<count>.tmp`: at most 247 bytes for a last part of 200.
    static let tempName =
        Regex(@"^\..+\.fss-[0-9a-f]{16}-[0-9a-f]{8,16}\.tmp$", RegexOptions.CultureInvariant)

    static let ENAMETOOLONG = 36

    let target (name: TaskName) (ending: string) =
        String.Concat(root, "/", TaskName.toString name, ending)

    let folderOf (path: string) = path.Substring(0, path.LastIndexOf '/')

    let tempBeside (target: string) =
        let cut = target.LastIndexOf '/' + 1
        let number = Interlocked.Increment(&count).ToString "x8"
        String.Concat(target.AsSpan(0, cut), ".", target.AsSpan cut, $".fss-{run}-{number}.tmp")

    let failure (target: string) (e: exn) =
        // On Unix .NET keeps errno in HResult where it has no exception of its own for it.
        match e with
        | _ when Directory.Exists target -> NameTaken target
        | :? PathTooLongException -> NameTooLong
        | :? UnauthorizedAccessException -> NotPermitted e.Message
        | _ when e.HResult = ENAMETOOLONG -> NameTooLong
        | _ when Disk.isFull e -> NoSpace
        | _ when Disk.isBroken e -> DiskBroken e.Message
        | Disk.StorageError reason -> DiskFailed reason
        | _ -> DiskFailed e.Message

    /// Creates the missing folders of a path one by one, and checks each once.
    let rec ensure (folder: string) : Result<unit, PublishFailure> =
        if folder = root || folders.ContainsKey folder then
            Ok()
        else
            match ensure (folderOf folder) with
            | Error failure -> Error failure
            | Ok() ->
                let info = DirectoryInfo folder

                if info.LinkTarget <> null then
                    Error(OutsideResults folder)
                elif IO.File.Exists folder then
                    Error(NameTaken folder)
                else
                    info.Create()
                    folders[folder] <- ()
                    Ok()

    /// Runs an action on a file; once more if its folder turns out to have been deleted.
    let inFolder (target: string) (action: unit -> Result<'T, PublishFailure>) =
        let folder = folderOf target

        try
            match ensure folder with
            | Error failure -> Error failure
            | Ok() ->
                try
                    action ()
                with :? DirectoryNotFoundException ->
                    folders.Clear()
                    Directory.CreateDirectory root |> ignore

                    match ensure folder with
                    | Error failure -> Error failure
                    | Ok() -> action ()
        with Disk.StorageError _ as e ->
            Error(failure target e)

    let create (temp: string) =
        IO.File.OpenHandle(
            temp,
            FileMode.CreateNew,
            FileAccess.Write,
            FileShare.ReadWrite ||| FileShare.Delete
        )

    let discard (temp: string) =
        try
            IO.File.Delete temp
        with
        | :? UnauthorizedAccessException
        | :? IOException -> () // the sweep of the next start deletes it

    /// Without `mayReplace` the rename itself fails on an existing file: an earlier check could not be sure.
    let rename (temp: string) (target: string) mayReplace : Result<unit, PublishFailure> =
        try
            IO.File.Move(temp, target, overwrite = mayReplace)
            Ok()
        with
        | :? IOException when not mayReplace && IO.File.Exists target -> Error(Occupied target)
        | _ ->
            discard temp
            reraise ()

    let writeWhole (target: string) (bytes: ReadOnlyMemory<byte>) mayReplace =
        inFolder target (fun () ->
            let temp = tempBeside target
            let handle = create temp

            try
                use handle = handle
                RandomAccess.Write(handle, bytes.Span, 0L)
            with _ ->
                discard temp
                reraise ()

            let renamed = rename temp target mayReplace

            if renamed.IsError then
                discard temp

            renamed)

    let removeError (name: TaskName) =
        if not errors.IsEmpty then
            let path = target name ".err"

            if errors.TryRemove(path, ref ()) then
                discard path

    let filesBelowRoot () =
        Directory.EnumerateFiles(
            root,
            "*",
            EnumerationOptions(
                AttributesToSkip = FileAttributes.ReparsePoint,
                RecurseSubdirectories = true
            )
        )

    /// Whether the file system folds the case of names, or the ways to write accents.
    let isFolding =
        let name = $".Fss-\u00E9.fss-{run}-{0:x8}.tmp"
        let path = root + "/" + name

        try
            try
                (create path).Dispose()

                Path.Exists(root + "/" + name.ToUpperInvariant())
                || Path.Exists(root + "/" + name.Normalize Text.NormalizationForm.FormD)
            finally
                discard path
        with Disk.StorageError _ ->
            false

    member _.Path = root

    member _.Fold(name: TaskName) : string =
        if isFolding then
            (TaskName.toString name).Normalize(Text.NormalizationForm.FormC).ToUpperInvariant()
        else
            TaskName.toString name

    member _.NameThere(name: TaskName) : TaskName voption =
        if not isFolding then
            ValueNone
        else
            let text = TaskName.toString name
            let folder = text.Substring(0, text.LastIndexOf '/' + 1)

            let fold (part: string) =
                part.Normalize(Text.NormalizationForm.FormC)

            let isSame (part: string) =
                String.Equals(
                    fold part,
                    fold (text.Substring folder.Length),
                    StringComparison.OrdinalIgnoreCase
                )

            try
                Directory.EnumerateFiles(root + "/" + folder)
                |> Seq.map (fun path -> nonNull (Path.GetFileName path))
                |> Seq.filter (fun file -> file.EndsWith ".out" || file.EndsWith ".err")
                |> Seq.map (fun file -> file.Substring(0, file.Length - 4))
                |> Seq.tryFind isSame
                |> Option.bind (fun part -> Result.toOption (TaskName.parse (folder + part)))
                |> ValueOption.ofOption
            with Disk.StorageError _ ->
                ValueNone

    /// <summary>Deletes the temporary files of earlier runs, and finds the existing <c>NAME.err</c>. To be called once,
    /// before anything is published; nobody else may be publishing to the folder.</summary>
    /// <returns>The number of deleted files.</returns>
    member _.Sweep() : int =
        let mutable swept = 0

        for path in filesBelowRoot () do
            let name = nonNull (Path.GetFileName path)

            if name.EndsWith(".err", StringComparison.Ordinal) then
                errors[slashed path] <- ()
            elif name[0] = '.' && tempName.IsMatch name then
                discard path
                swept <- swept + 1

        swept

    member _.TargetOf(name: TaskName) = target name ".out"

    member _.IsThere(name: TaskName) : bool =
        Path.Exists(target name ".out") || Path.Exists(target name ".err")

    member _.Publish
        (name: TaskName, result: ReadOnlyMemory<byte>, mayReplace: bool)
        : Result<unit, PublishFailure> =
        let published = writeWhole (target name ".out") result mayReplace

        if published.IsOk then
            removeError name

        published

    /// <summary>Creates an empty temporary file beside the path of the result, for a result that arrives in pieces.
    /// Ends with <c>PublishTemp</c> or <c>Discard</c>.</summary>
    member _.CreateTemp(name: TaskName) : Result<string, PublishFailure> =
        let target = target name ".out"

        inFolder target (fun () ->
            let temp = tempBeside target
            (create temp).Dispose()
            Ok temp)

    member _.TempFor(name: string) : string =
        tempBeside (String.Concat(root, "/", name, ".out"))

    /// Publishes a closed temporary file of `CreateTemp`. The file stays if the name is `Occupied`.
    member _.PublishTemp
        (name: TaskName, temp: string, mayReplace: bool)
        : Result<unit, PublishFailure> =
        let target = target name ".out"

        if
            folderOf temp <> folderOf target
            || not (tempName.IsMatch(nonNull (Path.GetFileName temp)))
        then
            Error(TempLost temp)
        else
            try
                let published = rename temp target mayReplace

                if published.IsOk then
                    removeError name

                published
            with
            | :? FileNotFoundException
            | :? DirectoryNotFoundException -> Error(TempLost temp)
            | :? UnauthorizedAccessException
            | :? IOException as e -> Error(failure target e)

    /// Deletes a temporary file, if it exists.
    member _.Discard(temp: string) : unit = discard temp

    member _.PublishError
        (name: TaskName, text: string, mayReplace: bool)
        : Result<unit, PublishFailure> =
        let path = target name ".err"
        let bytes = ReadOnlyMemory(Text.Encoding.UTF8.GetBytes text)
        let published = writeWhole path bytes mayReplace

        if published.IsOk then
            errors[path] <- ()

        published

    interface IResultFolder with
        member _.Path = root
        member this.Fold name = this.Fold name
        member this.NameThere name = this.NameThere name
        member this.IsThere name = this.IsThere name
        member this.TargetOf name = this.TargetOf name

        member this.Publish(name, result, mayReplace) = this.Publish(name, result, mayReplace)

        member this.PublishTemp(name, temp, mayReplace) =
            this.PublishTemp(name, temp, mayReplace)

        member this.PublishError(name, text, mayReplace) =
            this.PublishError(name, text, mayReplace)

        member this.CreateTemp name = this.CreateTemp name
        member this.TempFor name = this.TempFor name
        member _.TryContentHash path = ResultFile.tryProof path

        member this.Holds(name, hash) =
            ResultFile.holds (this.TargetOf name) hash

        member this.HasResult name = IO.File.Exists(this.TargetOf name)

        member this.Find(name, mark, isSameBoot) =
            ResultMark.find isSameBoot (this.TargetOf name) mark
