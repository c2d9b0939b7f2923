namespace FsScheduler.Scheduler

open System
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices

/// The program with which `--workers` starts a worker: it uses the runtime of this process, wherever that is installed.
type WorkerProgram = {
    path: string
    /// In front of the arguments of the worker.
    arguments: string list
    environment: (string * string) list
}

module WorkerProgram =

    /// The first argument with which a scheduler that is published as one file is a worker.
    [<Literal>]
    let Inside = "--as-worker"

    /// For a scheduler that starts no worker.
    let none = { path = ""; arguments = []; environment = [] }

    let private anyExecute =
        UnixFileMode.UserExecute
        ||| UnixFileMode.GroupExecute
        ||| UnixFileMode.OtherExecute

    /// Environment variables that name the runtime: an apphost does not look everywhere, in ~/.dotnet for example.
    let private runtime () =
        let isSet =
            [
                "DOTNET_ROOT"
                $"DOTNET_ROOT_{RuntimeInformation.ProcessArchitecture.ToString().ToUpperInvariant()}"
            ]
            |> List.exists (fun name ->
                not (String.IsNullOrEmpty(Environment.GetEnvironmentVariable name)))

        let root =
            Path.GetFullPath(
                Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..")
            )

        if isSet || not (Directory.Exists(Path.Combine(root, "host", "fxr"))) then
            []
        else
            [ "DOTNET_ROOT", root ]

    let private missing (path: string) =
        Error
            $"--workers: there is no '{path}'; restore all files that were built or published, or start workers by hand"

    let private host (path: string) : Result<WorkerProgram, string> =
        // File.Exists is true for a link without its target, too.
        let exists =
            File.Exists path
            && (match File.ResolveLinkTarget(path, true) with
                | null -> true
                | target -> target.Exists)

        if not exists then
            missing path
        elif
            not (OperatingSystem.IsWindows())
            && File.GetUnixFileMode path &&& anyExecute = UnixFileMode.None
        then
            Error $"--workers: '{path}' is not executable; chmod +x makes it so"
        else
            Ok { path = path; arguments = []; environment = runtime () }

    /// <summary>Finds the program.</summary>
    /// <returns>The program; or an error that names the missing file, and says what to do.</returns>
    let find () : Result<WorkerProgram, string> =
        let beside name =
            Path.Combine(AppContext.BaseDirectory, name)

        let suffix = if OperatingSystem.IsWindows() then ".exe" else ""

        match Environment.ProcessPath with
        | null -> host (beside ("fs-worker" + suffix))
        | own when Path.GetFileNameWithoutExtension own = "dotnet" ->
            let library = beside "fs-worker.dll"

            if File.Exists library then
                Ok { path = own; arguments = [ library ]; environment = [] }
            else
                missing library
        | own when not (File.Exists(beside "fs-scheduler.dll")) ->
            Ok { path = own; arguments = [ Inside ]; environment = [] }
        | _ -> host (beside ("fs-worker" + suffix))

    /// <summary>How to start a worker, with pipes for its standard input and standard error.</summary>
    /// <param name="program">The result of `find`.</param>
    /// <param name="arguments">The arguments of the worker.</param>
    let startInfo (program: WorkerProgram) (arguments: string list) =
        let info =
            ProcessStartInfo(
                program.path,
                program.arguments @ arguments,
                RedirectStandardInput = true,
                RedirectStandardError = true,
                UseShellExecute = false
            )

        for name, value in program.environment do
            info.Environment[name] <- value

        info
