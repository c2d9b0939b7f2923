namespace FsScheduler.Conformance

open System
open System.Collections.Generic
open System.ComponentModel
open System.Diagnostics
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// <summary>The process of a worker, for one check. Killed when it is disposed.</summary>
/// <exception cref="T:FsScheduler.Conformance.WorkerNotStarted">The command cannot be started.</exception>
[<Sealed>]
type WorkerProcess(command: Command, host: string, port: int) =
    static let linesMax = 5
    static let lineCharsMax = 300

    let output = Queue<string>()

    let note (line: string) =
        lock output (fun () ->
            if line.Trim() <> "" then
                output.Enqueue(
                    Terminal.printable (line.Substring(0, min lineCharsMax line.Length))
                )

            if output.Count > linesMax then
                output.Dequeue() |> ignore)

    let worker =
        let info =
            ProcessStartInfo(
                command.program,
                Command.withAddress host port command.arguments,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false
            )

        try
            nonNull (Process.Start info)
        with :? Win32Exception as error ->
            raise (WorkerNotStarted $"'{command.program}' cannot be started: {error.Message}")

    /// On a thread of its own: reading from a pipe blocks, and would starve the pool.
    let read (from: StreamReader) : Task =
        Task.Factory.StartNew(
            (fun () ->
                try
                    let mutable line = from.ReadLine()

                    while not (isNull line) do
                        note (nonNull line)
                        line <- from.ReadLine()
                with
                | :? IOException
                | :? ObjectDisposedException -> ()),
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default
        )

    // The output is always read: a full pipe would block the worker.
    let readings = [| read worker.StandardOutput; read worker.StandardError |]

    let ended =
        task {
            do! worker.WaitForExitAsync()
            // Processes started by the worker may hold the pipes open.
            let! _ = Task.WhenAny(Task.WhenAll readings, Task.Delay 200)
            return worker.ExitCode
        }

    member _.Ended: Task<int> = ended

    /// For people: that the process runs, or its exit code, and its last line of output.
    member _.State =
        let lastLine =
            match lock output (fun () -> Seq.tryLast output) with
            | Some last -> $"; its last line of output: {last}"
            | None -> ""

        if ended.IsCompleted then
            $"the process has ended with exit code {ended.Result}{lastLine}"
        else
            $"the process runs{lastLine}"

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                try
                    worker.Kill(entireProcessTree = true)
                with
                | :? InvalidOperationException
                | :? Win32Exception -> () // the process has just ended

                let! _ = Task.WhenAny(ended, Task.Delay 10_000)
                worker.Dispose()
            }
            |> ValueTask
