namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Protocol

/// Runs a program once for one payload: `exec` and `exec-file`.
module internal ProgramRun =

    /// How long other processes may write to the output after the program has ended.
    let lingerMax = TimeSpan.FromSeconds 10.0

    /// How long a killed program may take to end; the worker goes on without a program that takes longer.
    let private killMax = TimeSpan.FromSeconds 5.0

    /// How long the rest of standard error may take to arrive.
    let private errorsMax = TimeSpan.FromSeconds 1.0

    /// Writes the payload. A program that stops reading is no failure: its exit code decides.
    let private feed (payload: Content) (input: Stream) (ct: CancellationToken) : Task =
        task {
            try
                match payload with
                | Bytes bytes -> do! input.WriteAsync(bytes.AsMemory(), ct)
                | _ ->
                    use stream = SpoolFile.openContent payload
                    do! stream.CopyToAsync(input, ct)
            with
            | :? IOException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> ()

            input.Dispose()
        }

    let private readAll (output: Stream) (sink: ResultSink) (ct: CancellationToken) =
        task {
            let buffer = System.Buffers.ArrayPool<byte>.Shared.Rent 65_536

            try
                let! first = output.ReadAsync(buffer.AsMemory(), ct)
                let mutable count = first

                while count > 0 do
                    do! sink.WriteAsync(ReadOnlyMemory(buffer, 0, count))
                    let! next = output.ReadAsync(buffer.AsMemory(), ct)
                    count <- next
            finally
                System.Buffers.ArrayPool<byte>.Shared.Return buffer
        }

    /// Waits for a task that may never complete; ignores its exception.
    let private tryWithin (limit: TimeSpan) (work: Task) (ct: CancellationToken) =
        task {
            try
                do! work.WaitAsync(limit, ct)
            with _ ->
                ()

            return work.IsCompleted
        }

    /// Waits for the end of the program and of its output.
    let private finish
        (start: ProgramStart)
        (running: ProgramProcess)
        (reading: Task<unit>)
        (errors: Task)
        (tail: StderrTail)
        (ct: CancellationToken)
        : Task =
        task {
            let! isGone = tryWithin Timeout.InfiniteTimeSpan running.Completion ct

            if not isGone then
                let! _ = tryWithin killMax running.Completion CancellationToken.None
                ct.ThrowIfCancellationRequested()

            match running.Completion.Result with
            | _ when reading.IsFaulted -> do! reading
            | Exited 0 ->
                let! isOver = tryWithin lingerMax reading ct
                ct.ThrowIfCancellationRequested()

                if reading.IsFaulted then
                    do! reading

                if not isOver then
                    let message =
                        $"{start.name} ended, but a process that it started still holds its standard output"

                    raise (StageException(message, true))
            | ending ->
                // Another process may hold the program's standard error, or its output.
                running.Kill()
                let! _ = tryWithin errorsMax (Task.WhenAll(errors, reading)) ct
                ct.ThrowIfCancellationRequested()

                // The program was killed because its output was refused, which is the failure to report.
                if reading.IsFaulted then
                    do! reading

                match StartFailure.ofEnding start.path ending tail.Text with
                | ValueSome error -> raise error
                | ValueNone -> ()

                let message = $"{start.name} {ProgramEnd.describe ending}"
                raise (StageException(tail.Explain message, true))
        }

    /// <summary>Runs a program to its end.</summary>
    /// <param name="starter">Starts the program.</param>
    /// <param name="start">The program.</param>
    /// <param name="payload">Written to standard input, if it is piped.</param>
    /// <param name="sink">Collects the output, if it is wanted.</param>
    /// <param name="ct">Kills the program, and everything it has started.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">The program failed, or could not be started.</exception>
    /// <exception cref="T:System.OperationCanceledException">The program was killed by <c>ct</c>.</exception>
    let run
        (starter: IProgramStarter)
        (start: ProgramStart)
        (payload: Content)
        (sink: ResultSink)
        (ct: CancellationToken)
        : Task =
        task {
            use running =
                try
                    starter.Start start
                with :? IOException as error ->
                    raise (StartFailure.failure error)

            use over = new CancellationTokenSource()
            let tail = StderrTail()
            let errors = tail.ReadAsync(running.Errors, over.Token)

            let feeding =
                if start.input.IsInputPiped then
                    feed payload running.Input over.Token
                else
                    Task.CompletedTask

            let reading =
                task {
                    try
                        do! readAll running.Output sink over.Token
                    with error ->
                        // The sink has refused the output: the result is too large, or cannot be stored.
                        running.Kill()
                        return raise error
                }

            let! failure =
                task {
                    try
                        use _ = ct.Register(fun () -> running.Kill())
                        do! finish start running reading errors tail ct
                        return ValueNone
                    with error ->
                        return ValueSome(ExceptionDispatchInfo.Capture error)
                }

            // No stream is read or written after the return.
            running.Kill()
            over.Cancel()

            let! _ =
                tryWithin killMax (Task.WhenAll(reading, feeding, errors)) CancellationToken.None

            match failure with
            | ValueNone -> ()
            | ValueSome failure -> failure.Throw()
        }
