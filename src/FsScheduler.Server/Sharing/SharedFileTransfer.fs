namespace FsScheduler.Server

open System
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// <summary>Payloads and results as files, for workers that see what the scheduler sees: a PROCESS names a range of a
/// file and a path, and the RESULT says that the result is there. Each attempt has a path of its own, made of its
/// numbers: a late worker writes where nobody looks any more, and one that goes on after a restart is understood. What
/// is taken over is renamed, so that no later attempt to write under that path reaches it.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="state">Has the paths of results.</param>
/// <param name="agent">Knows what attempts are.</param>
/// <param name="place">A path for a result of that destination.</param>
/// <param name="isKept">Whether what is at a path has to outlive the scheduler.</param>
/// <param name="reconsider">Asks for another look at an input, of which this version cannot be used.</param>
/// <param name="missed">Is told of an input that is not to be seen.</param>
/// <param name="outage">Is told while the disk takes nothing.</param>
/// <param name="clock">For the time between two tries then.</param>
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
    /// What is not larger travels: that is faster than to open a file.
    static let smallMax = 64L * 1024L * 1L<B>


    let fits (path: string) =
        Encoding.UTF8.GetByteCount path <= ProtocolLimits.sharedPathBytesMax

    /// Where a payload is, without a target.
    let rec filesOf (submission: Submission) payload : SharedFiles voption =
        let at path version = {
            source = path
            start = 0L<B>
            size = Payload.size payload
            target = ""
            version = version
        }

        match payload with
        | Spooled(path, _) -> ValueSome(at path ValueNone)
        | Input stamp ->
            ValueSome(at (inputs.Locate submission.Name) (SharedFileVersion.ofVersion stamp))
        | Slice(whole, start, size) ->
            filesOf submission whole
            |> ValueOption.map (fun files -> { files with start = start; size = size })
        | Packed
        | Journaled
        | Bytes _
        | Recorded _ -> ValueNone

    /// The input that an attempt was given, if it is not that any more, and what has become of it.
    let rec outdated (submission: Submission) payload =
        match payload with
        | Input stamp
        | Slice(Input stamp, _, _) ->
            match TaskName.parse submission.Name with
            | Ok name ->
                match InputFile.stateOf inputs name stamp with
                | InputState.Current -> ValueNone
                | state -> ValueSome(struct (name, stamp, state))
            | Error _ -> ValueNone
        | _ -> ValueNone

    let withdraw attempt (struct (name, stamp, inputState: InputState)) =
        SpoolFile.delete (state.SharedFile attempt)

        if inputState.IsReplaced then
            reconsider name stamp // first: so somebody always knows of the file
            Input.FileChanged attempt
        else
            missed name
            Input.OutOfSight(attempt, "its input is not to be seen")

    let expect (size: Size) (path: string) =
        match Disk.sizeOfFile path with
        | ValueSome found when found = size -> ()
        | ValueSome found -> raise (IOException $"there are {found} bytes of a result of {size}")
        | ValueNone -> raise (IOException "what the worker has stored is no file")

    /// A file that was made for a result lends it what may be done with it.
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

    /// What lies at the path of an attempt becomes its result. It stays there if the disk takes nothing now.
    let takeOver (path: string) (target: string) (size: Size) : Payload =
        try
            // A move between file systems is a copy, which would follow a link, and wait at a fifo.
            expect size path
            File.OpenHandle(path).Dispose() // one that cannot be read would be found out too late
            move path target
            expect size target // nobody has that name but us

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

    /// What an attempt is to this worker. What it has stored of one that is nobody's any more is deleted.
    let assignmentOf session attempt =
        task {
            let look scheduler =
                struct (ResultTarget.ofWorker session attempt scheduler,
                        (ResultTarget.ofResult attempt scheduler).IsNowhere)

            let! struct (assignment, isOver) = agent.QueryAsync look

            if isOver then
                SpoolFile.delete (state.SharedFile attempt)

            return assignment
        }

    /// Once; whatever the disk says is thrown.
    let take session attempt size (target: string ref) : Task<Input> =
        task {
            match! assignmentOf session attempt with
            | ValueNone -> return Input.Heard session
            | ValueSome work ->
                match outdated work.submission work.payload with
                | ValueSome(struct (_, _, inputState) as version) when inputState.IsReplaced ->
                    return withdraw attempt version
                | _ ->
                    target.Value <- nonNull (place work.destination)
                    let result = takeOver (state.SharedFile attempt) target.Value size
                    return Input.Report(session, attempt, Succeeded, result)
        }

    /// <summary>What is sent to a worker that shares files.</summary>
    /// <param name="work">Where it is small, or in no file, it is as it was, and the payload travels.</param>
    /// <param name="submission">The task's.</param>
    /// <param name="payload">Its payload.</param>
    member _.Refer(work: Process, submission: Submission, payload: Payload) : Process =
        match filesOf submission payload with
        | ValueSome files when files.size > smallMax ->
            let target = state.SharedFile work.attempt

            if fits files.source && fits target then
                { work with files = ValueSome { files with target = target } }
            else
                work
        | _ -> work

    /// <summary>Takes over a result that a worker has stored. While the disk takes nothing it waits, as with a result that
    /// travels.</summary>
    /// <param name="session">The worker's.</param>
    /// <param name="attempt">Whose result it says it is.</param>
    /// <param name="size">How long it says it is.</param>
    /// <param name="ct">Ends the waiting.</param>
    /// <returns>What the machine is to be told, and why files are not to be shared with that worker, if they are not.</returns>
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
                    // Larger than what is left: it holds up nothing but itself.
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

    /// <summary>What a worker says of an attempt that it was told a file for.</summary>
    /// <param name="session">The worker's.</param>
    /// <param name="attempt">Which.</param>
    /// <param name="said">What the machine is to be told of it.</param>
    /// <returns>That, unless the worker has seen another version of the input than it was given: then it is withdrawn.</returns>
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
                // What was made of an input that is out of sight by now is as good as any.
                | ValueSome(struct (_, _, inputState)) when isSuccess && not inputState.IsReplaced ->
                    return said
                | ValueSome version -> return withdraw attempt version
                | ValueNone -> return said
        }

    /// <summary>What follows where a worker cannot use the files that it was told.</summary>
    /// <returns>As of `TakeAsync`.</returns>
    member _.RefusedAsync
        (session: SessionId, attempt: Attempt, error: string)
        : Task<struct (Input * string voption)> =
        task {
            match! assignmentOf session attempt with
            | ValueNone -> return struct (Input.Heard session, ValueNone)
            | ValueSome work ->
                match outdated work.submission work.payload with
                | ValueSome version -> return struct (withdraw attempt version, ValueNone)
                | ValueNone ->
                    let error = $"the worker cannot use shared files: {error}"
                    return struct (Input.Unstored(session, attempt, error), ValueSome error)
        }

    /// <summary>Deletes what workers have left that nobody waits for. Where the folder cannot be read, nothing: the next
    /// one may.</summary>
    /// <param name="ct">Ends it.</param>
    member _.SweepAsync(ct: CancellationToken) : Task =
        task {
            let attempts =
                try
                    state.SharedAttempts()
                with Disk.StorageError _ -> [||]

            if attempts.Length > 0 then
                let look scheduler =
                    attempts
                    |> Array.filter (fun attempt ->
                        (ResultTarget.ofResult attempt scheduler).IsNowhere)

                let! over = agent.QueryAsync(look).WaitAsync ct

                for attempt in over do
                    SpoolFile.delete (state.SharedFile attempt)
        }
