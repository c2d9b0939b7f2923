namespace FsScheduler.Scheduler

open FsScheduler.Core
open FsScheduler.Runtime
open FsScheduler.Runtime.Files

/// The folders that a command line names.
module FolderArguments =

    /// <summary>Refuses folders that overlap where that does harm.</summary>
    /// <exception cref="T:FsScheduler.Runtime.WrongArguments">They do.</exception>
    let check (entrada: string) (resultados: string) (state: string) =
        match FolderOverlap.check (FolderPlaces.ofScheduler entrada resultados state) with
        | Ok() -> ()
        | Error message -> raise (WrongArguments message)
