namespace FsScheduler.Core

open System
open System.Text
open System.Text.RegularExpressions

/// Files of some names go through a pipeline of their own.
type Route = {
    /// As it was written: `*` and `?` stand for characters of a part, `**` for any parts.
    pattern: string
    pipeline: Pipeline
    matcher: Regex
}

module Route =

    /// <summary>What a pattern matches. Without a `/`, the last part of a name, in any folder; with one, the whole
    /// name.</summary>
    let private regexOf (pattern: string) =
        let expression = StringBuilder "^"

        if not (pattern.Contains '/') then
            expression.Append "(?:.*/)?" |> ignore

        let rec from index =
            if index < pattern.Length then
                let rest = pattern.AsSpan index

                if rest.StartsWith "**/" then
                    expression.Append "(?:.*/)?" |> ignore
                    from (index + 3)
                elif rest.StartsWith "**" then
                    expression.Append ".*" |> ignore
                    from (index + 2)
                else
                    (match rest[0] with
                     | '*' -> expression.Append "[^/]*"
                     | '?' -> expression.Append "[^/]"
                     | character -> expression.Append(Regex.Escape(string character)))
                    |> ignore

                    from (index + 1)

        from 0

        // Without backtracking: a pattern takes no longer than the name is long.
        Regex(
            string (expression.Append '$'),
            RegexOptions.NonBacktracking
            ||| RegexOptions.CultureInvariant
            ||| RegexOptions.Singleline
        )

    /// <summary>Reads `PATTERN=PIPELINE`, such as `*.csv=grep:erro | words`.</summary>
    /// <param name="offered">Names of stages that are known beside the built-in ones.</param>
    /// <param name="text">The first `=` counts.</param>
    /// <returns>The route, or what is wrong with it.</returns>
    let parse offered (text: string) : Result<Route, string> =
        match text.IndexOf '=' with
        | -1 -> Error $"'{text}' has no '='; write PATTERN=PIPELINE, such as '*.csv=words'"
        | equals ->
            let pattern = text.Substring(0, equals).Trim()

            if pattern = "" then
                Error $"'{text}' has no pattern before its '='; '**' stands for every file"
            elif pattern.Length > TaskName.bytesMax then
                Error $"the pattern has more than {TaskName.bytesMax} characters"
            elif pattern.StartsWith '/' || pattern.Contains '\\' then
                Error
                    $"the pattern '{pattern}' is for a path relative to the input folder, with '/' between its parts"
            else
                Pipeline.parse offered (text.Substring(equals + 1))
                |> Result.mapError (fun error ->
                    $"in the pipeline for '{pattern}', {error.message}")
                |> Result.map (fun pipeline -> {
                    pattern = pattern
                    pipeline = pipeline
                    matcher = regexOf pattern
                })

    /// In a folder below that of inputs: the pipeline of the files in it and below it.
    let folderFile = "pipeline.txt"

    /// The largest one, in bytes.
    let folderFileMax: Size = 16_384L<B>

    /// Whether a file is no input, but says what is done with those around it.
    let isFolderFile (name: TaskName) =
        (TaskName.toString name).EndsWith("/" + folderFile, StringComparison.Ordinal)

    /// The folders that a file is in, from its own up to, and without, that of inputs.
    let foldersOf (name: TaskName) : string list =
        let rec above (path: string) =
            match path.LastIndexOf '/' with
            | -1 -> []
            | slash ->
                let folder = path.Substring(0, slash)
                folder :: above folder

        above (TaskName.toString name)

    let isMatch (name: TaskName) (route: Route) =
        route.matcher.IsMatch(TaskName.toString name)

    /// The first route that fits.
    let tryFind (routes: Route list) (name: TaskName) : Route option =
        routes |> List.tryFind (isMatch name)
