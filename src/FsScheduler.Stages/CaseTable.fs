namespace FsScheduler.Stages

open System
open System.Collections.Generic
open System.Globalization
open System.Text

/// <summary>Full case mapping (Unicode, section 3.13) of the characters up to U+FFFF.</summary>
/// <param name="simple">Maps all characters of a string to one character each.</param>
/// <param name="full">Entries between spaces: a character, then the characters it maps to.</param>
/// <param name="exceptions">Characters that `simple` maps wrongly, and their mapping.</param>
[<Sealed>]
type internal CaseTable(simple: string -> string, full: string, exceptions: (char * char) list) =

    let entries = full.Split ' ' |> Array.map (fun entry -> entry[0], entry.Substring 1)

    let special =
        Dictionary(
            seq {
                for character, mapped in entries ->
                    KeyValuePair(character, Encoding.UTF8.GetBytes mapped)
            }
        )

    /// Mapped as one string, because each call of `simple` is a call into ICU.
    let mapped =
        let all =
            Array.init 65_536 (fun code ->
                if Char.IsSurrogate(char code) then '\000' else char code)

        let mapped = (simple (String all)).ToCharArray()

        for character, other in exceptions do
            mapped[int character] <- other

        for character, _ in entries do
            mapped[int character] <- CaseTable.Special

        mapped

    /// Marks in `Mapped` the characters to look up in `Full`. No character maps to a surrogate.
    static member val Special = '\uD800'

    /// The mapping to one character by code point, or `Special`.
    member _.Mapped = mapped

    /// The mapping in UTF-8 of a character that is `Special` in `Mapped`.
    member _.Full(character: char) : byte[] = special[character]

