namespace FsScheduler.Core

open System

/// Why a file, or a folder with all that is in it, is left alone.
type IgnoreReason =
    /// Its name is on the list of `IgnoredNames`, or it is hidden.
    | ByName
    /// `--ignore`.
    | ByPattern of NamePattern

    override reason.ToString() =
        match reason with
        | ByName -> "a name that is always left alone"
        | ByPattern pattern -> $"--ignore '{pattern}'"

/// <summary>What is left alone: names that nobody gave to an input, and what `--ignore` names.</summary>
/// <param name="patterns">As of `--route`. One that fits a folder is for all that is in it.</param>
[<Sealed>]
type IgnoreRules(patterns: NamePattern list) =

    /// Without any patterns.
    static member BuiltIn = IgnoreRules []

    /// <summary>Whether a file or folder is left alone, in a folder that is not.</summary>
    /// <param name="path">Relative to the folder of inputs, with <c>/</c> between its parts.</param>
    member _.WhyIn(path: string) : IgnoreReason voption =
        if IgnoredNames.isIgnoredName (path.AsSpan(path.LastIndexOf '/' + 1)) then
            ValueSome ByName
        else
            match patterns |> List.tryFind (NamePattern.isMatch path) with
            // A `pipeline.txt` is no input: it is left alone only with its folder.
            | Some _ when path.EndsWith("/" + Route.folderFile, StringComparison.Ordinal) ->
                ValueNone
            | Some pattern -> ValueSome(ByPattern pattern)
            | None -> ValueNone

    /// The same, wherever it is.
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

    /// <summary>Reads what `--ignore` says.</summary>
    /// <returns>The pattern, or what is wrong with it, as a sentence.</returns>
    let parse (text: string) : Result<NamePattern, string> =
        // As people write folders elsewhere.
        let pattern = if text.Length > 1 then text.TrimEnd '/' else text

        NamePattern.parse pattern
        |> Result.mapError (fun error -> $"of the pattern '{text}': {error}")
