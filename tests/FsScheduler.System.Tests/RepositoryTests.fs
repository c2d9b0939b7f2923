/// The repository itself: one list of packages, the places where people look for things, the texts that are processed.
module FsScheduler.System.Tests.RepositoryTests

open System
open System.IO
open System.Text.Json
open System.Text.RegularExpressions
open System.Xml.Linq
open Expecto
open FsScheduler.TestKit

let private root = Repository.root
let private path relative = Path.Combine(root, relative)
let private read relative = File.ReadAllText(path relative)

/// Our own files whose name ends with `suffix`, as paths from the root with `/`.
let private filesUnder folder (suffix: string) =
    if Directory.Exists(path folder) then
        [
            for file in Directory.EnumerateFiles(path folder, "*", SearchOption.AllDirectories) do
                let relative = Path.GetRelativePath(root, file).Replace('\\', '/')
                let parts = relative.Split '/'
                let ours = not (Array.contains "bin" parts || Array.contains "obj" parts)

                if ours && relative.EndsWith(suffix, StringComparison.Ordinal) then
                    relative
        ]
    else
        []

let private sources suffix =
    [ "src"; "tests"; "bench"; "examples"; "scripts" ]
    |> List.collect (fun folder -> filesUnder folder suffix)

/// Like Expect.isEmpty, but shows what is there.
let private expectNone message items =
    Expect.equal (List.ofSeq items) [] message

let private projects = sources ".fsproj" @ sources ".csproj"

let private listLines =
    (read "paket.dependencies").Split('\n', StringSplitOptions.TrimEntries)
    |> Array.filter (fun line -> line <> "" && not (line.StartsWith '#'))
    |> List.ofArray

/// What paket.dependencies lists: name and version, in its order.
let private listed =
    listLines
    |> List.choose (fun line ->
        match line.Split(' ', StringSplitOptions.RemoveEmptyEntries) with
        | [| "nuget"; name; version |] -> Some(name, version)
        | _ -> None)

let private versionOf = Map.ofList listed

let private elements (file: string) (names: string list) =
    XDocument.Load(path file).Descendants()
    |> Seq.filter (fun element -> List.contains element.Name.LocalName names)
    |> List.ofSeq

let private attribute (name: string) (element: XElement) =
    element.Attribute(XName.Get name)
    |> Option.ofObj
    |> Option.map (fun attribute -> attribute.Value)

/// `#r "nuget: NAME, VERSION"` of the scripts: file, name, version or "". A script is compiled as it stands, so it
/// has to carry the version; the list stays the one place that decides it.
let private scriptReferences = [
    for file in sources ".fsx" do
        for found in
            Regex.Matches(read file, "(?m)^\s*#r\s+\"nuget:\s*([^,\"\s]+)\s*,?\s*([^\"]*)\"") do
            file, found.Groups[1].Value, found.Groups[2].Value.Trim()
]

