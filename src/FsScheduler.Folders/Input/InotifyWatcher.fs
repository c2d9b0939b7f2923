namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.IO
open System.Runtime.InteropServices
open System.Text
open System.Threading
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Platform.Linux

/// <summary>
/// Watches a folder and all below it by inotify, which unlike FileSystemWatcher tells a rename into the
/// folder from a creation. One thread, one descriptor, one watch for each folder.
/// </summary>
type InotifyWatcher
    private (root: string, fd: int, wake: int, deliver: Action<FolderEvent[]>, log: ILogger) =

    let mask =
        Inotify.IN_MODIFY
        ||| Inotify.IN_ATTRIB
        ||| Inotify.IN_CLOSE_WRITE
        ||| Inotify.IN_MOVED_FROM
        ||| Inotify.IN_MOVED_TO
        ||| Inotify.IN_CREATE
        ||| Inotify.IN_DELETE
        ||| Inotify.IN_DELETE_SELF
        ||| Inotify.IN_MOVE_SELF
        ||| Inotify.IN_ONLYDIR

    /// The folder of each watch, relative to the root; the root's is empty.
    let folders = Dictionary<int, string>()
    let mutable rootWatch = -1
    let mutable stopping = false
    let mutable alive = true
    let mutable toldOfLimit = false

    /// Held to close the descriptors, and to use one from outside the thread.
    let closing = obj ()

    let locate (relative: string) =
        if relative = "" then root else root + "/" + relative

    let below (folder: string) (name: string) =
        if folder = "" then name else folder + "/" + name

    let subfolders (folder: string) =
        try
            Directory.GetDirectories(
                locate folder,
                "*",
                EnumerationOptions(AttributesToSkip = FileAttributes.ReparsePoint)
            )
            |> Array.map (fun path -> nonNull (Path.GetFileName path))
            |> Array.filter (fun name -> not (IgnoredNames.isIgnoredName (name.AsSpan())))
            |> Array.map (below folder)
        with
        | :? UnauthorizedAccessException
        | :? IOException -> [||] // The scan tells why.

    /// Watches a folder before listing it, so that what is created meanwhile is seen by one or the other.
    let watchTree (folder: string) (watched: HashSet<int>) =
        let rest = Stack [ folder ]

        while rest.Count > 0 do
            let folder = rest.Pop()

            // The root itself may be a link; nothing below it is.
            let flags =
                if folder = "" then
                    mask
                else
                    mask ||| Inotify.IN_DONT_FOLLOW

            match Inotify.addWatch fd (locate folder) flags with
            | Ok watch ->
                folders[watch] <- folder
                watched.Add watch |> ignore

                for subfolder in subfolders folder do
                    rest.Push subfolder
            | Error errno when errno = Errno.ENOSPC ->
                if not toldOfLimit then
                    toldOfLimit <- true

                    log.LogWarning(
                        "No more inotify watches (fs.inotify.max_user_watches): {Folder} and others are only rescanned",
                        locate folder
                    )
            | Error _ -> () // Gone again, or not readable, of which the scan tells.

    let forgetTree (folder: string) =
        let gone = [|
            for KeyValue(watch, path) in folders do
                if path = folder || path.StartsWith(folder + "/", StringComparison.Ordinal) then
                    watch
        |]

        for watch in gone do
            folders.Remove watch |> ignore
            Inotify.removeWatch fd watch

    /// After lost events: watches what there is now, and only that.
    let watchAgain () =
        let watched = HashSet<int>()
        watchTree "" watched

        for watch in Seq.toArray folders.Keys do
            if not (watched.Contains watch) then
                folders.Remove watch |> ignore
                Inotify.removeWatch fd watch

    let has (flags: uint) (flag: uint) = flags &&& flag <> 0u

    let onFolder (events: ResizeArray<FolderEvent>) flags path =
        if has flags (Inotify.IN_MOVED_FROM ||| Inotify.IN_DELETE) then
            // A watch outlives the move of its folder, and would tell of it under the old path.
            forgetTree path
            events.Add(FolderRemoved path)
        elif has flags Inotify.IN_MOVED_TO then
            watchTree path (HashSet())
            events.Add(FolderMovedIn path)
        elif has flags Inotify.IN_CREATE then
            watchTree path (HashSet())
            events.Add(FolderCreated path)

    let onFile (events: ResizeArray<FolderEvent>) flags path =
        if has flags (Inotify.IN_MOVED_FROM ||| Inotify.IN_DELETE) then
            events.Add(Removed path)
        elif has flags Inotify.IN_MOVED_TO then
            events.Add(FileMovedIn path)
        else
            let event = FileWritten path
            // Creating, writing and closing are three events, and a look at the file answers all.
            if events.Count = 0 || events[events.Count - 1] <> event then
                events.Add event

    let onEvent (events: ResizeArray<FolderEvent>) watch flags (name: string) =
        if has flags Inotify.IN_Q_OVERFLOW then
            log.LogInformation "Events of the input folder were lost; it is scanned again"
            watchAgain ()
            events.Add EventsLost
        elif
            watch = rootWatch
            && has
                flags
                (Inotify.IN_DELETE_SELF
                 ||| Inotify.IN_MOVE_SELF
                 ||| Inotify.IN_UNMOUNT
                 ||| Inotify.IN_IGNORED)
        then
            alive <- false
            events.Add EventsLost
        elif has flags Inotify.IN_IGNORED then
            folders.Remove watch |> ignore
        else
            match folders.TryGetValue watch with
            | true, folder when name <> "" && not (IgnoredNames.isIgnoredName (name.AsSpan())) ->
                let on = if has flags Inotify.IN_ISDIR then onFolder else onFile
                on events flags (below folder name)
            | _ -> ()

    /// struct inotify_event { int wd; uint mask, cookie, len; char name[len] }
    let decode (bytes: ReadOnlySpan<byte>) =
        let events = ResizeArray<FolderEvent>()
        let mutable rest = bytes

        while rest.Length >= 16 do
            let watch = MemoryMarshal.Read<int> rest
            let flags = MemoryMarshal.Read<uint>(rest.Slice 4)
            let length = MemoryMarshal.Read<int>(rest.Slice 12)
            let name = rest.Slice(16, length)
            let name = name.Slice(0, max 0 (name.IndexOf 0uy))
            onEvent events watch flags (Encoding.UTF8.GetString name)
            rest <- rest.Slice(16 + length)

        events

    member private _.Run() =
        let buffer = Array.zeroCreate<byte> 65_536

        try
            while alive && not (Volatile.Read &stopping) do
                Wakeup.waitForAny [| fd; wake |] -1

                match read fd (buffer.AsSpan()) with
                | Ok count when count > 0 ->
                    let events = decode (ReadOnlySpan(buffer, 0, count))

                    if events.Count > 0 && not (Volatile.Read &stopping) then
                        deliver.Invoke(events.ToArray())
                | _ -> () // Interrupted, or woken to stop.
        finally
            lock closing (fun () ->
                alive <- false
                close fd
                close wake)

    member private watcher.Start() =
        match Inotify.addWatch fd root mask with
        | Error errno -> Error(message errno)
        | Ok watch ->
            rootWatch <- watch
            folders[watch] <- ""

            for folder in subfolders "" do
                watchTree folder (HashSet())

            Thread(watcher.Run, IsBackground = true, Name = "entrada watcher").Start()
            Ok()

    /// <summary>Starts to watch; the folder is to be scanned after this, not before.</summary>
    /// <param name="root">The folder, absolute.</param>
    /// <param name="deliver">Called on the watcher's own thread; it may block.</param>
    /// <param name="log">Where the limit of watches is told of.</param>
    /// <returns>The watcher, or why there can be none.</returns>
    static member TryStart
        (root: string, deliver: Action<FolderEvent[]>, log: ILogger)
        : Result<IFolderWatcher, string> =
        match Inotify.init () with
        | Error errno -> Error(message errno)
        | Ok fd ->
            match Wakeup.create () with
            | Error errno ->
                close fd
                Error(message errno)
            | Ok wake ->
                let watcher = new InotifyWatcher(root, fd, wake, deliver, log)

                match watcher.Start() with
                | Ok() -> Ok watcher
                | Error reason ->
                    close fd
                    close wake
                    Error reason

    interface IFolderWatcher with
        member _.IsAlive = Volatile.Read &alive

        /// The thread closes the descriptors when it is done, so that no number is used twice.
        member _.Dispose() =
            lock closing (fun () ->
                if alive && not stopping then
                    stopping <- true
                    Wakeup.signal wake)
