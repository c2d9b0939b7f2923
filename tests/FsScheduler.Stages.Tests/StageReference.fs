/// What each stage means, on whole strings, and texts to try it on.
module FsScheduler.Stages.Tests.StageReference

open System
open System.Buffers
open System.Numerics
open System.Text
open System.Text.RegularExpressions
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.TestKit

/// A letter with case, and what is looked past between it and a sigma, as far as the texts here have them.
let private cased = @"(?:[\p{Lu}\p{Ll}\p{Lt}ªºⅠⅰⒶⓐ]|𐐀|𝐀)"
let private ignorable = @"(?:[\p{Mn}\p{Me}\p{Cf}\p{Lm}\p{Sk}'’.:·]|𑄱|\ud804\udd27)*"

let private finalSigma = Regex $"(?<={cased}{ignorable})Σ(?!{ignorable}{cased})"

let private mapRunes (mapping: Rune -> string) (text: string) =
    text.EnumerateRunes() |> Seq.map mapping |> String.concat ""

let private lower (text: string) =
    finalSigma.Replace(text, "ς")
    |> mapRunes (fun rune ->
        if rune.Value = 0x130 then
            "i\u0307"
        else
            string (Rune.ToLowerInvariant rune))

let private upper =
    mapRunes (fun rune ->
        match string rune with
        | "ß" -> "SS"
        | "ŉ" -> "ʼN"
        | "ﬁ" -> "FI"
        | "ﬃ" -> "FFI"
        | "ΐ" -> "Ι\u0308\u0301"
        | "ᾳ" -> "ΑΙ"
        | "ᾷ" -> "Α\u0342Ι"
        | "ı" -> "I"
        | _ -> string (Rune.ToUpperInvariant rune))

/// Lines with their endings, the last one maybe without.
let private linesOf (text: string) =
    let lines = text.Split '\n'

    [|
        for line in lines[.. lines.Length - 2] do
            line + "\n"

        if lines[lines.Length - 1] <> "" then
            lines[lines.Length - 1]
    |]

let private trimLine (line: string) =
    let ending =
        // By code: culture would pass over a NUL between the two.
        if line.EndsWith("\r\n", StringComparison.Ordinal) then
            "\r\n"
        elif line.EndsWith '\n' then
            "\n"
        else
            ""

    line.Trim() + ending

let private nfd (text: string) = text.Normalize NormalizationForm.FormD
let private nfc (text: string) = text.Normalize NormalizationForm.FormC

let private letter =
    @"\A(?=\p{L})[\u0000-\u02AF\u0370-\u052F\u1D00-\u1DBF\u1E00-\u1FFF\uFB00-\uFB06]"

let private accents = @"[\u0300-\u034E\u0350-\u036F\u1DC4]"

/// In Form D: й, ў, ї, ѓ and ќ have no accents.
let private isOfLetter (letter: char) mark =
    Char.IsBetween(letter, '\u0400', '\u052F')
    && match mark with
       | "\u0304"
       | "\u0306"
       | "\u030B" -> true
       | "\u0308" -> not ("еЕ".Contains letter)
       | "\u0301" -> "гГкК".Contains letter
       | _ -> false

let private stripAccents (text: string) =
    // A character of two code units is none that has accents, but may have marks, or be one.
    Regex.Replace(
        text,
        @"(?:(?!\ud804[\udd27\udd31])[\ud800-\udbff][\udc00-\udfff]|[^\p{M}\u1160-\u11FF\ud800-\udfff]|\A)(?:[\p{M}\u1160-\u11FF]|\ud804[\udd27\udd31])*",
        fun cluster ->
            let decomposed = nfd cluster.Value

            if not (Regex.IsMatch(decomposed, letter)) then
                let composed = nfc cluster.Value

                if composed.Length < cluster.Value.Length then
                    composed
                else
                    cluster.Value
            else
                nfc (
                    Regex.Replace(
                        decomposed,
                        accents,
                        fun mark ->
                            if isOfLetter decomposed[0] mark.Value then
                                mark.Value
                            else
                                ""
                    )
                )
    )

/// Lines without their newlines.
let private contentsOf (text: string) =
    linesOf text |> Array.map (fun line -> line.TrimEnd '\n') |> List.ofArray

