namespace FsScheduler.Journal

open System
open System.Buffers
open System.Buffers.Text
open System.Text

module private JsonText =

    /// The bytes that a string has to escape.
    let special =
        SearchValues.Create(ReadOnlySpan [| yield! [| 0uy .. 31uy |]; '"'B; '\\'B |])

/// <summary>Writes JSON without spaces, and the commas. The caller opens and closes in order.</summary>
[<Sealed>]
type internal JsonBuffer() =
    let buffer = ByteBuffer()

    let digitsMax = 20

    let isPlain (value: byte) =
        value >= 32uy && value <> '"'B && value <> '\\'B

    let comma () =
        if buffer.Length > 0 && buffer.Last <> '{'B && buffer.Last <> '['B then
            buffer.Add(','B)

    let name (name: byte[]) =
        let room = buffer.Room(name.Length + 1)
        let isFirst = buffer.Last = '{'B

        if not isFirst then
            room[0] <- ','B

        let start = if isFirst then 0 else 1
        name.AsSpan().CopyTo(room.Slice start)
        buffer.Advance(start + name.Length)

    let integer (value: int64) =
        let mutable written = 0
        Utf8Formatter.TryFormat(value, buffer.Room digitsMax, &written) |> ignore
        buffer.Advance written

    let escape (text: byte[]) =
        for one in text do
            if isPlain one then
                buffer.Add one
            elif one >= 32uy then
                buffer.Add('\\'B)
                buffer.Add one
            else
                buffer.Add(ReadOnlySpan(Encoding.ASCII.GetBytes $"\\u{int one:x4}"))

    /// Ends a string whose bytes are in the buffer already.
    let take (room: Span<byte>) =
        if room.IndexOfAny JsonText.special < 0 then
            buffer.Advance room.Length
        else
            escape (room.ToArray())

        buffer.Add('"'B)

    let utf8 (text: ReadOnlySpan<byte>) =
        buffer.Add('"'B)
        let room = buffer.Room text.Length
        text.CopyTo room
        take (room.Slice(0, text.Length))

    let text (value: string) =
        buffer.Add('"'B)
        let room = buffer.Room(Encoding.UTF8.GetMaxByteCount value.Length)
        take (room.Slice(0, Encoding.UTF8.GetBytes(value.AsSpan(), room)))

    /// A property name as written: quoted, with its colon.
    static member Name(text: string) : byte[] = Encoding.ASCII.GetBytes $"\"{text}\":"

    member _.Length = buffer.Length
    member _.Written = buffer.Written
    member _.Clear() = buffer.Clear()

    member _.Number(property: byte[], value: int64) =
        name property
        integer value

    member _.Text(property: byte[], value: string) =
        name property
        text value

    member _.Text(property: byte[], value: ReadOnlySpan<byte>) =
        name property
        utf8 value

    /// Writes a value that is JSON already.
    member _.Raw(property: byte[], value: byte[]) =
        name property
        buffer.Add(ReadOnlySpan value)

    member _.Number(value: int64) =
        comma ()
        integer value

    member _.Text(value: string) =
        comma ()
        text value

    member _.StartObject() =
        comma ()
        buffer.Add('{'B)

    member _.StartObject(property: byte[]) =
        name property
        buffer.Add('{'B)

    member _.EndObject() = buffer.Add('}'B)
    member _.StartArray() = buffer.Add('['B)

    member _.StartArray(property: byte[]) =
        name property
        buffer.Add('['B)

    member _.EndArray() = buffer.Add(']'B)
