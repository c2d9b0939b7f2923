namespace FsScheduler.Folders

open System
open System.IO
open FsScheduler.Core
open FsScheduler.Platform

/// Why a file or folder is never read.
type Refusal =
    /// Not a valid name of a task; the reason, as the end of a sentence.
    | BadName of reason: string
    /// A link that leads out of the folder.
    | LinkOutside of target: string
    | LinkToFolder
    | BrokenLink
    /// A fifo, a socket or a device.
    | NotRegular
    /// A folder that could not be listed.
    | Unlisted of reason: string
    /// A folder whose entries cannot be examined: how many, and one of them.
    | Unsearchable of count: int * first: string * reason: string

    /// A sentence for the log, without its subject.
    member refusal.Message =
        match refusal with
        | BadName reason -> $"its name is no task's: {reason}"
        | LinkOutside target -> $"it is a link that leads outside, to {target}"
        | LinkToFolder ->
            "it is a link to a folder; links to files are followed, links to folders are not"
        | BrokenLink -> "it is a link that leads nowhere"
        | NotRegular -> "it is not a regular file"
        | Unlisted reason -> $"the folder cannot be listed: {reason}"
        | Unsearchable(1, first, reason) -> $"'{first}' in it cannot be looked at: {reason}"
        | Unsearchable(count, first, reason) ->
            $"{count} names in it, such as '{first}', cannot be looked at: {reason}"

/// What a path of the folder leads to.
[<Struct>]
type FolderEntry =
    | Present of version: FileVersion
    | Folder
    | Absent
    | Refused of refusal: Refusal
    /// Cannot be examined now, for this reason; worth another look later.
    | Unknown of reason: string

