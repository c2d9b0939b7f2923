namespace FsScheduler.Stages

open System
open System.Buffers

/// A stage that decodes other bytes to UTF-8. The result has no byte order mark: U+FEFF at its
/// beginning is a character.
[<AbstractClass>]
type internal DecodeRun() =
    inherit StageRun()

/// <summary>Decodes each byte to one character; all bytes are valid.</summary>
/// <param name="encoded">The UTF-8 of each of the 256 bytes, at most 3 bytes; each ASCII byte must
/// be its own UTF-8.</param>
[<AbstractClass>]
type internal SingleByteRun(encoded: byte[][]) =
    inherit DecodeRun()

    static let encodedMax = 3

    override _.Reset() = ()

    override _.Push(input, output) =
        let mutable rest = input

        while not rest.IsEmpty do
            let piece = rest.Slice(0, min rest.Length TextRun.PieceBytesMax)
            rest <- rest.Slice piece.Length
            let target = output.GetSpan(encodedMax * piece.Length)
            let mutable read = 0
            let mutable written = 0

            while read < piece.Length do
                let from = piece.Slice read

                let ascii =
                    match from.IndexOfAnyExceptInRange(0uy, 0x7Fuy) with
                    | -1 -> from.Length
                    | index -> index

                from.Slice(0, ascii).CopyTo(target.Slice written)
                read <- read + ascii
                written <- written + ascii

                if read < piece.Length then
                    let bytes = encoded[int piece[read]]
                    bytes.AsSpan().CopyTo(target.Slice written)
                    read <- read + 1
                    written <- written + bytes.Length

            output.Advance written

    override _.Finish _ = ()

/// `latin1`: ISO-8859-1 to UTF-8.
[<Sealed>]
type internal Latin1Run() =
    inherit SingleByteRun(Latin1Run.Encoded)

    static member val private Encoded =
        Array.init 256 (fun value -> Text.Encoding.UTF8.GetBytes(string (char value)))

module internal Count =

    /// Writes the count in decimal, and a newline.
    let write (count: int64) (output: IBufferWriter<byte>) =
        let target = output.GetSpan 24
        let mutable written = 0
        count.TryFormat(target, &written) |> ignore
        target[written] <- '\n'B
        output.Advance(written + 1)

/// `bytes`: the size in bytes of a payload of any format.
[<Sealed>]
type internal BytesRun() =
    inherit StageRun()

    let mutable count = 0L

    override _.Reset() = count <- 0L
    override _.Push(input, _) = count <- count + int64 input.Length
    override _.Finish output = Count.write count output

/// `lines`: the number of lines; a last line without a newline counts.
[<Sealed>]
type internal LinesRun() =
    inherit TextRun()

    let mutable count = 0L
    let mutable inLine = false

    override _.KeepsMark = false

    override _.ResetText() =
        count <- 0L
        inLine <- false

    override _.PushText(text, _) =
        count <- count + int64 (text.Count '\n'B)
        inLine <- text[text.Length - 1] <> '\n'B

    override _.FinishText output =
        Count.write (if inLine then count + 1L else count) output

/// `words`: the number of words, which are runs of characters other than White_Space.
[<Sealed>]
type internal WordsRun() =
    inherit TextRun()

    let mutable count = 0L
    let mutable inWord = false

    override _.KeepsMark = false

    override _.ResetText() =
        count <- 0L
        inWord <- false

    override _.PushText(text, _) =
        let mutable read = 0

        while read < text.Length do
            match Blanks.firstLength (text.Slice read) with
            | 0 ->
                if not inWord then
                    count <- count + 1L

                inWord <- true
                // One byte on: no later byte of a character is the first byte of White_Space.
                read <- read + 1
            | length ->
                inWord <- false
                read <- read + length

    override _.FinishText output = Count.write count output
