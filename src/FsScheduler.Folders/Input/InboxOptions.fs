namespace FsScheduler.Folders

open System
open System.IO
open System.Threading.Tasks
open FsScheduler.Core
open Microsoft.Extensions.Logging

/// The receivers of files. Called one at a time, from the loop of the inbox.
type InboxHandlers = {
    /// Takes files to process, at most `Inbox.TakeMax`, each with its version; a name may come again with a newer one.
    /// The inbox waits for the task to end, which slows it down. An exception ends the inbox.
    take: struct (TaskName * FileVersion)[] -> Task
    /// Told of files that were taken and are gone: deleted by somebody, or by `FinishedInput`.
    vanished: TaskName[] -> Task
}

/// Starts a watcher for a folder, or says why it cannot.
type StartWatcher = Func<string, Action<FolderEvent[]>, Result<IFolderWatcher, string>>

type InboxOptions = {
    /// How long a file must stay unchanged before it is taken.
    settle: Duration
    /// The interval of full scans, whatever the events say; at least 1 ms, and ten times the duration of the last scan.
    rescan: Duration
    /// Versions that an earlier run took.
    remembered: struct (TaskName * FileVersion) seq
    /// Why a complete file is not to be taken yet, as a sentence without its subject; asked again later.
    heldBack: TaskName -> string voption
    /// Why nothing is taken at all, as a sentence: the folder overlaps other folders of the scheduler.
    overlap: unit -> string voption
    clock: TimeProvider
    log: ILogger
    watch: StartWatcher
}

module InboxOptions =

    /// inotify on Linux, FileSystemWatcher elsewhere.
    let watchBySystem (log: ILogger) : StartWatcher =
        StartWatcher(fun root deliver ->
            if OperatingSystem.IsLinux() then
                InotifyWatcher.TryStart(root, deliver, log)
            else
                try
                    Ok(new PortableWatcher(root, deliver))
                with
                | :? IOException
                | :? ArgumentException as e -> Error e.Message)

    /// 500 ms to settle, a scan every 2 s, the system's clock and events.
    let defaults (log: ILogger) : InboxOptions = {
        settle = 500L<ms>
        rescan = 2_000L<ms>
        remembered = Seq.empty
        heldBack = fun _ -> ValueNone
        overlap = fun () -> ValueNone
        clock = TimeProvider.System
        log = log
        watch = watchBySystem log
    }
