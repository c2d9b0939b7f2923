namespace FsScheduler.Runtime.Stages

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

/// A stage on UTF-8 text: what it sees is valid, and is made of whole characters.
[<AbstractClass>]
type internal TextRun() =
    inherit StageRun()

    /// The beginning of a character that the last piece cut.
    let cut = Array.zeroCreate<byte> 4
    let mutable cutLength = 0
    /// Bytes of the payload before the cut character.
    let mutable offset = 0L

    let invalid at =
        raise (StageException($"invalid UTF-8 at byte {at}", false))

    /// The most bytes of one `PushText`: small enough for the first-level cache.
    static member val PieceBytesMax = 16_384

    abstract ResetText: unit -> unit

    /// Takes valid text of whole characters, never empty, at most `PieceBytesMax` bytes.
    abstract PushText: text: ReadOnlySpan<byte> * output: IBufferWriter<byte> -> unit

    abstract FinishText: output: IBufferWriter<byte> -> unit

    override run.Reset() =
        cutLength <- 0
        offset <- 0L
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
                run.PushText(ReadOnlySpan(cut, 0, cutLength), output)
                offset <- offset + int64 cutLength
                cutLength <- 0
            | OperationStatus.NeedMoreData -> ()
            | _ -> invalid offset

        while not rest.IsEmpty do
            let taken = rest.Slice(0, min rest.Length TextRun.PieceBytesMax)
            let whole = taken.Slice(0, Utf8Text.wholeLength taken)

            if not (Utf8.IsValid whole) then
                invalid (offset + int64 (Utf8Text.invalidAt whole))

            if not whole.IsEmpty then
                run.PushText(whole, output)

            offset <- offset + int64 whole.Length
            rest <- rest.Slice whole.Length

            // Only the last piece, or one that is not valid, ends before a whole character.
            if rest.Length < 4 && not rest.IsEmpty then
                match Rune.DecodeFromUtf8(rest, &rune, &length) with
                | OperationStatus.NeedMoreData ->
                    rest.CopyTo(cut.AsSpan())
                    cutLength <- rest.Length
                    rest <- ReadOnlySpan.Empty
                | OperationStatus.Done -> ()
                | _ -> invalid offset

    override run.Finish output =
        if cutLength > 0 then
            invalid offset

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
