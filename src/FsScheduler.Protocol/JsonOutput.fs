/// Writing lines of JSON.
module internal FsScheduler.Protocol.JsonOutput

open System
open System.Buffers
open System.Text.Encodings.Web
open System.Text.Json
open FsScheduler.Core

/// Does not escape other scripts, which would make their texts longer. Unsafe only where a line is put into HTML
/// unescaped.
let encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping

let private newline = [| '\n'B |]

[<AbstractClass; Sealed>]
type private Writer private () =

    [<ThreadStatic; DefaultValue>]
    static val mutable private ofThread: Utf8JsonWriter | null

    /// One instance for each thread: a thread writes one line after the other.
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

/// Begins the object of a message with its `type`. The writer is for this line alone.
let start (output: IBufferWriter<byte>) (kind: JsonEncodedText) : Utf8JsonWriter =
    let writer = Writer.OfThread output
    writer.WriteStartObject()
    writer.WriteString(Field.kind.Encoded, kind)
    writer

/// Ends the line, with the size of the payload that follows it.
let finish (writer: Utf8JsonWriter) (output: IBufferWriter<byte>) (bytes: Size) : unit =
    if bytes > 0L<B> then
        writer.WriteNumber(Field.bytes.Encoded, int64 bytes)

    writer.WriteEndObject()
    writer.Flush()
    // The limits of the fields exclude a longer line.
    if writer.BytesCommitted >= int64 ProtocolLimits.lineBytesMax then
        failwith
            $"a line of {writer.BytesCommitted} bytes is longer than {ProtocolLimits.lineBytesMax}"

    output.Write(ReadOnlySpan newline)
