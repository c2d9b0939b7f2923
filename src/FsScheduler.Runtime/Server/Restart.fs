namespace FsScheduler.Runtime

open System
open System.IO
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// What a scheduler takes over from its earlier runs.
module Restart =

    /// The results of pieces are not flushed: after a power cut those in files count as missing. They are deleted then,
    /// and are missing at every later start too.
    let private isThere isSameBoot (struct (_, _, event): struct (int64 * Instant * Event)) =
        match event with
        | Event.Part(_, _, Spooled(path, _)) -> isSameBoot && File.Exists path
        | _ -> true

    /// The machine as the journal has it; new, if there is no journal.
    let restore settings (recovery: IRecovery option) isSameBoot (clock: Clock) (log: ILogger) =
        let scheduler = Scheduler settings

        match recovery with
        | None -> ()
        | Some recovery ->
            scheduler.Restore(Seq.filter (isThere isSameBoot) (recovery.Recover()), clock.Now)
            let struct (task, event, session) = recovery.Highest
            scheduler.Continue(task, event, session)
            let struct (finished, cancelled) = recovery.Ended
            scheduler.Count(finished, cancelled)
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
        (publisher: Publisher)
        (owners: ResultOwners)
        (state: StateFolder)
        (name: TaskName)
        proof
        =
        let path = publisher.TargetOf(owners.Find(OfFile name, name))

        if File.Exists path then
            not (ResultFile.holds path proof)
        else
            not state.IsSameBoot

    /// <summary>Whose the results are that the journal has names of. What is not there any more is forgotten.</summary>
    /// <param name="journal">Remembers them, if it can.</param>
    /// <param name="publisher">The folder of results.</param>
    /// <param name="inputs">The folder of inputs.</param>
    let owners (journal: IJournal) (publisher: Publisher) (inputs: InputFolder) : ResultOwners =
        let isInput (name: TaskName) =
            match inputs.Look(TaskName.toString name) with
            | Present _ -> true
            | _ -> false

        match journal with
        | :? IResultOwners as remembered ->
            let there, gone =
                remembered.ResultOwners()
                |> Array.partition (fun struct (name, _) -> publisher.IsThere name)

            if gone.Length > 0 then
                let gone =
                    gone |> Array.map (fun struct (name, _) -> { name = name; owner = ValueNone })

                (remembered.RememberAsync gone).GetAwaiter().GetResult()

            ResultOwners(publisher, isInput, there)
        | _ -> ResultOwners(publisher, isInput, [])

    /// Names that are tried for a result: those after them are used only where somebody else uses the number of the task.
    let private placesMax = 4

    /// Results that were given their final names, which the journal does not know yet.
    let published
        (recovery: IRecovery)
        (publisher: Publisher)
        (owners: ResultOwners)
        (remember: ResultOwner[] -> Threading.Tasks.Task)
        (state: StateFolder)
        =
        let found = Collections.Generic.Dictionary<Attempt, Proof>()

        for accepted in recovery.Accepted() do
            match TaskName.parse accepted.name with
            | Ok name ->
                let source =
                    if accepted.isOfFile then
                        OfFile name
                    else
                        OfTask accepted.attempt.task

                let look place =
                    if owners.MayHave(source, place) then
                        ResultMark.find state.IsSameBoot (publisher.TargetOf place) accepted.mark
                        |> ValueOption.map (fun proof -> struct (place, proof))
                        |> ValueOption.toOption
                    else
                        None

                match
                    ResultName.candidates source name |> Seq.truncate placesMax |> Seq.tryPick look
                with
                | Some(struct (place, proof)) ->
                    found[accepted.attempt] <- proof

                    match owners.Note(source, place) with
                    | ValueSome owner -> (remember [| owner |]).GetAwaiter().GetResult()
                    | ValueNone -> ()
                | None -> ()
            | Error _ -> ()

        found

    /// <summary>What earlier runs have done with the files that are there, as they are.</summary>
    /// <param name="recovery">Knows it.</param>
    /// <param name="upTo">The last task of theirs.</param>
    /// <param name="files">The versions that are not taken again.</param>
    /// <param name="unfinished">Names of files whose tasks are not finished.</param>
    /// <param name="pipelines">Tell what would be done with them now.</param>
    /// <param name="hasResult">Whether the result of a file is there.</param>
    /// <param name="isCurrent">Whether a file is there, in that version.</param>
    let doneBefore
        (recovery: IRecovery)
        (upTo: TaskId)
        (files: struct (TaskName * Stamp)[])
        (unfinished: Collections.Generic.HashSet<string>)
        (pipelines: FolderPipelines)
        (hasResult: TaskName -> bool)
        (isCurrent: TaskName -> Stamp -> bool)
        : DoneBefore =
        let before = Collections.Generic.Dictionary<string, string>()

        for struct (file, pipeline) in recovery.DonePipelines upTo do
            before[file] <- pipeline

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
                                match before.TryGetValue(string name) with
                                | true, pipeline -> ValueSome pipeline
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
        (recovery: IRecovery)
        (publisher: Publisher)
        (owners: ResultOwners)
        (state: StateFolder)
        (log: ILogger)
        =
        let damaged = Collections.Generic.HashSet<string>()

        for result in recovery.Unverified() do
            match TaskName.parse result.name with
            | Ok name when isDamaged publisher owners state name result.proof ->
                if damaged.Add result.name then
                    log.LogWarning(
                        "the result of {Name} is not whole: it is processed again",
                        result.name
                    )

                    (recovery.ForgetFile result.name).GetAwaiter().GetResult()
            | Ok _
            | Error _ -> ()

        [|
            for struct (file, stamp) in recovery.Files() do
                match TaskName.parse file with
                | Ok name when not (damaged.Contains file) -> struct (name, stamp)
                | Ok _
                | Error _ -> ()
        |]
