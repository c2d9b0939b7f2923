namespace FsScheduler.Scheduler

open System
open System.Diagnostics
open System.IO
open System.Net
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Runtime

/// <summary>Worker processes of this machine, kept running until they are ended.</summary>
/// <param name="scheduler">Where they connect.</param>
/// <param name="count">How many.</param>
/// <param name="arguments">Further arguments of each.</param>
/// <param name="log">Says when one dies.</param>
[<Sealed>]
type LocalWorkers(scheduler: IPEndPoint, count: int, arguments: string list, log: ILogger) =
    // One that lived this long has proved itself: its next start waits for nothing.
    static let provenAfter = TimeSpan.FromSeconds 10.0
    static let patience = TimeSpan.FromSeconds 12.0

    let stop = new CancellationTokenSource()

    let program =
        Path.Combine(
            AppContext.BaseDirectory,
            (if OperatingSystem.IsWindows() then
                 "fs-worker.exe"
             else
                 "fs-worker")
        )

    let start index =
        let info =
            ProcessStartInfo(program, RedirectStandardInput = true, UseShellExecute = false)

        for argument in
            [
                "--connect"
                string scheduler
                "--name"
                $"local-{index}"
                "--end-with-stdin"
            ]
            @ arguments do
            info.ArgumentList.Add argument

        nonNull (Process.Start info)

    let keep index =
        task {
            let mutable failures = 0
            let mutable random = uint64 index

            while not stop.IsCancellationRequested do
                let started = Stopwatch.StartNew()
                use worker = start index

                try
                    do! worker.WaitForExitAsync stop.Token
                    failures <- if started.Elapsed > provenAfter then 1 else failures + 1
                    let struct (state, chance) = Backoff.random random
                    random <- state
                    let delay = TimeSpan.FromMilliseconds(float (Backoff.delay failures chance))

                    log.LogWarning(
                        "worker local-{Index} ended with exit code {Code}; started again in {Delay} ms",
                        index,
                        worker.ExitCode,
                        int delay.TotalMilliseconds
                    )

                    do! Task.Delay(delay, stop.Token)
                with :? OperationCanceledException ->
                    // It ends when its standard input does; and so it would if this process died.
                    worker.StandardInput.Close()

                    try
                        do! worker.WaitForExitAsync().WaitAsync patience
                    with :? TimeoutException ->
                        worker.Kill(entireProcessTree = true)
        }

    let running = Task.WhenAll [ for index in 1..count -> keep index :> Task ]

    /// Faults when a worker cannot be started at all.
    member _.Completion: Task = running

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            stop.Cancel()
            ValueTask running
