namespace FsScheduler.Core

open System
open System.Collections.Generic
open System.Text

/// One element of a pattern, in code points.
type internal PatternToken =
    | Literal of int
    /// `?`
    | AnyOne
    /// `*`
    | AnyRun
    /// `[…]`: its ranges; negated, any code point outside of them.
    | OneOf of isNegated: bool * ranges: struct (int * int)[]

/// The part of a pattern between two slashes.
type internal PatternPart =
    /// `**`: any parts, also none.
    | AnyParts
    | Tokens of PatternToken[]

/// Parses patterns, in composed code points.
module internal PatternReader =

    /// The most patterns that braces may make of one.
    let choicesMax = 256

    let codePoints (text: string) = [| for rune in text.EnumerateRunes() -> rune.Value |]

    let private print (code: int) = Rune(code).ToString()

    let private isCode (code: int) (character: char) = code = int character

    /// Where the class that opens at `start` has its closing `]`, which is not its first character after `!` or `^`.
    let private classEnd (codes: int[]) start =
        let first =
            if
                start + 1 < codes.Length
                && (isCode codes[start + 1] '!' || isCode codes[start + 1] '^')
            then
                start + 2
            else
                start + 1

        match Array.IndexOf(codes, int ']', min codes.Length (first + 1)) with
        | -1 -> Error "its '[' is not closed; write [[] for the character itself"
        | ending -> Ok struct (first, ending)

    let private classAt (codes: int[]) start =
        match classEnd codes start with
        | Error error -> Error error
        | Ok struct (first, ending) ->
            let body = codes[first .. ending - 1]
            let ranges = List<struct (int * int)>()

            let rec from index =
                if index >= body.Length then
                    Ok struct (OneOf((first = start + 2), ranges.ToArray()), ending + 1)
                elif isCode body[index] '/' then
                    Error "a '/' is never in brackets"
                elif
                    isCode body[index] '['
                    && index + 1 < body.Length
                    && (isCode body[index + 1] ':'
                        || isCode body[index + 1] '.'
                        || isCode body[index + 1] '=')
                then
                    Error "it has a class by name; write its characters, such as [0-9] or [a-zA-Z]"
                elif index + 2 < body.Length && isCode body[index + 1] '-' then
                    if body[index] > body[index + 2] then
                        Error
                            $"the range {print body[index]}-{print body[index + 2]} goes backwards"
                    elif body[index] <= int '/' && int '/' <= body[index + 2] then
                        Error "a '/' is never in brackets"
                    else
                        ranges.Add(struct (body[index], body[index + 2]))
                        from (index + 3)
                else
                    ranges.Add(struct (body[index], body[index]))
                    from (index + 1)

            from 0

    /// <summary>One pattern without braces for each combination of alternatives.</summary>
    /// <remarks>A class is kept whole, so that `[{]` and `[,]` are these characters.</remarks>
    let private expand (codes: int[]) : Result<int[] list, string> =
        let slice first ending = codes[first .. ending - 1]

        /// The texts from `index` on, and where they end: at `,` or `}` inside braces, else at the end.
        let rec sequence
            isInside
            index
            (heads: int[] list)
            : Result<struct (int[] list * int), string> =
            if heads.Length > choicesMax then
                Error $"its braces make more than {choicesMax} patterns"
            elif index = codes.Length then
                Ok struct (heads, index)
            elif isInside && (isCode codes[index] ',' || isCode codes[index] '}') then
                Ok struct (heads, index)
            elif isCode codes[index] '[' then
                match classEnd codes index with
                | Error error -> Error error
                | Ok struct (_, ending) ->
                    let text = slice index (ending + 1)

                    sequence isInside (ending + 1) [ for head in heads -> Array.append head text ]
            elif isCode codes[index] '{' then
                match choices (index + 1) [] with
                | Error error -> Error error
                | Ok struct ([ only ], ending) ->
                    let inside = String.Join("", Seq.map print only)

                    if inside.Contains ".." then
                        Error
                            $"'{{{inside}}}' is a sequence; write its members, as in {{1,2,3}}, or a range, as in [1-3]"
                    else
                        Error
                            $"'{{{inside}}}' has no comma; write {inside}, or [{{] for the character itself"
                | Ok struct (texts, ending) ->
                    sequence isInside ending [
                        for head in heads do
                            for text in texts do
                                Array.append head text
                    ]
            elif isCode codes[index] '}' then
                Error "its '}' closes nothing; write [}] for the character itself"
            else
                let ending =
                    match
                        Array.FindIndex(
                            codes,
                            index + 1,
                            fun code -> code < 0x80 && "[{},".Contains(char code)
                        )
                    with
                    | -1 -> codes.Length
                    | ending -> ending

                let text = slice index ending
                sequence isInside ending [ for head in heads -> Array.append head text ]

        /// The alternatives of braces, from behind the opening one, and the index behind the closing one.
        and choices index found =
            match sequence true index [ [||] ] with
            | Error error -> Error error
            | Ok struct (_, ending) when ending = codes.Length ->
                Error "its '{' is not closed; write [{] for the character itself"
            | Ok struct (texts, ending) ->
                let found = found @ texts

                if isCode codes[ending] ',' then
                    choices (ending + 1) found
                else
                    Ok struct (found, ending + 1)

        sequence false 0 [ [||] ]
        |> Result.map (fun (struct (texts, _)) -> List.distinct texts)

    let private tokens (codes: int[]) =
        let tokens = List<PatternToken>()

        let rec from index =
            if index = codes.Length then
                Ok(Tokens(tokens.ToArray()))
            elif isCode codes[index] '[' then
                match classAt codes index with
                | Error error -> Error error
                | Ok struct (token, next) ->
                    tokens.Add token
                    from next
            else
                tokens.Add(
                    match codes[index] with
                    | code when isCode code '*' -> AnyRun
                    | code when isCode code '?' -> AnyOne
                    | code -> Literal code
                )

                from (index + 1)

        if codes = [| int '*'; int '*' |] then
            Ok AnyParts
        elif
            Array.pairwise codes
            |> Array.exists (fun (left, right) -> isCode left '*' && isCode right '*')
        then
            Error "'**' stands for whole parts of a path; write '*', or '**/*' with what follows"
        else
            from 0

    /// The parts between slashes. Slashes in brackets stay, for `classAt` to refuse.
    let private split (codes: int[]) =
        let rec from start index =
            if index = codes.Length then
                [ codes[start..] ]
            elif isCode codes[index] '/' then
                codes[start .. index - 1] :: from (index + 1) (index + 1)
            elif isCode codes[index] '[' then
                match classEnd codes index with
                | Ok struct (_, ending) -> from start (ending + 1)
                | Error _ -> from start (index + 1)
            else
                from start (index + 1)

        from 0 0

    let private traverse
        (read: 'a -> Result<'b, string>)
        (items: 'a list)
        : Result<'b list, string> =
        (Ok [], items)
        ||> List.fold (fun results item ->
            match results, read item with
            | Error error, _
            | Ok _, Error error -> Error error
            | Ok items, Ok item -> Ok(item :: items))
        |> Result.map List.rev

    /// Parses a pattern without braces. A pattern without `/` is for the last part of a name, in any folder.
    let private choice (codes: int[]) : Result<PatternPart[], string> =
        let text = String.Join("", Seq.map print codes)
        let below = String.Join('/', text.Split('/', StringSplitOptions.RemoveEmptyEntries))

        let parts =
            match split codes with
            | [ [| dot |]; _ ] as parts when isCode dot '.' -> List.tail parts
            | [| dot |] :: rest when isCode dot '.' && not rest.IsEmpty -> rest
            | [ _ ] as parts -> [| int '*'; int '*' |] :: parts
            | parts -> parts

        let last = List.last parts

        if codes.Length = 0 then
            Error "one of its choices is empty"
        elif isCode codes[0] '/' then
            Error
                "it is absolute; write a path relative to the input folder, such as './*.csv' or 'sub/*.csv'"
        elif text.StartsWith("~/", StringComparison.Ordinal) then
            Error
                "it begins with '~'; write a path relative to the input folder, such as './*.csv' or 'sub/*.csv'"
        elif last.Length = 0 then
            Error $"it ends with a '/'; write '{below}/**' for all files in that folder"
        elif List.exists Array.isEmpty parts then
            Error $"it has two '/' in a row; write '{below}'"
        elif
            parts
            |> List.exists (fun part -> part = [| int '.' |] || part = [| int '.'; int '.' |])
        then
            Error
                "it has a part '.' or '..'; names are paths below the input folder, as './*.csv' or 'sub/*.csv'"
        else
            traverse tokens parts
            |> Result.map (fun parts ->
                // `sub/**` is for files, and a folder is no file.
                if (List.last parts).IsAnyParts then
                    Array.ofList (parts @ [ Tokens [| AnyRun |] ])
                else
                    Array.ofList parts)

    /// <summary>Parses a pattern into one pattern for each choice of its braces.</summary>
    /// <returns>The parts of each, or why the text is no pattern, as the end of a sentence.</returns>
    let read (text: string) : Result<PatternPart[][], string> =
        expand (codePoints text)
        |> Result.bind (traverse choice)
        |> Result.map Array.ofList
