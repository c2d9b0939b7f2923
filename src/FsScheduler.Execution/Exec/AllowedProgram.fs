namespace FsScheduler.Execution.Exec

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Core

/// Programs allowed by the owner of a worker: their names in stages, and their paths.
module AllowedProgram =

    let private isSeparator character = character = '/' || character = '\\'

    let private anyExecute =
        UnixFileMode.UserExecute
        ||| UnixFileMode.GroupExecute
        ||| UnixFileMode.OtherExecute

    let private isExecutable (path: string) =
        File.Exists path
        && (OperatingSystem.IsWindows()
            || (File.GetUnixFileMode path &&& anyExecute) <> UnixFileMode.None)

    /// Batch files, which Windows runs by its shell: the shell would interpret the arguments.
    let private isBatch (path: string) =
        OperatingSystem.IsWindows()
        && (path.EndsWith(".bat", StringComparison.OrdinalIgnoreCase)
            || path.EndsWith(".cmd", StringComparison.OrdinalIgnoreCase))

    let private absolute (path: string) : Result<string, string> =
        if not (File.Exists path) then
            Error $"there is no file '{path}'"
        elif not (isExecutable path) then
            Error $"'{path}' is not executable; make it so with chmod +x"
        elif isBatch path then
            Error $"'{path}' is run by a shell, which would read the arguments; name a program"
        else
            Ok path

    let private inPath (name: string) : Result<string, string> =
        let folders =
            match Environment.GetEnvironmentVariable "PATH" with
            | null -> [||]
            | path -> path.Split(Path.PathSeparator)

        let names =
            if OperatingSystem.IsWindows() && not (Path.HasExtension name) then
                [| name + ".exe" |]
            else
                [| name |]

        // Relative folders of PATH are skipped, since they depend on where the worker was started.
        let found =
            seq {
                for folder in folders do
                    if Path.IsPathFullyQualified folder then
                        for name in names do
                            Path.Combine(folder, name)
            }
            |> Seq.tryFind isExecutable

        match found with
        | Some path -> absolute path
        | None -> Error $"there is no program '{name}' in PATH; install it, or write its path"

    /// <summary>Finds a program when the worker starts: later changes of PATH do not matter.</summary>
    /// <param name="program">A name, looked up in PATH, or an absolute path.</param>
    /// <returns>The absolute path of an executable file; or an error that says what to do.</returns>
    let find (program: string) : Result<string, string> =
        try
            if not (ProtocolLimits.isProgram program) then
                Error
                    $"'{program}' cannot be a program: it has 1 to {ProtocolLimits.programBytesMax} bytes, without control characters and commas; link it under another name"
            elif Path.IsPathFullyQualified program then
                absolute program
            elif Seq.exists isSeparator program then
                Error $"'{program}' is a relative path; write an absolute one"
            else
                inPath program
        with
        | :? IOException
        | :? UnauthorizedAccessException as error -> Error $"'{program}': {error.Message}"

    /// <returns>The path of each program; or the error of the first program that is not found.</returns>
    let findAll (programs: string seq) : Result<IReadOnlyDictionary<string, string>, string> =
        let found = Dictionary<string, string>()

        let problem =
            programs
            |> Seq.tryPick (fun program ->
                match find program with
                | Ok path ->
                    found[program] <- path
                    None
                | Error message -> Some message)

        match problem with
        | Some message -> Error message
        | None -> Ok found
