namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Runtime.Stages
open FsScheduler.Runtime.Exec

/// A task that a worker has been given.
type Job = { work: Process; payload: Payload; cancellation: CancellationToken }

/// What became of it: the outcome, and the result where it succeeded.
[<Struct>]
type JobResult = { outcome: Outcome; payload: Payload }

/// <summary>Runs the stages of jobs. Built-in stages run on as many threads as there are processors, stage functions
/// on the thread pool, all jobs at once.</summary>
/// <param name="functions">Stages in code, by name. They take precedence over built-in ones.</param>
/// <param name="programs">Stages that run programs, if there are any.</param>
/// <param name="temporary">A folder for what is too large for memory.</param>
/// <param name="slots">How many jobs there are at once, at most.</param>
/// <param name="finish">Gets each job with its result, on any thread.</param>
[<Sealed>]
type Executor
    (
        functions: IReadOnlyDictionary<string, StageFunction>,
        programs: ExecStages voption,
        temporary: string,
        slots: int,
        finish: Job -> JobResult -> unit
    ) =
    // Results up to this stay in memory.
    static let memoryMax = 4 * 1024 * 1024
    // Payloads up to this are run by the thread that read them: a switch of threads would cost more.
    static let inlineMax = 4 * 1024

    // Timers take no more.
    static let timeoutMax = 1_728_000_000L<ms>

    let newRunner () =
        StageRunner(BuiltIn.tryStartIn temporary, memoryMax)

    let inlineRunner = newRunner ()
    let runners = System.Collections.Concurrent.ConcurrentBag<StageRunner>()
    let jobs = Channel.CreateUnbounded<Job>() // never more of them than slots
    let mutable files = 0L
    let mutable resultMax = Int64.MaxValue * 1L<B>

    let nameOf (wire: string) =
        match wire.IndexOf ':' with
        | -1 -> wire
        | colon -> wire.Substring(0, colon)

    let argumentOf (wire: string) =
        match wire.IndexOf ':' with
        | -1 -> ""
        | colon -> wire.Substring(colon + 1)

    // Also of a worker that runs no programs: it says so, and not that it does not know the stage.
    let isProgram (wire: string) =
        wire.StartsWith("exec", StringComparison.Ordinal)
        && (ExecCommand.tryKind (nameOf wire)).IsSome

    let isBuiltIn (work: Process) =
        not (
            work.stages
            |> Array.exists (fun wire ->
                isProgram wire || functions.Count > 0 && functions.ContainsKey(nameOf wire))
        )

    let failed (error: exn) =
        let message, retry =
            match error with
            | :? StageException as error -> error.Message, error.Retry
            | :? OperationCanceledException -> "cancelled", true
            | error -> $"{error.GetType().Name}: {error.Message}", true

        { outcome = Failed(message, retry); payload = Payload.empty }

    let newFile () =
        Path.Combine(temporary, string (Interlocked.Increment &files))

    let streamed (runner: StageRunner) (stages: string[]) payload (ct: CancellationToken) =
        task {
            use input = SpoolFile.openPayload payload
            let path = newFile ()
            let output = new StraightFile(path, FileMode.Create)

            try
                let! size = runner.RunAsync(stages, input, output, ct)
                do! output.DisposeAsync()
                return Spooled(path, size)
            with error ->
                do! output.DisposeAsync()
                SpoolFile.delete path
                return raise error
        }

    let builtIn (runner: StageRunner) (stages: string[]) payload ct : Task<Payload> =
        match payload with
        | Bytes bytes ->
            match runner.TryRun(stages, ReadOnlySpan bytes) with
            | ValueSome result -> Task.FromResult(Bytes(result.ToArray()))
            | ValueNone -> streamed runner stages payload ct
        | Packed
        | Filed
        | Recorded _
        | Spooled _
        | Input _
        | Slice _ -> streamed runner stages payload ct

    let callFunction (job: Job) (wire: string) payload =
        task {
            let! bytes =
                match payload with
                | Bytes bytes -> Task.FromResult bytes
                | Spooled(_, size) when size > StageFunction.payloadMax ->
                    raise (
                        StageException(
                            $"{size} bytes are too many for the stage function '{nameOf wire}'",
                            false
                        )
                    )
                | Spooled(path, _) -> File.ReadAllBytesAsync(path, job.cancellation)
                | Packed
                | Filed
                | Recorded _
                | Input _
                | Slice _ -> invalidOp "a worker has payloads in memory or in files of its own"

            let! result =
                functions[nameOf wire].Invoke {
                    argument = argumentOf wire
                    name = job.work.name
                    attempt = job.work.attempt
                    payload = ReadOnlyMemory bytes
                    cancellation = job.cancellation
                }

            return Bytes(result.ToArray())
        }

    let runProgram (job: Job) (wire: string) payload ct : Task<Payload> =
        match programs, ExecCommand.tryKind (nameOf wire) with
        | ValueSome programs, ValueSome kind ->
            programs.RunAsync(kind, argumentOf wire, job.work, payload, resultMax, ct)
        | _ -> raise (StageException("this worker may not run any program", true))

    /// Programs end with the time of their task, whether or not the scheduler is there to say so.
    let limited (job: Job) =
        let source = CancellationTokenSource.CreateLinkedTokenSource job.cancellation
        source.CancelAfter(TimeSpan.FromMilliseconds(float (min job.work.timeout timeoutMax)))
        source

    let isOverdue (job: Job) (limit: CancellationTokenSource) =
        limit.IsCancellationRequested && not job.cancellation.IsCancellationRequested

    let overdue (job: Job) (wire: string) =
        let stage = Limit.cut 200 wire

        StageException(
            $"'{stage}' was still running after {job.work.timeout} ms, the time limit of the task",
            true
        )

    /// Stages one by one, where some are functions or programs.
    let mixed (runner: StageRunner) (job: Job) =
        task {
            let mutable payload = job.payload
            let mutable at = ""
            use limit = limited job

            try
                for wire in job.work.stages do
                    job.cancellation.ThrowIfCancellationRequested()
                    at <- wire

                    let! result =
                        if isProgram wire then
                            runProgram job wire payload limit.Token
                        elif functions.ContainsKey(nameOf wire) then
                            callFunction job wire payload
                        else
                            builtIn runner [| wire |] payload job.cancellation

                    SpoolFile.discard payload
                    payload <- result

                return payload
            with error ->
                SpoolFile.discard payload

                match error with
                | :? OperationCanceledException when isOverdue job limit ->
                    return raise (overdue job at)
                | _ -> return raise error
        }

    let run (runner: StageRunner) (job: Job) =
        task {
            let! result =
                task {
                    try
                        let! payload =
                            if isBuiltIn job.work then
                                builtIn runner job.work.stages job.payload job.cancellation
                            else
                                mixed runner job

                        return { outcome = Succeeded; payload = payload }
                    with error ->
                        return failed error
                }

            SpoolFile.discard job.payload
            finish job result
        }

    let consume () =
        task {
            let runner = newRunner ()
            let! first = jobs.Reader.WaitToReadAsync()
            let mutable goOn = first

            while goOn do
                let mutable job = Unchecked.defaultof<Job>

                while jobs.Reader.TryRead(&job) do
                    do! run runner job

                let! more = jobs.Reader.WaitToReadAsync()
                goOn <- more
        }

    let consumers = [
        for _ in 1 .. min slots Environment.ProcessorCount -> Task.Run<unit>(fun () -> consume ())
    ]

    /// The largest result that the scheduler takes; programs that give more are stopped there.
    member _.ResultMax
        with get () = resultMax
        and set size = resultMax <- size

    /// <summary>Runs what is small and built in, at once.</summary>
    /// <returns>None: it is not, and is for `Take`.</returns>
    /// <remarks>By one thread at a time: what runs it is used again for the next.</remarks>
    member _.TryRunAtOnce(work: Process, payload: Payload) : JobResult voption =
        match payload with
        | Bytes bytes when bytes.Length <= inlineMax && isBuiltIn work ->
            try
                match inlineRunner.TryRun(work.stages, ReadOnlySpan bytes) with
                | ValueSome result ->
                    ValueSome { outcome = Succeeded; payload = Bytes(result.ToArray()) }
                | ValueNone -> ValueNone
            with error ->
                ValueSome(failed error)
        | _ -> ValueNone

    /// Runs a job later, on another thread.
    member _.Take(job: Job) =
        if isBuiltIn job.work then
            jobs.Writer.TryWrite job |> ignore
        else
            Task.Run<unit>(fun () ->
                task {
                    let runner =
                        match runners.TryTake() with
                        | true, runner -> runner
                        | _ -> newRunner ()

                    do! run runner job
                    runners.Add runner
                })
            |> ignore

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            jobs.Writer.TryComplete() |> ignore
            ValueTask(Task.WhenAll consumers :> Task)
