namespace FsScheduler.Folders

open System.Threading
open FsScheduler.Core
open Microsoft.Extensions.Logging

/// <summary>Keeps files back that somebody has open for writing, where they would be moved or deleted once they are done:
/// what is written after that would be lost.</summary>
/// <param name="folder">The input folder.</param>
/// <param name="onDone">What becomes of them. What is kept may be taken at any time: the next version follows.</param>
/// <param name="log">Told once where nobody can say whether somebody writes.</param>
[<Sealed>]
type WriterGate(folder: InputFolder, onDone: OnDone, log: ILogger) =
    let mutable told = 0

    let tellOnce (name: TaskName) (reason: string) =
        if Interlocked.Exchange(&told, 1) = 0 then
            log.LogWarning(
                "whether somebody still writes to {Name} is not known here ({Reason}), and may not be of other files: whoever writes has to rename files into the folder, or never to pause for longer than --settle",
                string name,
                reason
            )

    /// Why a file is not to be taken yet.
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
