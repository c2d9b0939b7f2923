namespace FsScheduler.Stages

open System
open System.Buffers
open System.Text

module internal Normalization =

    /// Whether .NET normalizes text: in invariant globalization mode, text is returned unchanged.
    let isAvailable =
        try
            "e\u0301".Normalize NormalizationForm.FormC = "\u00E9"
        with :? PlatformNotSupportedException ->
            false

    let compose (text: string) =
        Unnormalizable.normalize NormalizationForm.FormC text

    /// First bytes of unstable characters, which normalization may change or compose with the
    /// character before. Stable characters, below U+0300 and from U+4000 to U+9FFF (ideographs),
    /// are composed already, and never compose with the character before.
    let private unstable =
        SearchValues.Create(
            ReadOnlySpan [|
                for lead in 0xCCuy .. 0xFFuy do
                    if lead < 0xE4uy || lead > 0xE9uy then
                        lead
            |]
        )

    /// Offset of the first unstable character, or -1.
    let firstUnstable (text: ReadOnlySpan<byte>) = text.IndexOfAny unstable

    let private isBoundary lead =
        (lead < 0xCCuy && not (Utf8Text.isContinuation lead))
        || (lead >= 0xE4uy && lead <= 0xE9uy)

    /// Offset of the last stable character, or -1. The text before is independent of the rest.
    let lastBoundary (text: ReadOnlySpan<byte>) =
        let mutable index = text.Length - 1

        while index >= 0 && not (isBoundary text[index]) do
            index <- index - 1

        index

    /// Bytes of the shortest stable stretch that is worth another call into ICU behind it.
    let private stretchMin = 32

    /// End of the unstable text that begins at `start`: at a stable stretch of `stretchMin` bytes,
    /// or at the end of the text.
    let unstableEnd (text: ReadOnlySpan<byte>) start =
        let mutable ending = start
        let mutable next = 0

        while next >= 0 && next < stretchMin do
            ending <- ending + next

            while ending < text.Length && not (isBoundary text[ending]) do
                ending <- ending + 1

            next <- firstUnstable (text.Slice ending)

        ending

/// `nfc` and `strip-accents`: both cut the text where no characters can compose across the cut.
[<AbstractClass>]
type internal NormalizeRun(name: string) =
    inherit TextRun()

    static let heldBytesMax = 1_048_576

    do
        if not Normalization.isAvailable then
            raise (
                StageException(
                    $"{name} needs the ICU library; .NET runs here in invariant globalization mode",
                    true
                )
            )

    /// Text from the last stable character on, with which the next characters may compose.
    let mutable held = Held.create ()

    /// Writes the result of stable text, which is its own normalization.
    abstract WriteStable: text: ReadOnlySpan<byte> * output: IBufferWriter<byte> -> unit

    abstract Normalize: text: string -> string

    /// Writes the result of text that composes with no text before or after.
    member private run.Write(text: ReadOnlySpan<byte>, output: IBufferWriter<byte>) =
        let mutable rest = text

        while not rest.IsEmpty do
            match Normalization.firstUnstable rest with
            | -1 ->
                run.WriteStable(rest, output)
                rest <- ReadOnlySpan.Empty
            | first ->
                // An unstable character can compose with the stable character before.
                let start = max 0 (Normalization.lastBoundary (rest.Slice(0, first)))

                if start > 0 then
                    run.WriteStable(rest.Slice(0, start), output)

                let ending = Normalization.unstableEnd rest first
                let unstable = Encoding.UTF8.GetString(rest.Slice(start, ending - start))
                Encoding.UTF8.GetBytes((run.Normalize unstable).AsSpan(), output) |> ignore
                rest <- rest.Slice ending

    override _.ResetText() = Held.clear &held

    override run.PushText(text, output) =
        match Normalization.lastBoundary text with
        | -1 ->
            Held.append held text heldBytesMax $"{name}: a run of characters that may compose is"
        | boundary ->
            if held.WrittenCount > 0 then
                Held.append held (text.Slice(0, boundary)) Int32.MaxValue name
                run.Write(held.WrittenSpan, output)
            elif boundary > 0 then
                run.Write(text.Slice(0, boundary), output)

            Held.clear &held
            held.Write(text.Slice boundary)

    override run.FinishText output =
        if held.WrittenCount > 0 then
            run.Write(held.WrittenSpan, output)

/// `nfc`: Normalization Form C (Unicode Standard Annex 15).
[<Sealed>]
type internal NfcRun() =
    inherit NormalizeRun("nfc")

    override _.WriteStable(text, output) = output.Write text

    override _.Normalize text = Normalization.compose text

/// `strip-accents`: letters without their accents; see `Accents`.
[<Sealed>]
type internal StripAccentsRun() =
    inherit NormalizeRun("strip-accents")

    /// The results of U+0080 to U+02FF in UTF-8, by code point.
    static let stripped =
        Array.init 0x300 (fun code ->
            if code < 0x80 then
                [||]
            else
                Encoding.UTF8.GetBytes(Accents.strip (string (char code))))

    override _.WriteStable(text, output) =
        let target = output.GetSpan text.Length
        let mutable read = 0
        let mutable written = 0

        while read < text.Length do
            let rest = text.Slice read

            let plain =
                match rest.IndexOfAnyInRange(0xC2uy, 0xCBuy) with
                | -1 -> rest.Length
                | index -> index

            rest.Slice(0, plain).CopyTo(target.Slice written)
            read <- read + plain
            written <- written + plain

            if read < text.Length then
                let code = (int (text[read] &&& 0x1Fuy) <<< 6) ||| int (text[read + 1] &&& 0x3Fuy)
                let bytes = stripped[code]
                bytes.AsSpan().CopyTo(target.Slice written)
                read <- read + 2
                written <- written + bytes.Length

        output.Advance written

    override _.Normalize text = Accents.strip text
