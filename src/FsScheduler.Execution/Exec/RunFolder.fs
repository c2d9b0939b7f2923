namespace FsScheduler.Execution.Exec

open System
open System.IO
open FsScheduler.Platform

/// <summary>The folder that one run of a program has for itself, below that of its worker. On Linux it is reached by an open
/// descriptor: what the program, or anybody else, does to its path leads nobody astray.</summary>
/// <param name="place">The worker's folder.</param>
/// <param name="name">There is nothing of that name yet.</param>
/// <exception cref="T:System.IO.IOException">It cannot be made.</exception>
/// <exception cref="T:System.UnauthorizedAccessException">It may not be made.</exception>
[<Sealed>]
type internal RunFolder(place: string, name: string) =

    // Up to this many files are removed without another thread.
    static let atOnceMax = 64
    // What takes longer to remove keeps no result waiting.
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

    /// Removes what has few files and no folders, as most have.
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

    /// By this path it is opened here.
    member _.Root = root

    /// Where it is, for the program.
    member _.Path = path

    /// An open descriptor of it; -1 where there is none.
    member _.Descriptor = folder

    /// Whether it was removed, by somebody who cleans folders for temporary files.
    member _.IsGone =
        if folder < 0 then
            not (Directory.Exists path)
        else
            match FolderCalls.statusOfOpen folder with
            | Ok status -> status.links = 0u
            | Error _ -> true

    /// <summary>Removes it, to be called once: at once where that is quick, else in a while.</summary>
    /// <param name="told">Gets why it stays, if it does.</param>
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
