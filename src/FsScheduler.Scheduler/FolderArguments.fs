namespace FsScheduler.Scheduler

open System.IO
open FsScheduler.Core
open FsScheduler.Folders
open FsScheduler.Cli

/// The folders that a command line names.
module FolderArguments =

    /// <summary>Refuses folders that overlap where that does harm.</summary>
    /// <exception cref="T:FsScheduler.Cli.WrongArguments">They do.</exception>
    let check (entrada: string) (resultados: string) (state: string) =
        for option, folder in [ "--entrada", entrada; "--resultados", resultados; "--state", state ] do
            if folder = "" then
                raise (WrongArguments $"{option}: the name of the folder is empty")

        match FolderOverlap.check (FolderPlaces.ofScheduler entrada resultados state) with
        | Ok() -> ()
        | Error message -> raise (WrongArguments message)

    /// <summary>Refuses to have what is printed for an input: each line would make another version of it.</summary>
    /// <exception cref="T:FsScheduler.Cli.WrongArguments">It is.</exception>
    let checkOutput (folder: InputFolder) =
        match folder.OwnOutput with
        | ValueNone -> ()
        | ValueSome(struct (what, file)) ->
            raise (
                WrongArguments
                    $"--entrada: {what} goes to '{file}' in the folder of inputs, and each line would make a new version of that input; send it to another folder, or to a hidden file"
            )

    /// <summary>Refuses to have the tokens for an input, which is sent to workers and published.</summary>
    /// <exception cref="T:FsScheduler.Cli.WrongArguments">They are one.</exception>
    let checkTokens (folder: InputFolder) (file: string option) =
        let isInput (file: string) =
            folder.Refresh()
            && InputFolder.RealPathOf(Path.GetFullPath file)
               |> ValueOption.bind folder.InputAt
               |> ValueOption.isSome

        match file with
        | Some file when isInput file ->
            raise (
                WrongArguments
                    $"--token-file: '{file}' is in the folder of inputs: it would be sent to workers, and published; keep it outside"
            )
        | Some _
        | None -> ()
