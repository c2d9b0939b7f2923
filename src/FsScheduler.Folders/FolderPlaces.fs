namespace FsScheduler.Folders

open System
open System.IO
open System.Text
open FsScheduler.Core
open FsScheduler.Platform

/// A mount of this process's namespace: what is at `root` of the file system appears at `point`.
[<Struct>]
type private Mount = {
    device: string
    root: string
    point: string
    /// The type of the file system, such as `ext4`.
    kind: string
}

/// Finds where folders really are, even before they exist: behind links, mounts and names in another case.
module FolderPlaces =

    let private linksMax = 40

    let private linkTarget (path: string) =
        try
            (FileInfo path).LinkTarget
        with
        | :? IOException
        | :? UnauthorizedAccessException -> null

    /// <summary>The path with all links resolved, as far as it exists.</summary>
    let realPath (path: string) : string =
        let split (path: string) =
            path.Split [| Path.DirectorySeparatorChar; Path.AltDirectorySeparatorChar |]
            |> List.ofArray

        let rootOf (path: string) = nonNull (Path.GetPathRoot path)

        let rec walk (at: string) (parts: string list) linksLeft =
            match parts with
            | [] -> at
            | ("" | ".") :: rest -> walk at rest linksLeft
            | ".." :: rest ->
                let above =
                    match Path.GetDirectoryName at with
                    | null -> at
                    | above -> above

                walk above rest linksLeft
            | part :: rest ->
                let next = Path.Combine(at, part)

                match linkTarget next with
                | null -> walk next rest linksLeft
                | _ when linksLeft = 0 -> Path.Combine(Array.ofList (next :: rest))
                | target when Path.IsPathRooted target ->
                    let root = rootOf target
                    walk root (split (target.Substring root.Length) @ rest) (linksLeft - 1)
                | target -> walk at (split target @ rest) (linksLeft - 1)

        let full = Path.GetFullPath path
        let root = rootOf full
        walk root (split (full.Substring root.Length)) linksMax

    /// A path and all folders above it.
    let private upwards (path: string) =
        path
        |> List.unfold (fun path ->
            match path with
            | "" -> None
            | path ->
                Some(path, Path.GetDirectoryName path |> Option.ofObj |> Option.defaultValue ""))

    /// Decodes `\040` and the like, which `/proc` writes for blanks in a field.
    let private unescape (field: string) =
        if not (field.Contains '\\') then
            field
        else
            let bytes = ResizeArray<byte>()
            let raw = Encoding.UTF8.GetBytes field
            let mutable index = 0

            let isOctal position =
                position < raw.Length && raw[position] >= '0'B && raw[position] <= '7'B

            while index < raw.Length do
                if
                    raw[index] = '\\'B
                    && isOctal (index + 1)
                    && isOctal (index + 2)
                    && isOctal (index + 3)
                then
                    let digit position = int (raw[position] - '0'B)

                    bytes.Add(
                        byte (digit (index + 1) * 64 + digit (index + 2) * 8 + digit (index + 3))
                    )

                    index <- index + 4
                else
                    bytes.Add raw[index]
                    index <- index + 1

            Encoding.UTF8.GetString(bytes.ToArray())

    /// The mounts as Linux lists them; empty elsewhere.
    let private mountInfo () : string =
        try
            File.ReadAllText "/proc/self/mountinfo"
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ""

    /// In the order in which they were mounted.
    let private mountsOf (info: string) = [
        for line in info.Split '\n' do
            match line.Split ' ' with
            | fields when fields.Length > 4 -> {
                device = fields[2]
                root = unescape fields[3]
                point = unescape fields[4]
                kind =
                    fields
                    |> Array.skipWhile ((<>) "-")
                    |> Array.tryItem 1
                    |> Option.defaultValue ""
              }
            | _ -> ()
    ]

    let private isBelow (folder: string) (path: string) =
        path.StartsWith((if folder = "/" then folder else folder + "/"), StringComparison.Ordinal)

    /// The mount of a path.
    let private mountOf (mounts: Mount list) (path: string) =
        let candidates =
            mounts
            |> List.filter (fun mount -> mount.point = path || isBelow mount.point path)

        match candidates with
        | [] -> None
        // Of several mounts at one point the last is on top; maxBy takes the first.
        | _ -> Some(candidates |> List.rev |> List.maxBy _.point.Length)

    /// FAT, exFAT and NTFS by FUSE: names in another case lead to the same file, with another inode.
    let private isCaseBlind (mount: Mount) = mount.kind = "fuseblk"

    /// One name for all that differ in case or composition; a false overlap is only a refusal.
    let private atPathFolded (path: string) =
        AtPath(path.Normalize(NormalizationForm.FormC).ToUpperInvariant())

    let private byInode (path: string) = [
        if OperatingSystem.IsLinux() then
            match Linux.inodeOf path with
            | Ok struct (device, inode) -> WithInode(device, inode)
            | Error _ -> ()
    ]

    /// <summary>As `find`, with the content of `/proc/self/mountinfo`; empty where there is none.</summary>
    let internal findAmong (info: string) (named: string) : FolderPlace =
        let path = realPath named
        let mounts = mountsOf info
        let mount = mountOf mounts path

        let below = [
            for mount in mounts do
                if isBelow path mount.point then
                    OnDevice(mount.device, mount.root.TrimEnd '/')
        ]

        // Most file systems outside Linux fold case and composition.
        let isFolded = not (OperatingSystem.IsLinux()) || Option.exists isCaseBlind mount

        let known path = [
            if isFolded then
                atPathFolded path

            if OperatingSystem.IsLinux() then
                AtPath path

            yield! byInode path
        ]

        let within, withinAbove =
            match mount with
            | Some mount ->
                let rest = path.Substring(mount.point.Length).Trim '/'
                let inside = Path.Combine(mount.root, rest).TrimEnd '/'

                let on (path: string) =
                    OnDevice(mount.device, path.TrimEnd '/')

                [ on inside ], on "" :: (upwards inside |> List.map on)
            | None -> [], []

        {
            named = named
            path = path
            self = Set.ofList (known path @ within @ below)
            chain = Set.ofList ((upwards path |> List.collect known) @ within @ withinAbove)
            mounted =
                Set.ofList [
                    for mount in mounts do
                        if isBelow path mount.point then
                            for above in upwards mount.root do
                                OnDevice(mount.device, above.TrimEnd '/')
                ]
        }

    /// <summary>Where a folder is, or will be once it is made.</summary>
    let find (named: string) : FolderPlace = findAmong (mountInfo ()) named

    /// <summary>Where the folders of a scheduler are.</summary>
    let ofScheduler (entrada: string) (resultados: string) (state: string) : SchedulerFolders = {
        entrada = find entrada
        resultados = find resultados
        state = find state
        spool = find (Path.Combine(state, "spool"))
        temporary = find (Path.GetTempPath())
    }

    /// <summary>Finds overlaps that come up while a scheduler runs: another mount, or a link that leads elsewhere.</summary>
    /// <returns>Gives the present overlap, as a sentence. Repeats the full check only after a change.</returns>
    let watchOverlap
        (entrada: string)
        (resultados: string)
        (state: string)
        : unit -> string voption =
        let seen = ref ""
        let found = ref ValueNone

        fun () ->
            let now =
                String.Join(
                    '\n',
                    realPath entrada,
                    realPath resultados,
                    realPath state,
                    mountInfo ()
                )

            if now <> seen.Value then
                seen.Value <- now

                found.Value <-
                    match FolderOverlap.check (ofScheduler entrada resultados state) with
                    | Ok() -> ValueNone
                    | Error sentence -> ValueSome sentence

            found.Value
