namespace FsScheduler.Stages

open System
open System.Buffers
open System.Text

module internal Blanks =

    /// Bytes of the first character if it is White_Space (Unicode), else 0. The text is not empty.
    let firstLength (text: ReadOnlySpan<byte>) =
        let lead = text[0]

        if lead < 0x80uy then
            if lead = ' 'B || lead - 9uy <= 4uy then 1 else 0
        else
            // U+0085, U+00A0, U+1680, U+2000 to U+205F and U+3000.
            match lead with
            | 0xC2uy
            | 0xE1uy
            | 0xE2uy
            | 0xE3uy ->
                let mutable rune = Rune()
                let mutable length = 0
                Rune.DecodeFromUtf8(text, &rune, &length) |> ignore
                if Rune.IsWhiteSpace rune then length else 0
            | _ -> 0

    /// Bytes of the last character if it is White_Space, else 0. The text is not empty.
    let lastLength (text: ReadOnlySpan<byte>) =
        let last = text[text.Length - 1]

        if last < 0x80uy then
            if last = ' 'B || last - 9uy <= 4uy then 1 else 0
        else
            let mutable rune = Rune()
            let mutable length = 0
            Rune.DecodeLastFromUtf8(text, &rune, &length) |> ignore
            if Rune.IsWhiteSpace rune then length else 0

    /// Whether White_Space ends a line on some system: LF, VT, FF, CR, NEL, LS and PS. `squeeze`
    /// keeps these, because they are no blanks inside a line.
    let isLineEnd (first: ReadOnlySpan<byte>) =
        match first[0] with
        | lead when lead < 0x80uy -> lead - 10uy <= 3uy
        | 0xC2uy -> first[1] = 0x85uy
        | 0xE2uy -> first[1] = 0x80uy && (first[2] = 0xA8uy || first[2] = 0xA9uy)
        | _ -> false

    let trimStart (text: ReadOnlySpan<byte>) =
        let mutable rest = text
        let mutable length = 1

        while not rest.IsEmpty && length > 0 do
            length <- firstLength rest
            rest <- rest.Slice length

        rest

    let trimEnd (text: ReadOnlySpan<byte>) =
        let mutable rest = text
        let mutable length = 1

        while not rest.IsEmpty && length > 0 do
            length <- lastLength rest
            rest <- rest.Slice(0, rest.Length - length)

        rest

/// `trim`: removes White_Space at both ends of each line, and keeps the `\n` or `\r\n` behind it.
[<Sealed>]
type internal TrimRun() =
    inherit TextRun()

    static let heldBytesMax = 1_048_576

    /// The line has had a character other than White_Space.
    let mutable inLine = false

    /// The last byte of the line so far is `\r`, which belongs to the line end if `\n` follows.
    let mutable endsInReturn = false

    /// White_Space after `inLine` became true: written once another character follows in the line,
    /// dropped at the end of the line.
    let mutable held = Held.create ()

    /// Takes the next bytes of a line, never empty, without the `\n`.
    let pushPart (part: ReadOnlySpan<byte>) (output: IBufferWriter<byte>) =
        let content = if inLine then part else Blanks.trimStart part
        let trimmed = Blanks.trimEnd content

        if not trimmed.IsEmpty then
            output.Write held.WrittenSpan
            Held.clear &held
            output.Write trimmed
            inLine <- true

        if inLine then
            Held.append
                held
                (content.Slice trimmed.Length)
                heldBytesMax
                "trim: blanks inside a line are"

        endsInReturn <- part[part.Length - 1] = '\r'B

    let startLine () =
        inLine <- false
        endsInReturn <- false
        Held.clear &held

    override _.ResetText() = startLine ()

    override _.PushText(text, output) =
        let mutable rest = text

        while not rest.IsEmpty do
            match rest.IndexOf '\n'B with
            | -1 ->
                pushPart rest output
                rest <- ReadOnlySpan.Empty
            | newline ->
                if newline > 0 then
                    pushPart (rest.Slice(0, newline)) output

                output.Write(if endsInReturn then "\r\n"B.AsSpan() else "\n"B.AsSpan())
                startLine ()
                rest <- rest.Slice(newline + 1)

    override _.FinishText _ = ()

/// `squeeze`: White_Space inside a line becomes one space.
[<Sealed>]
type internal SqueezeRun() =
    inherit TextRun()

    /// First bytes of White_Space; some other characters share them.
    static let starts =
        SearchValues.Create(ReadOnlySpan [| '\t'B; ' 'B; 0xC2uy; 0xE1uy; 0xE2uy; 0xE3uy |])

    let mutable inBlanks = false

    override _.ResetText() = inBlanks <- false

    override _.PushText(text, output) =
        let target = output.GetSpan text.Length
        let mutable read = 0
        let mutable written = 0

        while read < text.Length do
            let rest = text.Slice read
            let blank = Blanks.firstLength rest

            if blank > 0 && not (Blanks.isLineEnd rest) then
                if not inBlanks then
                    target[written] <- ' 'B
                    written <- written + 1

                inBlanks <- true
                read <- read + blank
            else
                // At least this character, even where its first byte is one of `starts`.
                let others =
                    match rest.Slice(1).IndexOfAny starts with
                    | -1 -> rest.Length
                    | index -> index + 1

                rest.Slice(0, others).CopyTo(target.Slice written)
                written <- written + others
                read <- read + others
                inBlanks <- false

        output.Advance written

    override _.FinishText _ = ()
