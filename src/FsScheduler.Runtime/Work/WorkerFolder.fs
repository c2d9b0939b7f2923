namespace FsScheduler.Runtime

open System
open System.IO
open FsScheduler.Runtime.Files

/// <summary>A worker's own folder for what is too large for memory, and for the programs that it runs. What workers have
/// left that were killed is removed when the next one starts on the same machine.</summary>
/// <exception cref="T:System.IO.IOException">There is no place for it.</exception>
[<Sealed>]
type WorkerFolder() =
    static let prefix = "fs-worker-"
    static let lockName = "lock"
    // Of folders that are looked at: whatever else lies there, a start does not take long.
    static let leftoversMax = 10_000

    static let tryLock mode (folder: string) : Result<FileLock, LockRefusal> =
        FileLock.TryTake(Path.Combine(folder, lockName), mode)

    /// Whether nobody else can have put anything into it. A folder of somebody else could lead elsewhere while it is
    /// being deleted.
    static let isOurs (folder: string) =
        if OperatingSystem.IsWindows() then
            true // temporary folders are each user's own there
        elif OperatingSystem.IsLinux() then
            Linux.isOwn folder
        else
            // Nobody but its owner could look into it, unless that is root.
            not Environment.IsPrivilegedProcess
            && File.GetUnixFileMode folder =
                (UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute)

    static let remove (folder: string) (held: FileLock) =
        (held :> IDisposable).Dispose() // Windows deletes nothing that is open
        Directory.Delete(folder, true)

    /// Removes what is locked by nobody. A folder without a lock is being made, or is not a worker's.
    static let removeLeftovers () =
        for folder in
            Directory.EnumerateDirectories(Path.GetTempPath(), prefix + "*")
            |> Seq.truncate leftoversMax do
            try
                if isOurs folder then
                    match tryLock FileMode.Open folder with
                    | Ok held -> remove folder held
                    | Error _ -> ()
            with
            | :? IOException
            | :? UnauthorizedAccessException -> () // somebody else was faster, or it stays

    /// Another worker may take a folder for a leftover, in the moment in which it has a lock that nobody holds.
    static let rec make attempts =
        let folder = Directory.CreateTempSubdirectory(prefix).FullName

        match tryLock FileMode.CreateNew folder with
        | Ok held -> struct (folder, held)
        | Error HeldElsewhere when attempts > 1 -> make (attempts - 1)
        | Error HeldElsewhere -> raise (IOException $"'{folder}' is locked by somebody else")
        | Error(NoLocks reason) -> raise (IOException $"'{folder}' cannot be locked: {reason}")

    do removeLeftovers ()
    let struct (path, held) = make 3

    member _.Path = path

    /// <returns>Why it is still there; null: it is not.</returns>
    member _.Remove() : string | null =
        try
            remove path held
            null
        with
        | :? DirectoryNotFoundException -> null
        | :? IOException
        | :? UnauthorizedAccessException as error -> error.Message
