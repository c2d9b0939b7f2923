namespace FsScheduler.Core

/// Size and hash of a stored result, to tell later whether the disk still holds all of it.
[<Struct>]
type ContentHash = {
    size: Size
    /// XXH3, 64 bits.
    hash: uint64
}

/// What identifies a result before it has its final name: the content hash of one in memory; size and modification
/// time, which a rename keeps, of one in a large file.
[<RequireQualifiedAccess>]
type ResultMark =
    | Holding of hash: ContentHash
    /// Last write, in ticks.
    | Written of size: Size * modified: int64
    /// The result was not there to be marked.
    | Unmarked
