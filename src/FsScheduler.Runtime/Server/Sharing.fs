namespace FsScheduler.Runtime

open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Runtime.Files

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
[<Sealed>]
type Sharing
    (
        inputs: InputFolder,
        state: StateFolder,
        agent: SchedulerAgent,
        place: Destination -> string | null,
        isKept: string -> bool,
        reconsider: TaskName -> Stamp -> unit
    ) =
    /// What is not larger travels: that is faster than to open a file.
    static let smallMax = 64L * 1024L * 1L<B>

    let fits (path: string) =
        Encoding.UTF8.GetByteCount path <= Limit.sharedPathBytesMax

    let rec sourceOf (submission: Submission) payload : struct (string * Size) voption =
        match payload with
        | Spooled(path, _) -> ValueSome(struct (path, 0L<B>))
        | Input _ -> ValueSome(struct (inputs.Locate submission.Name, 0L<B>))
        | Slice(whole, start, _) ->
            sourceOf submission whole
            |> ValueOption.map (fun (struct (path, _)) -> struct (path, start))
        | Packed
        | Filed
        | Bytes _
        | Recorded _ -> ValueNone

    /// The input that an attempt was given, if that is another version by now.
    let rec outdated (submission: Submission) payload =
        match payload with
        | Input stamp
        | Slice(Input stamp, _, _) ->
            match TaskName.parse submission.Name with
            | Ok name when not (InputFile.isCurrent inputs name stamp) ->
                ValueSome(struct (name, stamp))
            | Ok _
            | Error _ -> ValueNone
        | _ -> ValueNone

    let withdraw attempt (struct (name, stamp)) =
        reconsider name stamp // first: so somebody always knows of the file
        SpoolFile.delete (state.SharedFile attempt)
        Input.Withdraw attempt

    let expect (size: Size) (path: string) =
        match Disk.sizeOfFile path with
        | ValueSome found when found = size -> ()
        | ValueSome found -> raise (IOException $"there are {found} bytes of a result of {size}")
        | ValueNone -> raise (IOException "what the worker has stored is no file")

    /// What lies at the path of an attempt becomes its result.
    let takeOver (path: string) (target: string) (size: Size) : Payload =
        try
            // A move between file systems is a copy, which would follow a link, and wait at a fifo.
            expect size path
            File.Move(path, target, true)
            expect size target // nobody has that name but us

            if size <= smallMax then
                let bytes = File.ReadAllBytes target
                SpoolFile.delete target
                Bytes bytes
            else
                if isKept target then
                    Flush.file target

                Spooled(target, size)
        with _ ->
            SpoolFile.delete path
            SpoolFile.delete target
            reraise ()

    /// What an attempt is to this worker. What it has stored of one that is nobody's any more is deleted.
    let assignmentOf session attempt =
        task {
            let look scheduler =
                struct (Destination.ofWorker session attempt scheduler,
                        (Destination.ofResult attempt scheduler).IsNowhere)

            let! struct (assignment, isOver) = agent.LookAsync look

            if isOver then
                SpoolFile.delete (state.SharedFile attempt)

            return assignment
        }

    /// <summary>What is sent to a worker that shares files.</summary>
    /// <param name="work">Where it is small, or in no file, it is as it was, and the payload travels.</param>
    /// <param name="submission">The task's.</param>
    /// <param name="payload">Its payload.</param>
    member _.Refer(work: Process, submission: Submission, payload: Payload) : Process =
        match sourceOf submission payload with
        | ValueSome(struct (source, start)) when Payload.size payload > smallMax ->
            let target = state.SharedFile work.attempt

            if fits source && fits target then
                let files = {
                    source = source
                    start = start
                    size = Payload.size payload
                    target = target
                }

                { work with files = ValueSome files }
            else
                work
        | _ -> work

    /// <summary>Takes over a result that a worker has stored.</summary>
    /// <returns>What the machine is to be told.</returns>
    member _.TakeAsync(session: SessionId, attempt: Attempt, size: Size) : Task<Input> =
        task {
            match! assignmentOf session attempt with
            | ValueNone -> return Input.Heard session
            | ValueSome work ->
                match outdated work.submission work.payload with
                | ValueSome version -> return withdraw attempt version
                | ValueNone ->
                    try
                        let target = place work.destination
                        let result = takeOver (state.SharedFile attempt) (nonNull target) size
                        return Input.Report(session, attempt, Succeeded, result)
                    with Disk.Trouble reason ->
                        let error = $"the result that was stored cannot be taken over: {reason}"
                        return Input.Unstored(session, attempt, error)
        }

    /// <summary>What follows where a worker cannot use the files that it was told.</summary>
    /// <returns>What the machine is to be told, and whether files are to be shared with that worker any longer.</returns>
    member _.RefusedAsync(session: SessionId, attempt: Attempt, error: string) =
        task {
            match! assignmentOf session attempt with
            | ValueNone -> return struct (Input.Heard session, true)
            | ValueSome work ->
                match outdated work.submission work.payload with
                | ValueSome version -> return struct (withdraw attempt version, true)
                | ValueNone ->
                    let error = $"the worker cannot use shared files: {error}"
                    return struct (Input.Unstored(session, attempt, error), false)
        }

    /// <summary>Deletes what workers have left that nobody waits for. Where the folder cannot be read, nothing: the next
    /// one may.</summary>
    /// <param name="ct">Ends it.</param>
    member _.SweepAsync(ct: CancellationToken) : Task =
        task {
            let attempts =
                try
                    state.SharedAttempts()
                with Disk.Trouble _ -> [||]

            if attempts.Length > 0 then
                let look scheduler =
                    attempts
                    |> Array.filter (fun attempt ->
                        (Destination.ofResult attempt scheduler).IsNowhere)

                let! over = agent.LookAsync(look).WaitAsync ct

                for attempt in over do
                    SpoolFile.delete (state.SharedFile attempt)
        }
