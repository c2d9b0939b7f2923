namespace FsScheduler.Execution.Exec

open System
open System.IO
open FsScheduler.Platform

/// <summary>The folder of one run of a program, below the folder of the worker. On Linux the worker reaches the folder
/// by an open descriptor, whatever the program or others do to the path.</summary>
/// <param name="place">The folder of the worker.</param>
/// <param name="name">A new name.</param>
/// <exception cref="T:System.IO.IOException">The folder cannot be made.</exception>
/// <exception cref="T:System.UnauthorizedAccessException">The rights forbid making the folder.</exception>
[<Sealed>]
type internal RunFolder(place: string, name: string) =

    // The most files that the calling thread removes itself.
    static let atOnceMax = 64
    // A removal that takes longer continues in the background, so that the result is not delayed.
    static let waitMax = TimeSpan.FromSeconds 0.5

    let failure errno =
        IOException($"no folder for a program can be made in {place}: {Linux.message errno}", errno)

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

    /// The path by which this process opens files in the folder.
    member _.Root = root

    /// The path that the program gets.
    member _.Path = path

    /// An open descriptor of the folder; -1 where there is none.
    member _.Descriptor = folder

    /// Whether others have removed the folder, such as a cleaner of temporary files.
    member _.IsGone =
        if folder < 0 then
            not (Directory.Exists path)
        else
            match FolderCalls.statusOfOpen folder with
            | Ok status -> status.links = 0u
            | Error _ -> true

    /// <summary>Removes the folder, in the background if the removal takes long. To be called once.</summary>
    /// <param name="report">Called with the reason if the folder cannot be removed.</param>
    member _.Remove(report: string -> unit) =
        if folder >= 0 && tryAtOnce () then
            Linux.close folder
            Linux.close top
        else
            let removing =
                Threading.Tasks.Task.Run(fun () ->
                    match removeAll () with
                    | null -> ()
                    | reason -> report reason)

            removing.Wait waitMax |> ignore
