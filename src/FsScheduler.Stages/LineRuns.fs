namespace FsScheduler.Stages

open System
open System.Buffers
open System.Text

/// `grep`: the lines that contain `wanted`, compared by code points.
[<Sealed>]
type internal GrepRun(wanted: string) =
    inherit TextRun()

    static let heldBytesMax = 67_108_864

    let pattern = Encoding.UTF8.GetBytes wanted

    /// The unfinished line, as long as it does not match.
    let mutable held = Held.create ()

    /// The unfinished line matches: its bytes are written as they come.
    let mutable matches = false

    let contains (text: ReadOnlySpan<byte>) = text.IndexOf(ReadOnlySpan pattern) >= 0

    /// Appends to the held line, and writes the line once it matches. A match can only end in the
    /// new bytes, so earlier bytes are not searched again.
    let holdAndMatch (part: ReadOnlySpan<byte>) (output: IBufferWriter<byte>) =
        let searched = max 0 (held.WrittenCount - (pattern.Length - 1))
        Held.append held part heldBytesMax "grep: a line that does not match is"

        if contains (held.WrittenSpan.Slice searched) then
            output.Write held.WrittenSpan
            Held.clear &held
            matches <- true

    /// Takes text that begins with a line: writes matching lines, and holds an unfinished line.
    let pushLines (text: ReadOnlySpan<byte>) (output: IBufferWriter<byte>) =
        let mutable rest = text

        while not rest.IsEmpty do
            match rest.IndexOf(ReadOnlySpan pattern) with
            | -1 ->
                held.Write(rest.Slice(rest.LastIndexOf '\n'B + 1))
                rest <- ReadOnlySpan.Empty
            | index ->
                let line = rest.Slice(rest.Slice(0, index).LastIndexOf '\n'B + 1)

                match line.IndexOf '\n'B with
                | -1 ->
                    output.Write line
                    matches <- true
                    rest <- ReadOnlySpan.Empty
                | newline ->
                    output.Write(line.Slice(0, newline + 1))
                    rest <- line.Slice(newline + 1)

    override _.ResetText() =
        matches <- false
        Held.clear &held

    override _.PushText(text, output) =
        if not matches && held.WrittenCount = 0 then
            pushLines text output
        else
            // The rest of the unfinished line.
            let lineLength =
                match text.IndexOf '\n'B with
                | -1 -> text.Length
                | newline -> newline + 1

            let part = text.Slice(0, lineLength)

            if matches then
                output.Write part
            else
                holdAndMatch part output

            if part[part.Length - 1] = '\n'B then
                matches <- false
                Held.clear &held
                pushLines (text.Slice lineLength) output

    override _.FinishText _ = ()

/// `head`: the first `count` lines. The lines after them are read too: the whole payload must be
/// valid UTF-8.
[<Sealed>]
type internal HeadRun(count: int64) =
    inherit TextRun()

    let mutable left = count

    override _.ResetText() = left <- count

    override _.PushText(text, output) =
        let mutable length = 0

        while left > 0L && length < text.Length do
            match text.Slice(length).IndexOf '\n'B with
            | -1 -> length <- text.Length
            | newline ->
                length <- length + newline + 1
                left <- left - 1L

        output.Write(text.Slice(0, length))

    override _.FinishText _ = ()

/// `replace`: replaces each occurrence of the old text, from left to right, by the new text.
[<Sealed>]
type internal ReplaceRun(oldText: string, newText: string) =
    inherit TextRun()

    let oldBytes = Encoding.UTF8.GetBytes oldText
    let newBytes = Encoding.UTF8.GetBytes newText

    /// The end of the text so far, where an occurrence may have begun.
    let held = Held.create ()

    /// Bytes at the end of the text that may begin an occurrence: the longest end that is a
    /// beginning of the old text, but not all of it.
    let begunLength (text: ReadOnlySpan<byte>) =
        let mutable length = min text.Length (oldBytes.Length - 1)

        while not (text.EndsWith(ReadOnlySpan(oldBytes, 0, length))) do
            length <- length - 1

        length

    override _.ResetText() = held.ResetWrittenCount()

    override _.PushText(text, output) =
        held.Write text
        let mutable rest = held.WrittenSpan
        let mutable index = rest.IndexOf(ReadOnlySpan oldBytes)

        while index >= 0 do
            output.Write(rest.Slice(0, index))
            output.Write(ReadOnlySpan newBytes)
            rest <- rest.Slice(index + oldBytes.Length)
            index <- rest.IndexOf(ReadOnlySpan oldBytes)

        let begun = begunLength rest
        output.Write(rest.Slice(0, rest.Length - begun))
        held.ResetWrittenCount()
        // `rest` is in the buffer of `held`: this moves its end to the front.
        held.Write(rest.Slice(rest.Length - begun))

    override _.FinishText output = output.Write held.WrittenSpan
