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
    proof: Proof
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
/// <param name="holdup">Where it says that the disk takes nothing.</param>
/// <param name="activity">Is told of each result that has its name.</param>
/// <param name="log">For what nobody else is told.</param>
[<Sealed>]
type PublishQueue
    (
        inputs: IInputFolder,
        results: IResultFolder,
        files: ISpool,
        owners: ResultOwners,
        onDone: OnDone,
        sync: Sync,
        flush: string seq -> unit,
        clock: Clock,
        holdup: Holdup,
        activity: ActivityLog,
        log: ILogger
    ) =
    let mutable reconsider: TaskName -> Stamp -> unit = fun _ _ -> ()
    let mutable unfinished = fun (_: TaskName) (_: Stamp) -> ()
    let batchMax = 64
    // Results of one folder wait for each other in the file system, and spin while they do.
    let threads = max 1 (Environment.ProcessorCount / 2)
    // Never more of them than tasks. The number is that of an error.
    let effects = Channel.CreateUnbounded<struct (DiskEffect * int64)>()
    let betweenTries = TimeSpan.FromSeconds 1.0

    /// What results hold, by path, where whoever wrote them knows.
    let proofs = ConcurrentDictionary<string, Proof>()

    let discard path =
        proofs.TryRemove(path: string) |> ignore

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
        | Filed
        | Recorded _
        | Input _
        | Slice _ -> ()

    let nameOf (submission: Submission) =
        match TaskName.parse submission.Name with
        | Ok name -> name
        | Error reason -> invalidOp $"a task is called '{submission.Name}': {reason}"

    let proofOf path =
        match proofs.TryRemove(path: string) with
        | true, proof -> Ok proof
        | _ -> results.TryProof path

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
            |> Result.map (fun put -> struct (put, ResultFile.proofOf bytes))
        | Spooled(path, _) ->
            proofOf path
            |> Result.bind (fun proof ->
                put (fun place mayReplace -> results.PublishTemp(place, path, mayReplace))
                |> Result.map (fun put -> struct (put, proof)))
        | Packed
        | Filed
        | Recorded _
        | Input _
        | Slice _ -> invalidOp "a result is in memory or in a file of its own"

    /// Tries again while it is the disk that takes nothing: a result that is there is not computed once more.
    let insist (ct: CancellationToken) (attempt: unit -> Result<'T, PublishTrouble>) =
        task {
            let mutable outcome = attempt ()
            let mutable goOn = true

            while goOn do
                match outcome with
                | Error trouble when trouble.IsOfTheDisk ->
                    holdup.Begin(results.Path, trouble.Message)
                    do! Task.Delay(betweenTries, clock.Provider, ct)
                    outcome <- attempt ()
                | _ -> goOn <- false

            holdup.End results.Path
            return outcome
        }

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
                | Filed
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
            | Ok(ValueSome(struct (struct (place, owner), proof))) ->
                noteOwner told owner
                tell attempt.task name place ".out"

                stored.Add {
                    attempt = attempt
                    submission = submission
                    name = name
                    place = place
                    proof = proof
                }
            | Ok ValueNone ->
                discardPayload result

                // First, so that somebody always knows of the file: it may be back already, as it was.
                match submission.Payload with
                | Input stamp -> reconsider name stamp
                | Packed
                | Filed
                | Recorded _
                | Bytes _
                | Spooled _
                | Slice _ -> ()

                told.Add(Input.Outdated attempt)
            | Error trouble ->
                discardPayload result
                log.LogWarning("{Name}: {Reason}", string name, trouble.Message)
                told.Add(Input.Unpublished(attempt, trouble.Message))
        }

    let publishError id (submission: Submission) troubles number ct (told: List<Input>) : Task =
        task {
            let text = ErrorReport.write clock.DateOf id submission.Name troubles
            let name = nameOf submission
            let source = sourceOf id submission

            log.LogError(
                "{Name} is in quarantine: {Reason}",
                submission.Name,
                (List.last troubles).error
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
            | Error trouble ->
                log.LogError("{Name}.err: {Reason}", submission.Name, trouble.Message)

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

    let finishInput (stored: Stored) =
        match stored.submission.Payload with
        | Input stamp ->
            match inputs.Finish(stored.name, stamp) with
            | Ok() -> ()
            | Error(BeingWritten who) ->
                log.LogWarning(
                    "{Name} is done, and stays: {Reason}; it is taken again when that has ended",
                    string stored.name,
                    who
                )

                reconsider stored.name stamp
            | Error Gone ->
                log.LogInformation(
                    "{Name} is done, and not there any more: when it comes back, it is moved or deleted",
                    string stored.name
                )

                unfinished stored.name stamp
            | Error trouble ->
                log.LogWarning(
                    "{Name} is done and stays where it is: {Reason}",
                    string stored.name,
                    trouble.Message
                )

                unfinished stored.name stamp
        | Packed
        | Bytes _
        | Filed
        | Recorded _
        | Spooled _
        | Slice _ -> ()

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
                finishInput result
                activity.Published(result.name, results.TargetOf result.place)
                told.Add(Input.Published(result.attempt, result.proof))

            stored.Clear()
        }

    let perform effect number (stored: List<Stored>) (told: List<Input>) ct : Task =
        match effect with
        | DiskEffect.Publish(attempt, submission, result) ->
            publish attempt submission result false ct stored told
        | DiskEffect.PublishOlder(attempt, submission, result) ->
            publish attempt submission result true ct stored told
        | DiskEffect.Settle(attempt, submission, proof) ->
            let name = nameOf submission

            stored.Add {
                attempt = attempt
                submission = submission
                name = name
                place = owners.Find(sourceOf attempt.task submission, name)
                proof = proof
            }

            Task.CompletedTask
        | DiskEffect.PublishError(id, submission, troubles) ->
            publishError id submission troubles number ct told
        | DiskEffect.Discard payload ->
            discardPayload payload
            Task.CompletedTask

    /// Told what is in a file of the folder of results that is to be published, or discarded: it is not read again.
    member _.Note(path: string, proof: Proof) =
        if path.StartsWith(results.Path + "/", StringComparison.Ordinal) then
            proofs[path] <- proof

    /// Asks for another look at an input that is still being written, or was not there, or not as it was, when its result was
    /// to be published. The inbox is made later than this.
    member _.Reconsider
        with set (ask: TaskName -> Stamp -> unit) = reconsider <- ask

    /// Told of inputs that are done, and could not be moved or deleted.
    member _.Unfinished
        with set (note: TaskName -> Stamp -> unit) = unfinished <- note

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
