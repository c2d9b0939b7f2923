namespace FsScheduler.Core

/// What a stored result was: enough to tell later whether the disk still holds all of it.
[<Struct>]
type ContentHash = {
    size: Size
    /// XXH3, 64 bits.
    hash: uint64
}

/// By what a result is told from every other before it has its final name: what it holds, where it is in memory; where it is
/// a large file, which file that is, since a rename does not change when it was last written.
type ResultMark =
    | Holding of hash: ContentHash
    /// The time of its last change, in ticks.
    | Written of size: Size * modified: int64
    /// It was not there to be marked.
    | Unmarked

/// A result that counts and is being published: the payload itself, or what the journal keeps of it.
type AcceptedResult =
    | AcceptedPayload of Payload
    | AcceptedMark of ResultMark

/// What is left of a task that is done.
type KeptOutcome =
    /// Its result went to its client, or nobody wanted it.
    | NothingKept
    /// Its result is kept, for those who come with its key.
    | KeptResult of Payload
    /// Its result is a file of `resultados/`.
    | StoredResult of ContentHash