let private ended lines =
    lines |> List.map (fun line -> line + "\n") |> String.concat ""

let private codePoints (text: string) = [ for rune in text.EnumerateRunes() -> rune.Value ]

let private leading = Regex(@"\A\s*([+-]?)([0-9]*)(?:\.([0-9]*))?")

/// The leading number, as so many units of 10^-100.
let private numberOf (line: string) =
    let groups = (leading.Match line).Groups
    let fraction = groups[3].Value.PadRight(100, '0')
    let size = BigInteger.Parse("0" + groups[2].Value + fraction)
    if groups[1].Value = "-" then -size else size

let private sort isNumeric isDescending isUnique text =
    contentsOf text
    |> List.sortBy (fun line ->
        (if isNumeric then numberOf line else BigInteger.Zero), codePoints line)
    |> if isDescending then List.rev else id
    |> if isUnique then List.distinct else id
    |> ended

let private uniq text =
    let lines = contentsOf text

    List.zip lines (List.truncate lines.Length ("\n" :: lines))
    |> List.filter (fun (line, before) -> line <> before)
    |> List.map fst
    |> ended

let private wordsOf (text: string) =
    text.Split(Array.empty<char>, StringSplitOptions.RemoveEmptyEntries)

let private freq text =
    wordsOf text
    |> List.ofArray
    |> List.countBy id
    |> List.sortBy (fst >> codePoints)
    |> List.map (fun (word, count) -> $"{count}\t{word}")
    |> ended

let private top count text =
    contentsOf text
    |> List.sortBy (fun line -> -(numberOf line), codePoints line)
    |> List.truncate count
    |> ended

/// The stages that take lines or words together, each with its meaning for a text without a byte order mark.
let private plainAggregates: (string * (string -> string)) list = [
    "sort", sort false false false
    "sort:desc", sort false true false
    "sort:unique", sort false false true
    "sort:numeric", sort true false false
    "sort:unique,desc,numeric", sort true true true
    "uniq", uniq
    "freq", freq
    "top:0", top 0
    "top:3", top 3
    "top:1000000000000", top Int32.MaxValue
    "lines", linesOf >> (fun lines -> $"{lines.Length}\n")
    "words", wordsOf >> (fun words -> $"{words.Length}\n")
]

