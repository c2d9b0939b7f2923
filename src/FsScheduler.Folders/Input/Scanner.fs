namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.IO
open System.IO.Enumeration
open FsScheduler.Core

/// What a scan has found.
type Listing = {
    files: ResizeArray<struct (TaskName * FileVersion)>
    /// What is never read, by path relative to the folder.
    refused: ResizeArray<struct (string * Refusal)>
    /// What could not be examined this time.
    unknown: ResizeArray<struct (string * string)>
    /// What is left alone, except hidden names: files, and folders as a whole.
    ignored: ResizeArray<struct (string * IgnoreReason)>
    /// The folders, the first one included, by path relative to the input folder.
    folders: Dictionary<string, FolderIdentity>
} with

    /// Whether the input folder itself could be listed.
    member listing.IsListed =
        not (listing.refused.Exists(fun (struct (path, _)) -> IO.Path.IsPathRooted path))

module Scanner =

    /// Folders nested deeper are refused: a name has 2,000 bytes at most anyway.
    let depthMax = 256

    let private options =
        EnumerationOptions(
            AttributesToSkip = enum 0,
            IgnoreInaccessible = false,
            MatchType = MatchType.Simple,
            ReturnSpecialDirectories = false
        )

    /// The names in a folder, except hidden ones. Throws if the folder cannot be listed.
    let private names (folder: string) =
        FileSystemEnumerable<string>(
            folder,
            (fun (entry: byref<FileSystemEntry>) -> entry.FileName.ToString()),
            options,
            ShouldIncludePredicate =
                (fun (entry: byref<FileSystemEntry>) -> not (IgnoredNames.isHidden entry.FileName))
        )

    /// <summary>Lists a folder of the input folder and all below it, except ignored names.</summary>
    /// <param name="folder">The input folder.</param>
    /// <param name="below">The folder to begin with, relative to the input folder; empty for all of it.</param>
    /// <returns>None if that folder is missing. Without the rights to list it, it is refused.</returns>
    let scan (folder: InputFolder) (below: string) : Listing voption =
        let listing = {
            files = ResizeArray()
            refused = ResizeArray()
            unknown = ResizeArray()
            ignored = ResizeArray()
            folders = Dictionary StringComparer.Ordinal
        }

        let refuse path refusal =
            listing.refused.Add(struct (path, refusal))

        let folders = Stack<struct (string * int)>()

        let visit (path: string) (depth: int) =
            match folder.LookInFolder path with
            | Present version ->
                match TaskName.parse path with
                | Ok name -> listing.files.Add(struct (name, version))
                | Error reason -> refuse path (BadName reason)
            | FolderEntry.Folder when depth = depthMax ->
                refuse path (Unlisted "it is nested too deeply")
            | FolderEntry.Folder -> folders.Push(struct (path, depth + 1))
            | Refused refusal -> refuse path refusal
            | Unknown reason -> listing.unknown.Add(struct (path, reason))
            | Absent ->
                // Deleted since the listing; or a name that is not UTF-8, which .NET cannot ask for.
                match TaskName.parse path with
                | Ok _ -> ()
                | Error reason -> refuse path (BadName reason)

        /// False if the folder is missing.
        let list (path: string) (depth: int) =
            let isRoot = path = ""
            listing.folders[path] <- folder.Identity path

            try
                for name in names (if isRoot then folder.Path else folder.Locate path) do
                    let path = if isRoot then name else String.Concat(path, "/", name)

                    match folder.Ignored.WhyIn path with
                    | ValueNone -> visit path depth
                    | ValueSome reason -> listing.ignored.Add(struct (path, reason))

                true
            with
            | :? DirectoryNotFoundException -> false
            | :? UnauthorizedAccessException as e ->
                refuse (if isRoot then folder.Path else path) (Unlisted e.Message)
                true
            | :? IOException as e ->
                // The input folder itself may be on a server that is away, and come back.
                if not isRoot then
                    refuse path (Unlisted e.Message)

                not isRoot

        if not (list below 0) then
            ValueNone
        else
            while folders.Count > 0 do
                let struct (path, depth) = folders.Pop()

                if not (list path depth) then
                    listing.folders.Remove path |> ignore

            ValueSome listing
