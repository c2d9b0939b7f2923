namespace FsScheduler.Core

open System

/// The pipeline of files whose names fit a pattern.
type Route = { pattern: NamePattern; pipeline: Pipeline }

module Route =

    /// <summary>Reads `PATTERN=PIPELINE`, such as `*.csv=grep:erro | words`.</summary>
    /// <param name="offered">Offers known beside the built-in stages.</param>
    /// <param name="text">The route; its first `=` separates pattern and pipeline.</param>
    /// <returns>The route, or why the text is none.</returns>
    let parse offered (text: string) : Result<Route, string> =
        match text.IndexOf '=' with
        | -1 -> Error $"'{text}' has no '='; write PATTERN=PIPELINE, such as '*.csv=words'"
        | equals ->
            let pattern = text.Substring(0, equals).Trim()

            if pattern = "" then
                Error $"'{text}' has no pattern before its '='; '**' stands for every file"
            else
                match NamePattern.parse pattern with
                | Error error -> Error $"of the pattern '{pattern}': {error}"
                | Ok parsed ->
                    Pipeline.parse offered (text.Substring(equals + 1))
                    |> Result.mapError (fun error ->
                        $"in the pipeline for '{pattern}', {error.message}")
                    |> Result.map (fun pipeline -> { pattern = parsed; pipeline = pipeline })

    /// The file with the pipeline of a folder below the folder of inputs, for the files in it and below it.
    let folderFile = "pipeline.txt"

    /// The most bytes of a `pipeline.txt`.
    let folderFileMax: Size = 16_384L<B>

    /// Whether a file is a `pipeline.txt` of a folder, and no input.
    let isFolderFile (name: TaskName) =
        (TaskName.toString name).EndsWith("/" + folderFile, StringComparison.Ordinal)

    /// The folders of a file, from its own up to, and without, the folder of inputs.
    let foldersOf (name: TaskName) : string list =
        let rec above (path: string) =
            match path.LastIndexOf '/' with
            | -1 -> []
            | slash ->
                let folder = path.Substring(0, slash)
                folder :: above folder

        above (TaskName.toString name)

    let isMatch (name: TaskName) (route: Route) =
        NamePattern.isMatch (TaskName.toString name) route.pattern

    /// The first route that fits.
    let tryFind (routes: Route list) (name: TaskName) : Route option =
        routes |> List.tryFind (isMatch name)

    /// <summary>Warnings about routes that no file goes through.</summary>
    /// <param name="routes">In the order in which they were given.</param>
    /// <param name="names">The names of the input files.</param>
    /// <returns>A sentence for each such route.</returns>
    let unused (routes: Route list) (names: TaskName list) : string list =
        let isFirst route name =
            match tryFind routes name with
            | Some found -> obj.ReferenceEquals(found, route)
            | None -> false

        let sentence route =
            if names.IsEmpty || names |> List.exists (isFirst route) then
                None
            else
                match List.tryFind (fun name -> isMatch name route) names with
                | Some name ->
                    Some
                        $"the route '{route.pattern}' is never the first that fits: '{name}' goes through one before it"
                | None ->
                    let isNear name =
                        NamePattern.isMatchIgnoringCase (TaskName.toString name) route.pattern

                    match List.tryFind isNear names with
                    | Some name ->
                        Some
                            $"the route '{route.pattern}' fits none of the files; '{name}' differs only in upper and lower case"
                    | None -> Some $"the route '{route.pattern}' fits none of the files"

        List.choose sentence routes
