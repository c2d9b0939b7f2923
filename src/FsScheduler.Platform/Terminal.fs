namespace FsScheduler.Platform

open System
open System.Globalization
open System.IO
open System.Text
open FsScheduler.Core

/// ASCII that resembles a character that the charset of the locale lacks.
type internal NearestAscii() =

    static let readsLike (rune: Rune) =
        match rune.Value with
        | 0x2018
        | 0x2019 -> "'"
        | 0x201C
        | 0x201D -> "\""
        | 0x2010
        | 0x2011
        | 0x2012
        | 0x2013
        | 0x2014 -> "-"
        | 0x2022 -> "*"
        | 0x2026 -> "..."
        | 0x2190 -> "<-"
        | 0x2192 -> "->"
        | 0x20AC -> "EUR"
        | 0x2500
        | 0x2501 -> "-"
        | 0x2502
        | 0x2503 -> "|"
        | box when box > 0x2503 && box < 0x2580 -> "+"
        | _ ->
            let plain =
                (string rune).Normalize NormalizationForm.FormD
                |> String.filter (fun letter ->
                    CharUnicodeInfo.GetUnicodeCategory letter <> UnicodeCategory.NonSpacingMark)

            if plain <> "" && Seq.forall Char.IsAscii plain then
                plain
            else
                "?"

    /// The replacement of a character, never empty.
    static member Of(rune: Rune) : string = readsLike rune

type private NearestAsciiBuffer() =
    inherit EncoderFallbackBuffer()
    let mutable text = ""
    let mutable at = 0

    let start rune =
        text <- NearestAscii.Of rune
        at <- 0
        true

    override _.Fallback(high: char, low: char, _: int) = start (Rune(high, low))

    override _.Fallback(unknown: char, _: int) =
        match Rune.TryCreate unknown with
        | true, rune -> start rune
        | _ -> start Rune.ReplacementChar

    override _.GetNextChar() =
        if at < text.Length then
            at <- at + 1
            text[at - 1]
        else
            '\000'

    override _.MovePrevious() =
        if at > 0 then
            at <- at - 1
            true
        else
            false

    override _.Remaining = text.Length - at

    override _.Reset() =
        text <- ""
        at <- 0

type private NearestAsciiFallback() =
    inherit EncoderFallback()
    override _.MaxCharCount = 18 // the longest decomposition in Unicode
    override _.CreateFallbackBuffer() = NearestAsciiBuffer()

/// The wishes of locale, terminal and command line for the output.
module Terminal =

    let private variable name =
        match Environment.GetEnvironmentVariable name with
        | null
        | "" -> None
        | value -> Some value

    /// <summary>The charset that a locale names, such as ISO-8859-1 in <c>pt_BR.ISO-8859-1@euro</c>.</summary>
    /// <returns>None: it names none, as C and POSIX. Then the output is UTF-8, as file names are.</returns>
    let charsetOf (locale: string) : string option =
        match locale.IndexOf '.' with
        | -1 -> None
        | dot -> Some(locale.Substring(dot + 1).Split('@')[0])

    /// <summary>The encoding of a charset, with resembling ASCII for characters that it lacks.</summary>
    /// <returns>None: the charset is UTF-8, or unknown.</returns>
    let transliterating (charset: string) : Encoding option =
        if charset.Replace("-", "").ToLowerInvariant() = "utf8" then
            None
        else
            try
                Encoding.RegisterProvider CodePagesEncodingProvider.Instance

                Some(
                    Encoding.GetEncoding(
                        charset,
                        NearestAsciiFallback(),
                        DecoderFallback.ReplacementFallback
                    )
                )
            with :? ArgumentException ->
                None

    /// The locale by the variables of the environment, in the order of POSIX.
    let private locale () =
        [ "LC_ALL"; "LC_CTYPE"; "LANG" ] |> List.tryPick variable

    /// <summary>The encoding of the output.</summary>
    /// <param name="isJson">Whether standard output is for programs: then it is UTF-8, whatever the locale.</param>
    /// <returns>None: UTF-8.</returns>
    let encoding (isJson: bool) : Encoding option =
        if isJson || OperatingSystem.IsWindows() then
            None
        else
            locale () |> Option.bind charsetOf |> Option.bind transliterating

    let private isDumb () = variable "TERM" = Some "dumb"

    /// Whether standard output is a terminal that can draw.
    let isOutput () =
        not Console.IsOutputRedirected && not (isDumb ())

    /// Whether standard error is a terminal that can draw.
    let isError () =
        not Console.IsErrorRedirected && not (isDumb ())

    /// Whether colours are wanted: see no-color.org, and CLICOLOR of the BSDs.
    let hasColours () =
        (variable "NO_COLOR").IsNone
        && variable "CLICOLOR" <> Some "0"
        && not (isDumb ())

    /// The width in columns: COLUMNS, or that of the terminal, or 80.
    let width () =
        match variable "COLUMNS" |> Option.map Int32.TryParse with
        | Some(true, columns) when columns >= 20 && columns <= 10_000 -> columns
        | _ ->
            try
                if (isOutput () || isError ()) && Console.WindowWidth >= 20 then
                    Console.WindowWidth
                else
                    80
            with :? IOException ->
                80

    /// Foreign text with control characters replaced, so that it neither forges lines nor moves the cursor.
    let printable (text: string) =
        text |> String.map (fun letter -> if Char.IsControl letter then '?' else letter)

    /// `printable` that keeps line ends and tabs.
    let printableLines (text: string) =
        text
        |> String.map (fun letter ->
            if Char.IsControl letter && letter <> '\n' && letter <> '\t' then
                '?'
            else
                letter)

    /// Bytes as printable ASCII, others as `\xE9`.
    let private shown (bytes: byte[]) =
        bytes
        |> Seq.map (fun value ->
            if value >= 0x20uy && value < 0x7Fuy then
                string (char value)
            else
                $"\\x{value:X2}")
        |> String.concat ""

    /// <summary>The first of these arguments, each ended by a byte 0, that is not UTF-8, in printable form.</summary>
    /// <remarks>.NET decodes arguments as UTF-8: an invalid one silently names another file.</remarks>
    let findForeign (arguments: byte[]) : string option =
        if Unicode.Utf8.IsValid(ReadOnlySpan arguments) then
            None
        else
            let rec from start =
                match Array.IndexOf(arguments, 0uy, start) with
                | -1 -> arguments[start..]
                | ending when Unicode.Utf8.IsValid(ReadOnlySpan(arguments, start, ending - start)) ->
                    from (ending + 1)
                | ending -> arguments[start .. ending - 1]

            Some(shown (from 0))

    /// `findForeign` for this process, where the system tells its arguments.
    let foreignArgument () : string option =
        if OperatingSystem.IsLinux() then
            try
                File.ReadAllBytes "/proc/self/cmdline" |> findForeign
            with
            | :? IOException
            | :? UnauthorizedAccessException -> None
        else
            None
