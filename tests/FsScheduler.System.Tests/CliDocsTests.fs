/// docs/cli.md against `--help`: each option, its argument and its default, of both executables and of every command.
module FsScheduler.System.Tests.CliDocsTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

/// As in the document: `--out FOLDER`, `--quiet, -q`; without a default, "".
type private Option = { written: string; fallback: string }

/// Argu's `--route <PATTERN=STAGES>` and `--only [<ROW>...]` as the document writes them.
let private asWritten (text: string) =
    Regex.Replace(text.Replace("...", "…"), @"[<>\[\]]", "").Trim()

/// The options in a text of `--help`, but for `--help`, which each of them has.
let private helped (help: string) =
    let option =
        Regex @"^ {4}(--[^ ,]+(?:, -\w)?(?: (?:<[^>]+>|\[<[^>]+>\.\.\.\]))?)(?: +(.*))?$"

    // An option begins a new entry, and what is indented further goes on with it.
    let entries, last =
        help.Split('\n')
        |> Array.fold
            (fun (entries, current) line ->
                let found = option.Match line

                if found.Success then
                    entries @ Option.toList current,
                    Some(asWritten found.Groups[1].Value, found.Groups[2].Value)
                else
                    match current with
                    | Some(written, text) when line.StartsWith "        " ->
                        entries, Some(written, $"{text} {line.Trim()}")
                    | _ -> entries @ Option.toList current, None)
            ([], None)

    set [
        for written, text in entries @ Option.toList last do
            if written <> "--help" then
                {
                    written = written
                    fallback = Regex.Match(text, @"\(default: (.*?)\)").Groups[1].Value
                }
    ]

/// The commands that `fs-scheduler --help` lists.
let private listed (help: string) = [
    for found in Regex.Matches(help, @"(?m)^ {4}([a-z]+) {2,}\S") do
        found.Groups[1].Value
]

/// The sections of the document by their titles, of whatever level, each up to the next title.
let private sections =
    lazy
        (let text = File.ReadAllText(Path.Combine(Repository.root, "docs", "cli.md"))

         Map [
             for found in Regex.Matches(text, @"(?ms)^#{2,3} ([^\n]+)\n(.*?)(?=^#{2,3} |\z)") do
                 found.Groups[1].Value, found.Groups[2].Value
         ])

let private rows (section: string) =
    set [
        for found in Regex.Matches(section, @"(?m)^\| (`--[^|]+) \| ?([^|]*?) ?\|") do
            {
                written = found.Groups[1].Value.Replace("`", "")
                fallback = found.Groups[2].Value.Replace("`", "")
            }
    ]

/// The options of a section, with those of the sections that it names for options that several have.
let private documented title =
    let section = sections.Value[title]

    let shared =
        [ "connection options"; "log options" ]
        |> List.filter (fun shared ->
            section.Contains $"""[{shared}](#{shared.Replace(' ', '-')})""")
        |> List.map (fun shared ->
            rows sections.Value[string (Char.ToUpperInvariant shared[0]) + shared.Substring 1])

    Set.unionMany (rows section :: shared)

let private print (program: Program) =
    task {
        use program = program
        let! code = program.Exit
        Expect.equal code 0 program.Said
        return String.concat "\n" program.Output.All
    }

let private compare title help =
    Expect.isNonEmpty (helped help) $"options of {title}"
    Expect.equal (documented title - helped help) Set.empty $"{title}: in docs/cli.md alone"
    Expect.equal (helped help - documented title) Set.empty $"{title}: in --help alone"

[<Tests>]
let tests =
    testList "docs/cli.md" [
        scenario "has the options of both executables, as --help has them"
        <| fun () ->
            task {
                use place = new Workplace()
                let! scheduler = print (fsScheduler place.Path [ "--help" ])
                let! worker = print (new Program(workerPath, [ "--help" ], place.Path))
                compare "fs-scheduler" scheduler
                compare "fs-worker" worker
            }

        scenario "has each command with its options, as its --help has them"
        <| fun () ->
            task {
                use place = new Workplace()
                let! help = print (fsScheduler place.Path [ "--help" ])
                Expect.contains (listed help) "submit" "commands"

                let described =
                    sections.Value.Keys
                    |> Seq.filter (fun title -> Regex.IsMatch(title, "^[a-z]+$"))
                    |> List.ofSeq

                Expect.equal described (List.sort (listed help)) "sections, and commands"

                for command in listed help do
                    let! help = print (fsScheduler place.Path [ "help"; command ])
                    compare command help
            }

        test "reads help and tables as they are meant" {
            let help =
                "    --out <FOLDER>        where results go (default: the current\n"
                + "                          folder)\n    --quiet, -q           say less\n"
                + "    --only [<ROW>...]     these\n    --help                display this list of options.\n"

            let table =
                "| `--out FOLDER` | the current folder | where |\n| `--quiet`, `-q` | | less |\n"
                + "| `--only ROW…` | | these |\n"

            let option written fallback = { written = written; fallback = fallback }

            let expected =
                set [
                    option "--out FOLDER" "the current folder"
                    option "--quiet, -q" ""
                    option "--only ROW…" ""
                ]

            Expect.equal (helped help) expected "help"
            Expect.equal (rows table) expected "table"
        }
    ]
