namespace FsScheduler.Server

open System
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// <summary>Payloads and results as files, for workers that see the scheduler's folders: a PROCESS names a range of a
/// file and a path for the result, and a message says that the result is stored there. Each attempt has a path of its
/// own, made of its numbers: a late worker writes where nobody looks any more, and an attempt that goes on after a
/// restart is recognized. A result taken over is renamed, out of reach of later writes.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="state">Gives the paths of results.</param>
/// <param name="agent">Knows the current attempts.</param>
/// <param name="place">A path for a result of a target.</param>
/// <param name="isKept">Whether the file at a path has to outlive the scheduler.</param>
/// <param name="reconsider">Has an input examined again whose version cannot be used.</param>
/// <param name="missed">Told of an input that is out of sight.</param>
/// <param name="outage">Lasts while the disk takes no data.</param>
/// <param name="clock">Measures the time between two tries.</param>
[<Sealed>]
type SharedFileTransfer
    (
        inputs: InputFolder,
        state: StateFolder,
        agent: SchedulerAgent,
        place: ResultTarget -> string | null,
        isKept: string -> bool,
        reconsider: TaskName -> FileVersion -> unit,
        missed: TaskName -> unit,
        outage: StorageOutage,
        clock: Clock
    ) =
    /// Payloads up to this size are sent as bytes, which is faster than opening a file.
    static let smallMax = 64L * 1024L * 1L<B>

    let fits (path: string) =
        Encoding.UTF8.GetByteCount path <= ProtocolLimits.sharedPathBytesMax

    /// The file and range of a payload, without a target.
    let rec filesOf (submission: Submission) payload : SharedFiles voption =
        let at path version = {
            source = path
            start = 0L<B>
            size = Payload.size payload
            target = ""
            version = version
        }

        match payload with
        | Input version ->
            ValueSome(at (inputs.Locate submission.Name) (SharedFileVersion.ofVersion version))
        | Slice(whole, start, size) ->
            filesOf submission whole
            |> ValueOption.map (fun files -> { files with start = start; size = size })
        | Kept _
        | Packed
        | Journaled -> Payload.file payload |> ValueOption.map (fun path -> at path ValueNone)

    /// The input of an attempt whose version is not current any more, with its state.
    let outdated (submission: Submission) payload =
        match Payload.version payload with
        | ValueSome version ->
            match TaskName.parse submission.Name with
            | Ok name ->
                match InputFile.stateOf inputs name version with
                | InputState.Current -> ValueNone
                | state -> ValueSome(struct (name, version, state))
            | Error _ -> ValueNone
        | ValueNone -> ValueNone

    let reportChanged attempt (struct (name, version, inputState: InputState)) =
        SpoolFile.delete (state.SharedFile attempt)

        if inputState.IsReplaced then
            reconsider name version // first, so that the file is always known to somebody
            Input.FileChanged attempt
        else
            missed name
            Input.OutOfSight(attempt, "its input is not to be seen")

    let expect (size: Size) (path: string) =
        match Disk.sizeOfFile path with
        | ValueSome found when found = size -> ()
        | ValueSome found -> raise (IOException $"the stored result has {found} bytes, not {size}")
        | ValueNone -> raise (IOException "the worker has stored no file")

    /// Replaces the file that was created for a result, and takes over its rights.
    let move (path: string) (target: string) =
        let mode =
            if not (OperatingSystem.IsWindows()) && File.Exists target then
                ValueSome(File.GetUnixFileMode target)
            else
                ValueNone

        File.Move(path, target, true)

        match mode with
        | ValueSome mode when not (OperatingSystem.IsWindows()) ->
            try
                File.SetUnixFileMode(target, mode)
            with :? UnauthorizedAccessException ->
                () // it stays the worker's
        | _ -> ()

    /// Makes the file at the path of an attempt its result. The file stays there if the disk takes no data.
    let takeOver (path: string) (target: string) (size: Size) : Content =
        try
            // A move between file systems copies: it would follow a link, and block at a fifo.
            expect size path
            File.OpenHandle(path).Dispose() // an unreadable file would be found out too late
            move path target
            expect size target // no worker knows this name

            if size <= smallMax then
                let bytes = File.ReadAllBytes target
                SpoolFile.delete target
                Bytes bytes
            else
                if isKept target then
                    Flush.file target

                Spooled(target, size)
        with error ->
            SpoolFile.delete target

            if not (Disk.passes error) then
                SpoolFile.delete path

            reraise ()

    /// The assignment of an attempt to this worker. A result stored for an attempt that is not current is deleted.
    let assignmentOf session attempt =
        task {
            let query scheduler =
                struct (ResultTarget.ofWorker session attempt scheduler,
                        (ResultTarget.ofResult attempt scheduler).IsNowhere)

            let! struct (assignment, isOver) = agent.QueryAsync query

            if isOver then
                SpoolFile.delete (state.SharedFile attempt)

            return assignment
        }

    /// Tries once; throws the errors of the disk.
    let take session attempt size (target: string ref) : Task<Input> =
        task {
            match! assignmentOf session attempt with
            | ValueNone -> return Input.Heard session
            | ValueSome work ->
                match outdated work.submission work.payload with
                | ValueSome(struct (_, _, inputState) as version) when inputState.IsReplaced ->
                    return reportChanged attempt version
                | _ ->
                    target.Value <- nonNull (place work.destination)
                    let result = takeOver (state.SharedFile attempt) target.Value size
                    return Input.Report(session, attempt, Succeeded, result)
        }

    /// <summary>The PROCESS for a worker that shares files.</summary>
    /// <param name="work">Returned as it is if the payload is small or in no file, and is sent as bytes.</param>
    /// <param name="submission">The submission of the task.</param>
    /// <param name="payload">The payload of the task.</param>
    member _.Refer(work: Process, submission: Submission, payload: Payload) : Process =
        match filesOf submission payload with
        | ValueSome files when files.size > smallMax ->
            let target = state.SharedFile work.attempt

            if fits files.source && fits target then
                { work with files = ValueSome { files with target = target } }
            else
                work
        | _ -> work

    /// <summary>Takes over a result that a worker has stored. Waits while the disk takes no data.</summary>
    /// <param name="session">The session of the worker.</param>
    /// <param name="attempt">The attempt that the worker names.</param>
    /// <param name="size">The size that the worker names.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>The input of the machine, and why the worker should share no more files, if it should not.</returns>
    member _.TakeAsync
        (session: SessionId, attempt: Attempt, size: Size, ct: CancellationToken)
        : Task<struct (Input * string voption)> =
        let waitsAt = state.SharedFile attempt
        let target = ref waitsAt

        outage.RetryAsync(
            waitsAt,
            clock,
            ct,
            fun () ->
                task {
                    try
                        let! input = take session attempt size target
                        return Ok(struct (input, ValueNone))
                    with
                    // Larger than the free space: holds back nothing else.
                    | error when
                        Disk.isFull error
                        && Disk.hasRoomForOthers (nonNull (Path.GetDirectoryName target.Value))
                        ->
                        SpoolFile.delete waitsAt

                        let reason =
                            $"the result could not be stored: {error.Message}; it is tried again, and holds up nothing else: make room, or cancel the task"

                        outage.Skip(attempt.task, reason)
                        return Ok(struct (Input.Unstored(session, attempt, reason), ValueNone))
                    | error when Disk.passes error -> return Error error.Message
                    | Disk.StorageError reason ->
                        let error = $"the result that was stored cannot be taken over: {reason}"
                        let input = Input.Unstored(session, attempt, error)
                        return Ok(struct (input, ValueSome error))
                }
        )

    /// <summary>Checks the outcome of an attempt for which the worker was given a file.</summary>
    /// <param name="session">The session of the worker.</param>
    /// <param name="attempt">The attempt.</param>
    /// <param name="said">The input of the machine that reports the outcome.</param>
    /// <returns>That input, or a withdrawal if the worker has read another version of the file.</returns>
    member _.JudgeAsync(session: SessionId, attempt: Attempt, said: Input) : Task<Input> =
        let isSuccess =
            match said with
            | Input.Report(_, _, Succeeded, _) -> true
            | _ -> false

        task {
            match! assignmentOf session attempt with
            | ValueNone -> return said
            | ValueSome work ->
                match outdated work.submission work.payload with
                // A result of an input that is out of sight by now is valid.
                | ValueSome(struct (_, _, inputState)) when isSuccess && not inputState.IsReplaced ->
                    return said
                | ValueSome version -> return reportChanged attempt version
                | ValueNone -> return said
        }

    /// <summary>Handles a worker that cannot use the files it was given.</summary>
    /// <returns>See `TakeAsync`.</returns>
    member _.RefusedAsync
        (session: SessionId, attempt: Attempt, error: string)
        : Task<struct (Input * string voption)> =
        task {
            match! assignmentOf session attempt with
            | ValueNone -> return struct (Input.Heard session, ValueNone)
            | ValueSome work ->
                match outdated work.submission work.payload with
                | ValueSome version -> return struct (reportChanged attempt version, ValueNone)
                | ValueNone ->
                    let error = $"the worker cannot use shared files: {error}"
                    return struct (Input.Unstored(session, attempt, error), ValueSome error)
        }

    /// <summary>Deletes the results of workers that no attempt waits for, if the folder can be read.</summary>
    /// <param name="ct">Ends the sweep.</param>
    member _.SweepAsync(ct: CancellationToken) : Task =
        task {
            let attempts =
                try
                    state.SharedAttempts()
                with Disk.StorageError _ -> [||]

            if attempts.Length > 0 then
                let query scheduler =
                    attempts
                    |> Array.filter (fun attempt ->
                        (ResultTarget.ofResult attempt scheduler).IsNowhere)

                let! over = agent.QueryAsync(query).WaitAsync ct

                for attempt in over do
                    SpoolFile.delete (state.SharedFile attempt)
        }
