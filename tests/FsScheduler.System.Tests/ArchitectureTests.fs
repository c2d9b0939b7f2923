/// The names of code in documents: files, modules, types, functions.
module FsScheduler.System.Tests.ArchitectureTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open FsScheduler.TestKit

/// What a file defines, by words: types, modules and cases of unions; and functions and members. The members of a class
/// in C# stand for themselves too, as in the documents of the SDK.
type private Source = {
    path: string
    types: Set<string>
    members: Set<string>
    ofCSharp: Set<string>
}

let private words pattern (text: string) =
    set [ for found in Regex.Matches(text, pattern) -> found.Groups[1].Value ]

let private sources: Lazy<Source[]> =
    let sourceOf (file: string) (text: string) =
        let text = Regex.Replace(text, "(?m)//.*$", "")
        let cases = words @"(?m)^\s*\| (\w+)(?= of |\s*$)" text

        let ofCSharp =
            if file.EndsWith ".cs" then
                words
                    @"(?m)^\s*(?:public|protected|internal) [^=;{(\n]*?\b(\w+)(?:<[^>]*>)?(?:\(| \{| =>| =|;)"
                    text
            else
                Set.empty

        {
            path = "/" + file
            types =
                words
                    @"(?m)^\s*(?:\[<[^\n]*>\] ?)?(?:public |internal |private |sealed |static |abstract |partial )*(?:type|module|and|class|record|struct|interface|enum) (?:\[<[^\n]*>\] ?)?(?:internal |private |rec )*(?:[\w.]+\.)?(\w+)"
                    text
                + cases
            members =
                words
                    @"\b(?:let|and|member|abstract|val)(?: val| inline| private| internal| rec| mutable| [\w_]+\.)* ?(\w+)"
                    text
                + words @"member \w+\.(\w+)" text
                + words @"(?m)^\s*(?:mutable )?(\w+):" text
                + cases
                + ofCSharp
            ofCSharp = ofCSharp
        }

    lazy
        [|
            for folder in [ "src"; "tests" ] do
                let root = Path.Combine(Repository.root, folder)

                for path in Directory.GetFiles(root, "*", SearchOption.AllDirectories) do
                    let file = Path.GetRelativePath(Repository.root, path).Replace('\\', '/')
                    let isBuilt = file.Contains "/obj/" || file.Contains "/bin/"

                    if (file.EndsWith ".fs" || file.EndsWith ".cs") && not isBuilt then
                        sourceOf file (File.ReadAllText path)
        |]

/// `Folders/Input/Inbox`: a file, or a folder, of that name below the others.
let private isPath (name: string) =
    let parts = name.TrimEnd('/').Split '/'
    let between = parts |> Array.map Regex.Escape |> String.concat @"(\.[^/]*)?/(.*/)?"
    let pattern = $@"[/.]{between}(\.(fs|cs)$|/)"

    sources.Value
    |> Array.exists (fun source -> Regex.IsMatch(source.path, pattern))

/// `Finish.fill`: a function, member or case of a module or type.
let private isMember (owner: string) (name: string) =
    sources.Value
    |> Array.exists (fun source -> source.types.Contains owner && source.members.Contains name)

let private isName (name: string) =
    isPath name
    || sources.Value
       |> Array.exists (fun source -> source.types.Contains name || source.ofCSharp.Contains name)

/// Names of .NET, and of what the project is built with.
let private others =
    set [
        "FSharp.Core"
        "MailboxProcessor"
        "ShutdownTimeout"
        "SslStream"
        "SynchronizationContext"
    ]

/// Names of code in a document that nothing is called.
let unknown (text: string) : string list = [
    for found in
        Regex.Matches(text, @"`([A-Z][A-Za-z]*[a-z][A-Za-z]*(?:/[A-Za-z]+)*/?(?:\.[A-Za-z]+)?)`") do
        let name = found.Groups[1].Value

        let isKnown =
            match name.Split '.' with
            | [| "FsScheduler"; project |] -> isPath $"src/FsScheduler.{project}"
            | _ when others.Contains name -> true
            | [| file; ("fs" | "cs") |] -> isPath file
            | [| owner; inside |] when not (name.Contains '/') ->
                isMember owner inside || isName (name.Replace(".", "/"))
            | _ -> isName name

        if not isKnown then
            name
]

[<Tests>]
let tests =
    testList "names in documents" [
        for document in
            [
                "ARCHITECTURE.md"
                "CONTRIBUTING.md"
                "docs/stages.md"
                "docs/pipelines.md"
                "docs/sdk.md"
            ] do
            test $"{document} names files and functions that are there" {
                let text = File.ReadAllText(Path.Combine(Repository.root, document))
                Expect.equal (unknown text) [] "nothing has these names"
            }

        for document in [ "README.md"; "README.pt-BR.md"; "ARCHITECTURE.md"; "CONTRIBUTING.md" ] do
            test $"{document} names folders that are there" {
                let text = File.ReadAllText(Path.Combine(Repository.root, document))

                let missing = [
                    for found in
                        Regex.Matches(
                            text,
                            @"`((?:src|tests|docs|bench|scripts|examples)/[\w./-]*)`"
                        ) do
                        let path = Path.Combine(Repository.root, found.Groups[1].Value)

                        if not (File.Exists path || Directory.Exists path) then
                            found.Groups[1].Value
                ]

                Expect.equal missing [] "nothing is there"
            }

        test "a name that is gone is found" {
            let text = "`Folders/Input/Inbox`, `Finish.fill`, `Apply`, `Input.Claim`"
            Expect.isEmpty (unknown text) "all of them are there"

            let text =
                "`Folders/Output/Inbox`, `Finish.nothing`, `Whereabouts`, `Nothing/Inbox`"

            Expect.equal
                (unknown text)
                [ "Folders/Output/Inbox"; "Finish.nothing"; "Whereabouts"; "Nothing/Inbox" ]
                "all of them are gone"
        }
    ]
