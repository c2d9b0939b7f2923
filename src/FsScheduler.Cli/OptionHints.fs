namespace FsScheduler.Cli

open System
open System.Reflection
open Argu
open FsScheduler.Core

/// Checks of a command line before the parser: help, versions, unknown and empty options.
module OptionHints =

    /// The text of `--version`.
    let version (program: string) : string =
        let version =
            match Assembly.GetEntryAssembly() with
            | null -> Version(0, 0, 0)
            | entry -> nonNull (entry.GetName().Version)

        $"{program.Split(' ')[0]} {version.ToString 3}"

    /// The options before a `--`.
    let private optionsOf (args: string[]) =
        args |> Array.takeWhile (fun arg -> arg <> "--")

    let asksVersion (args: string[]) =
        optionsOf args |> Array.exists (fun arg -> arg = "--version" || arg = "-V")

    /// The long names of the options of a parser.
    let namesOf (parser: ArgumentParser) : string list = [
        for case in parser.GetArgumentCases() do
            if not case.IsHidden.Value then
                yield! case.CommandLineNames.Value

        "--help"
        "--version"
    ]

    /// `-h` as `--help`, and `--option=value` of a known option as its two words.
    let normalize (names: string list) (args: string[]) : string[] =
        let count = (optionsOf args).Length

        [|
            for index in 0 .. args.Length - 1 do
                let arg = args[index]
                let equals = arg.IndexOf '='

                if index >= count then
                    arg
                elif arg = "-h" then
                    "--help"
                elif
                    arg.StartsWith("--", StringComparison.Ordinal)
                    && equals > 2
                    && List.contains (arg.Substring(0, equals)) names
                then
                    arg.Substring(0, equals)
                    arg.Substring(equals + 1)
                else
                    arg
        |]

    /// <summary>Finds an unknown option, which the parser would take for the name of a file or a task.</summary>
    /// <param name="parser">The parser, with the options and the number of their values.</param>
    /// <param name="args">Normalized arguments.</param>
    let findUnknown (parser: ArgumentParser) (args: string[]) : string option =
        let names = namesOf parser

        let arities =
            dict [
                for case in parser.GetArgumentCases() do
                    for name in case.CommandLineNames.Value do
                        name, case.UnionCaseInfo.GetFields().Length
            ]

        let rec from index =
            if index >= args.Length || args[index] = "--" then
                None
            else
                match args[index], arities.TryGetValue args[index] with
                | _, (true, arity) -> from (index + 1 + arity)
                | arg, _ when
                    arg.Length > 2
                    && arg.StartsWith("--", StringComparison.Ordinal)
                    && not (List.contains arg names)
                    ->
                    Some arg
                | _ -> from (index + 1)

        from 0

    /// Options for which an empty value is an error: those that name a file or a folder, and the key of a submission.
    let private neverEmpty =
        set [
            "--entrada"
            "--resultados"
            "--state"
            "--token-file"
            "--shared-files"
            "--joblog"
            "--key"
        ]

    /// <summary>Finds an option of `neverEmpty` with an empty value, as from an unset variable of the shell.</summary>
    /// <param name="args">Normalized arguments.</param>
    let findEmpty (args: string[]) : string option =
        Array.pairwise (optionsOf args)
        |> Array.tryFind (fun (option, value) ->
            neverEmpty.Contains option && (value = "" || option = "--joblog" && value = "+"))
        |> Option.map fst

    /// The error message for an unknown option.
    let unknown (names: string list) (option: string) : string =
        let hint =
            match Spelling.nearest names (option.Split('=')[0]) with
            | Some near -> $"; did you mean '{near}'?"
            | None -> ""

        $"there is no option '{option}'{hint}"
