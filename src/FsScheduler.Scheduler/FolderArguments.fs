namespace FsScheduler.Scheduler

open System.IO
open FsScheduler.Core
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Cli

/// Checks of the folders on a command line.
module FolderArguments =

    /// <summary>Refuses folders that contain one another in a harmful way.</summary>
    /// <exception cref="T:FsScheduler.Cli.WrongArguments">The folders overlap, or the name of one is empty.</exception>
    let check (entrada: string) (resultados: string) (state: string) =
        for option, folder in [ "--entrada", entrada; "--resultados", resultados; "--state", state ] do
            if folder = "" then
                raise (WrongArguments $"{option}: the name of the folder is empty")

        match FolderOverlap.check (FolderPlaces.ofScheduler entrada resultados state) with
        | Ok() -> ()
        | Error message -> raise (WrongArguments message)

    /// <summary>The path of the journal in a state folder.</summary>
    /// <exception cref="T:System.IO.IOException">There is no journal.</exception>
    let journalIn (state: string) : string =
        let path = StateJournal.pathIn state

        if not (File.Exists path) then
            raise (IOException $"there is no journal {path}; name its folder with --state")

        path

    /// <summary>Refuses output of the scheduler into a file of the folder of inputs: each line would make a new version of
    /// that file.</summary>
    /// <exception cref="T:FsScheduler.Cli.WrongArguments">Standard output or standard error is an input.</exception>
    let checkOutput (folder: InputFolder) =
        match folder.OwnOutput with
        | ValueNone -> ()
        | ValueSome(struct (what, file)) ->
            raise (
                WrongArguments
                    $"--entrada: {what} goes to '{file}' in the folder of inputs, and each line would make a new version of that file; redirect {what} to another folder, or to a hidden file"
            )

    /// <summary>Refuses a token file in the folder of inputs, whose files are sent to workers and published.</summary>
    /// <exception cref="T:FsScheduler.Cli.WrongArguments">The token file is an input.</exception>
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
                    $"--token-file: '{file}' is in the folder of inputs, and would be sent to workers and published; move it outside of that folder"
            )
        | Some _
        | None -> ()
