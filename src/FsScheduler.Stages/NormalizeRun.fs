namespace FsScheduler.Stages

open System
open System.Buffers
open System.Text

module internal Normalization =

    /// In invariant globalization mode, .NET returns text as it is instead of normalizing it.
    let isAvailable =
        try
            "e\u0301".Normalize NormalizationForm.FormC = "\u00E9"
        with :? PlatformNotSupportedException ->
            false

    let compose (text: string) =
        Unnormalizable.normalize NormalizationForm.FormC text

    /// First bytes of the characters that normalization may change or join with the one before.
    /// The others are those below U+0300 and those from U+4000 to U+9FFF (ideographs): they are
    /// composed already, and never compose with what comes before them.
    let private unstable =
        SearchValues.Create(
            ReadOnlySpan [|
                for lead in 0xCCuy .. 0xFFuy do
                    if lead < 0xE4uy || lead > 0xE9uy then
                        lead
            |]
        )

    /// Where the first character is that may change, or -1.
    let firstUnstable (text: ReadOnlySpan<byte>) = text.IndexOfAny unstable

    let private isBoundary lead =
        (lead < 0xCCuy && not (Utf8Text.isContinuation lead))
        || (lead >= 0xE4uy && lead <= 0xE9uy)

    /// Where the last stable character begins, or -1. What comes before it is independent of the rest.
    let lastBoundary (text: ReadOnlySpan<byte>) =
        let mutable index = text.Length - 1

        while index >= 0 && not (isBoundary text[index]) do
            index <- index - 1

        index

    /// Stable stretches shorter than this are not worth the cost of another call into ICU.
    let private stretchMin = 32

    /// Where it ends what begins to be unstable at `start`: at a stable stretch, or with the text.
    let unstableEnd (text: ReadOnlySpan<byte>) start =
        let mutable ending = start
        let mutable next = 0

        while next >= 0 && next < stretchMin do
            ending <- ending + next

            while ending < text.Length && not (isBoundary text[ending]) do
                ending <- ending + 1

            next <- firstUnstable (text.Slice ending)

        ending

/// `nfc` and `strip-accents`: both work on runs of characters between which nothing can compose.
[<AbstractClass>]
type internal NormalizeRun(name: string) =
    inherit TextRun()

    static let heldBytesMax = 1_048_576

    do
        if not Normalization.isAvailable then
            raise (
                StageException(
                    $"{name} needs the ICU library, which .NET runs without here (invariant globalization)",
                    true
                )
            )

    /// From the last boundary on.
    let mutable held = Held.create ()

    /// Appends the result for stable text, which stands for itself.
    abstract WriteStable: text: ReadOnlySpan<byte> * output: IBufferWriter<byte> -> unit

    abstract Normalize: text: string -> string

    /// Takes text that is independent of what comes before it and after it.
    member private run.Write(text: ReadOnlySpan<byte>, output: IBufferWriter<byte>) =
        let mutable rest = text

        while not rest.IsEmpty do
            match Normalization.firstUnstable rest with
            | -1 ->
                run.WriteStable(rest, output)
                rest <- ReadOnlySpan.Empty
            | first ->
                // What may change can compose with the stable character before it.
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

/// `nfc`: Normalization Form C (Unicode, annex 15).
[<Sealed>]
type internal NfcRun() =
    inherit NormalizeRun("nfc")

    override _.WriteStable(text, output) = output.Write text

    override _.Normalize text = Normalization.compose text

/// `strip-accents`: letters without their accents.
[<Sealed>]
type internal StripAccentsRun() =
    inherit NormalizeRun("strip-accents")

    /// For the characters from U+0080 to U+02FF.
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
