// For the other scripts: where the executables are, and a build of what is missing.

open System
open System.Diagnostics
open System.IO

let root = Path.GetFullPath(Path.Combine(__SOURCE_DIRECTORY__, ".."))

/// What runs this script: it runs what the script builds and starts, too. The SDK may be where nobody looks by himself, as
/// in ~/.dotnet, and an executable of .NET asks this variable for its runtime then.
let dotnet =
    match Environment.ProcessPath with
    | null -> "dotnet"
    | path when Path.GetFileNameWithoutExtension path = "dotnet" -> path
    | _ -> "dotnet"

if
    Path.IsPathRooted dotnet
    && String.IsNullOrEmpty(Environment.GetEnvironmentVariable "DOTNET_ROOT")
then
    Environment.SetEnvironmentVariable("DOTNET_ROOT", Path.GetDirectoryName dotnet)

let private executable project name =
    let suffix = if OperatingSystem.IsWindows() then ".exe" else ""
    Path.Combine(root, "src", project, "bin", "Release", "net10.0", name + suffix)

let scheduler = executable "FsScheduler.Scheduler" "fs-scheduler"
let worker = executable "FsScheduler.Worker" "fs-worker"

/// What a program says and how it ends.
let private run (program: string) (arguments: string list) =
    let info = ProcessStartInfo(program, arguments, RedirectStandardOutput = true)
    info.WorkingDirectory <- root
    use running = Process.Start info
    let said = running.StandardOutput.ReadToEnd()
    running.WaitForExit()
    running.ExitCode, said.Trim()

/// How the example of a worker in C# is started; built first, on what is built already: that may be in use.
let csharpWorker () : string list =
    let source = Path.Combine("examples", "csharp-worker", "worker.cs")

    let sdk =
        Path.Combine(
            root,
            "src",
            "FsScheduler.Sdk",
            "bin",
            "Release",
            "net10.0",
            "FsScheduler.Sdk.dll"
        )

    let build arguments =
        run dotnet ([ "build"; source; "--disable-build-servers" ] @ arguments)

    match
        build [
            if File.Exists sdk then
                "-p:BuildProjectReferences=false"
        ],
        build [ "-getProperty:TargetPath" ]
    with
    | (0, _), (0, path) -> [ dotnet; path ]
    | (_, said), _ ->
        eprintfn $"{said}\n{source} does not build"
        exit 3

/// How the example of a worker in Python is started; none where there is no Python.
let pythonWorker () : string list option =
    try
        match run "python3" [ "--version" ] with
        | 0, _ -> Some [ "python3"; Path.Combine(root, "examples", "python-worker", "worker.py") ]
        | _ -> None
    with :? ComponentModel.Win32Exception ->
        None

/// The marker of the last build that a script saw to.
let private built =
    Path.Combine(root, "src", "FsScheduler.Scheduler", "obj", "script.built")

let private isStale () =
    let isSource (path: string) =
        (path.EndsWith ".fs" || path.EndsWith ".fsproj")
        && not (path.Replace('\\', '/').Contains "/obj/")

    let builtAt =
        max
            (File.GetLastWriteTimeUtc built)
            (File.GetLastWriteTimeUtc(Path.ChangeExtension(scheduler, ".dll")))

    not (File.Exists scheduler && File.Exists worker)
    || Directory.EnumerateFiles(Path.Combine(root, "src"), "*.*", SearchOption.AllDirectories)
       |> Seq.filter isSource
       |> Seq.exists (fun path -> File.GetLastWriteTimeUtc path > builtAt)

/// Ends the script, with exit code 3, where the build fails.
let buildWhatIsMissing () =
    if isStale () then
        printfn "building ..."

        let build =
            ProcessStartInfo(
                dotnet,
                [
                    "build"
                    "-c"
                    "Release"
                    "--nologo"
                    "-v"
                    "quiet"
                    "src/FsScheduler.Scheduler"
                ]
            )

        build.WorkingDirectory <- root
        use building = Process.Start build
        building.WaitForExit()

        if building.ExitCode <> 0 then
            eprintfn "the build failed; its messages are above"
            exit 3

        File.WriteAllText(built, "")
