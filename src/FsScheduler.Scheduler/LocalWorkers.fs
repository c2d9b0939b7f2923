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

/// Passes on what a worker says on its standard error, and remembers its last line: that is why it has ended.
[<Sealed>]
type private WorkerErrors(worker: Diagnostics.Process) =
    static let tailMax = 1_024
    // What something else that has its standard error may keep it open for after its end.
    static let endMax = TimeSpan.FromSeconds 1.0

    // Of a line; what is longer is passed on in parts.
    static let lineMax = 16_384

    let tail = StringBuilder()

    let keep (text: string) =
        lock tail (fun () ->
            tail.Append text |> ignore

            if tail.Length > tailMax then
                tail.Remove(0, tail.Length - tailMax) |> ignore)

    /// The next line, without its end; null: it is closed.
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

    /// By the stream that waits for no reader: the descriptor itself may be something else where it was closed at the start.
    let pass () =
        try
            let mutable line = readLine ()

            while not (isNull line) do
                keep (nonNull line + "\n")
                Console.Error.WriteLine(nonNull line)
                line <- readLine ()
        with
        | :? IOException
        | :? ObjectDisposedException -> ()

    let thread = Thread(pass, 256 * 1024, IsBackground = true, Name = "worker errors")
    do thread.Start()

    /// The last line that it has said; empty: it has said nothing.
    member _.Last: string =
        thread.Join endMax |> ignore

        let lines =
            lock tail (fun () -> tail.ToString())
            |> _.Split(
                '\n',
                StringSplitOptions.RemoveEmptyEntries ||| StringSplitOptions.TrimEntries
            )

        Array.tryLast lines |> Option.map Terminal.printable |> Option.defaultValue ""

/// <summary>Worker processes of this machine, kept running until they are ended.</summary>
/// <param name="program">What is started.</param>
/// <param name="scheduler">Where they connect.</param>
/// <param name="count">How many.</param>
/// <param name="arguments">Further arguments of each.</param>
/// <param name="ending">Cancelled when this process was asked to end: none is started again then.</param>
/// <param name="log">Says when one dies.</param>
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
    // One that lived this long has proved itself: its next start waits for nothing.
    static let provenAfter = TimeSpan.FromSeconds 10.0
    static let patience = TimeSpan.FromSeconds 12.0
    // Starts in a row that came to nothing, after which it is said that it cannot start. It is still tried, at most once
    // a minute: a full disk may be emptied.
    static let failuresMax = 5

    // Ctrl+C in a terminal reaches the workers too, and they may be gone before this process has heard of it.
    static let interruptedWithin = TimeSpan.FromMilliseconds 500.0
    // Of SIGINT, SIGKILL and SIGTERM: what a worker said last is not why it has ended.
    static let bySignal = [ 130; 137; 143 ]

    let stop = new CancellationTokenSource()

    let startNoMore =
        CancellationTokenSource.CreateLinkedTokenSource(stop.Token, ending)

    // Why each cannot start; null: it can, as far as anybody knows.
    let reasons: (string | null)[] = Array.create count null
    let mutable isTold = false

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

    /// Why none of them can start; null: one can, as far as anybody knows, or there are none.
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
        | null -> isTold <- false
        | reason ->
            if not isTold then
                isTold <- true

                log.LogError(
                    "the workers of this machine cannot start: {Reason}. They are tried again, at most once a minute; meanwhile only other workers do anything",
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
                        // It ends when its standard input does; and so it would if this process died.
                        worker.StandardInput.Close()

                        try
                            do! worker.WaitForExitAsync().WaitAsync patience
                        with :? TimeoutException ->
                            worker.Kill(entireProcessTree = true)
        }

    let running = Task.WhenAll [ for index in 1..count -> keep index :> Task ]

    /// Faults when something is wrong with this process.
    member _.Completion: Task = running

    /// <summary>Waits until there is nobody to do anything.</summary>
    /// <param name="hasOthers">Whether any worker is connected.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Why none of them can start.</returns>
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
