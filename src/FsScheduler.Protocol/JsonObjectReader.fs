namespace FsScheduler.Protocol

open System
open System.Buffers.Text
open System.Text
open System.Text.Json
open FsScheduler.Core

/// Where the value of a field stands in its line.
[<Struct>]
type internal Slot = {
    kind: JsonTokenType
    /// Of a string: after its quote.
    start: int
    length: int
    isEscaped: bool
}

/// The last value read from some bytes. Tasks come in series with one pipeline, so the same bytes
/// often follow: then the same instance is given out, and nothing is allocated.
[<Sealed>]
type internal LastSeen<'value>(initial: 'value) =
    let mutable raw = Array.zeroCreate<byte> 64
    let mutable length = -1
    let mutable value = initial

    member _.Value = value

    member _.Is(bytes: ReadOnlySpan<byte>) =
        length = bytes.Length && bytes.SequenceEqual(ReadOnlySpan(raw, 0, length))

    member _.Set(bytes: ReadOnlySpan<byte>, now: 'value) =
        if raw.Length < bytes.Length then
            raw <- Array.zeroCreate (2 * bytes.Length)

        bytes.CopyTo(Span raw)
        length <- bytes.Length
        value <- now

/// An object taken apart, of the messages of every task: it notes where the value of each known field stands, and converts only
/// what is asked for. The first refusal is kept and a harmless value given out, so that a message is
/// read without a branch for each field; whoever reads one asks for `Problem` at the end.
[<Sealed>]
type internal JsonObjectReader() =

    [<ThreadStatic; DefaultValue>]
    static val mutable private ofThread: JsonObjectReader | null

    let slots = Array.zeroCreate<Slot> Field.all.Length
    // A bit for each field.
    let mutable seen = 0UL
    let mutable problem: string | null = null
    let lastPipeline = LastSeen ""
    let lastStages = LastSeen<string[] | null> null

    let has (field: Field) = seen &&& (1UL <<< field.Index) <> 0UL

    let refuse (field: Field) (should: string) =
        if isNull problem then
            problem <-
                if has field then
                    $"'{field.Name}' must be {should}"
                else
                    $"'{field.Name}' is missing; it must be {should}"

    /// The decoding of one line ends before the next begins on its thread: one instance will do.
    static member OfThread =
        match JsonObjectReader.ofThread with
        | null ->
            let fields = JsonObjectReader()
            JsonObjectReader.ofThread <- fields
            fields
        | fields -> fields

    /// The first refusal, or null.
    member _.Problem = problem

    member _.Has field = has field

    member _.Refuse(field, should) = refuse field should

    /// Notes the fields of the object that the reader has just entered, and leaves it at its end.
    /// Of two fields with one name the last counts.
    member _.Note(reader: byref<Utf8JsonReader>) =
        seen <- 0UL
        problem <- null

        while reader.Read() && reader.TokenType = JsonTokenType.PropertyName do
            let index =
                if reader.ValueIsEscaped then
                    JsonObjectReader.FindEscaped &reader
                else
                    Field.find reader.ValueSpan

            reader.Read() |> ignore
            let start = int reader.TokenStartIndex
            let kind = reader.TokenType
            let isEscaped = reader.ValueIsEscaped

            let struct (start, length) =
                match kind with
                | JsonTokenType.StartArray
                | JsonTokenType.StartObject ->
                    reader.Skip()
                    struct (start, int reader.BytesConsumed - start)
                | JsonTokenType.String -> struct (start + 1, reader.ValueSpan.Length)
                | _ -> struct (start, reader.ValueSpan.Length)

            if index >= 0 then
                seen <- seen ||| (1UL <<< index)

                slots[index] <- {
                    kind = kind
                    start = start
                    length = length
                    isEscaped = isEscaped
                }

    /// Nobody escapes these names but to try us: it need not be fast.
    static member private FindEscaped(reader: byref<Utf8JsonReader>) =
        let name = Array.zeroCreate<byte> reader.ValueSpan.Length
        let length = reader.CopyString(Span name)
        Field.find (ReadOnlySpan(name, 0, length))

    /// An integer from `least` to `most`.
    member _.Integer(line: ReadOnlySpan<byte>, field: Field, least: int64, most: int64) : int64 =
        let slot = slots[field.Index]
        let mutable value = 0L
        let mutable read = 0

        if
            has field
            && slot.kind = JsonTokenType.Number
            && Utf8Parser.TryParse(line.Slice(slot.start, slot.length), &value, &read)
            && read = slot.length
            && value >= least
            && value <= most
        then
            value
        else
            refuse field $"an integer from {least} to {most}"
            least

    /// True or false.
    member _.Bool(field: Field) : bool =
        if has field && slots[field.Index].kind = JsonTokenType.True then
            true
        elif has field && slots[field.Index].kind = JsonTokenType.False then
            false
        else
            refuse field "true or false"
            false

    /// A string of at most `bytesMax` bytes of UTF-8.
    member fields.Text(line: ReadOnlySpan<byte>, field: Field, bytesMax: int) : string =
        match fields.AnyText(line, field) with
        | null ->
            refuse field $"a string of at most {bytesMax} bytes"
            ""
        | text when
            slots[field.Index].length > bytesMax
            && Encoding.UTF8.GetByteCount text > bytesMax
            ->
            refuse field $"a string of at most {bytesMax} bytes"
            ""
        | text -> text

    /// A string, cut where it gets longer than the texts of this protocol are.
    member fields.CutText(line: ReadOnlySpan<byte>, field: Field) : string =
        match fields.AnyText(line, field) with
        | null ->
            refuse field "a string"
            ""
        | text -> ProtocolLimits.cut ProtocolLimits.textCharsMax text

    member private _.AnyText(line: ReadOnlySpan<byte>, field: Field) : string | null =
        let slot = slots[field.Index]

        if not (has field) || slot.kind <> JsonTokenType.String then
            null
        elif slot.isEscaped then
            let mutable reader = Utf8JsonReader(line.Slice(slot.start - 1, slot.length + 2))
            reader.Read() |> ignore
            reader.GetString()
        elif slot.length = 0 then
            ""
        else
            Encoding.UTF8.GetString(line.Slice(slot.start, slot.length))

    /// The pipeline, or "" if there is none.
    member fields.Pipeline(line: ReadOnlySpan<byte>) : string =
        let slot = slots[Field.pipeline.Index]

        if not (has Field.pipeline) then
            ""
        elif
            slot.kind = JsonTokenType.String
            && not slot.isEscaped
            && slot.length <= ProtocolLimits.pipelineBytesMax
        then
            let raw = line.Slice(slot.start, slot.length)

            if not (lastPipeline.Is raw) then
                lastPipeline.Set(raw, Encoding.UTF8.GetString raw)

            lastPipeline.Value
        else
            fields.Text(line, Field.pipeline, ProtocolLimits.pipelineBytesMax)

    /// The stages: an array of strings.
    member _.Stages(line: ReadOnlySpan<byte>) : string[] =
        let slot = slots[Field.stages.Index]

        let texts =
            if not (has Field.stages) || slot.kind <> JsonTokenType.StartArray then
                null
            else
                let raw = line.Slice(slot.start, slot.length)

                if not (lastStages.Is raw) then
                    lastStages.Set(raw, JsonObjectReader.TextsOf raw)

                lastStages.Value

        match texts with
        | null ->
            refuse Field.stages "an array of strings"
            [||]
        | texts -> texts

    /// The strings of an array, or null if it has anything else.
    static member private TextsOf(array: ReadOnlySpan<byte>) : string[] | null =
        let texts = ResizeArray<string>()
        let mutable reader = Utf8JsonReader array
        let mutable areTexts = reader.Read()

        while areTexts && reader.Read() && reader.TokenType <> JsonTokenType.EndArray do
            match reader.TokenType with
            | JsonTokenType.String -> texts.Add(nonNull (reader.GetString()))
            | _ -> areTexts <- false

        if areTexts then texts.ToArray() else null

    /// What the word in this field means; `fallback` if it is none of these.
    member _.ChoiceOr
        (line: ReadOnlySpan<byte>, field: Field, words: JsonName<'meaning>[], fallback: 'meaning)
        : struct (bool * 'meaning) =
        let slot = slots[field.Index]
        let mutable found = -1

        if has field && slot.kind = JsonTokenType.String then
            let mutable i = 0

            if slot.isEscaped then
                let mutable reader = Utf8JsonReader(line.Slice(slot.start - 1, slot.length + 2))
                reader.Read() |> ignore

                while found < 0 && i < words.Length do
                    if reader.ValueTextEquals(ReadOnlySpan words[i].Utf8) then
                        found <- i

                    i <- i + 1
            else
                let text = line.Slice(slot.start, slot.length)

                while found < 0 && i < words.Length do
                    if text.SequenceEqual(ReadOnlySpan words[i].Utf8) then
                        found <- i

                    i <- i + 1

        if found >= 0 then
            struct (true, words[found].Meaning)
        else
            struct (false, fallback)

    /// As `ChoiceOr`, and refuses any other.
    member fields.Choice
        (line: ReadOnlySpan<byte>, field: Field, words: JsonName<'meaning>[])
        : 'meaning =
        let struct (isKnown, meaning) =
            fields.ChoiceOr(line, field, words, words[0].Meaning)

        if not isKnown then
            let known = words |> Array.map (fun word -> $"'{word.Text}'")
            refuse field ("one of " + String.Join(", ", known))

        meaning
