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
/// <exception cref="T:FsScheduler.Conformance.Unstartable">The command cannot be started.</exception>
[<Sealed>]
type WorkerProcess(command: Command, host: string, port: int) =
    static let linesMax = 5
    static let lineCharsMax = 300

    let words = Queue<string>()

    let note (line: string) =
        lock words (fun () ->
            if line.Trim() <> "" then
                words.Enqueue(Terminal.printable (line.Substring(0, min lineCharsMax line.Length)))

            if words.Count > linesMax then
                words.Dequeue() |> ignore)

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
            raise (Unstartable $"'{command.program}' cannot be started: {error.Message}")

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

    // Somebody has to read the output: a full pipe would block the worker.
    let readings = [| read worker.StandardOutput; read worker.StandardError |]

    let ended =
        task {
            do! worker.WaitForExitAsync()
            // Processes started by the worker may hold the pipes open.
            let! _ = Task.WhenAny(Task.WhenAll readings, Task.Delay 200)
            return worker.ExitCode
        }

    member _.Ended: Task<int> = ended

    /// Whether the process runs, or its exit code, with its last line of output; for people.
    member _.State =
        let said =
            match lock words (fun () -> Seq.tryLast words) with
            | Some last -> $"; its last words: {last}"
            | None -> ""

        if ended.IsCompleted then
            $"the process has ended with exit code {ended.Result}{said}"
        else
            $"the process runs{said}"

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
