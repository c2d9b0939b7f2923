namespace FsScheduler.Folders

open System

/// What happened in the input folder. Paths are relative to it, with `/`. An event is a hint to look:
/// by the time it is read, other things may have happened.
[<Struct>]
type FolderEvent =
    /// A file was created, written, or had its date set.
    | FileWritten of written: string
    /// A file was renamed into its place.
    | FileMovedIn of movedIn: string
    | FolderCreated of created: string
    /// A folder with all that is in it was renamed into its place.
    | FolderMovedIn of folderMovedIn: string
    /// A file is gone, or was renamed away.
    | Removed of removed: string
    /// A folder is gone, or was renamed away, with all that was in it.
    | FolderRemoved of folderRemoved: string
    /// Events were lost: only a scan tells what happened.
    | EventsLost

/// Delivers batches of events, in order, until it is disposed. The receiver may block: then events wait,
/// and beyond what the system keeps they are lost, which is an event too.
type IFolderWatcher =
    inherit IDisposable
    /// False once it cannot deliver any more: the folder went away.
    abstract IsAlive: bool
