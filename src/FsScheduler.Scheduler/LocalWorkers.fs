namespace FsScheduler.Scheduler

open System
open System.ComponentModel
open System.Diagnostics
open System.IO
open System.Net
open System.Text
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Cli

/// Copies the standard error of a worker to that of this process, and keeps the last line: it tells why a worker has ended.
[<Sealed>]
type private WorkerErrors(worker: Diagnostics.Process) =
    // In characters, of the text that is kept.
    static let tailMax = 1_024

    // After the end of the worker, another process may still have its standard error open.
    static let endMax = TimeSpan.FromSeconds 1.0

    // In characters; longer lines are copied in parts.
    static let lineMax = 16_384

    let tail = StringBuilder()

    let keep (text: string) =
        lock tail (fun () ->
            tail.Append text |> ignore

            if tail.Length > tailMax then
                tail.Remove(0, tail.Length - tailMax) |> ignore)

    /// The next line, without its end; null: standard error is closed.
    let readLine () : string | null =
        let line = StringBuilder()
        let mutable next = worker.StandardError.Read()
        let isClosed = next < 0

        while next >= 0 && next <> int '\n' do
            line.Append(char next) |> ignore

            next <-
                if line.Length < lineMax then
                    worker.StandardError.Read()
                else
                    -1

        if isClosed then null else line.ToString()

    /// Written to the stream that waits for no reader: descriptor 2 may be another file, if it was closed at the start.
    let copy () =
        try
            let mutable line = readLine ()

            while not (isNull line) do
                keep (nonNull line + "\n")
                Console.Error.WriteLine(nonNull line)
                line <- readLine ()
        with
        | :? IOException
        | :? ObjectDisposedException -> ()

    let thread = Thread(copy, 256 * 1024, IsBackground = true, Name = "worker errors")
    do thread.Start()

    /// The last line; empty: there is none.
    member _.Last: string =
        thread.Join endMax |> ignore

        let lines =
            lock tail (fun () -> tail.ToString())
            |> _.Split(
                '\n',
                StringSplitOptions.RemoveEmptyEntries ||| StringSplitOptions.TrimEntries
            )

        Array.tryLast lines |> Option.map Terminal.printable |> Option.defaultValue ""

