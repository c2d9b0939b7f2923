namespace FsScheduler.Platform

open System
open System.IO

/// Files and folders for their owner alone, whatever the umask is. On Windows they have the rights of the folder that they
/// are in.
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

    /// Whether anybody but the owner may do anything with it.
    let isOpenToOthers (path: string) =
        not (OperatingSystem.IsWindows())
        && File.GetUnixFileMode path &&& ofOthers <> UnixFileMode.None

    /// Options for a file that is its owner's, should it be made: one that is there keeps its rights.
    let options (mode: FileMode) (access: FileAccess) (share: FileShare) =
        let options =
            FileStreamOptions(Mode = mode, Access = access, Share = share, BufferSize = 0)

        if mode <> FileMode.Open && not (OperatingSystem.IsWindows()) then
            options.UnixCreateMode <- ownFile

        options

    /// Makes a folder that is its owner's, and those above it as the umask says.
    let createFolder (path: string) =
        if OperatingSystem.IsWindows() then
            Directory.CreateDirectory path |> ignore
        else
            Directory.CreateDirectory(path, ownFolder) |> ignore

    /// <summary>Takes from others what they may do with a file or a folder.</summary>
    /// <returns>Whether they can do nothing. False also where it is missing, or not ours to change, or where the file system
    /// knows no rights.</returns>
    let close (path: string) : bool =
        try
            if isOpenToOthers path then
                File.SetUnixFileMode(path, File.GetUnixFileMode path &&& ~~~ofOthers)

            not (isOpenToOthers path)
        with
        | :? IOException
        | :? UnauthorizedAccessException -> false
