namespace FsScheduler.Platform

open System
open System.IO

/// Rights of files and folders for their owner alone, whatever the umask. On Windows: as their folder.
module Rights =

    let private ownFile = UnixFileMode.UserRead ||| UnixFileMode.UserWrite
    let private ownFolder = ownFile ||| UnixFileMode.UserExecute

    let private ofOthers =
        UnixFileMode.GroupRead
        ||| UnixFileMode.GroupWrite
        ||| UnixFileMode.GroupExecute
        ||| UnixFileMode.OtherRead
        ||| UnixFileMode.OtherWrite
        ||| UnixFileMode.OtherExecute

    /// Whether other users have any right on a file or folder.
    let isOpenToOthers (path: string) =
        not (OperatingSystem.IsWindows())
        && File.GetUnixFileMode path &&& ofOthers <> UnixFileMode.None

    /// Options to open a file; a new file is its owner's alone, an existing one keeps its rights.
    let options (mode: FileMode) (access: FileAccess) (share: FileShare) =
        let options =
            FileStreamOptions(Mode = mode, Access = access, Share = share, BufferSize = 0)

        if mode <> FileMode.Open && not (OperatingSystem.IsWindows()) then
            options.UnixCreateMode <- ownFile

        options

    /// Creates a folder for its owner alone, and missing parents by the umask.
    let createFolder (path: string) =
        if OperatingSystem.IsWindows() then
            Directory.CreateDirectory path |> ignore
        else
            Directory.CreateDirectory(path, ownFolder) |> ignore

    /// <summary>Removes the rights of other users on a file or a folder.</summary>
    /// <returns>Whether other users have no rights now. False also where the file is missing or another user's, or the
    /// file system knows no rights.</returns>
    let close (path: string) : bool =
        try
            if isOpenToOthers path then
                File.SetUnixFileMode(path, File.GetUnixFileMode path &&& ~~~ofOthers)

            not (isOpenToOthers path)
        with
        | :? IOException
        | :? UnauthorizedAccessException -> false