let private packages =
    testList "the list of packages" [
        test "is in Paket's syntax, each package once with one exact version" {
            let setting = Regex @"^(framework: net10\.0|storage: none)$"
            let package = Regex @"^nuget [A-Za-z0-9.]+ \d+(\.\d+)+(-[0-9A-Za-z.]+)?$"

            let known (line: string) =
                setting.IsMatch line || package.IsMatch line

            listLines |> List.filter (known >> not) |> expectNone "lines of another kind"

            List.map fst listed
            |> List.countBy id
            |> List.filter (fun (_, n) -> n > 1)
            |> expectNone "listed twice"
        }

        test "names what projects and scripts reference, no more and no less" {
            let referenced =
                set [
                    for file in projects do
                        for reference in elements file [ "PackageReference" ] do
                            yield! Option.toList (attribute "Include" reference)
                    for _, name, _ in scriptReferences do
                        name
                ]

            let names = set (List.map fst listed)
            referenced - names |> expectNone "referenced, not listed"
            names - referenced |> expectNone "listed, not referenced"
        }

        test "is the only place of a version among the build files" {
            let shared = Directory.EnumerateFiles(root, "Directory.*") |> List.ofSeq
            let carriers = [ "PackageReference"; "PackageVersion"; "GlobalPackageReference" ]

            let versions = [
                for file in shared @ projects @ sources ".props" @ sources ".targets" do
                    for carrier in elements file carriers do
                        let attributes =
                            carrier.Attributes()
                            |> Seq.map (fun each -> each.Name.LocalName, each.Value)

                        let children =
                            carrier.Elements()
                            |> Seq.map (fun each -> each.Name.LocalName, each.Value)

                        for name, value in Seq.append attributes children do
                            // What is computed is computed from the list.
                            if name.StartsWith "Version" && not (value.StartsWith "$(") then
                                file, name, value
            ]

            expectNone "versions beside the list" versions
        }

        test "says which version a script asks for" {
            for file, name, version in scriptReferences do
                Expect.equal (Some version) (Map.tryFind name versionOf) $"{name} in {file}"
        }

        test "is what the lock files hold" {
            for project in projects do
                let file = project[.. project.LastIndexOf '/'] + "packages.lock.json"

                use document = JsonDocument.Parse(read file)

                for framework in document.RootElement.GetProperty("dependencies").EnumerateObject() do
                    for package in framework.Value.EnumerateObject() do
                        match
                            Map.tryFind package.Name versionOf,
                            package.Value.TryGetProperty "resolved"
                        with
                        | Some version, (true, resolved) ->
                            Expect.equal (resolved.GetString()) version $"{package.Name} in {file}"
                        | _ -> ()
        }

        test "has no feed address beside it" {
            let settings = [ "paket.dependencies"; "global.json"; ".config/dotnet-tools.json" ]

            settings @ projects @ sources "packages.lock.json"
            |> List.filter (fun file -> (read file).Contains "://")
            |> expectNone "build files with an address"

            sources ".fsx"
            |> List.filter (fun file -> Regex.IsMatch(read file, "(?m)^\\s*#i "))
            |> expectNone "scripts with an address"

            Directory.EnumerateFiles(root, "*uget.config") |> expectNone "lists of feeds"
        }
    ]

let private layout =
    testList "the layout" [
        for folder in [ "src"; "tests"; "scripts"; "entrada"; "resultados" ] do
            test $"has the folder {folder}" { Expect.isTrue (Directory.Exists(path folder)) folder }

        let files = [
            "FsScheduler.sln"
            "README.md"
            "README.pt-BR.md"
            "ARCHITECTURE.md"
            "CHANGELOG.md"
            "CONTRIBUTING.md"
            "LICENSE"
            "docs/README.md"
            "paket.dependencies"
            "global.json"
            ".editorconfig"
            ".ci/run"
        ]

        for file in files do
            test $"has the file {file}" { Expect.isTrue (File.Exists(path file)) file }

        test "has every project in the solution" {
            let solution = (read "FsScheduler.sln").Replace('\\', '/')

            projects
            |> List.filter (fun file -> not (solution.Contains $"\"{file}\""))
            |> expectNone "projects that `dotnet build` would not see"
        }

        test "has tests named after projects of src, beside those of the whole" {
            let tested =
                projects
                |> List.filter (fun file -> file.StartsWith("tests/", StringComparison.Ordinal))
                |> List.map (fun file -> nonNull (Path.GetFileNameWithoutExtension file))
                |> List.filter (fun name -> name.EndsWith(".Tests", StringComparison.Ordinal))
                |> List.map (fun name -> name.Substring(0, name.Length - ".Tests".Length))

            tested
            |> List.except [ "FsScheduler.Simulation"; "FsScheduler.System" ]
            |> List.filter (fun name -> not (Directory.Exists(path $"src/{name}")))
            |> expectNone "tests of projects that are gone"
        }
    ]

