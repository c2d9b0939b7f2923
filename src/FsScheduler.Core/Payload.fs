namespace FsScheduler.Core

/// A version of a file: a change to the file changes it.
[<Struct>]
type Stamp = {
    size: Size
    /// Last write, in ticks of 100 ns, UTC.
    modified: int64
}

/// Where the bytes of a task, or of a result, are. A reference: the bytes do not travel with it.
type Payload =
    /// Inside the submission itself.
    | Packed
    /// In memory.
    | Bytes of byte[]
    /// In a temporary file that belongs to the task and goes with it.
    | Spooled of path: string * size: Size
    /// In the journal, with the submission: name and reference are there too.
    | Filed
    /// In the journal, with the event of this number.
    | Recorded of number: int64 * size: Size
    /// In the file of `entrada/` that the task is named after, at that version.
    | Input of Stamp
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
        | Filed -> 0L<B>
