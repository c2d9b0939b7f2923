namespace FsScheduler.Machine

open FsScheduler.Core

/// Content that the scheduler keeps: the result of a stage for the next one, a part of a result, the result of a key.
type KeptContent =
    | Held of Content
    /// In the journal, with the event of this number.
    | Recorded of number: int64 * size: Size

module KeptContent =

    let empty = Held Content.empty

    let size (kept: KeptContent) : Size =
        match kept with
        | Held content -> Content.size content
        | Recorded(_, size) -> size

    /// The path of the temporary file.
    let file (kept: KeptContent) : string voption =
        match kept with
        | Held content -> Content.file content
        | Recorded _ -> ValueNone

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
