namespace FsScheduler.Execution.Exec

open System
open System.IO
open FsScheduler.Platform

/// <summary>The folder of one run of a program, below the folder of the worker. On Linux it is reached by an open
/// descriptor, whatever the program or others do to its path.</summary>
/// <param name="place">The folder of the worker.</param>
/// <param name="name">A new name.</param>
/// <exception cref="T:System.IO.IOException">The folder cannot be made.</exception>
/// <exception cref="T:System.UnauthorizedAccessException">The rights forbid making the folder.</exception>
[<Sealed>]
type internal RunFolder(place: string, name: string) =

    // Up to this number of files is removed by the calling thread.
    static let atOnceMax = 64
    // A removal that takes longer goes on in the background, and delays no result.
    static let waitMax = TimeSpan.FromSeconds 0.5

    let failure errno =
        IOException(
            $"no folder for a program can be made in the worker's: {Linux.message errno}",
            errno
        )

    let struct (top, folder) =
        if FolderCalls.isAvailable then
            match FolderCalls.openBase place with
            | Error errno -> raise (failure errno)
            | Ok top ->
                match FolderCalls.createFolder top (FolderCalls.bytesOf name) with
                | Ok folder -> struct (top, folder)
                | Error errno ->
                    Linux.close top
                    raise (failure errno)
        else
            Directory.CreateDirectory(Path.Combine(place, name)) |> ignore
            struct (-1, -1)

    let root =
        if folder >= 0 && Directory.Exists $"/proc/self/fd/{folder}" then
            $"/proc/self/fd/{folder}"
        else
            Path.Combine(place, name)

    let path =
        match folder with
        | -1 -> Path.Combine(place, name)
        | folder ->
            match Linux.pathOf folder with
            | Ok path -> path
            | Error _ -> root

    let removeAll () : string | null =
        if folder < 0 then
            try
                Directory.Delete(path, true)
                null
            with
            | :? DirectoryNotFoundException -> null
            | :? IOException
            | :? UnauthorizedAccessException as error -> error.Message
        else
            try
                FolderCleaning.remove top (FolderCalls.bytesOf name)
            finally
                Linux.close folder
                Linux.close top

    /// Removes a folder with few files and no subfolders, the usual case.
    let tryAtOnce () =
        let names = ResizeArray<byte[]>()

        let listed =
            FolderCalls.visit folder (fun name ->
                if names.Count <= atOnceMax then
                    names.Add name)

        let isRemoved name =
            match FolderCalls.removeFile folder name with
            | Ok() -> true
            | Error _ -> false

        match listed with
        | Ok() when names.Count <= atOnceMax && Seq.forall isRemoved names ->
            match FolderCalls.removeFolder top (FolderCalls.bytesOf name) with
            | Ok() -> true
            | Error _ -> false
        | _ -> false

    /// The path for opening files here.
    member _.Root = root

    /// The path for the program.
    member _.Path = path

    /// An open descriptor of the folder; -1 where there is none.
    member _.Descriptor = folder

    /// Whether the folder was removed, by a cleaner of temporary files.
    member _.IsGone =
        if folder < 0 then
            not (Directory.Exists path)
        else
            match FolderCalls.statusOfOpen folder with
            | Ok status -> status.links = 0u
            | Error _ -> true

    /// <summary>Removes the folder, in the background if that takes long. To be called once.</summary>
    /// <param name="told">Told why the folder stays, if it does.</param>
    member _.Remove(told: string -> unit) =
        if folder >= 0 && tryAtOnce () then
            Linux.close folder
            Linux.close top
        else
            let removing =
                Threading.Tasks.Task.Run(fun () ->
                    match removeAll () with
                    | null -> ()
                    | reason -> told reason)

            removing.Wait waitMax |> ignore
