/// The accents that `strip-accents` removes from letters of Latin, Greek and Cyrillic script.
module internal FsScheduler.Stages.Accents

open System
open System.Globalization
open System.Text

type private Script =
    | Cyrillic
    /// Latin or Greek.
    | Western
    | Other

let private scriptOf (rune: Rune) =
    if not (Rune.IsLetter rune) then
        Other
    else
        match rune.Value with
        | code when code < 0x250 -> Western
        | code when code >= 0x250 && code <= 0x2AF -> Western
        // The Greek block, without its Coptic letters (U+03E2 to U+03EF).
        | code when code >= 0x370 && code <= 0x3FF && not (code >= 0x3E2 && code <= 0x3EF) ->
            Western
        | code when code >= 0x400 && code <= 0x52F -> Cyrillic
        | code when code >= 0x1C80 && code <= 0x1C8F -> Cyrillic
        | code when code >= 0x1D00 && code <= 0x1DBF -> Western
        | code when code >= 0x1E00 && code <= 0x1FFF -> Western
        | code when code >= 0x2C60 && code <= 0x2C7F -> Western
        | code when code >= 0xA640 && code <= 0xA69F -> Cyrillic
        | code when code >= 0xA720 && code <= 0xA7FF -> Western
        | code when code >= 0xAB30 && code <= 0xAB6F -> Western
        | code when code >= 0xFB00 && code <= 0xFB06 -> Western
        | code when code >= 0xFF21 && code <= 0xFF5A -> Western
        | _ -> Other

/// The blocks of combining diacritical marks. U+034F, the grapheme joiner, is invisible and stays.
let private isDiacritic (code: int) =
    (code >= 0x300 && code <= 0x36F && code <> 0x34F)
    || (code >= 0x1AB0 && code <= 0x1AFF)
    || (code >= 0x1DC0 && code <= 0x1DFF)
    || (code >= 0xFE20 && code <= 0xFE2F)

/// Whether a mark makes another Cyrillic letter, rather than accent the letter: macron, breve,
/// two dots and double acute (й, ў, ї), and the acute on г and к. The dots of ё are an accent,
/// because many texts write е for ё.
let private isOfLetter (letter: Rune) (mark: int) =
    match mark with
    | 0x304
    | 0x306
    | 0x30B -> true
    | 0x308 -> not ("еЕ".Contains(string letter))
    | 0x301 -> "гГкК".Contains(string letter)
    | _ -> false

/// Whether a character extends the character before: a mark, or a vowel or final consonant of a
/// Hangul syllable.
let isExtending (rune: Rune) =
    match Rune.GetUnicodeCategory rune with
    | UnicodeCategory.NonSpacingMark
    | UnicodeCategory.SpacingCombiningMark
    | UnicodeCategory.EnclosingMark -> true
    | _ -> rune.Value >= 0x1160 && rune.Value <= 0x11FF

let private decompose (text: string) =
    Unnormalizable.normalize NormalizationForm.FormD text

let private compose (text: string) =
    Unnormalizable.normalize NormalizationForm.FormC text

/// A letter and its marks, decomposed, as composed text without the accents.
let private ofLetter (letter: Rune) script (decomposed: string) =
    let kept = StringBuilder()

    for rune in decomposed.EnumerateRunes() do
        let isAccent =
            isDiacritic rune.Value
            && (script = Western || not (isOfLetter letter rune.Value))

        if not isAccent then
            kept.Append(rune.ToString()) |> ignore

    compose (string kept)

/// A character and its extending characters, without accents. A character of another script keeps
/// its marks, and is composed where that is shorter.
let private ofCluster (text: string) =
    let first = Rune.GetRuneAt(text, 0)

    // The signs for ohm, kelvin and ångström decompose to Greek and Latin letters.
    if scriptOf first = Other && not (first.Value >= 0x2126 && first.Value <= 0x212B) then
        if text.Length = first.Utf16SequenceLength then
            text
        else
            let composed = compose text
            if composed.Length < text.Length then composed else text
    else
        let decomposed = decompose text
        let letter = Rune.GetRuneAt(decomposed, 0)

        match scriptOf letter with
        | Other -> text
        | script -> ofLetter letter script decomposed

/// Each character up to U+FFFF without accents, if no character extends it; null: not computed yet.
let private alone: (string | null)[] = Array.zeroCreate 0x10000

let private ofCharacter (character: char) =
    match alone[int character] with
    | null ->
        // Two threads may compute the same string: either can stay.
        let stripped = ofCluster (string character)
        alone[int character] <- stripped
        stripped
    | stripped -> stripped

let private appendCluster (stripped: StringBuilder) (text: string) start ending =
    if ending - start = 1 then
        stripped.Append(ofCharacter text[start]) |> ignore
    else
        stripped.Append(ofCluster (text.Substring(start, ending - start))) |> ignore

/// <summary>Removes accents.</summary>
/// <param name="text">Valid UTF-16 that includes all marks of its last character.</param>
let strip (text: string) : string =
    let stripped = StringBuilder text.Length
    let mutable start = 0
    let mutable index = 0

    for rune in text.EnumerateRunes() do
        if index > start && not (isExtending rune) then
            appendCluster stripped text start index
            start <- index

        index <- index + rune.Utf16SequenceLength

    if index > start then
        appendCluster stripped text start index

    string stripped
