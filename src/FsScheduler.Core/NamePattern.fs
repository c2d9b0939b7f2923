namespace FsScheduler.Core

open System
open System.Text

/// A pattern for file names, as in a shell. Only `NamePattern.parse` makes one.
[<CustomEquality; NoComparison>]
type NamePattern = private {
    text: string
    /// One pattern for each choice of its braces.
    choices: PatternPart[][]
} with

    override pattern.ToString() = pattern.text
    override pattern.GetHashCode() = pattern.text.GetHashCode()

    override pattern.Equals other =
        match other with
        | :? NamePattern as other -> other.text = pattern.text
        | _ -> false

/// Patterns as in a shell. Names and patterns are compared in Normalization Form C, by code points, with case.
module NamePattern =

    /// Normalization Form C. .NET refuses U+FFFE, which is valid and composes with no other character.
    let private compose (text: string) =
        if Ascii.IsValid text then
            text
        elif text.Contains '\uFFFE' then
            String.Join(
                '\uFFFE',
                text.Split '\uFFFE' |> Array.map _.Normalize(NormalizationForm.FormC)
            )
        else
            text.Normalize NormalizationForm.FormC

    /// Whether a pattern has a shell group: `(a|b)` or, at the beginning of a part, `!(a)`. Other parentheses are in
    /// many names.
    let private isParenthesized (text: string) =
        let opening = text.IndexOf '('

        let isBehindSign =
            opening > 0
            && "+@!".Contains text[opening - 1]
            && (opening = 1 || text[opening - 2] = '/')

        opening >= 0
        && text.IndexOf(')', opening) > 0
        && (text.IndexOf('|', opening) > 0 || isBehindSign)

    /// <summary>Reads a pattern such as `*.{csv,tsv}`, `sub/**` or `./[!a-m]?.txt`.</summary>
    /// <remarks>`*` stands for any characters of one part and `?` for one code point, `[ab0-9]` for one of these and
    /// `[!ab]` for one of the others, `{a,b}` for each of these texts, and `**`, as a whole part, for any number of
    /// parts. A pattern without `/` is compared with the last part of a name; one with `/` with the whole name, and
    /// `./` at its beginning stands for the input folder.</remarks>
    /// <returns>The pattern, or why the text is none and what to write, as the end of a sentence.</returns>
    let parse (text: string) : Result<NamePattern, string> =
        if String.IsNullOrWhiteSpace text then
            Error "it is empty; '**' stands for every file"
        elif text.Length > TaskName.bytesMax then
            Error $"it has more than {TaskName.bytesMax} characters"
        elif text.Contains '\\' then
            Error
                "it has a backslash; write '/' between the parts of a path, and [*], [?], [[] or [{] for these characters themselves"
        elif isParenthesized text then
            Error
                "it has choices in parentheses; write them as {csv,tsv}, and [(] for the character itself"
        else
            PatternReader.read (compose text)
            |> Result.map (fun choices -> { text = text; choices = choices })

    /// <summary>What is wrong with a pattern that begins with the input folder itself.</summary>
    /// <param name="folder">The input folder, as it was named.</param>
    /// <param name="text">A pattern that `parse` takes.</param>
    let insideFault (folder: string) (text: string) : string option =
        let parts (path: string) =
            path.Split('/', StringSplitOptions.RemoveEmptyEntries)
            |> Array.skipWhile ((=) ".")

        let named = parts (compose folder)
        let written = parts (compose text)

        if
            named.Length > 0
            && not (text.StartsWith("./", StringComparison.Ordinal))
            && written.Length > named.Length
            && Array.take named.Length written = named
        then
            let below = String.Join('/', Array.skip named.Length written)

            Some
                $"it begins with the input folder; write './{below}', or './{text}' for a folder of that name in it"
        else
            None

    let private isOne token code =
        match token with
        | Literal literal -> literal = code
        | AnyOne -> true
        | AnyRun -> false
        | OneOf(isNegated, ranges) ->
            isNegated
            <> (ranges
                |> Array.exists (fun (struct (first, last)) -> first <= code && code <= last))

    /// Whether items fit tokens, of which a star fits any items. Each star takes as few as it can; on a mismatch only the
    /// last star takes more, since earlier ones need not.
    let inline private fit
        ([<InlineIfLambda>] isStar: 'token -> bool)
        ([<InlineIfLambda>] isOne: 'token -> 'item -> bool)
        (tokens: 'token[])
        (items: 'item[])
        =
        let mutable token = 0
        let mutable index = 0
        let mutable star = -1
        let mutable starIndex = 0
        let mutable fits = true

        while fits && (index < items.Length || token < tokens.Length) do
            if token < tokens.Length && isStar tokens[token] then
                star <- token
                starIndex <- index
                token <- token + 1
            elif
                index < items.Length
                && token < tokens.Length
                && isOne tokens[token] items[index]
            then
                token <- token + 1
                index <- index + 1
            elif star >= 0 && starIndex < items.Length then
                starIndex <- starIndex + 1
                index <- starIndex
                token <- star + 1
            else
                fits <- false

        fits

    let private isPartMatch tokens codes =
        fit (fun (token: PatternToken) -> token.IsAnyRun) isOne tokens codes

    let private isPart part codes =
        match part with
        | Tokens tokens -> isPartMatch tokens codes
        | AnyParts -> false

    let private isChoiceMatch parts (names: int[][]) =
        fit (fun (part: PatternPart) -> part.IsAnyParts) isPart parts names

    let private namesOf (path: string) =
        (compose path).Split '/' |> Array.map PatternReader.codePoints

    /// <summary>Whether a path fits a pattern.</summary>
    /// <param name="path">A relative path with `/` between its parts.</param>
    /// <param name="pattern">The pattern.</param>
    let isMatch (path: string) (pattern: NamePattern) : bool =
        let names = namesOf path
        pattern.choices |> Array.exists (fun parts -> isChoiceMatch parts names)

    let private foldToken token =
        let fold (code: int) =
            (Rune.ToLowerInvariant(Rune code)).Value

        match token with
        | Literal code -> Literal(fold code)
        | OneOf(false, ranges) ->
            // Both cases of a range: exact enough for a hint to a person.
            OneOf(
                false,
                [|
                    for struct (first, last) in ranges do
                        struct (first, last)
                        struct (fold first, fold last)
                |]
            )
        | OneOf(true, _)
        | AnyOne
        | AnyRun -> token

    /// `isMatch` without regard to case, for a hint why a pattern fits no file.
    let isMatchIgnoringCase (path: string) (pattern: NamePattern) : bool =
        let folded =
            pattern.choices
            |> Array.map (
                Array.map (function
                    | AnyParts -> AnyParts
                    | Tokens tokens -> Tokens(Array.map foldToken tokens))
            )

        let names = namesOf (path.ToLowerInvariant())
        folded |> Array.exists (fun parts -> isChoiceMatch parts names)
