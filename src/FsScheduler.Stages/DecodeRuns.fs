namespace FsScheduler.Stages

open System
open System.Buffers
open System.Buffers.Binary
open System.Runtime.InteropServices
open System.Text.Unicode
open FsScheduler.Core

/// `cp1252`: windows-1252 to UTF-8, as browsers decode it (WHATWG): the five bytes without a
/// character become control characters of the same number.
[<Sealed>]
type internal Cp1252Run() =
    inherit SingleByteRun(Cp1252Run.Encoded)

    static member val private Encoded =
        // The characters of the bytes 80 to 9F; other bytes are as in ISO-8859-1.
        let characters = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008DŽ\u008F\u0090‘’“”•–—˜™š›œ\u009DžŸ"

        Array.init 256 (fun value ->
            let character =
                if value >= 0x80 && value <= 0x9F then
                    characters[value - 0x80]
                else
                    char value

            Text.Encoding.UTF8.GetBytes(string character))

/// <summary>`utf-16`: UTF-16 to UTF-8. Invalid UTF-16, and the byte order mark of another encoding
/// or byte order, raise `StageException`.</summary>
/// <param name="order">The byte order; none: from the byte order mark, else little-endian.</param>
[<Sealed>]
type internal Utf16Run(order: ByteOrder voption) =
    inherit DecodeRun()

    let units = Array.zeroCreate<char>(TextRun.PieceBytesMax / 2)

    /// The first bytes of a character that goes on in the next piece; before `hasBegun`, the first
    /// bytes of the payload.
    let cut = Array.zeroCreate<byte> 4
    let mutable cutLength = 0
    let mutable hasBegun = false
    let mutable isBig = false
    /// Bytes of the payload before those in `cut`.
    let mutable offset = 0L

    let fail (message: string) = raise (StageException(message, false))

    let invalid at what =
        fail $"invalid UTF-16 at byte {at}: {what}"

    /// Whether the first two bytes are the first half of a surrogate pair.
    let isFirstHalf (bytes: ReadOnlySpan<byte>) =
        (if isBig then bytes[0] else bytes[1]) &&& 0xFCuy = 0xD8uy

    /// Decodes whole characters, at most `PieceBytesMax` bytes.
    let write (bytes: ReadOnlySpan<byte>) (output: IBufferWriter<byte>) =
        let count = bytes.Length / 2
        bytes.CopyTo(MemoryMarshal.AsBytes(units.AsSpan()))

        if isBig = BitConverter.IsLittleEndian then
            let values = MemoryMarshal.Cast<char, uint16>(units.AsSpan(0, count))
            BinaryPrimitives.ReverseEndianness(Span.op_Implicit values, values)

        let target = output.GetSpan(3 * count)
        let mutable read = 0
        let mutable written = 0

        let status =
            Utf8.FromUtf16(
                ReadOnlySpan(units, 0, count),
                target,
                &read,
                &written,
                replaceInvalidSequences = false,
                isFinalBlock = true
            )

        if status <> OperationStatus.Done then
            invalid (offset + 2L * int64 read) "half of a surrogate pair"

        output.Advance written
        offset <- offset + int64 bytes.Length

    let isMark (first: byte) (second: byte) (bytes: ReadOnlySpan<byte>) =
        bytes.Length >= 2 && bytes[0] = first && bytes[1] = second

    /// Sets the byte order from the first 4 bytes, or from all bytes of a shorter payload. Returns
    /// the length of the byte order mark, 0 without one.
    let start (bytes: ReadOnlySpan<byte>) =
        hasBegun <- true
        let isLittleMark = isMark 0xFFuy 0xFEuy bytes
        let isBigMark = isMark 0xFEuy 0xFFuy bytes

        if
            bytes.Length = 4
            && (isLittleMark && bytes[2] = 0uy && bytes[3] = 0uy
                || bytes[0] = 0uy && bytes[1] = 0uy && isMark 0xFEuy 0xFFuy (bytes.Slice 2))
        then
            fail "it is UTF-32, which no stage reads; save it as UTF-8"

        if bytes.Length >= 3 && ByteOrderMark.isFirst bytes then
            fail "it is UTF-8, with its byte order mark; leave utf-16 away"

        isBig <-
            match order with
            | ValueSome ByteOrder.Big when isLittleMark ->
                fail "it has the byte order mark of utf-16:le"
            | ValueSome ByteOrder.Little when isBigMark ->
                fail "it has the byte order mark of utf-16:be"
            | ValueSome order -> order = ByteOrder.Big
            | ValueNone -> isBigMark

        if isLittleMark || isBigMark then 2 else 0

    /// Length without an odd byte, and without the first half of a surrogate pair, at the end.
    let wholeLength (bytes: ReadOnlySpan<byte>) =
        let even = bytes.Length &&& ~~~1

        if even >= 2 && isFirstHalf (bytes.Slice(even - 2)) then
            even - 2
        else
            even

    let begin' (output: IBufferWriter<byte>) =
        let marked = start (ReadOnlySpan(cut, 0, cutLength))
        offset <- int64 marked
        let rest = ReadOnlySpan(cut, marked, cutLength - marked)
        let whole = wholeLength rest

        if whole > 0 then
            write (rest.Slice(0, whole)) output

        let left = rest.Slice whole
        left.CopyTo(cut.AsSpan())
        cutLength <- left.Length

    override _.Reset() =
        cutLength <- 0
        hasBegun <- false
        isBig <- false
        offset <- 0L

    override _.Push(input, output) =
        let mutable rest = input

        let takeByte (first: byte) =
            cut[cutLength] <- first
            cutLength <- cutLength + 1

        while not hasBegun && not rest.IsEmpty do
            takeByte rest[0]
            rest <- rest.Slice 1

            if cutLength = 4 then
                begin' output

        while cutLength > 0 && not rest.IsEmpty do
            takeByte rest[0]
            rest <- rest.Slice 1
            let bytes = ReadOnlySpan(cut, 0, cutLength)

            if cutLength = 4 || cutLength = 2 && not (isFirstHalf bytes) then
                cutLength <- 0
                write bytes output

        while not rest.IsEmpty do
            let taken = rest.Slice(0, min rest.Length TextRun.PieceBytesMax)
            let whole = wholeLength taken

            if whole > 0 then
                write (taken.Slice(0, whole)) output
                rest <- rest.Slice whole

            if rest.Length < 4 && not rest.IsEmpty then
                let left = wholeLength rest

                if left = 0 then
                    rest.CopyTo(cut.AsSpan())
                    cutLength <- rest.Length
                    rest <- ReadOnlySpan.Empty

    override _.Finish output =
        if not hasBegun && cutLength > 0 then
            begin' output

        if cutLength % 2 = 1 then
            invalid (offset + int64 (cutLength - 1)) "half of a character, at the end"
        elif cutLength > 0 then
            invalid offset "half of a surrogate pair"
