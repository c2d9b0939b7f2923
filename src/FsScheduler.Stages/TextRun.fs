namespace FsScheduler.Stages

open System
open System.Buffers
open System.Text
open System.Text.Unicode

module internal Utf8Text =

    /// Offset of the first byte that begins no character, whole or cut off by the end.
    let invalidAt (text: ReadOnlySpan<byte>) =
        let mutable offset = 0
        let mutable rune = Rune()
        let mutable length = 0

        while offset < text.Length
              && Rune.DecodeFromUtf8(text.Slice offset, &rune, &length) = OperationStatus.Done do
            offset <- offset + length

        offset

    let isContinuation (value: byte) = value &&& 0xC0uy = 0x80uy

    /// The length without a last character whose end is missing. Says nothing about validity.
    let wholeLength (text: ReadOnlySpan<byte>) =
        let mutable lead = text.Length - 1

        while lead > 0 && lead > text.Length - 3 && isContinuation text[lead] do
            lead <- lead - 1

        if lead < 0 then
            0
        else
            let length =
                match text[lead] with
                | value when value >= 0xF0uy -> 4
                | value when value >= 0xE0uy -> 3
                | value when value >= 0xC0uy -> 2
                | _ -> 1

            if lead + length > text.Length then lead else text.Length

/// U+FEFF at the very beginning of a text: no character of it, but a sign that it is in UTF-8 (Unicode, 23.8).
module internal ByteOrderMark =

    let private mark = [| 0xEFuy; 0xBBuy; 0xBFuy |]

    let length = mark.Length

    let isFirst (text: ReadOnlySpan<byte>) = text.StartsWith(ReadOnlySpan mark)

    let write (output: IBufferWriter<byte>) = output.Write(ReadOnlySpan mark)

    /// How many there are in a row at the beginning.
    let count (text: ReadOnlySpan<byte>) =
        let mutable count = 0

        while isFirst (text.Slice(count * length)) do
            count <- count + 1

        count

/// A stage on UTF-8 text: what it sees is valid, and is made of whole characters, and has no byte order mark in front.
[<AbstractClass>]
type internal TextRun() =
    inherit StageRun()

    /// The beginning of a character that the last piece cut.
    let cut = Array.zeroCreate<byte> 4
    let mutable cutLength = 0
    /// Bytes of the payload before the cut character.
    let mutable offset = 0L
    /// Something of the text has been seen.
    let mutable hasBegun = false
    let mutable isMarked = false

    /// Byte order marks of UTF-16.
    let isUtf16 (text: ReadOnlySpan<byte>) =
        text.Length >= 2
        && (text[0] = 0xFFuy && text[1] = 0xFEuy || text[0] = 0xFEuy && text[1] = 0xFFuy)

    let invalid at (text: ReadOnlySpan<byte>) =
        let advice =
            if at = 0L && isUtf16 text then
                ": it is UTF-16; let the pipeline begin with utf-16"
            else
                ""

        raise (StageException($"invalid UTF-8 at byte {at}{advice}", false))

    /// The most bytes of one `PushText`: small enough for the first-level cache.
    static member val PieceBytesMax = 16_384

    /// Whether U+FEFF at the beginning is a byte order mark; else it is a character. To be said after `Reset`.
    member val MayBeMarked = true with get, set

    /// The result is that of the first of several pieces, and is not the result yet. To be said after `Reset`.
    member val IsFirstPiece = false with get, set

    /// Whether there is a byte order mark in front of the result.
    member _.IsMarked = isMarked

    /// Whether the result is still the text, and keeps the byte order mark in front of it.
    abstract KeepsMark: bool

    default _.KeepsMark = true

    abstract ResetText: unit -> unit

    /// Takes valid text of whole characters, never empty, at most `PieceBytesMax` bytes.
    abstract PushText: text: ReadOnlySpan<byte> * output: IBufferWriter<byte> -> unit

    abstract FinishText: output: IBufferWriter<byte> -> unit

    /// The beginning of the text, at least a character.
    member private run.Begin(text: ReadOnlySpan<byte>, output) =
        hasBegun <- true

        if run.MayBeMarked && ByteOrderMark.isFirst text then
            if run.KeepsMark then
                isMarked <- true
                ByteOrderMark.write output

            if text.Length > ByteOrderMark.length then
                run.PushText(text.Slice ByteOrderMark.length, output)
        else
            run.PushText(text, output)

    override run.Reset() =
        cutLength <- 0
        offset <- 0L
        hasBegun <- false
        isMarked <- false
        run.MayBeMarked <- true
        run.IsFirstPiece <- false
        run.ResetText()

    override run.Push(input, output) =
        let mutable rest = input
        let mutable rune = Rune()
        let mutable length = 0

        while cutLength > 0 && not rest.IsEmpty do
            cut[cutLength] <- rest[0]
            cutLength <- cutLength + 1
            rest <- rest.Slice 1

            match Rune.DecodeFromUtf8(ReadOnlySpan(cut, 0, cutLength), &rune, &length) with
            | OperationStatus.Done ->
                let character = ReadOnlySpan(cut, 0, cutLength)

                if hasBegun then
                    run.PushText(character, output)
                else
                    run.Begin(character, output)

                offset <- offset + int64 cutLength
                cutLength <- 0
            | OperationStatus.NeedMoreData -> ()
            | _ -> invalid offset (ReadOnlySpan(cut, 0, cutLength))

        while not rest.IsEmpty do
            let taken = rest.Slice(0, min rest.Length TextRun.PieceBytesMax)
            let whole = taken.Slice(0, Utf8Text.wholeLength taken)

            if not (Utf8.IsValid whole) then
                let at = Utf8Text.invalidAt whole
                invalid (offset + int64 at) (taken.Slice at)

            if hasBegun then
                if not whole.IsEmpty then
                    run.PushText(whole, output)
            elif not whole.IsEmpty then
                run.Begin(whole, output)

            offset <- offset + int64 whole.Length
            rest <- rest.Slice whole.Length

            // Only the last piece, or one that is not valid, ends before a whole character.
            if rest.Length < 4 && not rest.IsEmpty then
                // The next byte tells whether it is.
                let mayBeUtf16 = offset = 0L && rest.Length = 1 && rest[0] >= 0xFEuy

                match Rune.DecodeFromUtf8(rest, &rune, &length) with
                | status when status = OperationStatus.NeedMoreData || mayBeUtf16 ->
                    rest.CopyTo(cut.AsSpan())
                    cutLength <- rest.Length
                    rest <- ReadOnlySpan.Empty
                | OperationStatus.Done -> ()
                | _ -> invalid offset rest

    override run.Finish output =
        if cutLength > 0 then
            invalid offset (ReadOnlySpan(cut, 0, cutLength))

        run.FinishText output

/// Helpers for what a stage has to keep of a payload until more of it is known.
module internal Held =

    let create () = ArrayBufferWriter<byte>()

    /// Forgets what is held, and gives big buffers back.
    let clear (held: byref<ArrayBufferWriter<byte>>) =
        if held.Capacity > 1_048_576 then
            held <- create ()
        else
            held.ResetWrittenCount()

    /// Appends, unless that makes more than `bytesMax`.
    let append (held: ArrayBufferWriter<byte>) (text: ReadOnlySpan<byte>) bytesMax (what: string) =
        if held.WrittenCount + text.Length > bytesMax then
            raise (StageException($"{what} over {bytesMax / 1_048_576} MiB", false))

        held.Write text
