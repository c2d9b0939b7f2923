namespace FsScheduler.Core

/// A version of a file; every change of the file makes another version.
[<Struct>]
type FileVersion = {
    size: Size
    /// Last write, in ticks of 100 ns since the year 1, UTC; negative before that. Any writer can set it.
    modified: int64
    /// Last change of content, name or rights, in the same ticks (ctime). Nobody can set it; 0 where the system has
    /// none.
    changed: int64
    /// The inode; 0 where unknown, or where the file system may number the file anew.
    inode: int64
}

module FileVersion =

    /// The version of a file on a system, or in a journal, that has size and modification time only.
    let ofTime (size: Size) (modified: int64) : FileVersion = {
        size = size
        modified = modified
        changed = 0L
        inode = 0L
    }

    let private agrees (taken: int64) (found: int64) = taken = 0L || taken = found

    /// Whether `found` is the version that was taken, by the fields that were known then.
    let isSame (taken: FileVersion) (found: FileVersion) =
        taken.size = found.size
        && taken.modified = found.modified
        && agrees taken.changed found.changed
        && agrees taken.inode found.inode

    /// `isSame` after a rename, which changes the time of the last change only.
    let isSameRenamed (taken: FileVersion) (found: FileVersion) =
        isSame { taken with changed = 0L } found
