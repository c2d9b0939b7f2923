namespace FsScheduler.Folders

open System

/// An event of the input folder. Paths are relative to the folder, with `/`. An event is a hint to look: by the time it
/// is read, more may have happened.
[<Struct>]
type FolderEvent =
    /// A file was created or written, or its time was set.
    | FileWritten of written: string
    /// A file was renamed to this path.
    | FileMovedIn of movedIn: string
    | FolderCreated of created: string
    /// A folder, with everything in it, was renamed to this path.
    | FolderMovedIn of folderMovedIn: string
    /// A file was deleted, or renamed away.
    | Removed of removed: string
    /// A folder, with everything in it, was deleted or renamed away.
    | FolderRemoved of folderRemoved: string
    /// Events were lost: only a scan can tell what happened.
    | EventsLost

/// Delivers batches of events, in order, until it is disposed. The receiver may block: events wait then, and beyond the
/// buffer of the system they are lost, which is an event too.
type IFolderWatcher =
    inherit IDisposable
    /// False once the folder has gone: no more events will come.
    abstract IsAlive: bool
