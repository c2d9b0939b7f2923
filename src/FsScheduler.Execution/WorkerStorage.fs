namespace FsScheduler.Execution

open System
open System.IO
open System.Threading
open Microsoft.Extensions.Logging

/// <summary>Sees that a worker has a folder that takes what it stores. Where it has none any more, and can make none, the
/// worker leaves: it would fail whatever it is given.</summary>
/// <param name="folder">Its own.</param>
/// <param name="log">Told what happens to it.</param>
[<Sealed>]
type WorkerStorage(folder: WorkerFolder, log: ILogger) =
    let leave = new CancellationTokenSource()
    let mutable reason: string | null = null
    let mutable files = 0L

    let leaveFor (message: string) =
        let isFirst = isNull (Interlocked.CompareExchange(&reason, message, null))

        if isFirst then
            log.LogError("this worker leaves, since it has no place to work in: {Reason}", message)
            // Whoever waits for it runs elsewhere.
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

    /// Cancelled when the worker has no place to work in.
    member _.Leave = leave.Token

    /// Why it leaves; null: it does not.
    member _.Reason: string | null = reason

    /// Sees that the folder is there.
    member _.Renew() = renew ()

    /// Names a file for a payload that comes.
    member _.NewFile() : string =
        renew ()
        Path.Combine(folder.Root, $"in{Interlocked.Increment &files}")

    /// <summary>To be called when a task could not be done here: perhaps none can.</summary>
    /// <param name="what">Why, for the log.</param>
    /// <returns>The same for people, who know the folder by its path.</returns>
    member _.Doubt(what: string) : string =
        let what = what.Replace(folder.Root, folder.Path)
        log.LogWarning("a task goes back, and is not to blame: {Reason}", what)
        renew ()

        if isNull reason then
            match folder.Probe() with
            | null -> ()
            | said ->
                leaveFor
                    $"nothing can be stored in '{folder.Path}': {said}; make room there, or set TMPDIR to another folder"

        what

    /// Removes the folder with all that is in it.
    member _.End() =
        match folder.Remove() with
        | null -> ()
        | reason ->
            log.LogWarning(
                "{Folder} cannot be removed: {Reason}; remove it by hand",
                folder.Path,
                reason
            )
