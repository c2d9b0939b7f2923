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

/// Where the bytes are that a task is given. A reference: the bytes do not travel with it.
type Payload =
    /// Inside the submission itself.
    | Packed
    /// In the journal with the submission, as are name and reference.
    | Journaled
    /// The large payload of a client, or the result of the stages before.
    | Kept of KeptContent
    /// In the file of `entrada/` that the task is named after, at that version.
    | Input of FileVersion
    /// A range of a payload in a file, which it does not own.
    | Slice of whole: Payload * start: Size * size: Size

module Payload =

    /// The size, where the payload itself has it; 0 for `Packed` and `Journaled`.
    let size (payload: Payload) : Size =
        match payload with
        | Packed
        | Journaled -> 0L<B>
        | Kept kept -> KeptContent.size kept
        | Input version -> version.size
        | Slice(_, _, size) -> size

    /// The path of the temporary file that the task owns.
    let file (payload: Payload) : string voption =
        match payload with
        | Kept kept -> KeptContent.file kept
        | Packed
        | Journaled
        | Input _
        | Slice _ -> ValueNone

    /// The version of the file of `entrada/` that the payload is, or is a range of.
    let rec version (payload: Payload) : FileVersion voption =
        match payload with
        | Input found -> ValueSome found
        | Slice(whole, _, _) -> version whole
        | Packed
        | Journaled
        | Kept _ -> ValueNone
