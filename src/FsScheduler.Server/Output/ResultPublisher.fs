namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// A result under its final name.
[<Struct>]
type private Stored = {
    attempt: Attempt
    submission: Submission
    /// The name of the task.
    name: TaskName
    /// The name that the result was given.
    place: TaskName
    hash: ContentHash
}

/// <summary>Performs the effects that need the disk, and reports their outcomes to the machine.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="results">The folder of results.</param>
/// <param name="files">Holds the results too large for memory.</param>
/// <param name="owners">The owners of the names of results.</param>
/// <param name="onDone">What to do with an input whose result is published.</param>
/// <param name="sync">When results are flushed to the device.</param>
/// <param name="flush">Flushes results, by their paths; raises IOException where the disk fails.</param>
/// <param name="clock">For the dates in `NAME.err`, and the time between two tries.</param>
/// <param name="outage">Lasts while the disk takes no data.</param>
/// <param name="activity">Told of each published result.</param>
/// <param name="log">For failures that are reported nowhere else.</param>
[<Sealed>]
type ResultPublisher
    (
        inputs: IInputFolder,
        results: IResultFolder,
        files: ISpool,
        owners: ResultOwners,
        onDone: OnDone,
        sync: Sync,
        flush: string seq -> unit,
        clock: Clock,
        outage: StorageOutage,
        activity: ActivityLog,
        log: ILogger
    ) =
    let finished = PublishedInputs(inputs, log)
    let batchMax = 64
    // Writers to one folder wait for each other in the file system, spinning.
    let threads = max 1 (Environment.ProcessorCount / 2)
    // At most one for each task. The number is that of an error.
    let effects = Channel.CreateUnbounded<struct (DiskEffect * int64)>()

    /// Content hashes of result files, by path, as their writers told them.
    let hashes = ConcurrentDictionary<string, ContentHash>()

    let discard path =
        hashes.TryRemove(path: string) |> ignore

        try
            files.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            log.LogWarning("{Path} cannot be deleted: {Reason}", path, error.Message)

    let nameOf (submission: Submission) =
        match TaskName.parse submission.Name with
        | Ok name -> name
        | Error reason -> invalidOp $"a task is called '{submission.Name}': {reason}"

    let hashOf path =
        match hashes.TryRemove(path: string) with
        | true, hash -> Ok hash
        | _ -> results.TryContentHash path

    /// By source: the number of the latest error that waits to be written. Later outcomes void earlier errors.
    let errors = ConcurrentDictionary<ResultSource, int64>()
    let mutable errorCount = 0L

    let sourceOf (task: TaskId) (submission: Submission) =
        match submission.Origin with
        | Origin.Folder -> OfFile(nameOf submission)
        | Origin.Client _
        | Origin.Piece _ -> OfTask task

    /// Logs a result or an error that gets another name than its task.
    let logOtherName (task: TaskId) (name: TaskName) (place: TaskName) ending =
        if place <> name then
            log.LogWarning(
                "task {Task}, {Name}: published as {Place}, because {Taken} belongs to another source",
                task,
                string name,
                string place + ending,
                string name + ending
            )

    /// Reports the owner of a name before the result, so that the owner is recorded first.
    let noteOwner (outcomes: List<Input>) (owner: ResultOwner voption) =
        match owner with
        | ValueSome owner -> outcomes.Add(Input.Note [| Note.Owner(owner.name, owner.owner) |])
        | ValueNone -> ()

    let store source name result =
        let put write = owners.Put(source, name, write)

        match result with
        | Bytes bytes ->
            put (fun place mayReplace -> results.Publish(place, ReadOnlyMemory bytes, mayReplace))
            |> Result.map (fun put -> struct (put, ResultFile.hashOf bytes))
        | Spooled(path, _) ->
            hashOf path
            |> Result.bind (fun hash ->
                put (fun place mayReplace -> results.PublishTemp(place, path, mayReplace))
                |> Result.map (fun put -> struct (put, hash)))

    let mutable remember: ResultOwner -> Task = fun _ -> Task.CompletedTask

    /// Repeats a publication whose name is abandoned, once the old owner is forgotten.
    let rec untilFree (attempt: unit -> Result<'T, PublishFailure>) =
        match attempt () with
        | Error(Abandoned name) ->
            task {
                do! owners.ForgetAsync(name, remember)
                return! untilFree attempt
            }
        | Error failure when failure.IsOfTheDisk -> Task.FromResult(Error failure.Message)
        | outcome -> Task.FromResult(Ok outcome)

    /// Retries while the disk takes no data, so that an existing result is not computed again.
    let retrying (ct: CancellationToken) (attempt: unit -> Result<'T, PublishFailure>) =
        outage.RetryAsync(results.Path, clock, ct, (fun () -> untilFree attempt))

    let publish
        (attempt: Attempt)
        (submission: Submission)
        result
        mayBeOlder
        ct
        (stored: List<Stored>)
        (outcomes: List<Input>)
        : Task =
        task {
            let name = nameOf submission
            let version = Payload.version submission.Payload

            /// Whether the result is still wanted: the input may be replaced while the disk takes no data. An input out
            /// of sight may come back; if it was deleted, its result stays.
            let isWanted () =
                match version with
                | ValueSome version -> mayBeOlder || not (inputs.StateOf(name, version)).IsReplaced
                | ValueNone -> true

            let attemptOnce () =
                if isWanted () then
                    store (sourceOf attempt.task submission) name result |> Result.map ValueSome
                else
                    Ok ValueNone

            match! retrying ct attemptOnce with
            | Ok(ValueSome(struct (struct (place, owner), hash))) ->
                noteOwner outcomes owner
                logOtherName attempt.task name place ".out"

                stored.Add {
                    attempt = attempt
                    submission = submission
                    name = name
                    place = place
                    hash = hash
                }
            | Ok ValueNone ->
                ValueOption.iter discard (Content.file result)

                // First, so that the file is always known to somebody: it may be back already, unchanged.
                ValueOption.iter (fun version -> finished.LookAgain(name, version)) version
                outcomes.Add(Input.Outdated attempt)
            | Error failure ->
                ValueOption.iter discard (Content.file result)
                log.LogWarning("{Name}: {Reason}", string name, failure.Message)
                outcomes.Add(Input.Unpublished(attempt, failure.Message))
        }

    let publishError id (submission: Submission) failures number ct (outcomes: List<Input>) : Task =
        task {
            let text = ErrorReport.write clock.DateOf id submission.Name failures
            let name = nameOf submission
            let source = sourceOf id submission

            log.LogError(
                "{Name} is in quarantine: {Reason}",
                submission.Name,
                (List.last failures).error
            )

            // Checked under the lock of the name: a later result finds the error, and removes it.
            let isLatest () =
                match errors.TryGetValue source with
                | true, latest -> latest = number
                | _ -> false

            let put place mayReplace =
                if isLatest () then
                    results.PublishError(place, text, mayReplace)
                else
                    Ok()

            let attemptOnce () =
                if isLatest () then
                    owners.Put(source, name, put) |> Result.map ValueSome
                else
                    Ok ValueNone

            match! retrying ct attemptOnce with
            | Ok(ValueSome(struct (place, owner))) ->
                noteOwner outcomes owner
                logOtherName id name place ".err"
            | Ok ValueNone -> ()
            | Error failure ->
                log.LogError("{Name}.err: {Reason}", submission.Name, failure.Message)

            errors.TryRemove(KeyValuePair(source, number)) |> ignore
        }

    /// Whether to flush first, because the result could not be computed again once its input is gone.
    let needsFlush (stored: Stored) =
        match sync, stored.submission.Origin, onDone with
        | Sync.Full, _, _
        | _, Origin.Folder, (Move | Delete)
        | Sync.Normal, Origin.Client _, _ -> true
        | (Sync.Normal | Sync.Off), Origin.Folder, Keep
        | Sync.Off, Origin.Client _, _
        | _, Origin.Piece _, _ -> false // pieces are not published

    /// Flushes all renamed results at once; only then they count as published.
    let confirm (stored: List<Stored>) (outcomes: List<Input>) ct : Task =
        task {
            if Seq.exists needsFlush stored then
                let paths = stored |> Seq.map (fun stored -> results.TargetOf stored.place)

                let! _ =
                    retrying ct (fun () ->
                        try
                            Ok(flush paths)
                        with :? IOException as error ->
                            Error(DiskBroken error.Message))

                ()

            for result in stored do
                match Payload.version result.submission.Payload with
                | ValueSome version -> finished.Finish(result.name, version)
                | ValueNone -> ()

                activity.Published(result.name, results.TargetOf result.place)
                outcomes.Add(Input.Published(result.attempt, result.hash))

            stored.Clear()
        }

    let perform effect number (stored: List<Stored>) (outcomes: List<Input>) ct : Task =
        match effect with
        | DiskEffect.Publish(attempt, submission, result) ->
            publish attempt submission result false ct stored outcomes
        | DiskEffect.PublishOlder(attempt, submission, result) ->
            publish attempt submission result true ct stored outcomes
        | DiskEffect.ConfirmPublished(attempt, submission, hash) ->
            let name = nameOf submission

            stored.Add {
                attempt = attempt
                submission = submission
                name = name
                place = owners.Find(sourceOf attempt.task submission, name)
                hash = hash
            }

            Task.CompletedTask
        | DiskEffect.PublishError(id, submission, failures) ->
            publishError id submission failures number ct outcomes
        | DiskEffect.Discard path ->
            discard path
            Task.CompletedTask

    /// Notes the content hash of a result file, so that publishing does not read the file again.
    member _.Note(path: string, hash: ContentHash) =
        if path.StartsWith(results.Path + "/", StringComparison.Ordinal) then
            hashes[path] <- hash

    /// Handles the inputs of published results.
    member _.Finished = finished

    /// Queues an effect that needs the disk.
    member _.Post(effect: DiskEffect) =
        let number =
            match effect with
            | DiskEffect.PublishError(id, submission, _) ->
                let number = Interlocked.Increment &errorCount
                errors[sourceOf id submission] <- number
                number
            | DiskEffect.Publish(attempt, submission, _)
            | DiskEffect.PublishOlder(attempt, submission, _) when not errors.IsEmpty ->
                errors.TryRemove(sourceOf attempt.task submission, ref 0L) |> ignore
                0L
            | _ -> 0L

        effects.Writer.TryWrite(struct (effect, number)) |> ignore

    /// <summary>Works until it is stopped.</summary>
    /// <param name="report">Posts inputs of the machine.</param>
    /// <param name="rememberOwner">Records the owner of a name; completes when that is durable.</param>
    /// <param name="ct">Stops the work, between two files or while the disk takes no data.</param>
    member _.RunAsync
        (report: Input[] -> Task, rememberOwner: ResultOwner -> Task, ct: CancellationToken)
        : Task =
        remember <- rememberOwner

        let work (ct: CancellationToken) : Task =
            task {
                let outcomes = List<Input>()
                let stored = List<Stored>()
                let mutable goOn = true

                while goOn do
                    let! more = effects.Reader.WaitToReadAsync ct
                    goOn <- more
                    let mutable next = Unchecked.defaultof<struct (DiskEffect * int64)>

                    while outcomes.Count + stored.Count < batchMax && effects.Reader.TryRead(&next) do
                        let struct (effect, number) = next
                        do! perform effect number stored outcomes ct

                    if stored.Count > 0 then
                        do! confirm stored outcomes ct

                    if outcomes.Count > 0 then
                        let batch = outcomes.ToArray()
                        outcomes.Clear()
                        do! report batch
            }

        Loops.runAsync (List.replicate threads work) ct
