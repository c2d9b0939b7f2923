// For the other scripts: where the executables are, and a build of what is missing.

open System
open System.Diagnostics
open System.IO

let root = Path.GetFullPath(Path.Combine(__SOURCE_DIRECTORY__, ".."))

let private executable project name =
    let suffix = if OperatingSystem.IsWindows() then ".exe" else ""
    Path.Combine(root, "src", project, "bin", "Release", "net10.0", name + suffix)

let scheduler = executable "FsScheduler.Scheduler" "fs-scheduler"
let worker = executable "FsScheduler.Worker" "fs-worker"

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
                "dotnet",
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
