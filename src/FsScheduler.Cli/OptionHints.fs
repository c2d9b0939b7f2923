namespace FsScheduler.Cli

open System
open System.Reflection
open Argu
open FsScheduler.Core

/// What people expect of every command line, before its own options are looked at.
module OptionHints =

    /// As `--version` says it.
    let version (program: string) : string =
        let version =
            match Assembly.GetEntryAssembly() with
            | null -> Version(0, 0, 0)
            | entry -> nonNull (entry.GetName().Version)

        $"{program.Split(' ')[0]} {version.ToString 3}"

    /// Options, up to a `--`: what follows is no option.
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

    /// <summary>An option that does not exist, and would be taken for the name of a file or a task.</summary>
    /// <param name="parser">Knows which options there are, and how many values follow each.</param>
    /// <param name="args">Normalized.</param>
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

    /// Options that name a file or a folder, or tell one submission from others.
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

    /// <summary>Such an option whose value is empty, as of a variable of the shell that is not set.</summary>
    /// <param name="args">Normalized.</param>
    let findEmpty (args: string[]) : string option =
        Array.pairwise (optionsOf args)
        |> Array.tryFind (fun (option, value) ->
            neverEmpty.Contains option && (value = "" || option = "--joblog" && value = "+"))
        |> Option.map fst

    /// What is said of an option that does not exist.
    let unknown (names: string list) (option: string) : string =
        let hint =
            match Spelling.nearest names (option.Split('=')[0]) with
            | Some near -> $"; did you mean '{near}'?"
            | None -> ""

        $"there is no option '{option}'{hint}"
