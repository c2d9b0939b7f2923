namespace FsScheduler.Folders

open System
open System.Collections.Concurrent
open System.IO
open System.Text.RegularExpressions
open System.Threading
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>
/// Puts results in place: <c>NAME.out</c> for <c>NAME</c> in the same subfolder, and <c>NAME.err</c> for what
/// failed, each written under a temporary name and renamed, so that a final name always holds something whole.
/// Safe to call from any thread. Where a file goes follows from a <c>TaskName</c> alone, which cannot lead outside; folders
/// on the way are checked not to be links. Nothing is flushed to the device here.
/// </summary>
/// <param name="path">The folder of results. Exists, or is created.</param>
type ResultStore(path: string) =
    static let slashed (path: string) =
        path.Replace(Path.DirectorySeparatorChar, '/')

    let root = slashed (Path.TrimEndingDirectorySeparator(Path.GetFullPath path))
    do Directory.CreateDirectory root |> ignore

    /// Below `root`, by absolute path. May have been deleted since: then opening fails and they are made again.
    let folders = ConcurrentDictionary<string, unit>()

    /// `NAME.err` that are there, by absolute path: thousands of results pay for no look at the disk.
    let errors = ConcurrentDictionary<string, unit>()

    let mutable count = 0L

    /// Tells the temporary files of this run from any others.
    let run = Random.Shared.NextInt64().ToString "x16"

    /// `.NAME.out.fss-<run>-<count>.tmp`: at most 247 bytes, for a part of 200.
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

    /// Creates what is missing of the folders on the way, one by one, and looks at each once.
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

    /// Runs what needs the folder of `target`; once more if the folder turns out to have been deleted.
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
        | :? IOException -> () // The sweep of the next start has it.

    /// A rename is all that anybody sees. What may not replace anything finds out while it is made: no look before it
    /// could tell.
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

    /// Whether the file system takes names that differ in case, or in how accents are written, for the same.
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

    /// The folder, absolute.
    member _.Path = root

    /// What names have in common that are the same to the file system.
    member _.Fold(name: TaskName) : string =
        if isFolding then
            (TaskName.toString name).Normalize(Text.NormalizationForm.FormC).ToUpperInvariant()
        else
            TaskName.toString name

    /// <summary>The name that a result or an error was given which stands where this one's would.</summary>
    /// <returns>None: there is none, or only this name leads there.</returns>
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

    /// <summary>To be called once, before anything is published: removes temporary files that an earlier
    /// run left, and finds the <c>NAME.err</c> that are there. Nobody else may be publishing to the folder.</summary>
    /// <returns>How many temporary files were removed.</returns>
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

    /// Where the result of a task goes.
    member _.TargetOf(name: TaskName) = target name ".out"

    /// Whether there is a result, or an error, or anything else that has one of their names.
    member _.IsThere(name: TaskName) : bool =
        Path.Exists(target name ".out") || Path.Exists(target name ".err")

    /// <summary>Publishes a result that is in memory.</summary>
    /// <param name="name">Gives it its place.</param>
    /// <param name="result">Its bytes.</param>
    /// <param name="mayReplace">Over an older one; else, where one is there, it is `Occupied`.</param>
    member _.Publish
        (name: TaskName, result: ReadOnlyMemory<byte>, mayReplace: bool)
        : Result<unit, PublishFailure> =
        let published = writeWhole (target name ".out") result mayReplace

        if published.IsOk then
            removeError name

        published

    /// <summary>An empty temporary file beside the result's place, for a result that arrives in pieces. Ends with
    /// <c>PublishTemp</c> or <c>Discard</c>.</summary>
    member _.CreateTemp(name: TaskName) : Result<string, PublishFailure> =
        let target = target name ".out"

        inFolder target (fun () ->
            let temp = tempBeside target
            (create temp).Dispose()
            Ok temp)

    /// The path of such a file, where none can be made now.
    member _.TempFor(name: string) : string =
        tempBeside (String.Concat(root, "/", name, ".out"))

    /// Publishes what a temporary file of `CreateTemp` for a name in the same folder holds; it must be closed. It is still
    /// there where the name is `Occupied`.
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

    /// Removes a temporary file that is not needed. Does nothing when it is gone.
    member _.Discard(temp: string) : unit = discard temp

    /// Says in `NAME.err` why there is no result. An older result of the same source stays.
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
