/// Reading lines of JSON.
module internal FsScheduler.Protocol.JsonLine

open System
open System.Buffers.Text
open System.Text.Json
open System.Text.Unicode
open FsScheduler.Core

/// The code unit of an escape such as `\u00e9` at this index of the line; NUL: no such escape is there.
let private escapeAt (line: ReadOnlySpan<byte>) at =
    let mutable unit = 0us
    let mutable read = 0

    if
        at + 6 <= line.Length
        && line[at] = '\\'B
        && line[at + 1] = 'u'B
        && Utf8Parser.TryParse(line.Slice(at + 2, 4), &unit, &read, 'x')
        && read = 4
    then
        char unit
    else
        '\000'

/// Whether an escape in the line is half of a surrogate pair. JSON has backslashes only in strings, so the line need not
/// be parsed.
let private hasLoneSurrogate (line: ReadOnlySpan<byte>) =
    let mutable at = line.IndexOf '\\'B
    let mutable isLone = false

    while at >= 0 && not isLone do
        let unit = escapeAt line at

        let length =
            if Char.IsHighSurrogate unit && Char.IsLowSurrogate(escapeAt line (at + 6)) then
                12
            else
                isLone <- Char.IsSurrogate unit
                2

        let rest = line.Slice(min line.Length (at + length)).IndexOf '\\'B
        at <- if rest < 0 then -1 else at + length + rest

    isLone

/// Notes the fields of a line. The result says why the line is no JSON object; null: it is one.
let note (fields: JsonObjectReader) (line: ReadOnlySpan<byte>) : string | null =
    if line.Length > ProtocolLimits.lineBytesMax then
        $"a line is at most {ProtocolLimits.lineBytesMax} bytes"
    elif not (Utf8.IsValid line) then
        "the line is not UTF-8"
    elif hasLoneSurrogate line then
        "the line has an escape that is half of a surrogate pair"
    else
        try
            let mutable reader = Utf8JsonReader(line, JsonReaderOptions(MaxDepth = 16))

            if not (reader.Read() && reader.TokenType = JsonTokenType.StartObject) then
                "the line is not a JSON object"
            else
                fields.Note &reader
                // Throws if anything but blanks follows the object.
                reader.Read() |> ignore
                null
        with :? JsonException as error ->
            $"the line is not one JSON object, at byte {error.BytePositionInLine}"
