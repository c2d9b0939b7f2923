namespace FsScheduler.Stages

open System
open System.Buffers
open System.Text
open System.Text.Unicode

module internal Utf8Text =

    /// Offset of the first byte that begins no whole character; the length of a valid text.
    let invalidAt (text: ReadOnlySpan<byte>) =
        let mutable offset = 0
        let mutable rune = Rune()
        let mutable length = 0

        while offset < text.Length
              && Rune.DecodeFromUtf8(text.Slice offset, &rune, &length) = OperationStatus.Done do
            offset <- offset + length

        offset

    let isContinuation (value: byte) = value &&& 0xC0uy = 0x80uy

    /// Length without a last character whose end is missing. Does not check that the text is valid.
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

/// U+FEFF at the beginning of a payload: a sign that the payload is UTF-8, and no character of the
/// text (Unicode, section 23.8).
module internal ByteOrderMark =

    let private mark = [| 0xEFuy; 0xBBuy; 0xBFuy |]

    let length = mark.Length

    let isFirst (text: ReadOnlySpan<byte>) = text.StartsWith(ReadOnlySpan mark)

    let write (output: IBufferWriter<byte>) = output.Write(ReadOnlySpan mark)

    /// Number of U+FEFF in a row at the beginning.
    let count (text: ReadOnlySpan<byte>) =
        let mutable count = 0

        while isFirst (text.Slice(count * length)) do
            count <- count + 1

        count

/// A stage on UTF-8 text. Checks that the payload is valid, and hands on whole characters, without
/// the byte order mark.
[<AbstractClass>]
type internal TextRun() =
    inherit StageRun()

    /// The first bytes of a character that goes on in the next piece.
    let cut = Array.zeroCreate<byte> 4
    let mutable cutLength = 0
    /// Bytes of the payload before those in `cut`.
    let mutable offset = 0L
    /// A character of the payload has come.
    let mutable hasBegun = false
    let mutable isMarked = false

    /// Whether the text begins with a byte order mark of UTF-16.
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

    /// The most bytes of one `PushText`: 16 KiB fit into the first-level cache of the processor.
    static member val PieceBytesMax = 16_384

    /// Whether U+FEFF at the beginning is a byte order mark, and not a character. To be set between
    /// `Reset`, which sets true, and the first `Push`.
    member val MayBeMarked = true with get, set

    /// Whether the payload is the first of several pieces, so that the result is a part to merge.
    /// To be set between `Reset`, which sets false, and the first `Push`.
    member val IsFirstPiece = false with get, set

    /// Whether the result begins with a byte order mark.
    member _.IsMarked = isMarked

    /// Whether the result begins with the byte order mark of the payload: so if the result is still
    /// that text, and not a count.
    abstract KeepsMark: bool

    default _.KeepsMark = true

    abstract ResetText: unit -> unit

    /// Takes valid text of whole characters, never empty, at most `PieceBytesMax` bytes.
    abstract PushText: text: ReadOnlySpan<byte> * output: IBufferWriter<byte> -> unit

    abstract FinishText: output: IBufferWriter<byte> -> unit

    /// Takes the beginning of the payload, at least one character.
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

            // These are a whole character, the beginning of a character, or invalid.
            if rest.Length < 4 && not rest.IsEmpty then
                // FE or FF: the next byte tells whether this is UTF-16.
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

/// Buffers for bytes that a stage holds back until more of the payload has come.
module internal Held =

    let create () = ArrayBufferWriter<byte>()

    /// Empties the buffer; one over 1 MiB is replaced, to free its memory.
    let clear (held: byref<ArrayBufferWriter<byte>>) =
        if held.Capacity > 1_048_576 then
            held <- create ()
        else
            held.ResetWrittenCount()

    /// Appends the text. A total over `bytesMax` raises `StageException`; `what` begins its
    /// message, as in "trim: blanks inside a line are".
    let append (held: ArrayBufferWriter<byte>) (text: ReadOnlySpan<byte>) bytesMax (what: string) =
        if held.WrittenCount + text.Length > bytesMax then
            raise (StageException($"{what} over {bytesMax / 1_048_576} MiB", false))

        held.Write text
