namespace FsScheduler.Core

open System
open System.Text

/// How a program is run as a stage.
[<Struct>]
type ExecKind =
    /// `exec`: the payload on its standard input, the result from its standard output.
    | OnStreams
    /// `exec-file`: the paths of payload and result, in place of `{in}` and `{out}`.
    | OnFiles
    /// `exec-lines`: one process for many payloads, which answers each line with a line.
    | OnLines

/// A program and its arguments, passed without a shell.
type ExecCommand = { program: string; arguments: string[] }

/// Why a text is not a command, and where.
type ExecError = {
    /// Characters into the text, from 0.
    position: int
    message: string
}

module ExecCommand =

    /// The most arguments of a program.
    let argumentsMax = 200

    /// The stages that run a program, by name.
    let kinds = [ "exec", OnStreams; "exec-file", OnFiles; "exec-lines", OnLines ]

    let tryKind (name: string) : ExecKind voption =
        match name with
        | "exec" -> ValueSome OnStreams
        | "exec-file" -> ValueSome OnFiles
        | "exec-lines" -> ValueSome OnLines
        | _ -> ValueNone

    let nameOf (kind: ExecKind) =
        match kind with
        | OnStreams -> "exec"
        | OnFiles -> "exec-file"
        | OnLines -> "exec-lines"

    let private isBlank character = character = ' ' || character = '\t'

    let private fail position message : Result<'command, ExecError> =
        Error { position = position; message = message }

    /// The word that begins at `start`, and the index behind it.
    let private wordAt (text: string) start =
        let word = StringBuilder()

        // `opening`: the index of the open quote, or -1.
        let rec from index opening =
            if index = text.Length then
                if opening < 0 then
                    Ok struct (string word, index)
                else
                    fail opening $"the quote at character {opening + 1} is not closed"
            else
                match text[index] with
                | '\'' when opening < 0 -> from (index + 1) index
                | '\'' when index + 1 < text.Length && text[index + 1] = '\'' ->
                    word.Append '\'' |> ignore
                    from (index + 2) opening
                | '\'' -> from (index + 1) -1
                | character when opening < 0 && isBlank character -> Ok struct (string word, index)
                | '\000' -> fail index $"no argument can have the character NUL, as at {index + 1}"
                | character ->
                    word.Append character |> ignore
                    from (index + 1) opening

        from start -1

    /// <summary>Reads `PROGRAM ARGS`: words with blanks between them. Single quotes keep blanks; `''` inside them is a
    /// quote. No other character has a special meaning.</summary>
    /// <returns>The command; or why the text is none, and where.</returns>
    let parse (text: string) : Result<ExecCommand, ExecError> =
        let words = ResizeArray<string>()

        let rec from index =
            if index = text.Length then
                if words.Count = 0 then
                    fail 0 "there is no program to run"
                else
                    Ok {
                        program = words[0]
                        arguments = words.GetRange(1, words.Count - 1).ToArray()
                    }
            elif isBlank text[index] then
                from (index + 1)
            elif words.Count > argumentsMax then
                fail index $"a program has at most {argumentsMax} arguments"
            else
                match wordAt text index with
                | Error error -> Error error
                | Ok struct (word, _) when words.Count = 0 && not (ProtocolLimits.isProgram word) ->
                    fail
                        index
                        $"a program has 1 to {ProtocolLimits.programBytesMax} bytes, without control characters and commas"
                | Ok struct (word, ending) ->
                    words.Add word
                    from ending

        from 0

    /// The offer that a worker must make to be given the stage: `exec:PROGRAM`.
    let demand (kind: ExecKind) (program: string) = $"{nameOf kind}:{program}"

    /// The offers of a worker that may run these programs.
    let offers (programs: string seq) : string list = [
        for program in programs do
            for _, kind in kinds do
                demand kind program
    ]
