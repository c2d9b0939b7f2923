namespace FsScheduler.Core

open System
open System.Text

/// What makes two submissions the same one.
type Key = {
    text: string
    /// A hash of name, pipeline and payload: the same key with other content is refused.
    content: string
}

/// Whose task it is, and so what becomes of its result.
type Origin =
    /// A file of `entrada/`: its result goes to `resultados/`.
    | Folder
    /// A SUBMIT. One value serves all of a client's submissions without a key.
    | Client of SessionId * Want * Key option
    /// A range of the payload of another task: its result is a part of what the same stages give for the whole.
    | Piece of whole: TaskId * index: int

/// A payload that is not packed, with the name and the reference that it came with.
[<Sealed>]
type private Unpacked(packed: byte[], payload: Payload) =
    member _.Packed = packed
    member _.Payload = payload

/// What is to be done. Packed, because a million of them may wait: name, reference and a small
/// payload share one array, which saves 110 of 290 bytes a task; and it is a part of its task, not an
/// object beside it, which saves 24 more. 24 bytes.
[<Struct>]
type Submission
    private
    (
        // The packed bytes themselves, or an `Unpacked`.
        content: obj, nameBytes: uint16, refBytes: uint16, priority: int, origin: Origin
    ) =

    static let filedRef = String('?', 1)
    static let journaled = Unpacked(Array.empty, Journaled)

    member private _.Bytes =
        match content with
        | :? Unpacked as unpacked -> unpacked.Packed
        | packed -> downcast packed

    /// Stands for a reference that is not here; told by its identity.
    static member FiledRef = filedRef

    /// <summary>Packs a submission.</summary>
    /// <param name="name">What it is called.</param>
    /// <param name="ref">The client's name for the request, at most 200 bytes; empty for a file.</param>
    /// <param name="priority">Higher first.</param>
    /// <param name="origin">Whose it is.</param>
    /// <param name="payload">Bytes of at most 64 KiB are copied into the submission.</param>
    static member Create
        (name: TaskName, ref: string, priority: int, origin: Origin, payload: Payload)
        =
        let name = TaskName.toString name
        let nameBytes = Encoding.UTF8.GetByteCount name
        let refBytes = Encoding.UTF8.GetByteCount ref

        let small, body =
            match payload with
            | Bytes bytes -> bytes, Packed
            | Packed
            | Spooled _
            | Journaled
            | Recorded _
            | Input _
            | Slice _ -> Array.empty, payload

        let packed =
            GC.AllocateUninitializedArray<byte>(nameBytes + refBytes + small.Length)

        Encoding.UTF8.GetBytes(name, Span(packed, 0, nameBytes)) |> ignore
        Encoding.UTF8.GetBytes(ref, Span(packed, nameBytes, refBytes)) |> ignore
        small.AsSpan().CopyTo(Span(packed, nameBytes + refBytes, small.Length))

        let content: obj =
            match body with
            | Packed -> packed
            | Bytes _
            | Spooled _
            | Journaled
            | Recorded _
            | Input _
            | Slice _ -> Unpacked(packed, body) :> obj

        Submission(content, uint16 nameBytes, uint16 refBytes, priority, origin)

    /// What is left of it in memory when the journal has it: the name only where a result is stored under it.
    member submission.File() =
        match origin with
        | Folder
        | Piece _
        | Client(_, File, _) ->
            let name = submission.Bytes.AsSpan(0, int nameBytes).ToArray()
            Submission(Unpacked(name, Journaled), nameBytes, 0us, priority, origin)
        | Client(_, (Result | Nothing), _) -> Submission(journaled, 0us, 0us, priority, origin)

    /// <summary>One that the journal has, where nothing of it is needed before it is given out.</summary>
    /// <param name="priority">Higher first.</param>
    /// <param name="origin">A client that does not want its result as a file.</param>
    static member Left(priority: int, origin: Origin) =
        Submission(journaled, 0us, 0us, priority, origin)

    /// The same, of this origin: the journal does not know who is connected.
    member _.From(origin: Origin) =
        Submission(content, nameBytes, refBytes, priority, origin)

    /// <summary>A piece of it, under the same name and of the same priority. It is not for the one that is journaled.</summary>
    /// <param name="whole">Its task.</param>
    /// <param name="index">Of the piece, from 0.</param>
    /// <param name="payload">The range.</param>
    member submission.Piece(whole: TaskId, index: int, payload: Payload) =
        let name = submission.Bytes.AsSpan(0, int nameBytes).ToArray()
        Submission(Unpacked(name, payload), nameBytes, 0us, priority, Piece(whole, index))

    /// Whether all of it is in the journal, and not here.
    member submission.IsJournaled = submission.Payload.IsJournaled

    /// What it takes in memory beside its task, in bytes.
    member submission.MemorySize: Size =
        if obj.ReferenceEquals(content, journaled) then
            0L<B>
        else
            int64 (submission.Bytes.Length + 24) * 1L<B>

    /// The name in UTF-8.
    member submission.NameBytes: ReadOnlySpan<byte> =
        ReadOnlySpan(submission.Bytes, 0, int nameBytes)

    /// The reference in UTF-8, where it is here.
    member submission.RefBytes: ReadOnlySpan<byte> =
        ReadOnlySpan(submission.Bytes, int nameBytes, int refBytes)

    member submission.Name = Encoding.UTF8.GetString(submission.Bytes, 0, int nameBytes)

    /// `Submission.FiledRef`, this very string, where it is in the journal and not here.
    member submission.Ref =
        if submission.IsJournaled then
            Submission.FiledRef
        else
            Encoding.UTF8.GetString(submission.Bytes, int nameBytes, int refBytes)

    member _.Priority = priority
    member _.Origin = origin

    /// Where the bytes are.
    member _.Payload: Payload =
        match content with
        | :? Unpacked as unpacked -> unpacked.Payload
        | _ -> Packed

    /// The bytes that are `Packed`; nothing else's.
    member submission.Packed: ReadOnlyMemory<byte> =
        let packed = submission.Bytes
        let start = int nameBytes + int refBytes
        ReadOnlyMemory(packed, start, packed.Length - start)