/// What each project of `src` uses of the others.
let private rooms =
    Map [
        "Core", set []
        "Platform", set [ "Core" ]
        "Stages", set [ "Core" ]
        "Folders", set [ "Core"; "Platform" ]
        "Protocol", set [ "Core"; "Platform" ]
        "Machine", set [ "Core" ]
        "Journal", set [ "Core"; "Machine" ]
        "Execution", set [ "Core"; "Platform"; "Stages"; "Folders"; "Protocol" ]
        "Server", set [ "Core"; "Machine"; "Platform"; "Stages"; "Folders"; "Protocol"; "Journal" ]
        "Conformance", set [ "Core"; "Platform"; "Protocol" ]
        "Cli", set [ "Core"; "Platform" ]
        "Sdk", set [ "Execution" ]
        "Worker", set [ "Execution"; "Cli" ]
        "Scheduler", set [ "Worker"; "Server"; "Cli"; "Conformance"; "Sdk" ]
    ]

let private included kind (project: string) =
    set [
        for reference in elements project [ kind ] do
            yield! Option.toList (attribute "Include" reference)
    ]

let private roomProjects =
    Map [
        for project in projects do
            if project.StartsWith("src/", StringComparison.Ordinal) then
                let name = nonNull (Path.GetFileNameWithoutExtension project)
                name.Substring("FsScheduler.".Length), project
    ]

let private used project =
    included "ProjectReference" project
    |> Set.map (fun reference ->
        let name = Path.GetFileNameWithoutExtension(reference.Replace('\\', '/'))
        (nonNull name).Substring("FsScheduler.".Length))

/// What a project brings with it, itself included.
let rec private brought room : Set<string> =
    rooms[room] |> Seq.map brought |> Set.unionMany |> Set.add room

let private packagesOf room =
    brought room
    |> Seq.map (fun brought -> included "PackageReference" roomProjects[brought])
    |> Set.unionMany

let private cut =
    testList "the cut" [
        test "is what the projects say" {
            Expect.equal (Map.map (fun _ project -> used project) roomProjects) rooms "projects"
        }

        test "leaves the machine, and what both sides know, with FSharp.Core alone" {
            Expect.equal (packagesOf "Machine") (set [ "FSharp.Core" ]) "their packages"
        }

        test "brings users of the SDK no database, no command line and no console" {
            let no =
                set [ "Microsoft.Data.Sqlite"; "Argu"; "Microsoft.Extensions.Logging.Console" ]

            Set.intersect (packagesOf "Sdk") no |> expectNone "packages of the SDK"
        }

        test "has a worker that knows no scheduler, and a kit apart from it" {
            Expect.isFalse (Set.contains "Server" (brought "Execution")) "the worker"
            Expect.isFalse (Set.contains "Machine" (brought "Sdk")) "the machine"
            Expect.isFalse (Set.contains "Server" (brought "Conformance")) "the kit"
            Expect.isFalse (Set.contains "Conformance" (brought "Server")) "the scheduler"
        }

        test "is what the namespaces say" {
            for KeyValue(room, project) in roomProjects do
                let folder = nonNull (Path.GetDirectoryName project)

                for file in filesUnder (folder.Replace('\\', '/')) ".fs" do
                    let name =
                        Regex.Match(read file, @"(?m)^(?:namespace|module) (?:internal )?([\w.]+)")

                    Expect.stringStarts name.Groups[1].Value $"FsScheduler.{room}" file
        }
    ]

let private texts =
    testList "the texts" [
        test "begin with the two lines of the mission" {
            let expected =
                "O sistema distribuído é poderoso.\nO scheduler deve balancear a carga entre nós.\n"

            Expect.sequenceEqual
                (File.ReadAllBytes(path "entrada/exemplo1.txt"))
                (Text.Encoding.UTF8.GetBytes expected)
                "exemplo1.txt"
        }

        // The other way round is for .ci/run, which compares resultados/ after the main job: people put texts of
        // their own into entrada/.
        test "are there for each expected result" {
            for result in filesUnder "tests/resultados" "" do
                let name = Path.GetRelativePath("tests/resultados", result)
                Expect.stringEnds name ".out" "a result's name"
                Expect.isTrue (File.Exists(path $"entrada/{name[.. name.Length - 5]}")) name
        }
    ]

[<Tests>]
let tests = testList "the repository" [ packages; layout; cut; texts ]
