namespace FsScheduler.Core

/// A version of a file: a change to the file changes it.
[<Struct>]
type FileVersion = {
    size: Size
    /// Last write, in ticks of 100 ns since the year 1, UTC; before that year negative. Whoever writes can set it.
    modified: int64
    /// Last change of anything about the file, its name and its rights too, in the same ticks (ctime). Nobody can set it;
    /// 0 where the system has none.
    changed: int64
    /// Which file of its file system it is; 0 where that is not known, or may be another number tomorrow.
    inode: int64
}

module FileVersion =

    /// Of a system that tells no more, and of journals that hold no more.
    let ofTime (size: Size) (modified: int64) : FileVersion = {
        size = size
        modified = modified
        changed = 0L
        inode = 0L
    }

    let private agrees (taken: int64) (found: int64) = taken = 0L || taken = found

    /// Whether the file is the version that was taken, as far as its stamp was known then.
    let isSame (taken: FileVersion) (found: FileVersion) =
        taken.size = found.size
        && taken.modified = found.modified
        && agrees taken.changed found.changed
        && agrees taken.inode found.inode

    /// The same after a rename, which leaves all but the time of the last change.
    let isSameRenamed (taken: FileVersion) (found: FileVersion) =
        isSame { taken with changed = 0L } found

/// Where the bytes of a task, or of a result, are. A reference: the bytes do not travel with it.
type Payload =
    /// Inside the submission itself.
    | Packed
    /// In memory.
    | Bytes of byte[]
    /// In a temporary file that belongs to the task and goes with it.
    | Spooled of path: string * size: Size
    /// In the journal, with the submission: name and reference are there too.
    | Journaled
    /// In the journal, with the event of this number.
    | Recorded of number: int64 * size: Size
    /// In the file of `entrada/` that the task is named after, at that version.
    | Input of FileVersion
    /// A range of one of the two that are files. It does not own them.
    | Slice of whole: Payload * start: Size * size: Size

module Payload =

    let empty = Bytes [||]

    /// How many bytes there are, where the payload itself says so; those of a submission count as none.
    let size (payload: Payload) : Size =
        match payload with
        | Bytes bytes -> int64 bytes.Length * 1L<B>
        | Spooled(_, size)
        | Recorded(_, size)
        | Slice(_, _, size) -> size
        | Input stamp -> stamp.size
        | Packed
        | Journaled -> 0L<B>