/// The stages on text, each with its meaning for a text without a byte order mark.
let plainStages: (string * (string -> string)) list = [
    "lower", lower
    "upper", upper
    "trim", linesOf >> Array.map trimLine >> String.concat ""
    "squeeze", (fun text -> Regex.Replace(text, @"[\t\p{Zs}]+", " "))
    "strip-accents", stripAccents
    "nfc", (fun text -> text.Normalize NormalizationForm.FormC)
    "grep:a", linesOf >> Array.filter _.Contains('a') >> String.concat ""
    "grep:É ç", linesOf >> Array.filter _.Contains("É ç") >> String.concat ""
    "replace:a/éé", _.Replace("a", "éé")
    @"replace:É ç/\/\\", _.Replace("É ç", @"/\")
    "replace:abab/", _.Replace("abab", "")
    "head:0", (fun _ -> "")
    "head:2", linesOf >> Array.truncate 2 >> String.concat ""
    yield! plainAggregates
]

/// Whether a stage keeps the byte order mark.
let keepsMark (wire: string) =
    not (List.contains (wire.Split(':')[0]) [ "freq"; "top"; "lines"; "words"; "bytes" ])

/// The mark in front of a text, and the text.
let splitMark (text: string) =
    if text.StartsWith '\uFEFF' then
        "\uFEFF", text.Substring 1
    else
        "", text

let private ofMarked (wire, meaning: string -> string) =
    wire,
    fun text ->
        let mark, text = splitMark text
        (if keepsMark wire then mark else "") + meaning text

/// The stages that take lines or words together, each with its meaning.
let aggregates = List.map ofMarked plainAggregates

/// The stages on text, each with its meaning.
let textStages = List.map ofMarked plainStages

let start (wire: string) =
    match Stage.parse wire |> Result.map BuiltIn.tryStart with
    | Ok(ValueSome run) ->
        run.Reset()
        run
    | other -> failwith $"{wire}: {other}"

/// Runs a stage over a payload that comes in pieces of these sizes, the rest in one.
let runPieces (wire: string) (sizes: int list) (payload: byte[]) =
    let run = start wire
    let output = ArrayBufferWriter<byte>()
    let mutable offset = 0

    for size in sizes do
        let size = min size (payload.Length - offset)
        run.Push(ReadOnlySpan(payload, offset, size), output)
        offset <- offset + size

    run.Push(ReadOnlySpan(payload, offset, payload.Length - offset), output)
    run.Finish output
    output.WrittenSpan.ToArray()

/// What a chain of plain stages means: all of them see the text, and the mark is in front of the result if all keep it.
let meansInRow (wires: string list) text =
    let meanings = Map plainStages
    let mark, text = splitMark text
    let result = (text, wires) ||> List.fold (fun text wire -> meanings[wire] text)
    (if List.forall keepsMark wires then mark else "") + result

/// Runs stages over a payload that is a piece, or is not.
let runAt place (wires: string list) (payload: byte[]) =
    let runner = StageRunner(BuiltIn.tryStart, 10_000_000)

    match runner.TryRun(Array.ofList wires, ReadOnlySpan payload, place) with
    | ValueSome result -> result.ToArray()
    | ValueNone -> failwith "too large"

/// A piece by its number, from 0.
let runPiece index =
    runAt (PayloadPlace.OfPiece(ValueSome index))

let runText wire (text: string) =
    Encoding.UTF8.GetString(runPieces wire [] (utf8 text))

/// Pieces of letters, marks, blanks and line ends that mean something to some stage.
let private fragment =
    Gen.frequency [
        6,
        Gen.elements [
            "a"
            "b"
            "abab"
            "Z"
            "É ç"
            "ção"
            "À"
            "×÷ß"
            "µÿª"
            "Olá, mundo. "
            "O sistema distribuído é poderoso."
        ]
        3,
        Gen.elements [
            " "
            "  "
            "\t"
            "\n"
            "\r\n"
            "\r"
            "\u00A0"
            "\u2003"
            "\u3000"
            "\u2028"
            "\u0085"
            "\v"
        ]
        3,
        Gen.elements [ "Σ"; "σ"; "Α"; "ΣΣ"; "'"; "."; ":"; "\u0301"; "\u00AD"; "ʰ"; "Ⅰ"; "ⓐ"; "º" ]
        2,
        Gen.elements [
            "e\u0301"
            "a\u0323\u0307"
            "\u0307\u0323"
            "각"
            "\u1100\u1161"
            "\u11A8"
            "か\u3099"
            "\u0F71\u0F72"
            "и\u0306"
            "ё"
            "ї"
            "за\u0301мок"
            "ế"
            "ñ"
            "हिन्दी"
            "ש\u05C1\u05B8"
            "\uFB2A"
            "\u0958"
            "❤\uFE0F"
            "\u200D"
        ]
        2,
        Gen.elements [
            "İ"
            "ı"
            "ŉ"
            "ﬁ"
            "ﬃ"
            "ΐ"
            "ᾳ"
            "ᾷ"
            "ǅ"
            "K"
            "Ⱥ"
            "Я"
            "中文"
            "\u212B"
            "“–”"
        ]
        1, Gen.elements [ "\uFEFF"; "\n\uFEFF"; "\n\uFEFF\uFEFFa" ]
        1, Gen.elements [ "😀"; "𐐀"; "𝐀"; "\u0000"; "\uFEFF"; "\uFFFD"; "𑄱\U00011127" ]
    ]

/// Valid text; some of it longer than what a stage looks at in one go.
let text =
    Gen.zip (Gen.frequency [ 3, Gen.constant ""; 1, Gen.constant "\uFEFF" ]) (Gen.listOf fragment)
    |> Gen.map (fun (mark, fragments) -> mark + String.concat "" fragments)
    |> Gen.bind (fun text ->
        Gen.frequency [ 9, Gen.constant 1; 1, Gen.constant (40_000 / (1 + text.Length)) ]
        |> Gen.map (fun times -> String.replicate times text))

/// Sizes of pieces, most of them smaller than a character can be.
let sizes =
    Gen.listOf (
        Gen.frequency [
            6, Gen.choose (0, 5)
            2, Gen.choose (6, 60)
            1, Gen.choose (10_000, 20_000)
        ]
    )
