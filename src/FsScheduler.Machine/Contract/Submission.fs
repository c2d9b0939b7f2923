namespace FsScheduler.Machine

open System
open System.Text
open FsScheduler.Core

/// An idempotency key: two submissions with the same key are one task.
type Key = {
    text: string
    /// A hash of name, pipeline and payload: the key with another hash is refused.
    content: string
}

/// Who submitted a task, which decides where its result goes.
type Origin =
    /// A file of `entrada/`: its result goes to `resultados/`.
    | Folder
    /// A SUBMIT. One value serves all of a client's submissions without a key.
    | Client of SessionId * Want * Key option
    /// A range of the payload of another task, whose result is a part of the whole result.
    | Piece of whole: TaskId * index: int

/// A payload that is not packed, with the packed name and reference.
[<Sealed>]
type private Unpacked(packed: byte[], payload: Payload) =
    member _.Packed = packed
    member _.Payload = payload

/// What is to be processed. Name, reference and a small payload share one array, because a million submissions may
/// wait: this saves 110 of 290 bytes a task. A struct inside its task, 24 bytes, saves 24 more.
[<Struct>]
type Submission
    private (content: obj, nameBytes: uint16, refBytes: uint16, priority: int, origin: Origin) =

    static let journaledRef = String('?', 1)
    static let journaled = Unpacked(Array.empty, Journaled)

    member private _.Bytes =
        match content with
        | :? Unpacked as unpacked -> unpacked.Packed
        | packed -> downcast packed

    /// Stands for a reference that only the journal has; compared by identity.
    static member JournaledRef = journaledRef

    static member private Pack
        (name: TaskName, ref: string, priority, origin, small: byte[], payload: Payload)
        =
        let name = TaskName.toString name
        let nameBytes = Encoding.UTF8.GetByteCount name
        let refBytes = Encoding.UTF8.GetByteCount ref

        let packed =
            GC.AllocateUninitializedArray<byte>(nameBytes + refBytes + small.Length)

        Encoding.UTF8.GetBytes(name, Span(packed, 0, nameBytes)) |> ignore
        Encoding.UTF8.GetBytes(ref, Span(packed, nameBytes, refBytes)) |> ignore
        small.AsSpan().CopyTo(Span(packed, nameBytes + refBytes, small.Length))

        let content: obj =
            match payload with
            | Packed -> packed
            | Journaled
            | Kept _
            | Input _
            | Slice _ -> Unpacked(packed, payload)

        Submission(content, uint16 nameBytes, uint16 refBytes, priority, origin)

    /// <summary>Packs a submission.</summary>
    /// <param name="name">The name of the file or payload.</param>
    /// <param name="ref">The client's name for the request, at most 200 bytes; empty for a file.</param>
    /// <param name="priority">Higher first.</param>
    /// <param name="origin">Who submitted it.</param>
    /// <param name="payload">Where the bytes are; <c>Packed</c>: there are none.</param>
    static member Create
        (name: TaskName, ref: string, priority: int, origin: Origin, payload: Payload)
        =
        Submission.Pack(name, ref, priority, origin, Array.empty, payload)

    /// As above; bytes of at most 64 KiB are copied into the submission.
    static member Create
        (name: TaskName, ref: string, priority: int, origin: Origin, content: Content)
        =
        match content with
        | Bytes bytes -> Submission.Pack(name, ref, priority, origin, bytes, Packed)
        | Spooled _ -> Submission.Create(name, ref, priority, origin, Kept(Held content))

    /// The submission in memory when the journal has the rest: with the name only where a result is stored under it.
    member submission.ToJournaled() =
        match origin with
        | Folder
        | Piece _
        | Client(_, File, _) ->
            let name = submission.Bytes.AsSpan(0, int nameBytes).ToArray()
            Submission(Unpacked(name, Journaled), nameBytes, 0us, priority, origin)
        | Client(_, (Result | Nothing), _) -> Submission(journaled, 0us, 0us, priority, origin)

    /// <summary>A submission in the journal of which nothing is needed before it is assigned.</summary>
    /// <param name="priority">Higher first.</param>
    /// <param name="origin">A client that does not want its result as a file.</param>
    static member InJournal(priority: int, origin: Origin) =
        Submission(journaled, 0us, 0us, priority, origin)

    /// The submission with another origin: the journal does not know who is connected.
    member _.From(origin: Origin) =
        Submission(content, nameBytes, refBytes, priority, origin)

    /// <summary>A piece of this submission, under the same name and priority. Not for a journaled submission.</summary>
    /// <param name="whole">The task of this submission.</param>
    /// <param name="index">Index of the piece, from 0.</param>
    /// <param name="payload">The range of the piece.</param>
    member submission.Piece(whole: TaskId, index: int, payload: Payload) =
        let name = submission.Bytes.AsSpan(0, int nameBytes).ToArray()
        Submission(Unpacked(name, payload), nameBytes, 0us, priority, Piece(whole, index))

    /// Whether payload and reference are in the journal only.
    member submission.IsJournaled = submission.Payload.IsJournaled

    /// Bytes in memory beside the task.
    member submission.MemorySize: Size =
        if obj.ReferenceEquals(content, journaled) then
            0L<B>
        else
            int64 (submission.Bytes.Length + 24) * 1L<B>

    /// The name in UTF-8.
    member submission.NameBytes: ReadOnlySpan<byte> =
        ReadOnlySpan(submission.Bytes, 0, int nameBytes)

    /// The reference in UTF-8, where it is in memory.
    member submission.RefBytes: ReadOnlySpan<byte> =
        ReadOnlySpan(submission.Bytes, int nameBytes, int refBytes)

    member submission.Name = Encoding.UTF8.GetString(submission.Bytes, 0, int nameBytes)

    /// `Submission.JournaledRef`, this very string, where only the journal has the reference.
    member submission.Ref =
        if submission.IsJournaled then
            Submission.JournaledRef
        else
            Encoding.UTF8.GetString(submission.Bytes, int nameBytes, int refBytes)

    member _.Priority = priority
    member _.Origin = origin

    member _.Payload: Payload =
        match content with
        | :? Unpacked as unpacked -> unpacked.Payload
        | _ -> Packed

    /// The bytes of a `Packed` payload; empty for others.
    member submission.Packed: ReadOnlyMemory<byte> =
        let packed = submission.Bytes
        let start = int nameBytes + int refBytes
        ReadOnlyMemory(packed, start, packed.Length - start)
