namespace FsScheduler.Core

open System

/// Files of some names go through a pipeline of their own.
type Route = { pattern: NamePattern; pipeline: Pipeline }

module Route =

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
            else
                match NamePattern.parse pattern with
                | Error error -> Error $"of the pattern '{pattern}': {error}"
                | Ok parsed ->
                    Pipeline.parse offered (text.Substring(equals + 1))
                    |> Result.mapError (fun error ->
                        $"in the pipeline for '{pattern}', {error.message}")
                    |> Result.map (fun pipeline -> { pattern = parsed; pipeline = pipeline })

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
        NamePattern.isMatch (TaskName.toString name) route.pattern

    /// The first route that fits.
    let tryFind (routes: Route list) (name: TaskName) : Route option =
        routes |> List.tryFind (isMatch name)

    /// <summary>What is worth saying of routes that no file goes through.</summary>
    /// <param name="routes">In the order in which they were given.</param>
    /// <param name="names">The files that there are.</param>
    /// <returns>A sentence for each; none, where there are no files.</returns>
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
