namespace FsScheduler.Server

open System
open System.Collections.Generic
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// What a scheduler takes over from its earlier runs.
module Restart =

    /// The results of pieces are not flushed: after a power cut those in files count as missing. They are deleted then,
    /// and are missing at every later start too.
    let private isThere (files: ISpool) isSameBoot (event: Event) =
        match event with
        | Event.Part(_, _, Spooled(path, _))
        | Event.Carried(Carried.Part(_, _, Spooled(path, _))) -> isSameBoot && files.Has path
        | _ -> true

    /// <summary>The machine as the journal has it.</summary>
    /// <param name="settings">Of this run.</param>
    /// <param name="journal">Open, with nothing appended.</param>
    /// <param name="files">Payloads that are files.</param>
    /// <param name="isSameBoot">Whether the machine has run on since.</param>
    /// <param name="clock">The time of the start.</param>
    /// <param name="log">For how much there is to go on with.</param>
    let restore
        settings
        (journal: Journal)
        (files: ISpool)
        isSameBoot
        (clock: Clock)
        (log: ILogger)
        : Scheduler =
        let scheduler = Scheduler settings
        scheduler.Restore(journal.Recover(), clock.Now, isThere files isSameBoot)
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

    /// Whether a result that the journal calls stored is to be computed again. One that is not there, on a machine that
    /// has run on, was taken away by somebody: it had been published.
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

    /// <summary>Whose the results are that the journal has names of. What is not there any more is forgotten.</summary>
    /// <param name="scheduler">As the journal has it.</param>
    /// <param name="results">The folder of results.</param>
    /// <param name="inputs">The folder of inputs.</param>
    /// <param name="notes">For the journal.</param>
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

    /// Names that are tried for a result: those after them are used only where somebody else uses the number of the task.
    let private placesMax = 4

    /// Results that were given their final names, which the journal does not know yet.
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

                let look place =
                    if owners.MayHave(source, place) then
                        results.Find(place, mark, state.IsSameBoot)
                        |> ValueOption.map (fun hash -> struct (place, hash))
                        |> ValueOption.toOption
                    else
                        None

                match
                    ResultName.candidates source name |> Seq.truncate placesMax |> Seq.tryPick look
                with
                | Some(struct (place, hash)) ->
                    found[attempt] <- hash

                    match owners.Note(source, place) with
                    | ValueSome owner -> notes.Add(Note.Owner(owner.name, owner.owner))
                    | ValueNone -> ()
                | None -> ()
            | Error _ -> ()

        found

    /// <summary>What earlier runs have done with the files that are there, as they are.</summary>
    /// <param name="taken">What the journal knows of each file.</param>
    /// <param name="files">The versions that are not taken again.</param>
    /// <param name="unfinished">Names of files whose tasks are not finished.</param>
    /// <param name="pipelines">Tell what would be done with them now.</param>
    /// <param name="hasResult">Whether the result of a file is there.</param>
    /// <param name="isCurrent">Whether a file is there, in that version.</param>
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
                for struct (name, stamp) in files do
                    if
                        not (unfinished.Contains(string name) || Route.isFolderFile name)
                        && isCurrent name stamp
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

    /// <summary>The versions of files that are not to be taken again: all that were taken, but for those whose results
    /// the disk does not hold whole.</summary>
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
                    log.LogWarning("the result of {Name} is not whole: it is processed again", file)
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
