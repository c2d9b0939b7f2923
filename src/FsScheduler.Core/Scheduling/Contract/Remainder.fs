namespace FsScheduler.Core

/// What a stored result was: enough to tell later whether the disk still holds all of it.
[<Struct>]
type Proof = {
    size: Size
    /// XXH3, 64 bits.
    hash: uint64
}

/// What is left of a task that is done.
type Remainder =
    /// Its result went to its client, or nobody wanted it.
    | NothingLeft
    /// Its result is kept, for those who come with its key.
    | KeptResult of Payload
    /// Its result is a file of `resultados/`.
    | StoredResult of Proof
