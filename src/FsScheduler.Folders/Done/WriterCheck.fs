namespace FsScheduler.Folders

open System.Threading
open FsScheduler.Core
open Microsoft.Extensions.Logging

/// <summary>Holds back files with a writer, if they will be moved or deleted once done: later writes would be
/// lost.</summary>
/// <param name="folder">The input folder.</param>
/// <param name="onDone">What becomes of the files. If they are kept, none is held back: a next version follows.</param>
/// <param name="log">Told once if the system does not tell of writers.</param>
[<Sealed>]
type WriterCheck(folder: InputFolder, onDone: OnDone, log: ILogger) =
    let mutable told = 0

    let tellOnce (name: TaskName) (reason: string) =
        if Interlocked.Exchange(&told, 1) = 0 then
            log.LogWarning(
                "the system does not tell whether {Name} is still being written ({Reason}), nor perhaps of other files: rename complete files into the folder, or never pause for longer than --settle while writing",
                string name,
                reason
            )

    /// Why a file is not to be taken yet; none if it may be.
    member _.HeldBack(name: TaskName) : string voption =
        match onDone with
        | Keep -> ValueNone
        | Move
        | Delete ->
            match OpenWriters.ofFile (folder.Locate(TaskName.toString name)) with
            | NoWriter -> ValueNone
            | Writer who -> ValueSome who
            | UnknownWriter reason ->
                tellOnce name reason
                ValueNone
