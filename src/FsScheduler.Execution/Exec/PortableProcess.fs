namespace FsScheduler.Execution.Exec

open System
open System.ComponentModel
open System.Diagnostics
open System.IO
open System.Threading.Tasks

/// A program started by .NET. Killing the program misses descendants whose parents have ended before.
[<Sealed>]
type private PortableProcess(running: Process, start: ProgramStart) =
    inherit ProgramProcess()

    let completion =
        task {
            do! running.WaitForExitAsync()
            return Exited running.ExitCode
        }

    let feeding =
        task {
            match start.input with
            | InputPiped -> ()
            | InputEmpty -> running.StandardInput.Close()
            | InputFile path ->
                try
                    use file = File.OpenRead path
                    do! file.CopyToAsync running.StandardInput.BaseStream
                    running.StandardInput.Close()
                with :? IOException ->
                    () // the program reads no more
        }

    let discarding =
        if start.isOutputWanted then
            Task.CompletedTask
        else
            running.StandardOutput.BaseStream.CopyToAsync Stream.Null

    let kill () =
        try
            running.Kill(entireProcessTree = true)
        with
        | :? InvalidOperationException
        | :? AggregateException
        | :? Win32Exception -> () // the program, or a part of its tree, has ended

    override _.Input =
        match start.input with
        | InputPiped -> running.StandardInput.BaseStream
        | InputFile _
        | InputEmpty -> Stream.Null

    override _.Output =
        if start.isOutputWanted then
            running.StandardOutput.BaseStream
        else
            Stream.Null

    override _.Errors = running.StandardError.BaseStream
    override _.Completion = completion
    override _.Kill() = kill ()

    override _.Dispose() =
        if not completion.IsCompleted then
            kill ()

        // Feeding and discarding end with the program; their errors do not matter then.
        Task
            .WhenAll(feeding, discarding, completion)
            .ContinueWith(fun (all: Task) ->
                all.Exception |> ignore
                running.Dispose())
        |> ignore

/// Starts programs where there are no sessions.
[<Sealed>]
type PortableStarter() =

    interface IProgramStarter with
        member _.Start start =
            let info =
                ProcessStartInfo(
                    start.path,
                    start.arguments,
                    WorkingDirectory = start.folder,
                    RedirectStandardInput = true,
                    RedirectStandardOutput = true,
                    RedirectStandardError = true,
                    UseShellExecute = false
                )

            info.Environment.Clear()

            for variable in start.environment do
                // From the second character on: Windows has variables that begin with '='.
                let equals = variable.IndexOf('=', 1)
                info.Environment[variable.Substring(0, equals)] <- variable.Substring(equals + 1)

            try
                new PortableProcess(nonNull (Process.Start info), start)
            with :? Win32Exception as error ->
                raise (
                    IOException(
                        StartFailure.describe start.path error.NativeErrorCode,
                        error.NativeErrorCode
                    )
                )
