namespace FsScheduler.Machine

open FsScheduler.Core

/// The current result, being published: its content, or what the journal keeps of it.
type AcceptedResult =
    | AcceptedContent of Content
    | AcceptedMark of ResultMark

/// What is kept of a finished task.
type KeptOutcome =
    /// The result was sent to its client, or was not wanted.
    | NothingKept
    /// The result is kept for submissions with the same key.
    | KeptResult of KeptContent
    /// The result is a file of `resultados/`.
    | StoredResult of ContentHash

/// A part of the result of a task in pieces, in a file.
type PartFile = {
    whole: TaskId
    /// The index of the piece.
    index: int
    path: string
}
