namespace FsScheduler.Core

open System
open System.Text

/// The name of a file or of a submitted payload: a relative path with `/` between its parts. Only `TaskName.parse`
/// makes a TaskName, so none leads out of its folder.
[<Struct>]
type TaskName =
    private
    | TaskName of string

    override name.ToString() = let (TaskName text) = name in text

module TaskName =

    /// The longest part of a name, in bytes of UTF-8.
    let partBytesMax = 200

    /// The longest name, in bytes of UTF-8.
    let bytesMax = 2_000

    let private refusal (part: string) =
        if part = "" then
            Some "it has an empty part"
        elif part = "." || part = ".." then
            Some $"the part '{part}' could lead out of its folder"
        elif Encoding.UTF8.GetByteCount part > partBytesMax then
            Some $"one of its parts is over {partBytesMax} bytes"
        elif part |> Seq.exists Char.IsControl then
            Some "it has a control character"
        else
            None

    /// EnumerateRunes reads half a surrogate pair as U+FFFD. A name with U+FFFD was not Unicode on the disk: as text it
    /// would name another file, or none.
    let private isUnicode (text: string) =
        let mutable valid = true

        for rune in text.EnumerateRunes() do
            valid <- valid && rune <> Rune.ReplacementChar

        valid

    /// <summary>Checks a name.</summary>
    /// <returns>The name, or why the text is none, as the end of a sentence.</returns>
    let parse (text: string) : Result<TaskName, string> =
        if text = "" then
            Error "it is empty"
        elif text[0] = '/' then
            Error "it is absolute; use a path relative to the folder"
        elif Encoding.UTF8.GetByteCount text > bytesMax then
            Error $"it is over {bytesMax} bytes"
        elif not (isUnicode text) then
            Error "it is not valid Unicode"
        else
            match text.Split '/' |> Array.tryPick refusal with
            | Some reason -> Error reason
            | None -> Ok(TaskName text)

    /// The name as it was given to `parse`.
    let toString (TaskName text) = text
