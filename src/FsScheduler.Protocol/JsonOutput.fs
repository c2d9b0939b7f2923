/// Lines of JSON, as they are written.
module internal FsScheduler.Protocol.JsonOutput

open System
open System.Buffers
open System.Text.Encodings.Web
open System.Text.Json
open FsScheduler.Core

/// Texts in any script stay as short as they are; nothing of this is ever put into HTML unescaped.
let encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping

let private newline = [| '\n'B |]

[<AbstractClass; Sealed>]
type private Writer private () =

    [<ThreadStatic; DefaultValue>]
    static val mutable private ofThread: Utf8JsonWriter | null

    /// One line is written after the other: one instance for each thread will do.
    static member OfThread(output: IBufferWriter<byte>) =
        match Writer.ofThread with
        | null ->
            let options = JsonWriterOptions(Encoder = encoder, SkipValidation = true)
            let writer = new Utf8JsonWriter(output, options)
            Writer.ofThread <- writer
            writer
        | writer ->
            writer.Reset output
            writer

/// An object with its `type`; the writer is for this line alone.
let start (output: IBufferWriter<byte>) (kind: JsonEncodedText) : Utf8JsonWriter =
    let writer = Writer.OfThread output
    writer.WriteStartObject()
    writer.WriteString(Field.kind.Encoded, kind)
    writer

/// The end of the line, with the size of the payload that follows it.
let finish (writer: Utf8JsonWriter) (output: IBufferWriter<byte>) (bytes: Size) : unit =
    if bytes > 0L<B> then
        writer.WriteNumber(Field.bytes.Encoded, int64 bytes)

    writer.WriteEndObject()
    writer.Flush()
    // The bounds of every field see to it; a longer line would be our own bug.
    if writer.BytesCommitted >= int64 ProtocolLimits.lineBytesMax then
        failwith $"a line of {writer.BytesCommitted} bytes"

    output.Write(ReadOnlySpan newline)
