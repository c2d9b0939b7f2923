namespace FsScheduler.Cli

open System
open System.Text.RegularExpressions
open FsScheduler.Core

/// The names of results by `--name-as`, with the replacement strings of GNU parallel.
module NameTemplate =

    let private placeholder = Regex(@"\{[^{}]*\}", RegexOptions.CultureInvariant)

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

    let private known = "{} {.} {/} {/.} {//} {n}"

    /// <summary>Checks a template before anything is sent.</summary>
    /// <returns>The error, or none.</returns>
    let problem (template: string) : string option =
        placeholder.Matches template
        |> Seq.map _.Value
        |> Seq.tryFind (fun it ->
            not (List.contains it [ "{}"; "{.}"; "{/}"; "{/.}"; "{//}"; "{n}"; "{#}" ]))
        |> Option.map (fun it -> $"'{it}' stands for nothing; there are {known}")

    /// <summary>The name for a file by a template.</summary>
    /// <param name="template">A valid template.</param>
    /// <param name="path">The file as named on the command line, with `/`.</param>
    /// <param name="number">The number of the file, from 1.</param>
    /// <returns>A relative name that stays in its folder, or an error as the end of a sentence.</returns>
    let apply (template: string) (path: string) (number: int) : Result<string, string> =
        let path = if path.StartsWith "./" then path.Substring 2 else path

        let filled =
            placeholder.Replace(
                template,
                MatchEvaluator(fun it ->
                    match it.Value with
                    | "{}" -> path
                    | "{.}" -> stemOf path
                    | "{/}" -> lastOf path
                    | "{/.}" -> stemOf (lastOf path)
                    | "{//}" -> folderOf path
                    | _ -> string number)
            )

        let filled =
            if filled.StartsWith("./", StringComparison.Ordinal) then
                filled.Substring 2
            else
                filled

        TaskName.parse filled |> Result.map TaskName.toString
