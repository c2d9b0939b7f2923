namespace FsScheduler.Execution

open System
open System.IO
open System.Threading
open Microsoft.Extensions.Logging

/// <summary>Keeps a worker supplied with a folder for files. If none can be made any more, the worker leaves.</summary>
/// <param name="folder">The folder of the worker.</param>
/// <param name="log">Told of a removed or unusable folder.</param>
[<Sealed>]
type WorkerStorage(folder: WorkerFolder, log: ILogger) =
    let leave = new CancellationTokenSource()
    let mutable reason: string | null = null
    let mutable files = 0L

    let leaveFor (message: string) =
        let isFirst = isNull (Interlocked.CompareExchange(&reason, message, null))

        if isFirst then
            log.LogError("this worker leaves, since it has no place to work in: {Reason}", message)
            // The callbacks run on another thread, outside the caller's locks.
            ThreadPool.UnsafeQueueUserWorkItem((fun _ -> leave.Cancel()), null) |> ignore

    let renew () =
        try
            if folder.Renew() then
                log.LogWarning(
                    "the folder for work was removed while this worker was using it, and is {Folder} from now on; have whatever cleans temporary files leave fs-worker-* alone",
                    folder.Path
                )
        with NoWorkerFolder message ->
            leaveFor message

    member _.Folder = folder

    /// Cancelled when no folder can be made.
    member _.Leave = leave.Token

    /// Why the worker leaves; null while it stays.
    member _.Reason: string | null = reason

    /// Replaces the folder if it was removed.
    member _.Renew() = renew ()

    /// A new path for an incoming payload.
    member _.NewFile() : string =
        renew ()
        Path.Combine(folder.Root, $"in{Interlocked.Increment &files}")

    /// <summary>Checks the folder after a task that this worker could not do: perhaps it can do none.</summary>
    /// <param name="what">The reason, for the log.</param>
    /// <returns>The reason for people, with the path of the folder.</returns>
    member _.Doubt(what: string) : string =
        let what = what.Replace(folder.Root, folder.Path)
        log.LogWarning("a task is given back because of a failure of this worker: {Reason}", what)
        renew ()

        if isNull reason then
            match folder.Probe() with
            | null -> ()
            | said ->
                leaveFor
                    $"nothing can be stored in '{folder.Path}': {said}; make room there, or set TMPDIR to another folder"

        what

    /// Removes the folder and its files.
    member _.End() =
        match folder.Remove() with
        | null -> ()
        | reason ->
            log.LogWarning(
                "{Folder} cannot be removed: {Reason}; remove it by hand",
                folder.Path,
                reason
            )
