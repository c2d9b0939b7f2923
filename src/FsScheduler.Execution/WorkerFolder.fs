namespace FsScheduler.Execution

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// A worker has no place for what is too large for memory; the message is for its owner.
exception NoWorkerFolder of message: string with
    override this.Message = this.message

/// Whether a folder takes anything.
module internal FolderRoom =

    // What shows that there is room: more than a file system keeps in the inode itself.
    let private bytes: byte[] = Array.zeroCreate 65_536

    /// <returns>Why nothing can be stored in it; null: it can.</returns>
    let probe (folder: string) : string | null =
        let file = Path.Combine(folder, $"probe-{Guid.NewGuid():N}")

        let delete () =
            try
                File.Delete file
            with
            | :? IOException
            | :? UnauthorizedAccessException -> ()

        try
            try
                use stream = new FileStream(file, FileMode.CreateNew, FileAccess.Write)
                stream.Write(bytes, 0, bytes.Length)
                stream.Flush()
                null
            with
            | :? IOException
            | :? UnauthorizedAccessException as error -> error.Message
        finally
            delete ()

/// <summary>A worker's own folder for what is too large for memory, and for the programs that it runs. Nobody else may look
/// into it. What workers have left that were killed is removed when the next one starts on the same machine.</summary>
/// <remarks>On Linux files in it are reached by an open descriptor of it, and not by its path: if it is removed under a
/// live worker and somebody else makes one of that name, nothing of his is ever touched. `Renew` makes another then, under
/// another name, and has the same descriptor lead there.</remarks>
/// <exception cref="T:FsScheduler.Execution.NoWorkerFolder">There is no place for it.</exception>
/// <param name="place">The folder for temporary files, as the owner of this machine has chosen it: also a link, or relative
/// to where the worker was started.</param>
[<Sealed>]
type WorkerFolder(place: string) =
    static let prefix = "fs-worker-"
    static let lockName = "lock"
    static let lockBytes = FolderCalls.bytesOf lockName
    // Of folders that are looked at: whatever else lies there, a start does not take long.
    static let leftoversMax = 10_000
    static let leftoversWait = TimeSpan.FromSeconds 2.0

    static let refuse (place: string) (what: string) (reason: string) =
        raise (
            NoWorkerFolder
                $"{what} '{Path.TrimEndingDirectorySeparator place}': {reason}; \
                  set TMPDIR to a folder with free space that this user may write to"
        )

    static let tryLock mode (folder: string) : FileStream | null =
        try
            new FileStream(
                Path.Combine(folder, lockName),
                mode,
                FileAccess.ReadWrite,
                FileShare.None
            )
        with
        | :? IOException
        | :? UnauthorizedAccessException -> null

    /// Removes a folder whose lock nobody holds. A folder without a lock is being made, or is not a worker's.
    static let removeLeftover (place: string) (at: int) (name: string) =
        let bytes = FolderCalls.bytesOf name

        match FolderCalls.openFolder at bytes with
        | Error _ -> ()
        | Ok folder ->
            try
                match FolderCalls.openForWriting folder lockBytes with
                | Error _ -> ()
                | Ok lock ->
                    try
                        // A folder of somebody else could lead elsewhere while it is being emptied.
                        if
                            Linux.isOwn (Path.Combine(place, name))
                            && FolderCalls.tryLock folder
                            && FolderCalls.tryLock lock
                        then
                            FolderCleaning.empty folder lockBytes |> ignore
                            FolderCalls.removeFile folder lockBytes |> ignore
                            FolderCalls.removeFolder at bytes |> ignore
                    finally
                        Linux.close lock
            finally
                Linux.close folder

    static let removePortably (folder: string) =
        let isOurs =
            OperatingSystem.IsWindows() // temporary folders are each user's own there
            || not Environment.IsPrivilegedProcess
               && File.GetUnixFileMode folder =
                   (UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute)

        if isOurs then
            match tryLock FileMode.Open folder with
            | null -> ()
            | held ->
                held.Dispose() // Windows deletes nothing that is open
                Directory.Delete(folder, true)

    /// What stays is not a worker's trouble: it may be there for the next one, or for whoever empties the folder. A folder
    /// that may be written to but not listed shows nothing.
    static let removeLeftovers (place: string) =
        try
            let folders =
                Directory.EnumerateDirectories(place, prefix + "*") |> Seq.truncate leftoversMax

            if FolderCalls.isAvailable then
                match FolderCalls.openBase place with
                | Error _ -> ()
                | Ok at ->
                    try
                        for folder in folders do
                            removeLeftover place at (nonNull (Path.GetFileName folder))
                    finally
                        Linux.close at
            else
                for folder in folders do
                    try
                        removePortably folder
                    with
                    | :? IOException
                    | :? UnauthorizedAccessException -> () // somebody else was faster, or it stays
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    /// A folder that was not there before, locked: against other workers, and against those that clean folders for
    /// temporary files and leave what is locked.
    static let makeByCalls (place: string) : struct (string * int * int) =
        let at =
            match FolderCalls.openBase place with
            | Ok at -> at
            | Error errno -> refuse place "there can be no folder for work in" (Linux.message errno)

        let rec make attempts =
            let name = $"{prefix}{Guid.NewGuid():N}"

            match FolderCalls.createFolder at (FolderCalls.bytesOf name) with
            | Error errno when errno = Linux.Errno.EEXIST && attempts > 1 -> make (attempts - 1)
            | Error errno -> refuse place "no folder for work can be made in" (Linux.message errno)
            | Ok folder ->
                // Not every file system has locks; where there are none nobody takes it for a leftover either.
                FolderCalls.tryLock folder |> ignore

                match FolderCalls.createFile folder lockBytes with
                | Ok lock ->
                    FolderCalls.tryLock lock |> ignore
                    struct (Path.Combine(place, name), folder, lock)
                | Error errno ->
                    Linux.close folder
                    FolderCalls.removeFolder at (FolderCalls.bytesOf name) |> ignore
                    refuse place "nothing can be stored in" (Linux.message errno)

        try
            make 10
        finally
            Linux.close at

    /// Another worker may take a folder for a leftover, in the moment in which it has a lock that nobody holds.
    static let rec makePortably (place: string) attempts : struct (string * FileStream) =
        let folder =
            try
                Directory.CreateTempSubdirectory(prefix).FullName
            with
            | :? IOException
            | :? UnauthorizedAccessException as error ->
                refuse place "no folder for work can be made in" error.Message

        match tryLock FileMode.CreateNew folder with
        | null when attempts > 1 -> makePortably place (attempts - 1)
        | null -> refuse place "nothing can be locked in" $"'{folder}' was taken by somebody else"
        | held -> struct (folder, held)

    let place =
        try
            Path.GetFullPath place
        with :? IOException as error ->
            refuse place "there can be no folder for work in" error.Message

    let gate = obj ()
    let mutable path = ""
    let mutable folder = -1
    let mutable lock' = -1
    let mutable held: FileStream | null = null
    let mutable generation = 0

    do
        if FolderCalls.isAvailable then
            let struct (made, fd, lockFd) = makeByCalls place
            path <- made
            folder <- fd
            lock' <- lockFd
        else
            let struct (made, stream) = makePortably place 3
            path <- made
            held <- stream

    // Others may have left more than this one should wait for.
    let cleaning =
        let cleaning = Task.Run(fun () -> removeLeftovers place)
        cleaning.Wait leftoversWait |> ignore
        cleaning

    // By the descriptor, where there is a /proc to do so.
    let root =
        if folder >= 0 && Directory.Exists $"/proc/self/fd/{folder}" then
            $"/proc/self/fd/{folder}"
        else
            path

    let isThere () =
        if folder < 0 then
            Directory.Exists path
        else
            match FolderCalls.statusOfOpen folder, FolderCalls.statusOfPath path with
            | Ok ours, Ok there -> ours.inode = there.inode && ours.device = there.device
            | _ -> false

    let renew () =
        if folder < 0 then
            // Elsewhere everything names the path: it is made again, by a call that fails if it is there.
            let struct (made, stream) = makePortably place 3
            stream.Dispose()
            Directory.Move(made, path)
            held <- tryLock FileMode.Open path
        else
            let struct (made, fd, lockFd) = makeByCalls place

            if root <> path then
                FolderCalls.replace fd folder |> ignore
                Linux.close fd
                path <- made
            else
                refuse
                    place
                    "the folder for work is gone from"
                    "there is no /proc to make another one with"

            Linux.close lock'
            lock' <- lockFd

        generation <- generation + 1

    let remove () : string | null =
        if folder < 0 then
            match held with
            | null -> ()
            | held ->
                held.Dispose()
                Directory.Delete(path, true)

            null
        else
            match FolderCleaning.empty folder lockBytes with
            | null ->
                FolderCalls.removeFile folder lockBytes |> ignore

                match FolderCalls.openBase place with
                | Error _ -> ()
                | Ok at ->
                    // Somebody else's of that name is either not empty, or not ours to remove.
                    if isThere () then
                        FolderCalls.removeFolder
                            at
                            (FolderCalls.bytesOf (nonNull (Path.GetFileName path)))
                        |> ignore

                    Linux.close at

                null
            | reason -> reason

    /// In the folder for temporary files of this system.
    new() = WorkerFolder(Path.GetTempPath())

    /// Ends when what others have left is gone, or stays.
    member internal _.Cleaning: Task = cleaning

    /// Where it is, for people.
    member _.Path = path

    /// The path that files in it are reached by. It stays the same when the folder is renewed.
    member _.Root = root

    /// Whether it is where it was made.
    member _.IsThere = isThere ()

    /// How often it was renewed.
    member _.Generation = Volatile.Read &generation

    /// <summary>Sees that it is there: what was removed, or moved away, is replaced by another folder.</summary>
    /// <returns>Whether it had to be.</returns>
    /// <exception cref="T:FsScheduler.Execution.NoWorkerFolder">It is gone, and there is no place for another.</exception>
    member _.Renew() : bool =
        lock gate (fun () ->
            let isGone = not (isThere ())

            if isGone then
                renew ()

            isGone)

    /// <returns>Why nothing can be stored in it; null: it can.</returns>
    member _.Probe() : string | null =
        match FolderRoom.probe root with
        | null -> null
        | reason -> reason.Replace(root, path)

    /// <returns>Why something of it is still there; null: it is gone.</returns>
    member _.Remove() : string | null =
        lock gate (fun () ->
            try
                try
                    remove ()
                with
                | :? DirectoryNotFoundException -> null
                | :? IOException
                | :? UnauthorizedAccessException as error -> error.Message
            finally
                if folder >= 0 then
                    Linux.close folder
                    Linux.close lock'
                    folder <- -1)
