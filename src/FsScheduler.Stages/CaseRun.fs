namespace FsScheduler.Stages

open System
open System.Buffers
open System.Text

/// `lower` and `upper`: the case mappings of Unicode that depend on no language, with the results
/// of Python's `str.lower` and `str.upper`.
[<Sealed>]
type internal CaseRun(isUpper: bool) =
    inherit TextRun()

    /// Bytes that are mapped one character at a time before blocks are tried again.
    static let retryBytes = 16

    /// The largest growth of a character: ΐ has 2 bytes, its upper case 6.
    static let growth = 3

    static let heldBytesMax = 1_048_576

    let table = if isUpper then CaseTables.upper else CaseTables.lower

    /// A letter with case comes before the next character, with only ignorable characters between:
    /// the first half of the rule for a final sigma.
    let mutable afterCased = false

    /// A capital sigma and the ignorable characters after it. The next character decides whether
    /// the sigma becomes σ or ς.
    let mutable held = Held.create ()

    /// Offset of the first character that is not ignorable, or -1.
    let afterIgnorables (text: ReadOnlySpan<byte>) =
        let mutable index = 0
        let mutable rune = Rune()
        let mutable length = 0

        while index < text.Length
              && (Rune.DecodeFromUtf8(text.Slice index, &rune, &length) |> ignore
                  CaseTables.isIgnorable rune) do
            index <- index + length

        if index < text.Length then index else -1

    let casedAt (text: ReadOnlySpan<byte>) index =
        let mutable rune = Rune()
        let mutable length = 0
        Rune.DecodeFromUtf8(text.Slice index, &rune, &length) |> ignore
        CaseTables.isCased rune

    /// The value of `afterCased` behind the text.
    let isAfterCased (text: ReadOnlySpan<byte>) =
        let mutable rest = text.Length
        let mutable answer = afterCased
        let mutable rune = Rune()
        let mutable length = 0

        while rest > 0 do
            Rune.DecodeLastFromUtf8(text.Slice(0, rest), &rune, &length) |> ignore

            if CaseTables.isIgnorable rune then
                rest <- rest - length
            else
                answer <- CaseTables.isCased rune
                rest <- 0

        answer

    let asciiMapped (value: byte) =
        if isUpper then
            if value - 'a'B <= 25uy then value - 0x20uy else value
        elif value - 'A'B <= 25uy then
            value + 0x20uy
        else
            value

    /// Writes a character as UTF-8, and returns its length, 1 to 3 bytes.
    let encode (target: Span<byte>) (character: char) =
        let code = int character

        if code < 0x80 then
            target[0] <- byte code
            1
        elif code < 0x800 then
            target[0] <- byte (0xC0 ||| (code >>> 6))
            target[1] <- byte (0x80 ||| (code &&& 0x3F))
            2
        else
            target[0] <- byte (0xE0 ||| (code >>> 12))
            target[1] <- byte (0x80 ||| ((code >>> 6) &&& 0x3F))
            target[2] <- byte (0x80 ||| (code &&& 0x3F))
            3

    /// Writes the other case of a character up to U+FFFF, and returns its length in bytes.
    let mapped (target: Span<byte>) (character: char) =
        match table.Mapped[int character] with
        | single when single <> CaseTable.Special -> encode target single
        | _ ->
            let full = table.Full character
            full.AsSpan().CopyTo target
            full.Length

    let writeSigma (target: Span<byte>) isFinal =
        encode target (if isFinal then 'ς' else 'σ')

    /// Maps the text, for `lower` at most up to a sigma that needs the next piece. Returns how many
    /// bytes were read and written.
    let map (text: ReadOnlySpan<byte>) (target: Span<byte>) : struct (int * int) =
        let mutable read = 0
        let mutable written = 0
        let mutable go = true

        while go && read < text.Length do
            let from = text.Slice read
            let into = target.Slice written

            let blocks =
                if isUpper then
                    CaseBlocks.upper from into
                else
                    CaseBlocks.lower from into

            read <- read + blocks
            written <- written + blocks
            let retry = min text.Length (read + retryBytes)

            while go && read < retry do
                let lead = text[read]

                if lead < 0x80uy then
                    target[written] <- asciiMapped lead
                    read <- read + 1
                    written <- written + 1
                elif lead < 0xE0uy then
                    let character =
                        char ((int (lead &&& 0x1Fuy) <<< 6) ||| int (text[read + 1] &&& 0x3Fuy))

                    if character = 'Σ' && not isUpper then
                        if not (isAfterCased (text.Slice(0, read))) then
                            written <- written + writeSigma (target.Slice written) false
                            read <- read + 2
                        else
                            let after = text.Slice(read + 2)

                            match afterIgnorables after with
                            | -1 -> go <- false
                            | next ->
                                let isFinal = not (casedAt after next)
                                written <- written + writeSigma (target.Slice written) isFinal
                                read <- read + 2
                    else
                        written <- written + mapped (target.Slice written) character
                        read <- read + 2
                elif lead < 0xF0uy then
                    let character =
                        char (
                            (int (lead &&& 0x0Fuy) <<< 12)
                            ||| (int (text[read + 1] &&& 0x3Fuy) <<< 6)
                            ||| int (text[read + 2] &&& 0x3Fuy)
                        )

                    written <- written + mapped (target.Slice written) character
                    read <- read + 3
                else
                    let mutable rune = Rune()
                    let mutable length = 0
                    Rune.DecodeFromUtf8(text.Slice read, &rune, &length) |> ignore

                    let other =
                        if isUpper then
                            Rune.ToUpperInvariant rune
                        else
                            Rune.ToLowerInvariant rune

                    written <- written + other.EncodeToUtf8(target.Slice written)
                    read <- read + length

        struct (read, written)

    /// Maps the text up to a sigma that needs the next piece, and holds the rest of the text.
    let mapAndHold (text: ReadOnlySpan<byte>) (output: IBufferWriter<byte>) =
        let target = output.GetSpan(text.Length * growth)
        let struct (read, written) = map text target
        output.Advance written

        if read < text.Length then
            Held.append held (text.Slice read) heldBytesMax "lower: punctuation after a sigma is"
        elif not isUpper then
            afterCased <- isAfterCased text

    /// Writes the held text; `isFinal` decides the form of its sigma.
    let release isFinal (output: IBufferWriter<byte>) =
        let target = output.GetSpan 2
        output.Advance(writeSigma target isFinal)
        // The ignorable characters after the sigma have no lower case.
        output.Write(held.WrittenSpan.Slice 2)
        Held.clear &held
        afterCased <- true

    override _.ResetText() =
        afterCased <- false
        Held.clear &held

    override _.PushText(text, output) =
        if held.WrittenCount = 0 then
            mapAndHold text output
        else
            match afterIgnorables text with
            | -1 -> Held.append held text heldBytesMax "lower: punctuation after a sigma is"
            | next ->
                release (not (casedAt text next)) output
                mapAndHold text output

    override _.FinishText output =
        if held.WrittenCount > 0 then
            release true output
