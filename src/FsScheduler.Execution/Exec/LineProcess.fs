namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.Protocol

/// What became of a payload that was sent.
[<Struct>]
type private Sending = {
    /// The program has taken all of it.
    isTaken: bool
    /// Its last line had a newline.
    isEnded: bool
}

/// <summary>A program that gives a line for each line that it gets, for one payload after the other.</summary>
/// <param name="name">What people call the program.</param>
/// <param name="path">Where it is.</param>
/// <param name="running">It, with standard input and output piped.</param>
/// <remarks>Lines are sent without waiting for those that come back: by two loops, one for each direction, so that no
/// buffer of the program can hold up both.</remarks>
[<Sealed>]
type internal LineProcess(name: string, path: string, running: ProgramProcess) =
    static let newline = [| '\n'B |]
    static let bytesMax = 65_536
    // How long a program that has ended its output may take to end, and to say why.
    static let endMax = TimeSpan.FromSeconds 1.0

    let over = new CancellationTokenSource()
    let tail = StderrTail()
    let errors = tail.ReadAsync(running.Errors, over.Token)
    let buffer: byte[] = Array.zeroCreate bytesMax

    // Always one, also between payloads: that is how it is noticed that it ended, or gave what nobody asked for.
    let mutable reading: Task<int> = Task.FromResult 0

    // Lines that it was sent of this payload, counted before they are sent.
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

    /// False: it reads no more.
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

    /// Sends a payload; its last line is ended if it is not.
    let send (payload: Payload) : Task<Sending> =
        task {
            use stream = SpoolFile.openPayload payload
            let chunk = System.Buffers.ArrayPool<byte>.Shared.Rent bytesMax
            let mutable isTaken = true
            let mutable isEnded = true

            try
                // A place is left for the newline, so that a short payload is written at once.
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
        fail $"{name} gives more lines than it gets"

    /// Its output has ended, before it has given every line.
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
            $"{name} gave no line for {limit.TotalSeconds:F0} s, after {received} lines of {Interlocked.Read &sent} that it was sent. \
              A program that keeps its output until its input ends, or until a buffer is full, needs an option against that \
              (such as sed -u), or 'exec' in place of 'exec-lines'"

    /// Whether it can be given another payload.
    member _.IsUsable = not reading.IsCompleted && not running.Completion.IsCompleted

    /// When it was last given back, in milliseconds of the system.
    member val IdleSince = 0L with get, set

    /// To be called before `RunAsync`, and before anybody asks whether it is silent.
    member _.Begin() =
        Interlocked.Exchange(&sent, 0L) |> ignore
        received <- 0L
        heardAt <- Environment.TickCount64

    member _.Kill() = running.Kill()

    /// Kills it if it has a payload, and has given no line for so long.
    member _.KillIfSilent(limit: TimeSpan) =
        if Environment.TickCount64 - heardAt > int64 limit.TotalMilliseconds then
            isSilent <- true
            running.Kill()

    /// <summary>Has it work on a payload.</summary>
    /// <param name="payload">Any number of lines, of which the last may be without a newline.</param>
    /// <param name="sink">Gets as many lines; the last without a newline if that of the payload is.</param>
    /// <param name="silenceMax">How long it may give no line; for the message: `KillIfSilent` acts.</param>
    /// <param name="ct">Kills it.</param>
    /// <returns>False: it had ended after the payload before, and gave nothing for this one. Another should.</returns>
    /// <exception cref="T:FsScheduler.Stages.StageException">It ended, or gave more or fewer lines. It must
    /// not be used again.</exception>
    /// <exception cref="T:System.OperationCanceledException">It was killed, because that was asked for.</exception>
    member _.RunAsync
        (payload: Payload, sink: ResultSink, silenceMax: TimeSpan, ct: CancellationToken)
        : Task<bool> =
        task {
            use _ = ct.Register(fun () -> running.Kill())
            let isReused = payloads > 0
            payloads <- payloads + 1
            let sending = send payload
            let mutable isGone = false
            // The newline that came last is held back: if it is the very last, it may not belong to the result.
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
                        goOn <- false // it has ended, and owes nothing
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

    /// Asks it to end, as its input does, and sees that it has.
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
