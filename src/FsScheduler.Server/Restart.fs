namespace FsScheduler.Server

open System
open System.Collections.Generic
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// Restores the state of earlier runs.
module Restart =

    /// <summary>Restores the machine from the journal.</summary>
    /// <param name="settings">The settings of this run.</param>
    /// <param name="journal">Open, with nothing appended.</param>
    /// <param name="clock">The time of the start.</param>
    /// <param name="log">Told how many tasks are left.</param>
    let restore settings (journal: Journal) (clock: Clock) (log: ILogger) : Scheduler =
        let scheduler = Scheduler settings
        scheduler.Restore(journal.Recover(), clock.Now)
        scheduler.Continue journal.Next
        let status = scheduler.Status

        let unfinished =
            status.queued
            + status.running
            + status.waiting
            + status.publishing
            + status.split

        if unfinished + status.quarantined > 0L then
            log.LogInformation(
                "going on with {Unfinished} tasks of an earlier run, {Quarantined} more are in quarantine",
                unfinished,
                status.quarantined
            )

        scheduler

    /// <summary>The parts whose files are gone. Results of pieces are not flushed: after a power cut they count as
    /// gone.</summary>
    /// <param name="scheduler">As restored from the journal.</param>
    /// <param name="files">Holds the payloads in files.</param>
    /// <param name="isSameBoot">Whether the computer has not rebooted since.</param>
    let lostParts (scheduler: Scheduler) (files: ISpool) isSameBoot : PartFile[] =
        scheduler.PartFiles
        |> Array.filter (fun part -> not (isSameBoot && files.Has part.path))

    /// Whether a published result is to be computed again. Without a reboot, a missing one was taken away.
    let private isDamaged
        (results: IResultFolder)
        (owners: ResultOwners)
        (state: IStateFolder)
        (name: TaskName)
        hash
        =
        let place = owners.Find(OfFile name, name)

        if results.HasResult place then
            not (results.Holds(place, hash))
        else
            not state.IsSameBoot

    /// <summary>The owners of the names in the journal. Names without a file are forgotten.</summary>
    /// <param name="scheduler">As restored from the journal.</param>
    /// <param name="results">The folder of results.</param>
    /// <param name="inputs">The folder of inputs.</param>
    /// <param name="notes">Collects notes for the journal.</param>
    let owners
        (scheduler: Scheduler)
        (results: IResultFolder)
        (inputs: IInputFolder)
        (notes: List<Note>)
        : ResultOwners =
        let there, gone =
            scheduler.Owners
            |> Array.partition (fun struct (name, _) -> results.IsThere name)

        for struct (name, _) in gone do
            notes.Add(Note.Owner(name, ValueNone))

        ResultOwners(results, inputs.IsInput, there)

    /// Names that are tried for a result: later ones are used only if somebody else's name has the number of the task.
    let private placesMax = 4

    /// Results under their final names of which the journal does not know yet.
    let published
        (scheduler: Scheduler)
        (results: IResultFolder)
        (owners: ResultOwners)
        (notes: List<Note>)
        (state: IStateFolder)
        =
        let found = Dictionary<Attempt, ContentHash>()

        for struct (attempt, submission, mark) in scheduler.Accepted do
            match TaskName.parse submission.Name with
            | Ok name ->
                let source =
                    if submission.Origin.IsFolder then
                        OfFile name
                    else
                        OfTask attempt.task

                let find place =
                    if owners.MayHave(source, place) then
                        results.Find(place, mark, state.IsSameBoot)
                        |> ValueOption.map (fun hash -> struct (place, hash))
                        |> ValueOption.toOption
                    else
                        None

                match
                    ResultName.candidates source name |> Seq.truncate placesMax |> Seq.tryPick find
                with
                | Some(struct (place, hash)) ->
                    found[attempt] <- hash

                    match owners.Note(source, place) with
                    | ValueSome owner -> notes.Add(Note.Owner(owner.name, owner.owner))
                    | ValueNone -> ()
                | None -> ()
            | Error _ -> ()

        found

    /// <summary>What earlier runs have done with the files that are there, unchanged.</summary>
    /// <param name="taken">The journal's record of each file.</param>
    /// <param name="files">The versions not to be taken again.</param>
    /// <param name="unfinished">Names of files whose tasks are not finished.</param>
    /// <param name="pipelines">The pipelines that files would have now.</param>
    /// <param name="hasResult">Whether a file has its result.</param>
    /// <param name="isCurrent">Whether a file is there, in a version.</param>
    let doneBefore
        (taken: IReadOnlyDictionary<string, TakenFile>)
        (files: struct (TaskName * FileVersion)[])
        (unfinished: HashSet<string>)
        (pipelines: FolderPipelines)
        (hasResult: TaskName -> bool)
        (isCurrent: TaskName -> FileVersion -> bool)
        : DoneBefore =
        DoneBefore.ofFiles (
            seq {
                for struct (name, version) in files do
                    if
                        not (unfinished.Contains(string name) || Route.isFolderFile name)
                        && isCurrent name version
                    then
                        {
                            name = string name
                            before =
                                match taken.TryGetValue(string name) with
                                | true, file when file.isDone ->
                                    ValueSome(Pipeline.print file.pipeline)
                                | _ -> ValueNone
                            now =
                                match pipelines.Choose name with
                                | Ok struct (pipeline, _) -> ValueSome(Pipeline.print pipeline)
                                | Error _ -> ValueNone
                            hasResult = hasResult name
                        }
            }
        )

    /// <summary>The versions not to be taken again: all that were taken, except those with damaged results.</summary>
    let files
        (scheduler: Scheduler)
        (results: IResultFolder)
        (owners: ResultOwners)
        (notes: List<Note>)
        (state: IStateFolder)
        (log: ILogger)
        =
        let damaged = HashSet<string>()

        for struct (file, hash) in scheduler.Unflushed do
            match TaskName.parse file with
            | Ok name when isDamaged results owners state name hash ->
                if damaged.Add file then
                    log.LogWarning("the result of {Name} is damaged: it is processed again", file)
                    notes.Add(Note.Damaged file)
            | Ok _
            | Error _ -> ()

        [|
            for KeyValue(file, taken) in scheduler.TakenFiles do
                match TaskName.parse file with
                | Ok name when not (damaged.Contains file) -> struct (name, taken.version)
                | Ok _
                | Error _ -> ()
        |]
