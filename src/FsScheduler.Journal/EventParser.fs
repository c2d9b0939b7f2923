namespace FsScheduler.Journal

open System.Collections.Generic
open System.Text.Json
open FsScheduler.Core
open FsScheduler.Machine

/// The names of nested properties, as `Slot.keyOf` gives them.
module private Nested =
    let private key (name: string) =
        Slot.keyOf (System.ReadOnlySpan(System.Text.Encoding.ASCII.GetBytes name))

    let payload = key "payload"
    let result = key "result"
    let input = key "input"
    let mark = key "mark"
    let pieces = key "pieces"
    let cuts = key "cuts"
    let pastFailures = key "troubles"

/// <summary>Parses the JSON of an event as `EventWriter` writes it: without spaces. By hand, since a restart reads
/// millions of events; `Utf8JsonReader` reads nested objects.</summary>
/// <param name="pipelineOf">The pipeline of a text.</param>
/// <param name="toInstant">An instant from Unix milliseconds.</param>
[<Sealed>]
type internal EventParser(pipelineOf: string -> Pipeline, toInstant: int64 -> Instant) =
    let fields = EventFields()
    let mutable bytes: byte[] = Array.empty
    let mutable ending = 0
    let mutable at = 0
    let mutable items: string[] = Array.empty
    let sizes = List<int64>()
    let pastFailures = List<Failure>()
    let mutable payload: PayloadPlace voption = ValueNone
    let mutable result: PayloadPlace voption = ValueNone
    let mutable input: FileVersion voption = ValueNone
    let mutable mark: ResultMark = ResultMark.Unmarked
    let mutable pieces: CarriedPieces voption = ValueNone

    let unexpected () =
        EventText.damaged $"unexpected JSON at byte {at}"

    let peek () =
        if at >= ending then
            unexpected ()

        bytes[at]

    let skip (one: byte) =
        if peek () <> one then
            unexpected ()

        at <- at + 1

    let isDigit (one: byte) = one >= '0'B && one <= '9'B

    let integer () : int64 =
        let isNegative = peek () = '-'B

        if isNegative then
            at <- at + 1

        let start = at
        let mutable value = 0L

        while at < ending && isDigit bytes[at] do
            // Counts downwards, since the negative range has one number more.
            value <- Checked.(-) (Checked.(*) value 10L) (int64 (bytes[at] - '0'B))
            at <- at + 1

        if at = start then
            unexpected ()

        match peek () with
        | '.'B
        | 'E'B
        | 'e'B -> unexpected ()
        | _ -> if isNegative then value else Checked.(~-) value

    /// Moves from the first byte of a string to its end. Returns whether it has escapes.
    let toEnd () : bool =
        let mutable hasEscapes = false

        while peek () <> '"'B do
            if bytes[at] = '\\'B then
                hasEscapes <- true
                at <- at + 1

            at <- at + 1

        hasEscapes

    /// Reads a property name, and returns its first eight bytes.
    let name () : uint64 =
        skip '"'B
        let start = at
        let mutable key = 0UL

        while peek () <> '"'B do
            if at - start < 8 then
                key <- (key <<< 8) ||| uint64 bytes[at]

            at <- at + 1

        at <- at + 1
        skip ':'B
        key

    let place () : PayloadPlace =
        skip '['B
        let from = integer ()
        skip ','B
        let length = integer ()
        skip ']'B
        { at = int from; bytes = length; file = null }

    /// Reads objects, and arrays of other things than two numbers.
    let nested (key: uint64) =
        let mutable reader = Utf8JsonReader(System.ReadOnlySpan(bytes, at, ending - at))
        reader.Read() |> ignore
        let isObject = reader.TokenType = JsonTokenType.StartObject

        if isObject then
            if key = Nested.payload then
                payload <- ValueSome(NestedReader.place &reader)
            elif key = Nested.result then
                result <- ValueSome(NestedReader.place &reader)
            elif key = Nested.input then
                input <- ValueSome(NestedReader.input &reader)
            elif key = Nested.mark then
                mark <- NestedReader.mark &reader
            elif key = Nested.pieces then
                pieces <- ValueSome(NestedReader.pieces &reader pipelineOf)
            else
                reader.Skip()
        elif key = Nested.cuts then
            NestedReader.sizes &reader sizes
        elif key = Nested.pastFailures then
            NestedReader.pastFailures &reader toInstant pastFailures
        else
            items <- NestedReader.list &reader

        at <- at + int reader.BytesConsumed

    let value (key: uint64) =
        match peek () with
        | '"'B ->
            at <- at + 1
            let start = at
            let hasEscapes = toEnd ()
            let slot = Slot.find key

            if slot >= 0 then
                fields.SetText(slot, start, at - start, hasEscapes)

            at <- at + 1
        | '['B when key = Nested.payload -> payload <- ValueSome(place ())
        | '['B when key = Nested.result -> result <- ValueSome(place ())
        | '['B
        | '{'B -> nested key
        | 't'B -> // true
            at <- at + 4
            let slot = Slot.find key

            if slot >= 0 then
                fields.SetNumber(slot, 1L)
        | _ ->
            let number = integer ()
            let slot = Slot.find key

            if slot >= 0 then
                fields.SetNumber(slot, number)

    let clear () =
        fields.Clear bytes
        payload <- ValueNone
        result <- ValueNone
        input <- ValueNone
        mark <- ResultMark.Unmarked

        if items.Length > 0 || sizes.Count > 0 || pastFailures.Count > 0 || pieces.IsSome then
            items <- Array.empty
            sizes.Clear()
            pastFailures.Clear()
            pieces <- ValueNone

    /// The numbers and strings of the latest event.
    member _.Fields = fields

    member _.Payload = payload
    member _.Result = result
    member _.Input = input
    member _.Mark = mark
    member _.Pieces = pieces
    member _.Items = items
    member _.Sizes = sizes
    member _.PastFailures = pastFailures

    /// <summary>Parses the object that begins at `start`.</summary>
    /// <param name="source">The bytes.</param>
    /// <param name="start">Offset of the object.</param>
    /// <param name="upTo">Offset behind the last byte that may be read.</param>
    /// <returns>Offset behind the object.</returns>
    /// <exception cref="T:System.IO.InvalidDataException">The object is not as `EventWriter` writes it.</exception>
    member _.Parse(source: byte[], start: int, upTo: int) : int =
        bytes <- source
        at <- start
        ending <- upTo
        clear ()
        skip '{'B

        if peek () = '}'B then
            at <- at + 1
        else
            value (name ())

            while peek () = ','B do
                at <- at + 1
                value (name ())

            skip '}'B

        at