/// <summary>The workers of `--workers`: processes of this machine, which are started again when they end.</summary>
/// <param name="program">The program of the workers.</param>
/// <param name="scheduler">The address that the workers connect to.</param>
/// <param name="count">The number of workers.</param>
/// <param name="arguments">Further arguments of each worker.</param>
/// <param name="ending">Cancelled when this process is asked to end: then no worker is started again.</param>
/// <param name="log">The log for workers that end.</param>
[<Sealed>]
type LocalWorkers
    (
        program: WorkerProgram,
        scheduler: IPEndPoint,
        count: int,
        arguments: string list,
        ending: CancellationToken,
        log: ILogger
    ) =
    // A worker that has run this long can start: the delays before its next starts begin at the shortest again.
    static let provenAfter = TimeSpan.FromSeconds 10.0

    // The time for a worker to end before it is killed.
    static let patience = TimeSpan.FromSeconds 12.0

    // The failed starts in a row after which a worker counts as unable to start. Further starts are tried, at most once a
    // minute: a full disk, for example, may get room.
    static let failuresMax = 5

    // Ctrl+C in a terminal reaches the workers too, which may end before this process gets the signal.
    static let interruptedWithin = TimeSpan.FromMilliseconds 500.0

    // The exit codes of SIGINT, SIGKILL and SIGTERM: the last line of the worker is not the reason then.
    static let bySignal = [ 130; 137; 143 ]

    let stop = new CancellationTokenSource()

    let startNoMore =
        CancellationTokenSource.CreateLinkedTokenSource(stop.Token, ending)

    // Why each worker cannot start; null: it can, as far as is known.
    let reasons: (string | null)[] = Array.create count null
    let mutable isLogged = false

    let start index =
        let arguments =
            [
                "--connect"
                string scheduler
                "--name"
                $"local-{index}"
                "--end-with-stdin"
            ]
            @ arguments

        try
            Ok(nonNull (Process.Start(WorkerProgram.startInfo program arguments)))
        with :? Win32Exception as error ->
            Error $"'{program.path}' cannot be started: {error.Message}"

    /// Why no worker can start; null: one can, as far as is known, or there are none.
    let tryReason () : string | null =
        lock reasons (fun () ->
            if count > 0 && reasons |> Array.forall (isNull >> not) then
                reasons[0]
            else
                null)

    let note index failures (reason: string) =
        lock reasons (fun () ->
            reasons[index - 1] <- if failures >= failuresMax then reason else null)

        match tryReason () with
        | null -> isLogged <- false
        | reason ->
            if not isLogged then
                isLogged <- true

                log.LogError(
                    "the workers of --workers cannot start: {Reason}. They are started again, at most once a minute; meanwhile tasks need other workers",
                    reason
                )

    let keep index =
        task {
            let mutable failures = 0
            let mutable random = uint64 index

            let waitFor (reason: string) =
                task {
                    note index failures reason
                    let struct (state, chance) = Backoff.random random
                    random <- state
                    let delay = TimeSpan.FromMilliseconds(float (Backoff.delay failures chance))

                    log.LogWarning(
                        "worker local-{Index} ended: {Reason}; started again in {Delay} ms",
                        index,
                        reason,
                        int delay.TotalMilliseconds
                    )

                    do! Task.Delay(delay, startNoMore.Token)
                }

            let mutable goOn = true

            while goOn && not startNoMore.IsCancellationRequested do
                match start index with
                | Error reason ->
                    failures <- failures + 1

                    try
                        do! waitFor reason
                    with :? OperationCanceledException ->
                        goOn <- false
                | Ok worker ->
                    use worker = worker
                    let started = Stopwatch.StartNew()
                    let errors = WorkerErrors worker

                    try
                        let lives = worker.WaitForExitAsync stop.Token
                        let! first = Task.WhenAny(lives, Task.Delay provenAfter)

                        if not (obj.ReferenceEquals(first, lives)) then
                            failures <- 0
                            note index 0 ""

                        do! lives

                        if worker.ExitCode = ExitCode.interrupted then
                            do! Task.Delay(interruptedWithin, startNoMore.Token)

                        failures <- failures + 1

                        let reason =
                            match errors.Last with
                            | last when last <> "" && not (List.contains worker.ExitCode bySignal) ->
                                $"exit code {worker.ExitCode}: {last}"
                            | _ -> $"exit code {worker.ExitCode}"

                        do! waitFor reason
                    with :? OperationCanceledException ->
                        // A worker ends when its standard input does, also when this process dies.
                        worker.StandardInput.Close()

                        try
                            do! worker.WaitForExitAsync().WaitAsync patience
                        with :? TimeoutException ->
                            worker.Kill(entireProcessTree = true)
        }

    let running = Task.WhenAll [ for index in 1..count -> keep index :> Task ]

    /// Fails when there is a defect in this process.
    member _.Completion: Task = running

    /// <summary>Waits until no worker of this machine can start, and no other worker is connected.</summary>
    /// <param name="hasOthers">Whether a worker is connected.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Why no worker can start.</returns>
    member _.UntilUnableAsync(hasOthers: unit -> Task<bool>, ct: CancellationToken) : Task<string> =
        task {
            let mutable answer: string | null = null
            use timer = new PeriodicTimer(TimeSpan.FromMilliseconds 200.0)

            while isNull answer do
                let! _ = timer.WaitForNextTickAsync ct

                match tryReason () with
                | null -> ()
                | reason ->
                    let! others = hasOthers ()

                    if not others then
                        answer <- reason

            return nonNull answer
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            stop.Cancel()
            ValueTask running