module internal CaseTables =

    /// The unconditional upper-case entries of SpecialCasing.txt (Unicode 15), as in `str.upper` of
    /// Python.
    let private fullUpper =
        "\u00DF\u0053\u0053 \u0149\u02BC\u004E \u01F0\u004A\u030C \u0390\u0399\u0308\u0301 \
         \u03B0\u03A5\u0308\u0301 \u0587\u0535\u0552 \u1E96\u0048\u0331 \u1E97\u0054\u0308 \
         \u1E98\u0057\u030A \u1E99\u0059\u030A \u1E9A\u0041\u02BE \u1F50\u03A5\u0313 \
         \u1F52\u03A5\u0313\u0300 \u1F54\u03A5\u0313\u0301 \u1F56\u03A5\u0313\u0342 \
         \u1F80\u1F08\u0399 \u1F81\u1F09\u0399 \u1F82\u1F0A\u0399 \u1F83\u1F0B\u0399 \
         \u1F84\u1F0C\u0399 \u1F85\u1F0D\u0399 \u1F86\u1F0E\u0399 \u1F87\u1F0F\u0399 \
         \u1F88\u1F08\u0399 \u1F89\u1F09\u0399 \u1F8A\u1F0A\u0399 \u1F8B\u1F0B\u0399 \
         \u1F8C\u1F0C\u0399 \u1F8D\u1F0D\u0399 \u1F8E\u1F0E\u0399 \u1F8F\u1F0F\u0399 \
         \u1F90\u1F28\u0399 \u1F91\u1F29\u0399 \u1F92\u1F2A\u0399 \u1F93\u1F2B\u0399 \
         \u1F94\u1F2C\u0399 \u1F95\u1F2D\u0399 \u1F96\u1F2E\u0399 \u1F97\u1F2F\u0399 \
         \u1F98\u1F28\u0399 \u1F99\u1F29\u0399 \u1F9A\u1F2A\u0399 \u1F9B\u1F2B\u0399 \
         \u1F9C\u1F2C\u0399 \u1F9D\u1F2D\u0399 \u1F9E\u1F2E\u0399 \u1F9F\u1F2F\u0399 \
         \u1FA0\u1F68\u0399 \u1FA1\u1F69\u0399 \u1FA2\u1F6A\u0399 \u1FA3\u1F6B\u0399 \
         \u1FA4\u1F6C\u0399 \u1FA5\u1F6D\u0399 \u1FA6\u1F6E\u0399 \u1FA7\u1F6F\u0399 \
         \u1FA8\u1F68\u0399 \u1FA9\u1F69\u0399 \u1FAA\u1F6A\u0399 \u1FAB\u1F6B\u0399 \
         \u1FAC\u1F6C\u0399 \u1FAD\u1F6D\u0399 \u1FAE\u1F6E\u0399 \u1FAF\u1F6F\u0399 \
         \u1FB2\u1FBA\u0399 \u1FB3\u0391\u0399 \u1FB4\u0386\u0399 \u1FB6\u0391\u0342 \
         \u1FB7\u0391\u0342\u0399 \u1FBC\u0391\u0399 \u1FC2\u1FCA\u0399 \u1FC3\u0397\u0399 \
         \u1FC4\u0389\u0399 \u1FC6\u0397\u0342 \u1FC7\u0397\u0342\u0399 \u1FCC\u0397\u0399 \
         \u1FD2\u0399\u0308\u0300 \u1FD3\u0399\u0308\u0301 \u1FD6\u0399\u0342 \
         \u1FD7\u0399\u0308\u0342 \u1FE2\u03A5\u0308\u0300 \u1FE3\u03A5\u0308\u0301 \
         \u1FE4\u03A1\u0313 \u1FE6\u03A5\u0342 \u1FE7\u03A5\u0308\u0342 \u1FF2\u1FFA\u0399 \
         \u1FF3\u03A9\u0399 \u1FF4\u038F\u0399 \u1FF6\u03A9\u0342 \u1FF7\u03A9\u0342\u0399 \
         \u1FFC\u03A9\u0399 \uFB00\u0046\u0046 \uFB01\u0046\u0049 \uFB02\u0046\u004C \
         \uFB03\u0046\u0046\u0049 \uFB04\u0046\u0046\u004C \uFB05\u0053\u0054 \
         \uFB06\u0053\u0054 \uFB13\u0544\u0546 \uFB14\u0544\u0535 \uFB15\u0544\u053B \
         \uFB16\u054E\u0546 \uFB17\u0544\u053D"

    /// .NET never maps the dotless i (for the sake of Windows), and the long s only with ICU.
    let upper = CaseTable(_.ToUpperInvariant(), fullUpper, [ 'ı', 'I'; 'ſ', 'S' ])

    /// `CaseRun` maps the capital sigma, whose mapping depends on the characters around it.
    let lower = CaseTable(_.ToLowerInvariant(), "\u0130\u0069\u0307", [])

    /// Case_Ignorable (Unicode, D136): skipped in the search for a letter with case before and
    /// after a sigma.
    let isIgnorable (rune: Rune) =
        match Rune.GetUnicodeCategory rune with
        | UnicodeCategory.NonSpacingMark
        | UnicodeCategory.EnclosingMark
        | UnicodeCategory.Format
        | UnicodeCategory.ModifierLetter
        | UnicodeCategory.ModifierSymbol -> true
        | _ ->
            // Word_Break is MidLetter, MidNumLet or Single_Quote.
            match rune.Value with
            | 0x27
            | 0x2E
            | 0x3A
            | 0xB7
            | 0x387
            | 0x55F
            | 0x5F4
            | 0x2018
            | 0x2019
            | 0x2024
            | 0x2027
            | 0xFE13
            | 0xFE52
            | 0xFE55
            | 0xFF07
            | 0xFF0E
            | 0xFF1A -> true
            | _ -> false

    /// Cased (Unicode, D135), asked only of characters that are not ignorable.
    let isCased (rune: Rune) =
        match Rune.GetUnicodeCategory rune with
        | UnicodeCategory.UppercaseLetter
        | UnicodeCategory.LowercaseLetter
        | UnicodeCategory.TitlecaseLetter -> true
        | _ ->
            let code = rune.Value

            // Other_Lowercase and Other_Uppercase: ordinals, Roman numerals, letters in circles and
            // squares.
            code = 0xAA
            || code = 0xBA
            || (code >= 0x2160 && code <= 0x217F)
            || (code >= 0x24B6 && code <= 0x24E9)
            || (code >= 0x1F130 && code <= 0x1F149)
            || (code >= 0x1F150 && code <= 0x1F169)
            || (code >= 0x1F170 && code <= 0x1F189)
