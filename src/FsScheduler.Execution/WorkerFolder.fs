namespace FsScheduler.Execution

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// A worker has no folder for files; the message is for its owner.
exception NoWorkerFolder of message: string with
    override this.Message = this.message

/// Whether files can be stored in a folder.
module internal FolderRoom =

    // More than a file system keeps in the inode itself, so that free space is needed.
    let private bytes: byte[] = Array.zeroCreate 65_536

    /// <returns>Why no file can be stored in the folder; null if files can.</returns>
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

/// <summary>The folder of a worker, for payloads too large for memory and for its programs. Private to its user. The
/// folders of killed workers are removed when the next worker starts on the same computer.</summary>
/// <remarks>On Linux its files are reached by an open descriptor, not by the path: if the folder is removed under a
/// live worker and somebody else makes one of the same name, no foreign file is touched. `Renew` then makes another
/// folder, under another name, behind the same descriptor.</remarks>
/// <exception cref="T:FsScheduler.Execution.NoWorkerFolder">No folder can be made.</exception>
/// <param name="place">The folder for temporary files: also a link, or a relative path.</param>
[<Sealed>]
type WorkerFolder(place: string) =
    static let prefix = "fs-worker-"
    static let lockName = "lock"
    static let lockBytes = FolderCalls.bytesOf lockName
    // Folders examined, at most, so that a start is quick whatever else is there.
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

    /// Removes a folder that nobody has locked. A folder without a lock is being made, or is not a worker's.
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
                        // Another user's folder could be made to lead elsewhere while it is being emptied.
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
            OperatingSystem.IsWindows() // each user has an own folder for temporary files there
            || not Environment.IsPrivilegedProcess
               && File.GetUnixFileMode folder =
                   (UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute)

        if isOurs then
            match tryLock FileMode.Open folder with
            | null -> ()
            | held ->
                held.Dispose() // Windows deletes no open file
                Directory.Delete(folder, true)

    /// A folder that cannot be removed is ignored: the next worker may succeed. A folder that may be written but not
    /// listed shows nothing to remove.
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
                    | :? UnauthorizedAccessException -> () // somebody else was faster, or the folder stays
        with
        | :? IOException
        | :? UnauthorizedAccessException -> ()

    /// A new folder, locked against other workers and against cleaners of temporary files.
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
                // Not every file system has locks; without them no other worker removes the folder either.
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

    /// Retried, since another worker may remove the folder in the moment before it is locked.
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

    let syncRoot = obj ()
    let mutable path = ""
    let mutable folder = -1
    let mutable lockDescriptor = -1
    let mutable held: FileStream | null = null
    let mutable generation = 0

    do
        if FolderCalls.isAvailable then
            let struct (made, fd, lockFd) = makeByCalls place
            path <- made
            folder <- fd
            lockDescriptor <- lockFd
        else
            let struct (made, stream) = makePortably place 3
            path <- made
            held <- stream

    // There may be more to remove than this worker should wait for.
    let cleaning =
        let cleaning = Task.Run(fun () -> removeLeftovers place)
        cleaning.Wait leftoversWait |> ignore
        cleaning

    // By the descriptor, if there is a /proc.
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
            // Elsewhere by the path: the folder is made again by a call that fails if it exists.
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

            Linux.close lockDescriptor
            lockDescriptor <- lockFd

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
                    // A foreign folder of that name is either not empty, or not ours to remove.
                    if isThere () then
                        FolderCalls.removeFolder
                            at
                            (FolderCalls.bytesOf (nonNull (Path.GetFileName path)))
                        |> ignore

                    Linux.close at

                null
            | reason -> reason

    /// In the system's folder for temporary files.
    new() = WorkerFolder(Path.GetTempPath())

    /// Completes when the folders of killed workers are removed, or cannot be.
    member internal _.Cleaning: Task = cleaning

    /// The path for people.
    member _.Path = path

    /// The path for opening files; stays the same when the folder is renewed.
    member _.Root = root

    /// Whether the folder is where it was made.
    member _.IsThere = isThere ()

    /// How often the folder was renewed.
    member _.Generation = Volatile.Read &generation

    /// <summary>Replaces the folder if it was removed or moved away.</summary>
    /// <returns>Whether it was replaced.</returns>
    /// <exception cref="T:FsScheduler.Execution.NoWorkerFolder">No other folder can be made.</exception>
    member _.Renew() : bool =
        lock syncRoot (fun () ->
            let isGone = not (isThere ())

            if isGone then
                renew ()

            isGone)

    /// <returns>Why no file can be stored in the folder; null if files can.</returns>
    member _.Probe() : string | null =
        match FolderRoom.probe root with
        | null -> null
        | reason -> reason.Replace(root, path)

    /// <returns>Why some of the folder is still there; null if it is removed.</returns>
    member _.Remove() : string | null =
        lock syncRoot (fun () ->
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
                    Linux.close lockDescriptor
                    folder <- -1)
