namespace FsScheduler.Protocol

open System
open System.Buffers.Text
open System.Text
open System.Text.Json
open FsScheduler.Core

/// The place of a field's value in its line, in bytes.
[<Struct>]
type internal Slot = {
    kind: JsonTokenType
    /// The first byte; of a string, the one after its quote.
    start: int
    length: int
    isEscaped: bool
}

/// The last value of a field, with the bytes it was read from. Series of tasks have the same pipeline: equal bytes give
/// the same instance, without allocation.
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

/// Reads the object of a message of every task: notes the place of each known field, and converts a value when it is
/// asked for. A wrong value is replaced by a harmless one, and the first refusal is kept: the caller reads all fields
/// of a message without a branch for each, and checks `Problem` at the end.
[<Sealed>]
type internal JsonObjectReader() =

    [<ThreadStatic; DefaultValue>]
    static val mutable private ofThread: JsonObjectReader | null

    let slots = Array.zeroCreate<Slot> Field.all.Length
    // A bit for each field of the line.
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

    /// One instance for each thread: a thread decodes one line after the other.
    static member OfThread =
        match JsonObjectReader.ofThread with
        | null ->
            let fields = JsonObjectReader()
            JsonObjectReader.ofThread <- fields
            fields
        | fields -> fields

    /// The first refusal; null: no field was refused.
    member _.Problem = problem

    member _.Has field = has field

    /// Notes the fields of the object that the reader has just entered, up to the end of the object. Of two fields with
    /// one name the last counts.
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

    /// A name with escapes. No client writes one except in a test, so that this need not be fast.
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

    /// A string, cut to the longest text of this protocol.
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

    /// The pipeline; "": the field is missing.
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

    /// The strings of an array; null: an element is no string.
    static member private TextsOf(array: ReadOnlySpan<byte>) : string[] | null =
        let texts = ResizeArray<string>()
        let mutable reader = Utf8JsonReader array
        let mutable areTexts = reader.Read()

        while areTexts && reader.Read() && reader.TokenType <> JsonTokenType.EndArray do
            match reader.TokenType with
            | JsonTokenType.String -> texts.Add(nonNull (reader.GetString()))
            | _ -> areTexts <- false

        if areTexts then texts.ToArray() else null

    /// The meaning of the word in a field. False, with `fallback`: the value is none of these words.
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

    /// The meaning of the word in a field; any other value is refused.
    member fields.Choice
        (line: ReadOnlySpan<byte>, field: Field, words: JsonName<'meaning>[])
        : 'meaning =
        let struct (isKnown, meaning) =
            fields.ChoiceOr(line, field, words, words[0].Meaning)

        if not isKnown then
            let known = words |> Array.map (fun word -> $"'{word.Text}'")
            refuse field ("one of " + String.Join(", ", known))

        meaning
