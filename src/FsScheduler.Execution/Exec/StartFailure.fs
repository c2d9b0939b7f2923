namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Text
open FsScheduler.Platform
open FsScheduler.Stages

/// Why a program cannot be started: a failure that does not depend on the payload.
module internal StartFailure =

    let private ENOENT = 2
    let private E2BIG = 7
    let private ENOEXEC = 8
    // Linux reads this many bytes of the first line.
    let private lineMax = 256

    /// The words after `#!` in the first line, with the carriage return of a Windows line end.
    let private interpreter (path: string) : string[] =
        try
            use file = File.OpenRead path
            let bytes: byte[] = Array.zeroCreate lineMax
            let read = file.ReadAtLeast(bytes.AsSpan(), lineMax, false)
            let text = Encoding.UTF8.GetString(bytes, 0, read)

            if text.StartsWith("#!", StringComparison.Ordinal) then
                let line = text.Split('\n', 2)[0]
                line.Substring(2).Split([| ' '; '\t' |], StringSplitOptions.RemoveEmptyEntries)
            else
                [||]
        with
        | :? IOException
        | :? UnauthorizedAccessException -> [||]

    let private returns (path: string) =
        $"its first line ends in a carriage return, as on Windows; remove it, with sed -i 's/\\r$//' {Terminal.printable path}"

    let private endsInReturn (path: string) =
        match interpreter path with
        | [||] -> false
        | words -> (Array.last words).EndsWith '\r'

    /// Why Linux cannot start the interpreter of a first line.
    let private ofFirstLine (path: string) : string voption =
        match interpreter path with
        | [||] -> ValueNone
        | words when (Array.last words).EndsWith '\r' -> ValueSome(returns path)
        | words when not (File.Exists words[0]) ->
            ValueSome $"its interpreter '{Terminal.printable words[0]}' is not there"
        | _ -> ValueNone

    /// <summary>Why the system does not start a program, for people.</summary>
    /// <param name="path">The path of the program.</param>
    /// <param name="errno">The error of the system.</param>
    let describe (path: string) (errno: int) : string =
        let reason =
            match errno with
            | _ when errno = ENOENT && File.Exists path ->
                ofFirstLine path |> ValueOption.defaultWith (fun () -> Linux.message errno)
            | _ when errno = ENOEXEC ->
                $"{Linux.message errno}: the file is no program of this machine, and no script that begins with '#!'"
            | _ -> Linux.message errno

        $"'{path}' cannot be started: {reason}"

    /// The failure of a task whose program could not be started.
    let failure (error: IOException) =
        // Arguments that are too long depend on the pipeline, and are too long for every worker.
        if error.HResult = E2BIG then
            StageException(error.Message, false)
        else
            StageException(error.Message, true, true)

    let private isInPath (program: string) =
        match Environment.GetEnvironmentVariable "PATH" with
        | null -> false
        | path ->
            path.Split Path.PathSeparator
            |> Array.exists (fun folder -> File.Exists(Path.Combine(folder, program)))

    /// Why `env`, in the first line of a script, cannot start the interpreter.
    let private ofEnv (path: string) : string voption =
        match interpreter path with
        | [||] -> ValueNone
        | words when (Array.last words).EndsWith '\r' -> ValueSome(returns path)
        | words when Path.GetFileName words[0] = "env" ->
            words
            |> Seq.skip 1
            |> Seq.tryFind (fun word -> not (word.StartsWith '-') && not (word.Contains '='))
            |> function
                | Some program when not (isInPath program) ->
                    ValueSome $"its interpreter '{Terminal.printable program}' is not in PATH"
                | Some _
                | None -> ValueNone
        | _ -> ValueNone

    /// <summary>Why a program ended before it ran: the loader or `env` ends with 126 or 127 then.</summary>
    /// <param name="path">The path of the program.</param>
    /// <param name="ending">How the program ended.</param>
    /// <param name="errors">The standard error of the program.</param>
    /// <returns>None: the program had been started.</returns>
    let ofEnding (path: string) (ending: ProgramEnd) (errors: string) : StageException voption =
        let isLoader =
            errors.Contains("error while loading shared libraries", StringComparison.Ordinal)
            || errors.Contains("Error loading shared library", StringComparison.Ordinal)

        let cannot (reason: string) =
            ValueSome(StageException($"'{path}' cannot be started: {reason}", true, true))

        match ending with
        | Exited 127 when isLoader -> cannot errors
        // `env` or the interpreter takes the carriage return for a part of an option or a name.
        | Exited code when
            code <> 0
            && errors.Contains("option", StringComparison.OrdinalIgnoreCase)
            && endsInReturn path
            ->
            cannot (returns path)
        | Exited(126 | 127) ->
            match ofEnv path with
            | ValueSome reason -> cannot reason
            | ValueNone -> ValueNone
        | Exited _
        | Signalled _ -> ValueNone
