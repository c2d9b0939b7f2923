namespace FsScheduler.Scheduler

open System
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices

/// How `--workers` starts a worker: by the runtime that runs this process, wherever that was found.
type WorkerProgram = {
    path: string
    /// Before those of the worker.
    arguments: string list
    environment: (string * string) list
}

module WorkerProgram =

    /// With this as its first argument a scheduler that is one file, and has nothing beside it, is a worker.
    [<Literal>]
    let Inside = "--as-worker"

    /// Where there is nothing to start.
    let none = { path = ""; arguments = []; environment = [] }

    let private anyExecute =
        UnixFileMode.UserExecute
        ||| UnixFileMode.GroupExecute
        ||| UnixFileMode.OtherExecute

    /// What an executable that is only a host asks for its runtime. It may be where no host looks by itself, as the SDK in
    /// ~/.dotnet is.
    let private runtime () =
        let isTold =
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

        if isTold || not (Directory.Exists(Path.Combine(root, "host", "fxr"))) then
            []
        else
            [ "DOTNET_ROOT", root ]

    let private host (path: string) : Result<WorkerProgram, string> =
        // It says so of a link that leads nowhere, too.
        let isThere =
            File.Exists path
            && (match File.ResolveLinkTarget(path, true) with
                | null -> true
                | target -> target.Exists)

        if not isThere then
            Error
                $"--workers: there is no '{path}'; put the whole of what was built or published back, or start workers by hand"
        elif
            not (OperatingSystem.IsWindows())
            && File.GetUnixFileMode path &&& anyExecute = UnixFileMode.None
        then
            Error $"--workers: '{path}' is not executable; make it so with chmod +x"
        else
            Ok { path = path; arguments = []; environment = runtime () }

    /// <summary>Finds what to start.</summary>
    /// <returns>Or a sentence about what is missing, with what to do.</returns>
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
                Error
                    $"--workers: there is no '{library}'; put the whole of what was built or published back, or start workers by hand"
        | own when not (File.Exists(beside "fs-scheduler.dll")) ->
            Ok { path = own; arguments = [ Inside ]; environment = [] }
        | _ -> host (beside ("fs-worker" + suffix))

    /// <summary>What starts a worker. Its standard input is ours to close, and its standard error to pass on.</summary>
    /// <param name="program">What `find` has found.</param>
    /// <param name="arguments">Of the worker.</param>
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
