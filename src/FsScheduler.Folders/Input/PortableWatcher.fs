namespace FsScheduler.Folders

open System
open System.IO

/// Watches by FileSystemWatcher, where there is no inotify. It cannot tell a rename into the folder from
/// a creation, so only renames inside the folder count as such; everything else settles.
type PortableWatcher(root: string, deliver: Action<FolderEvent[]>) =
    let watcher =
        new FileSystemWatcher(
            root,
            IncludeSubdirectories = true,
            InternalBufferSize = 65_536,
            NotifyFilter =
                (NotifyFilters.FileName
                 ||| NotifyFilters.DirectoryName
                 ||| NotifyFilters.Size
                 ||| NotifyFilters.LastWrite)
        )

    let relative (path: string) =
        Path.GetRelativePath(root, path).Replace(Path.DirectorySeparatorChar, '/')

    let send event = deliver.Invoke [| event |]

    /// What it was can no longer be asked.
    let removed (path: string) =
        let path = relative path
        deliver.Invoke [| Removed path; FolderRemoved path |]

    let appeared (path: string) (asFile: string -> FolderEvent) (asFolder: string -> FolderEvent) =
        send ((if Directory.Exists path then asFolder else asFile) (relative path))

    do
        watcher.Created.Add(fun e -> appeared e.FullPath FileWritten FolderCreated)

        // A change of a folder is a change of what is in it, which has its own event.
        watcher.Changed.Add(fun e ->
            if not (Directory.Exists e.FullPath) then
                send (FileWritten(relative e.FullPath)))

        watcher.Deleted.Add(fun e -> removed e.FullPath)

        watcher.Renamed.Add(fun e ->
            removed e.OldFullPath
            appeared e.FullPath FileMovedIn FolderMovedIn)

        watcher.Error.Add(fun _ -> send EventsLost)
        watcher.EnableRaisingEvents <- true

    interface IFolderWatcher with
        member _.IsAlive = Directory.Exists root
        member _.Dispose() = watcher.Dispose()
