/// The documents: links that lead somewhere, two READMEs in step, an index that names all of docs/.
module FsScheduler.System.Tests.DocumentTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open FsScheduler.TestKit

let private path relative = Path.Combine(Repository.root, relative)

let private read (relative: string) = File.ReadAllText(path relative)

/// Every document, as a path from the root.
let private documents =
    [ "."; "docs" ]
    |> List.collect (fun folder -> List.ofSeq (Directory.EnumerateFiles(path folder, "*.md")))
    |> List.map (fun file -> Path.GetRelativePath(Repository.root, file))
    |> List.sort

/// Without fenced and indented blocks of code.
let private withoutBlocks (text: string) =
    let text = Regex.Replace(text, "(?ms)^ *```.*?^ *```$", "")
    Regex.Replace(text, "(?m)^ {4,}.*$", "")

/// Without code in the lines either.
let private prose (text: string) =
    Regex.Replace(withoutBlocks text, "`[^`\n]+`", "code")

let private links (text: string) = [
    for found in Regex.Matches(prose text, @"\]\(([^)\s]+)\)") do
        let target = found.Groups[1].Value

        if not (target.Contains "://") then
            target
]

let private titles (text: string) = [
    for found in Regex.Matches(Regex.Replace(text, "(?ms)^ *```.*?^ *```$", ""), @"(?m)^(#+) (.+)$") do
        found.Groups[1].Length, found.Groups[2].Value
]

/// What GitHub makes of a title: the first of several equal ones has no number.
let private anchors (text: string) =
    titles text
    |> List.map (fun (_, title) ->
        Regex.Replace(title.ToLowerInvariant(), @"[^\w\- ]", "").Replace(' ', '-'))
    |> List.fold
        (fun known anchor ->
            let rec free number =
                let name = if number = 0 then anchor else $"{anchor}-{number}"
                if Set.contains name known then free (number + 1) else name

            Set.add (free 0) known)
        Set.empty

/// What is wrong with a link, if anything is.
let private broken document (target: string) =
    let file, anchor =
        match target.IndexOf '#' with
        | -1 -> target, ""
        | at -> target.Substring(0, at), target.Substring(at + 1)

    let folder = nonNull (Path.GetDirectoryName(path document))

    let full =
        if file = "" then
            path document
        else
            Path.GetFullPath(Path.Combine(folder, file))

    if not (File.Exists full || Directory.Exists full) then
        Some $"{document}: there is no {file}"
    elif anchor <> "" && not (Set.contains anchor (anchors (File.ReadAllText full))) then
        Some $"{document}: {target} has no such title"
    else
        None

/// Command lines, which no language changes.
let private commands (text: string) = [
    for found in
        Regex.Matches(text, @"(?m)^ +((?:fs-|dotnet |python3 |cd |export |git ).*?)(?: +#.*)?$") do
        found.Groups[1].Value
]

let private english = read "README.md"
let private portuguese = read "README.pt-BR.md"

let private inStep message (part: string -> 'part list) =
    Expect.equal (part portuguese) (part english) message

[<Tests>]
let tests =
    testList "the documents" [
        test "have links that lead to files and titles that are there" {
            let wrong =
                documents
                |> List.collect (fun document ->
                    links (read document) |> List.choose (broken document))

            Expect.equal wrong [] "links that lead nowhere"
            Expect.isGreaterThan (List.length (links english)) 10 "links of the README"
        }

        test "know a link that leads nowhere" {
            Expect.isSome (broken "README.md" "docs/nothing.md") "no such file"
            Expect.isSome (broken "README.md" "docs/cli.md#nothing") "no such title"
            Expect.isNone (broken "docs/cli.md" "#exit-codes") "a title of its own"
            Expect.equal (links "[a](b) `[c](d)`\n\n    [e](f)\n\n[g](http://h)") [ "b" ] "links"

            Expect.equal
                (anchors "# A b, c!\n\n## `--d`\n\n# A b c")
                (set [ "a-b-c"; "--d"; "a-b-c-1" ])
                "anchors"
        }

        test "have two READMEs in step, of at most 150 lines" {
            let count (text: string) = text.TrimEnd('\n').Split('\n').Length
            Expect.isLessThanOrEqual (count english) 150 "README.md"
            Expect.isLessThanOrEqual (count portuguese) 150 "README.pt-BR.md"
            inStep "titles" (titles >> List.map fst)
            inStep "commands" commands

            // Each links to the other, and to nothing else that the other does not.
            inStep "links" (links >> List.map (fun target -> target.Replace(".pt-BR", "")))

            inStep "rows of tables" (fun text -> [
                for line in text.Split '\n' do
                    if line.StartsWith '|' then
                        line.Split(" | ").Length
            ])
        }

        test "are all named once in docs/README.md" {
            let named =
                links (read "docs/README.md")
                |> List.filter (fun link -> not (link.Contains '/'))

            let there = [
                for document in documents do
                    if
                        document.StartsWith "docs" && document <> Path.Combine("docs", "README.md")
                    then
                        nonNull (Path.GetFileName document)
            ]

            Expect.equal (List.sort named) (List.sort there) "the index"
        }

        test "have lines of prose of at most 120 characters" {
            let long = [
                for document in documents do
                    if document <> "ARCHITECTURE.md" && document <> "CHANGELOG.md" then
                        for line in (withoutBlocks (read document)).Split '\n' do
                            // A link has no place to break.
                            let text = Regex.Replace(line, @"\]\([^)]*\)", "]")

                            if text.Length > 120 && not (line.StartsWith '|') then
                                $"{document}: {line}"
            ]

            Expect.equal long [] "longer lines"
        }
    ]
