namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Protocol

/// The outcome of sending a payload.
[<Struct>]
type private Sending = {
    /// Whether the program has read all of it.
    isTaken: bool
    /// Whether the last line had a newline.
    isEnded: bool
}

/// <summary>A program that writes a line for each line that it reads, for one payload after the other.</summary>
/// <param name="name">The name of the program, for people.</param>
/// <param name="path">The path of the program.</param>
/// <param name="running">The process, with standard input and output piped.</param>
/// <remarks>Two loops, one for each direction, so that a full buffer of the program cannot block both.</remarks>
[<Sealed>]
type internal LineProcess(name: string, path: string, running: ProgramProcess) =
    static let newline = [| '\n'B |]
    static let bytesMax = 65_536
    // How long a program that has closed its output may take to end, and to say why.
    static let endMax = TimeSpan.FromSeconds 1.0

    let over = new CancellationTokenSource()
    let tail = StderrTail()
    let errors = tail.ReadAsync(running.Errors, over.Token)
    let buffer: byte[] = Array.zeroCreate bytesMax

    // There is always one pending read, also between payloads: it notices the program's end, or output without input.
    let mutable reading: Task<int> = Task.FromResult 0

    // Lines of this payload sent to the program, counted before they are sent.
    let mutable sent = 0L
    let mutable received = 0L
    let mutable heardAt = Environment.TickCount64
    let mutable isSilent = false
    let mutable payloads = 0

    let readOn () =
        reading <-
            task {
                try
                    return! running.Output.ReadAsync(buffer.AsMemory(), over.Token)
                with
                | :? IOException
                | :? ObjectDisposedException
                | :? OperationCanceledException -> return 0
            }

    do readOn ()

    /// False: the program reads no more.
    let tryWrite (bytes: ReadOnlyMemory<byte>) : Task<bool> =
        task {
            let lines = MemoryExtensions.Count(bytes.Span, '\n'B)
            Interlocked.Add(&sent, int64 lines) |> ignore

            try
                do! running.Input.WriteAsync(bytes, over.Token)
                return true
            with
            | :? IOException
            | :? ObjectDisposedException
            | :? OperationCanceledException -> return false
        }

    /// Sends a payload, with a newline after its last line.
    let send (payload: Content) : Task<Sending> =
        task {
            use stream = SpoolFile.openContent payload
            let chunk = System.Buffers.ArrayPool<byte>.Shared.Rent bytesMax
            let mutable isTaken = true
            let mutable isEnded = true

            try
                // One byte is left for the newline, so that a short payload is written at once.
                let! first = stream.ReadAsync(chunk.AsMemory(0, bytesMax - 1))
                let mutable count = first

                while count > 0 && isTaken do
                    let mutable length = count
                    isEnded <- chunk[count - 1] = '\n'B

                    if not isEnded && stream.Position = stream.Length then
                        chunk[count] <- '\n'B
                        length <- count + 1

                    let! wasTaken = tryWrite (ReadOnlyMemory(chunk, 0, length))
                    isTaken <- wasTaken
                    let! next = stream.ReadAsync(chunk.AsMemory(0, bytesMax - 1))
                    count <- next
            finally
                System.Buffers.ArrayPool<byte>.Shared.Return chunk

            return { isTaken = isTaken; isEnded = isEnded }
        }

    let fail (message: string) =
        raise (StageException(tail.Explain message, true))

    let failMore () =
        fail $"{name} wrote more lines than it was sent"

    /// The failure of a program that closed its output before the last line.
    let failEnded () : Task =
        task {
            try
                let! _ = running.Completion.WaitAsync endMax
                do! errors.WaitAsync endMax
            with :? TimeoutException ->
                ()

            let how =
                if running.Completion.IsCompleted then
                    ProgramEnd.describe running.Completion.Result
                else
                    "closed its standard output"

            if running.Completion.IsCompleted then
                match StartFailure.ofEnding path running.Completion.Result tail.Text with
                | ValueSome error -> raise error
                | ValueNone -> ()

            fail $"{name} {how} after {received} lines of {Interlocked.Read &sent} that it was sent"
        }

    let failSilent (limit: TimeSpan) =
        fail
            $"{name} wrote no line for {limit.TotalSeconds:F0} s, after {received} lines of {Interlocked.Read &sent} that it was sent. \
              A program that keeps its output until its input ends, or until a buffer is full, needs an option against that \
              (such as sed -u), or 'exec' in place of 'exec-lines'"

    /// Whether the program can take another payload.
    member _.IsUsable = not reading.IsCompleted && not running.Completion.IsCompleted

    /// When the program's last payload ended, in milliseconds of the system's tick count.
    member val IdleSince = 0L with get, set

    /// Starts the silence limit; to be called before `RunAsync`.
    member _.Begin() =
        Interlocked.Exchange(&sent, 0L) |> ignore
        received <- 0L
        heardAt <- Environment.TickCount64

    member _.Kill() = running.Kill()

    /// Kills the program if it has a payload and has written no line for this long.
    member _.KillIfSilent(limit: TimeSpan) =
        if Environment.TickCount64 - heardAt > int64 limit.TotalMilliseconds then
            isSilent <- true
            running.Kill()

    /// <summary>Has the program process a payload.</summary>
    /// <param name="payload">Any number of lines; the last may have no newline.</param>
    /// <param name="sink">Gets as many lines; the last has a newline if that of the payload has.</param>
    /// <param name="silenceMax">The limit of silence, for the message: `KillIfSilent` acts.</param>
    /// <param name="ct">Kills the program.</param>
    /// <returns>False: the program had ended after its previous payload; use another for this one.</returns>
    /// <exception cref="T:FsScheduler.Stages.StageException">The program ended, or wrote too many or few
    /// lines.</exception>
    /// <exception cref="T:System.OperationCanceledException">The program was killed by <c>ct</c>.</exception>
    member _.RunAsync
        (payload: Content, sink: ResultSink, silenceMax: TimeSpan, ct: CancellationToken)
        : Task<bool> =
        task {
            use _ = ct.Register(fun () -> running.Kill())
            let isReused = payloads > 0
            payloads <- payloads + 1
            let sending = send payload
            let mutable isGone = false
            // The latest newline is held back: the last one belongs to the result only if the payload ends in a newline.
            let mutable isNewlineOwed = false
            let mutable isLineOpen = false
            let mutable goOn = true

            while goOn do
                if not sending.IsCompleted then
                    let! _ = Task.WhenAny(reading, sending)
                    ()

                let isAllSent = sending.IsCompletedSuccessfully && sending.Result.isTaken

                let isAllThere () =
                    isAllSent && received = Interlocked.Read &sent

                if sending.IsFaulted then
                    let! _ = sending // the payload cannot be read
                    ()
                elif reading.IsCompleted then
                    let count = reading.Result

                    if count = 0 && isAllThere () && not isLineOpen then
                        goOn <- false // the program has ended, and owes nothing
                    elif count = 0 then
                        ct.ThrowIfCancellationRequested()

                        if isSilent then
                            failSilent silenceMax

                        if isReused && received = 0L && not isLineOpen then
                            isGone <- true
                            goOn <- false
                        else
                            do! failEnded ()
                    else
                        received <-
                            received
                            + int64 (MemoryExtensions.Count(ReadOnlySpan(buffer, 0, count), '\n'B))

                        heardAt <- Environment.TickCount64

                        if received > Interlocked.Read &sent then
                            failMore ()

                        if isNewlineOwed then
                            do! sink.WriteAsync(ReadOnlyMemory newline)

                        isNewlineOwed <- buffer[count - 1] = '\n'B
                        isLineOpen <- not isNewlineOwed
                        let length = if isNewlineOwed then count - 1 else count
                        do! sink.WriteAsync(ReadOnlyMemory(buffer, 0, length))
                        readOn ()
                elif isAllThere () then
                    if isLineOpen then
                        failMore ()

                    goOn <- false
                elif sending.IsCompleted then
                    let! _ = reading
                    ()

            ct.ThrowIfCancellationRequested()

            if not isGone && sending.Result.isEnded && isNewlineOwed then
                do! sink.WriteAsync(ReadOnlyMemory newline)

            return not isGone
        }

    /// Closes standard input, and waits for the program to end.
    member program.EndAsync() : Task =
        task {
            running.Input.Dispose()

            try
                let! _ = running.Completion.WaitAsync endMax
                ()
            with :? TimeoutException ->
                ()

            program.Dispose()
        }

    member _.Dispose() =
        over.Cancel()
        running.Dispose()

    interface IDisposable with
        member program.Dispose() = program.Dispose()
