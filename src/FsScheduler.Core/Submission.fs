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

/// What is to be done. Packed, because a million of them may wait: name, reference and a small
/// payload share one array, which saves 110 of 290 bytes a task; and it is a part of its task, not an
/// object beside it, which saves 24 more. 32 bytes.
[<Struct>]
type Submission
    private
    (
        packed: byte[],
        nameBytes: uint16,
        refBytes: uint16,
        priority: int,
        origin: Origin,
        body: Payload
    ) =

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
            | Input _ -> Array.empty, payload

        let packed =
            GC.AllocateUninitializedArray<byte>(nameBytes + refBytes + small.Length)

        Encoding.UTF8.GetBytes(name, Span(packed, 0, nameBytes)) |> ignore
        Encoding.UTF8.GetBytes(ref, Span(packed, nameBytes, refBytes)) |> ignore
        small.AsSpan().CopyTo(Span(packed, nameBytes + refBytes, small.Length))
        Submission(packed, uint16 nameBytes, uint16 refBytes, priority, origin, body)

    member _.Name = Encoding.UTF8.GetString(packed, 0, int nameBytes)
    member _.Ref = Encoding.UTF8.GetString(packed, int nameBytes, int refBytes)
    member _.Priority = priority
    member _.Origin = origin

    /// Where the bytes are.
    member _.Payload = body

    /// The bytes that are `Packed`; nothing else's.
    member _.Packed: ReadOnlyMemory<byte> =
        let start = int nameBytes + int refBytes
        ReadOnlyMemory(packed, start, packed.Length - start)
