namespace FsScheduler.Conformance

open System
open System.Collections.Generic
open System.ComponentModel
open System.Diagnostics
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// <summary>The process of a worker, for one row. It does not outlive it.</summary>
/// <param name="command">What to start.</param>
/// <param name="host">Where the kit listens.</param>
/// <param name="port">Where the kit listens.</param>
/// <exception cref="T:FsScheduler.Conformance.Unstartable">The command cannot be started.</exception>
[<Sealed>]
type Child(command: Command, host: string, port: int) =
    static let linesMax = 5
    static let lineCharsMax = 300

    let words = Queue<string>()

    let note (line: string) =
        lock words (fun () ->
            if line.Trim() <> "" then
                words.Enqueue(Terminal.printable (line.Substring(0, min lineCharsMax line.Length)))

            if words.Count > linesMax then
                words.Dequeue() |> ignore)

    let child =
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

    // Somebody has to read what it says, or it would wait for that once the pipe is full.
    let readings = [| read child.StandardOutput; read child.StandardError |]

    let ended =
        task {
            do! child.WaitForExitAsync()
            // A child of its own may hold the pipes open.
            let! _ = Task.WhenAny(Task.WhenAll readings, Task.Delay 200)
            return child.ExitCode
        }

    /// Completes with the exit code.
    member _.Ended: Task<int> = ended

    /// How it ended, or that it runs, and the last that it has said; for people.
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
                    child.Kill(entireProcessTree = true)
                with
                | :? InvalidOperationException
                | :? Win32Exception -> () // it has just ended by itself

                let! _ = Task.WhenAny(ended, Task.Delay 10_000)
                child.Dispose()
            }
            |> ValueTask
