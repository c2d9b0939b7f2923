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

/// Where the bytes of a task or of a result are. A reference: the bytes do not travel with it.
type Payload =
    /// Inside the submission itself.
    | Packed
    /// In memory.
    | Bytes of byte[]
    /// In a temporary file that is deleted with its task.
    | Spooled of path: string * size: Size
    /// In the journal with the submission, as are name and reference.
    | Journaled
    /// In the journal, with the event of this number.
    | Recorded of number: int64 * size: Size
    /// In the file of `entrada/` that the task is named after, at that version.
    | Input of FileVersion
    /// A range of a `Spooled` or `Input` payload, whose file it does not own.
    | Slice of whole: Payload * start: Size * size: Size

module Payload =

    let empty = Bytes [||]

    /// The size, where the payload itself has it; 0 for `Packed` and `Journaled`.
    let size (payload: Payload) : Size =
        match payload with
        | Bytes bytes -> int64 bytes.Length * 1L<B>
        | Spooled(_, size)
        | Recorded(_, size)
        | Slice(_, _, size) -> size
        | Input version -> version.size
        | Packed
        | Journaled -> 0L<B>