/// <summary>
/// The folder of inputs. Examines only what is in the folder: a link counts by where it really leads.
/// </summary>
/// <param name="path">The folder, which may be a link and need not exist yet.</param>
/// <param name="ignored">Names that are left alone.</param>
type InputFolder(path: string, ignored: IgnoreRules) =
    let path = Path.TrimEndingDirectorySeparator(Path.GetFullPath path)
    let mutable real = path

    /// Follows every link of a path, as many as Linux does at most.
    static let rec portableRealPath (path: string) (linksLeft: int) : string voption =
        let root = nonNull (Path.GetPathRoot path)
        let parts = path.Substring(root.Length).Split(Path.DirectorySeparatorChar)

        let rec walk (at: string) (index: int) =
            if index = parts.Length then
                ValueSome at
            else
                let next = Path.Combine(at, parts[index])

                match (FileInfo next).LinkTarget with
                | null -> walk next (index + 1)
                | _ when linksLeft = 0 -> ValueNone
                | target ->
                    let rest = parts[index + 1 ..]
                    let whole = Path.Combine(Array.append [| at; target |] rest)
                    portableRealPath (Path.GetFullPath whole) (linksLeft - 1)

        walk root 0

    static let realPath (path: string) : string voption =
        if OperatingSystem.IsLinux() then
            match Linux.realPath path with
            | Ok real -> ValueSome real
            | Error _ -> ValueNone
        else
            match portableRealPath path 40 with
            | ValueSome real when Path.Exists real -> ValueSome real
            | _ -> ValueNone

    let isInside (target: string) =
        target.StartsWith(
            Path.TrimEndingDirectorySeparator real + string Path.DirectorySeparatorChar,
            StringComparison.Ordinal
        )

    let lookBehindLink (link: string) (stat: string -> FolderEntry) =
        match realPath link with
        | ValueNone -> Refused BrokenLink
        | ValueSome target when target = Path.TrimEndingDirectorySeparator real ->
            Refused LinkToFolder
        | ValueSome target when not (isInside target) -> Refused(LinkOutside target)
        | ValueSome target ->
            match stat target with
            | Folder -> Refused LinkToFolder
            | look -> look

    let rec lookOnLinux (at: string) =
        match Linux.statusOf at with
        | Ok status when status.kind = Linux.S_IFREG -> Present(FileStatus.ofStatus status)
        | Ok status when status.kind = Linux.S_IFDIR -> Folder
        | Ok status when status.kind = Linux.S_IFLNK -> lookBehindLink at lookOnLinux
        | Ok _ -> Refused NotRegular
        | Error errno when errno = Linux.Errno.ENOENT || errno = Linux.Errno.ENOTDIR -> Absent
        | Error errno -> Unknown(Linux.message errno)

    let rec lookAnywhere (at: string) =
        try
            let info = FileInfo at

            if info.LinkTarget <> null then
                lookBehindLink at lookAnywhere
            elif info.Exists then
                Present(FileStatus.portableOf info)
            elif Directory.Exists at then
                Folder
            else
                Absent
        with
        | :? UnauthorizedAccessException
        | :? IOException as e -> Unknown e.Message

    /// Whether a folder on the path has become a link: scans do not follow links to folders.
    let rec isBehindLink (relative: string) =
        match relative.LastIndexOf '/' with
        | -1 -> false
        | slash ->
            let folder = relative.Substring(0, slash)

            match Linux.statusOf (String.Concat(path, "/", folder)) with
            | Ok status when status.kind = Linux.S_IFLNK -> true
            | Ok _
            | Error _ -> isBehindLink folder

    /// Leaves only hidden and temporary names alone.
    new(path: string) = InputFolder(path, IgnoreRules.BuiltIn)

    /// Where a path really leads, all links followed; none if nothing is there.
    static member RealPathOf(path: string) : string voption = realPath path

    /// Names that are left alone.
    member _.Ignored = ignored

    /// <summary>A file of the folder that is this process's standard output or error.</summary>
    /// <returns>The name of the stream, and the relative path; none if there is no such file, or it is left
    /// alone.</returns>
    member folder.OwnOutput: struct (string * string) voption =
        let fileOf (descriptor: int) =
            match Linux.statusOfOpen descriptor, Linux.pathOf descriptor with
            | Ok status, Ok path when status.kind = Linux.S_IFREG -> folder.InputAt path
            | _ -> ValueNone

        if OperatingSystem.IsLinux() && folder.Refresh() then
            [ 1, "standard output"; 2, "standard error" ]
            |> List.tryPick (fun (descriptor, what) ->
                fileOf descriptor
                |> ValueOption.toOption
                |> Option.map (fun file -> struct (what, file)))
            |> ValueOption.ofOption
        else
            ValueNone

    /// <summary>The relative path for a real path of an input, existing or not; empty for the folder itself.</summary>
    /// <returns>None: the path is outside, or left alone.</returns>
    member _.InputAt(realPath: string) : string voption =
        let root = Path.TrimEndingDirectorySeparator real

        if realPath = root then
            ValueSome ""
        elif isInside realPath then
            let relative = realPath.Substring(root.Length + 1)

            if ignored.IsIgnored(relative.Replace(Path.DirectorySeparatorChar, '/')) then
                ValueNone
            else
                ValueSome relative
        else
            ValueNone

    /// The absolute path of the folder, as it was named.
    member _.Path = path

    /// The real path of the folder, as of the last `Refresh`.
    member _.RealPath = real

    /// Finds the real path of the folder, which may have been replaced. False: the folder is missing.
    member _.Refresh() : bool =
        match realPath path with
        | ValueSome found when Directory.Exists found ->
            real <- found
            true
        | _ -> false

    /// The absolute path of a relative one with `/`.
    member _.Locate(relative: string) = String.Concat(path, "/", relative)

    /// Whether a real path, without links, is below the folder.
    member _.Holds(realPath: string) = isInside realPath

    /// The identity of a folder; empty: of the folder of inputs. The same for all where the system does not tell.
    member _.Identity(relative: string) : FolderIdentity =
        let at =
            if relative = "" then
                real
            else
                String.Concat(path, "/", relative)

        if OperatingSystem.IsLinux() then
            match Linux.inodeOf at with
            | Ok struct (device, inode) -> { device = device; inode = inode }
            | Error _ -> { device = 0UL; inode = 0UL }
        else
            { device = 0UL; inode = 0UL }

    /// What a path leads to, links to files followed. Opens no file.
    member folder.Examine(relative: string) : FolderEntry =
        if OperatingSystem.IsLinux() && isBehindLink relative then
            Absent
        else
            folder.LookInFolder relative

    /// As `Examine`, in a folder that is known to be no link.
    member folder.LookInFolder(relative: string) : FolderEntry =
        folder.Examine(relative, OperatingSystem.IsLinux())

    /// As `Examine`, by the calls of Linux or by those that every system has.
    member internal folder.Examine(relative: string, linux: bool) : FolderEntry =
        let at = folder.Locate relative
        if linux then lookOnLinux at else lookAnywhere at
