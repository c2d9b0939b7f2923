namespace FsScheduler.Core

open System

/// Why a file, or a folder with all files in it, is ignored.
type IgnoreReason =
    /// Its name is on the list of `IgnoredNames`, or it is hidden.
    | ByName
    /// A pattern of `--ignore`.
    | ByPattern of NamePattern

    override reason.ToString() =
        match reason with
        | ByName -> "a name that is always left alone"
        | ByPattern pattern -> $"--ignore '{pattern}'"

/// <summary>Ignores the names of `IgnoredNames`, and the patterns of `--ignore`.</summary>
/// <param name="patterns">A pattern that fits a folder is for all files in it.</param>
[<Sealed>]
type IgnoreRules(patterns: NamePattern list) =

    /// Without any patterns.
    static member BuiltIn = IgnoreRules []

    /// <summary>Why a file or folder is ignored, if its parent folder is not.</summary>
    /// <param name="path">Relative to the folder of inputs, with <c>/</c> between its parts.</param>
    member _.WhyIn(path: string) : IgnoreReason voption =
        if IgnoredNames.isIgnoredName (path.AsSpan(path.LastIndexOf '/' + 1)) then
            ValueSome ByName
        else
            match patterns |> List.tryFind (NamePattern.isMatch path) with
            // A `pipeline.txt` is no input: it is ignored only with its folder.
            | Some _ when path.EndsWith("/" + Route.folderFile, StringComparison.Ordinal) ->
                ValueNone
            | Some pattern -> ValueSome(ByPattern pattern)
            | None -> ValueNone

    /// Why a file or folder is ignored, for its own path or that of any folder above.
    member rules.Why(path: string) : IgnoreReason voption =
        let rec from (start: int) =
            match path.IndexOf('/', start) with
            | -1 -> rules.WhyIn path
            | slash ->
                match rules.WhyIn(path.Substring(0, slash)) with
                | ValueNone -> from (slash + 1)
                | reason -> reason

        from 0

    member rules.IsIgnored(path: string) : bool = (rules.Why path).IsSome

module IgnoreRules =

    /// <summary>Reads a pattern of `--ignore`.</summary>
    /// <returns>The pattern, or why the text is none, as a sentence.</returns>
    let parse (text: string) : Result<NamePattern, string> =
        // Other programs take `folder/` for a folder.
        let pattern = if text.Length > 1 then text.TrimEnd '/' else text

        NamePattern.parse pattern
        |> Result.mapError (fun error -> $"of the pattern '{text}': {error}")
