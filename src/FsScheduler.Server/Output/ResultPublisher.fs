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
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// A result that has its final name.
[<Struct>]
type private Stored = {
    attempt: Attempt
    submission: Submission
    /// Of the task.
    name: TaskName
    /// Under which the result stands.
    place: TaskName
    hash: ContentHash
}

/// <summary>Does on the disk what effects ask for, away from the mailbox, and tells the machine how it went.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="results">The folder of results.</param>
/// <param name="files">Has the results that are too large for memory.</param>
/// <param name="owners">Whose results have which names there.</param>
/// <param name="onDone">What becomes of an input whose result is published.</param>
/// <param name="sync">When results are flushed to the device.</param>
/// <param name="flush">Does that, for results by their paths; raises IOException where the disk says no.</param>
/// <param name="clock">For the dates in `NAME.err`, and for the time between two tries.</param>
/// <param name="outage">Where it says that the disk takes nothing.</param>
/// <param name="activity">Is told of each result that has its name.</param>
/// <param name="log">For what nobody else is told.</param>
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
    // Results of one folder wait for each other in the file system, and spin while they do.
    let threads = max 1 (Environment.ProcessorCount / 2)
    // Never more of them than tasks. The number is that of an error.
    let effects = Channel.CreateUnbounded<struct (DiskEffect * int64)>()

    /// What results hold, by path, where whoever wrote them knows.
    let hashes = ConcurrentDictionary<string, ContentHash>()

    let discard path =
        hashes.TryRemove(path: string) |> ignore

        try
            files.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            log.LogWarning("{Path} cannot be deleted: {Reason}", path, error.Message)

    let discardPayload payload =
        match payload with
        | Spooled(path, _) -> discard path
        | Packed
        | Bytes _
        | Journaled
        | Recorded _
        | Input _
        | Slice _ -> ()

    let nameOf (submission: Submission) =
        match TaskName.parse submission.Name with
        | Ok name -> name
        | Error reason -> invalidOp $"a task is called '{submission.Name}': {reason}"

    let hashOf path =
        match hashes.TryRemove(path: string) with
        | true, hash -> Ok hash
        | _ -> results.TryContentHash path

    /// Errors that wait to be written, by whose they are, with the number of the latest: what comes later of the same
    /// source makes them void.
    let errors = ConcurrentDictionary<ResultSource, int64>()
    let mutable errorCount = 0L

    let sourceOf (task: TaskId) (submission: Submission) =
        match submission.Origin with
        | Origin.Folder -> OfFile(nameOf submission)
        | Origin.Client _
        | Origin.Piece _ -> OfTask task

    /// Nothing is told apart without a word.
    let tell (task: TaskId) (name: TaskName) (place: TaskName) ending =
        if place <> name then
            log.LogWarning(
                "task {Task}, {Name}: goes to {Place}, because {Taken} is that of another source, which stays",
                task,
                string name,
                string place + ending,
                string name + ending
            )

    /// Whose the name is, is told before the result that has it: then it is recorded before.
    let noteOwner (told: List<Input>) (owner: ResultOwner voption) =
        match owner with
        | ValueSome owner -> told.Add(Input.Note [| Note.Owner(owner.name, owner.owner) |])
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
        | Packed
        | Journaled
        | Recorded _
        | Input _
        | Slice _ -> invalidOp "a result is in memory or in a file of its own"

    /// A result that is there is not computed once more because the disk takes nothing.
    let insist (ct: CancellationToken) (attempt: unit -> Result<'T, PublishFailure>) =
        outage.RetryAsync(
            results.Path,
            clock,
            ct,
            fun () ->
                match attempt () with
                | Error failure when failure.IsOfTheDisk -> Task.FromResult(Error failure.Message)
                | outcome -> Task.FromResult(Ok outcome)
        )

    let publish
        (attempt: Attempt)
        (submission: Submission)
        result
        mayBeOlder
        ct
        (stored: List<Stored>)
        (told: List<Input>)
        : Task =
        task {
            let name = nameOf submission

            /// While the disk takes nothing, the input may change: then nobody wants the result any more.
            /// One that is out of sight may come back; and should it have been deleted, a result stays.
            let isWanted () =
                match submission.Payload with
                | Input stamp -> mayBeOlder || not (inputs.StateOf(name, stamp)).IsReplaced
                | Packed
                | Journaled
                | Recorded _
                | Bytes _
                | Spooled _
                | Slice _ -> true

            let attemptOnce () =
                if isWanted () then
                    store (sourceOf attempt.task submission) name result |> Result.map ValueSome
                else
                    Ok ValueNone

            match! insist ct attemptOnce with
            | Ok(ValueSome(struct (struct (place, owner), hash))) ->
                noteOwner told owner
                tell attempt.task name place ".out"

                stored.Add {
                    attempt = attempt
                    submission = submission
                    name = name
                    place = place
                    hash = hash
                }
            | Ok ValueNone ->
                discardPayload result

                // First, so that somebody always knows of the file: it may be back already, as it was.
                match submission.Payload with
                | Input stamp -> finished.LookAgain(name, stamp)
                | Packed
                | Journaled
                | Recorded _
                | Bytes _
                | Spooled _
                | Slice _ -> ()

                told.Add(Input.Outdated attempt)
            | Error failure ->
                discardPayload result
                log.LogWarning("{Name}: {Reason}", string name, failure.Message)
                told.Add(Input.Unpublished(attempt, failure.Message))
        }

    let publishError id (submission: Submission) failures number ct (told: List<Input>) : Task =
        task {
            let text = ErrorReport.write clock.DateOf id submission.Name failures
            let name = nameOf submission
            let source = sourceOf id submission

            log.LogError(
                "{Name} is in quarantine: {Reason}",
                submission.Name,
                (List.last failures).error
            )

            // Looked at under the lock of the name: a result that comes later finds the error, and removes it.
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

            match! insist ct attemptOnce with
            | Ok(ValueSome(struct (place, owner))) ->
                noteOwner told owner
                tell id name place ".err"
            | Ok ValueNone -> ()
            | Error failure ->
                log.LogError("{Name}.err: {Reason}", submission.Name, failure.Message)

            errors.TryRemove(KeyValuePair(source, number)) |> ignore
        }

    /// Results whose inputs may not be there any more could not be computed again: those are flushed first.
    let needsFlush (stored: Stored) =
        match sync, stored.submission.Origin, onDone with
        | Sync.Full, _, _
        | _, Origin.Folder, (Move | Delete)
        | Sync.Normal, Origin.Client _, _ -> true
        | (Sync.Normal | Sync.Off), Origin.Folder, Keep
        | Sync.Off, Origin.Client _, _
        | _, Origin.Piece _, _ -> false // pieces are not published

    /// One flush for all that have been renamed; then, and not before, they count as published.
    let settle (stored: List<Stored>) (told: List<Input>) ct : Task =
        task {
            if Seq.exists needsFlush stored then
                let paths = stored |> Seq.map (fun stored -> results.TargetOf stored.place)

                let! _ =
                    insist ct (fun () ->
                        try
                            Ok(flush paths)
                        with :? IOException as error ->
                            Error(DiskBroken error.Message))

                ()

            for result in stored do
                finished.Finish(result.name, result.submission.Payload)
                activity.Published(result.name, results.TargetOf result.place)
                told.Add(Input.Published(result.attempt, result.hash))

            stored.Clear()
        }

    let perform effect number (stored: List<Stored>) (told: List<Input>) ct : Task =
        match effect with
        | DiskEffect.Publish(attempt, submission, result) ->
            publish attempt submission result false ct stored told
        | DiskEffect.PublishOlder(attempt, submission, result) ->
            publish attempt submission result true ct stored told
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
            publishError id submission failures number ct told
        | DiskEffect.Discard payload ->
            discardPayload payload
            Task.CompletedTask

    /// Told what is in a file of the folder of results that is to be published, or discarded: it is not read again.
    member _.Note(path: string, hash: ContentHash) =
        if path.StartsWith(results.Path + "/", StringComparison.Ordinal) then
            hashes[path] <- hash

    /// What becomes of the inputs of published results.
    member _.Finished = finished

    /// Posts an effect that is a matter of the disk.
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
    /// <param name="tell">Takes what the machine is to be told.</param>
    /// <param name="ct">Stops it, between two files, or while the disk takes nothing.</param>
    member _.RunAsync(tell: Input[] -> Task, ct: CancellationToken) : Task =
        let work (ct: CancellationToken) : Task =
            task {
                let told = List<Input>()
                let stored = List<Stored>()
                let mutable goOn = true

                while goOn do
                    let! more = effects.Reader.WaitToReadAsync ct
                    goOn <- more
                    let mutable next = Unchecked.defaultof<struct (DiskEffect * int64)>

                    while told.Count + stored.Count < batchMax && effects.Reader.TryRead(&next) do
                        let struct (effect, number) = next
                        do! perform effect number stored told ct

                    if stored.Count > 0 then
                        do! settle stored told ct

                    if told.Count > 0 then
                        let batch = told.ToArray()
                        told.Clear()
                        do! tell batch
            }

        Loops.runAsync (List.replicate threads work) ct
