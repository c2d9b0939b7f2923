namespace FsScheduler.Machine

open System.IO.Enumeration
open FsScheduler.Core

/// A task in a list. Unknown or inapplicable fields are empty.
type TaskRow = {
    task: TaskId
    /// Empty: only the journal has the name.
    name: string
    phase: Phase
    pipeline: string
    /// The present or next stage, with its argument.
    stage: string
    /// The offer that a worker must make to run this stage.
    demand: string
    attempt: int
    /// The name of the worker that runs the task.
    worker: string
    /// Why the task was retried, or is in quarantine.
    error: string
    /// The task that this task is a piece of.
    whole: TaskId option
    /// How long the task has been in its phase.
    since: Duration
    /// The event that has the name, where only the journal has it.
    submissionEvent: int64
}

/// A page of a list of tasks, in the order of their numbers.
type TaskPage = {
    rows: TaskRow[]
    /// The last task that was examined.
    last: TaskId
    /// Whether further tasks may follow.
    more: bool
}

/// A stage with its workers and queued tasks.
type StageRow = {
    stage: string
    workers: int
    slots: int64
    /// Tasks that wait for the stage.
    queued: int64
}

/// Lists tasks and stages for people. Runs between two inputs of the machine, so the work of each call is bounded.
module Listing =

    /// Tasks that are examined for one page: about a millisecond.
    let private examinedMax = 10_000

    /// The most stages that are listed.
    let stagesMax = 10_000

    let private phaseOf (task: Task) =
        match task.State with
        | TaskState.Queued -> Phase.Queued
        | TaskState.Suspected -> Phase.Suspected
        | TaskState.Running _ -> Phase.Running
        | TaskState.Split _ -> Phase.Split
        | TaskState.Waiting _ -> Phase.Waiting
        | TaskState.Publishing -> Phase.Publishing
        | TaskState.Succeeding _ -> Phase.Succeeding
        | TaskState.Quarantined -> Phase.Quarantined
        | TaskState.Ended -> Phase.Done

    let private rowOf (now: Instant) (task: Task) : TaskRow =
        let stage = min task.Stage (task.Pipeline.wire.Length - 1)

        {
            task = task.Id
            name = task.Submission.Name
            phase = phaseOf task
            pipeline = Pipeline.print task.Pipeline
            stage = task.Pipeline.wire[stage]
            demand = task.Pipeline.stages[stage].demand
            attempt = task.Attempt
            worker =
                match task.State with
                | TaskState.Running worker -> worker.Name
                | _ -> ""
            error =
                if task.IsBegun then
                    task.Progress.PastFailures
                    |> List.tryHead
                    |> Option.map _.error
                    |> Option.defaultValue ""
                else
                    ""
            whole =
                match task.Submission.Origin with
                | Piece(whole, _) -> Some whole
                | Folder
                | Client _ -> None
            since = max 0L<ms> (now - task.Since)
            submissionEvent = task.Number
        }

    let private isOf (query: TaskQuery) (task: Task) =
        (query.phases.Length = 0 || Array.contains (phaseOf task) query.phases)
        && match query.stage with
           | None -> true
           | Some stage ->
               let next = task.Pipeline.stages[min task.Stage (task.Pipeline.stages.Length - 1)]
               next.name = stage || next.demand = stage

    /// <summary>Whether a name, or its last part, fits a patternof `*` (any characters) and `?` (one).</summary>
    let fits (pattern: string) (name: string) : bool =
        FileSystemName.MatchesSimpleExpression(pattern, name, false)
        || FileSystemName.MatchesSimpleExpression(
            pattern,
            name.Substring(name.LastIndexOf '/' + 1),
            false
        )

    /// Unfinished tasks of numbers above `after`, up to `upTo`.
    let unfinished (after: TaskId) (upTo: TaskId) (scheduler: Scheduler) : TaskId[] =
        scheduler.State.Tasks.After after
        |> Seq.map _.Id
        |> Seq.takeWhile (fun id -> id <= upTo)
        |> Seq.toArray

    /// <summary>Unfinished tasks by phase and stage. Names are not compared: only the journal has some.</summary>
    let tasks (query: TaskQuery) (now: Instant) (scheduler: Scheduler) : TaskPage =
        let rows = ResizeArray<TaskRow>()
        let mutable last = query.after
        let mutable examined = 0

        let isFull () =
            rows.Count >= query.most || examined >= examinedMax

        use tasks = (scheduler.State.Tasks.After query.after).GetEnumerator()
        let mutable more = tasks.MoveNext()

        while more && not (isFull ()) do
            let task = tasks.Current
            last <- task.Id
            examined <- examined + 1

            if isOf query task then
                rows.Add(rowOf now task)

            more <- tasks.MoveNext()

        { rows = rows.ToArray(); last = last; more = more }

    /// <summary>Merges pages of unfinished and finished tasks. A task that finished in between appears once.</summary>
    let merge (most: int) (unfinished: TaskPage) (finished: TaskPage) : TaskPage =
        let whole =
            match unfinished.more, finished.more with
            | false, false -> max unfinished.last finished.last
            | true, false -> unfinished.last
            | false, true -> finished.last
            | true, true -> min unfinished.last finished.last

        let ended = finished.rows |> Array.map _.task |> Set.ofArray

        let rows =
            unfinished.rows
            |> Array.filter (fun row -> not (ended.Contains row.task))
            |> Array.append finished.rows
            |> Array.filter (fun row -> row.task <= whole)
            |> Array.sortBy _.task

        if rows.Length > most then
            { rows = Array.truncate most rows; last = rows[most - 1].task; more = true }
        else
            { rows = rows; last = whole; more = unfinished.more || finished.more }

    /// Every stage that a worker offers or a task waits for, by name.
    let stages (scheduler: Scheduler) : StageRow[] =
        let state = scheduler.State

        let queued =
            state.Queues.Stages
            |> Seq.append (
                state.Queues.Suspects.ToSeq() |> Seq.map (fun task -> struct (task.Demand, 1))
            )
            |> Seq.groupBy (fun (struct (stage, _)) -> stage)
            |> Seq.map (fun (stage, waiting) ->
                stage, waiting |> Seq.sumBy (fun (struct (_, count)) -> int64 count))
            |> Map.ofSeq

        let offered =
            state.Workers.All
            |> Seq.filter (fun worker -> not worker.IsAbsent && not worker.IsDismissed)
            |> Seq.collect (fun worker ->
                worker.Offers |> Seq.map (fun stage -> struct (stage, int64 worker.Slots)))
            |> Seq.groupBy (fun (struct (stage, _)) -> stage)
            |> Seq.map (fun (stage, slots) ->
                stage, (Seq.length slots, slots |> Seq.sumBy (fun (struct (_, count)) -> count)))
            |> Map.ofSeq

        Seq.append (Map.toSeq queued |> Seq.map fst) (Map.toSeq offered |> Seq.map fst)
        |> Seq.distinct
        |> Seq.sort
        |> Seq.truncate stagesMax
        |> Seq.map (fun stage ->
            let workers, slots = offered |> Map.tryFind stage |> Option.defaultValue (0, 0L)

            {
                stage = stage
                workers = workers
                slots = slots
                queued = queued |> Map.tryFind stage |> Option.defaultValue 0L
            })
        |> Seq.toArray
