namespace FsScheduler.Scheduler

open System
open System.Text.RegularExpressions
open FsScheduler.Core

/// The names of results by `--name-as`, with the replacement strings of GNU parallel.
module NameTemplate =

    let private replacementString = Regex(@"\{[^{}]*\}", RegexOptions.CultureInvariant)

    let private lastOf (path: string) =
        path.Substring(path.LastIndexOf '/' + 1)

    let private folderOf (path: string) =
        match path.LastIndexOf '/' with
        | -1 -> "."
        | slash -> path.Substring(0, slash)

    /// The path without its extension; a leading dot begins none.
    let private stemOf (path: string) =
        match path.LastIndexOf '.' with
        | dot when dot > path.LastIndexOf '/' + 1 -> path.Substring(0, dot)
        | _ -> path

    let private withoutDot (path: string) =
        if path.StartsWith("./", StringComparison.Ordinal) then
            path.Substring 2
        else
            path

    /// What a replacement string stands for; None: it stands for nothing.
    let private tryReplace (path: string) (number: int) (text: string) =
        match text with
        | "{}" -> Some path
        | "{.}" -> Some(stemOf path)
        | "{/}" -> Some(lastOf path)
        | "{/.}" -> Some(stemOf (lastOf path))
        | "{//}" -> Some(folderOf path)
        | "{n}"
        | "{#}" -> Some(string number)
        | _ -> None

    /// <summary>Checks a template before anything is sent.</summary>
    /// <returns>The template, or an error.</returns>
    let parse (template: string) : Result<string, string> =
        replacementString.Matches template
        |> Seq.map _.Value
        |> Seq.tryFind (tryReplace "" 1 >> Option.isNone)
        |> function
            | Some unknown ->
                Error
                    $"'{unknown}' is not a replacement string; there are {{}} {{.}} {{/}} {{/.}} {{//}} {{n}}"
            | None -> Ok template

    /// <summary>The name for a file by a template.</summary>
    /// <param name="template">A valid template.</param>
    /// <param name="path">The file as named on the command line, with `/`.</param>
    /// <param name="number">The number of the file, from 1.</param>
    /// <returns>A relative name that stays in its folder, or an error as the end of a sentence.</returns>
    let apply (template: string) (path: string) (number: int) : Result<string, string> =
        let replace (found: Match) =
            tryReplace (withoutDot path) number found.Value
            |> Option.defaultValue found.Value

        replacementString.Replace(template, replace)
        |> withoutDot
        |> TaskName.parse
        |> Result.map TaskName.toString
