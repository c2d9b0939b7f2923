namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.IO
open System.IO.Enumeration
open FsScheduler.Core

/// What a scan came upon.
type Listing = {
    files: ResizeArray<struct (TaskName * FileVersion)>
    /// What is never read, by its path relative to the folder.
    refused: ResizeArray<struct (string * Refusal)>
    /// What could not be looked at this time.
    unknown: ResizeArray<struct (string * string)>
    /// What is left alone, but for what is hidden: folders with all that is in them, and files.
    ignored: ResizeArray<struct (string * IgnoreReason)>
    /// The folders, the one that it began with among them, by their paths relative to the input folder.
    folders: Dictionary<string, FolderIdentity>
} with

    /// Whether the input folder itself could be listed.
    member listing.IsListed =
        not (listing.refused.Exists(fun (struct (path, _)) -> IO.Path.IsPathRooted path))

module Scanner =

    /// Folders inside folders beyond this are refused: a name has at most 2,000 bytes anyway.
    let depthMax = 256

    let private options =
        EnumerationOptions(
            AttributesToSkip = enum 0,
            IgnoreInaccessible = false,
            MatchType = MatchType.Simple,
            ReturnSpecialDirectories = false
        )

    /// The names in a folder, hidden ones left out. Throws when it cannot be listed.
    let private names (folder: string) =
        FileSystemEnumerable<string>(
            folder,
            (fun (entry: byref<FileSystemEntry>) -> entry.FileName.ToString()),
            options,
            ShouldIncludePredicate =
                (fun (entry: byref<FileSystemEntry>) -> not (IgnoredNames.isHidden entry.FileName))
        )

    /// <summary>Lists a folder of the input folder and all below it, ignored names left out.</summary>
    /// <param name="folder">The input folder.</param>
    /// <param name="below">Where to begin, relative to it; empty for all of it.</param>
    /// <returns>None when the beginning itself is not there. When its rights keep it from being listed, it is refused.</returns>
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
            | Present stamp ->
                match TaskName.parse path with
                | Ok name -> listing.files.Add(struct (name, stamp))
                | Error reason -> refuse path (BadName reason)
            | FolderEntry.Folder when depth = depthMax ->
                refuse path (Unlisted "it is nested too deeply")
            | FolderEntry.Folder -> folders.Push(struct (path, depth + 1))
            | Refused refusal -> refuse path refusal
            | Unknown reason -> listing.unknown.Add(struct (path, reason))
            | Absent ->
                // Gone since it was listed; or a name that is not UTF-8, which cannot be asked for.
                match TaskName.parse path with
                | Ok _ -> ()
                | Error reason -> refuse path (BadName reason)

        /// False when the folder is not there.
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
                // Of the input folder itself: a server that is away, which may come back.
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
