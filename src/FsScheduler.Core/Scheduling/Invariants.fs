namespace FsScheduler.Core

/// Where a task is, for those who look from outside.
type TaskView = {
    id: TaskId
    name: string
    state: string
    attempt: int
    failures: int
    losses: int
    stage: int
    /// The session of its worker, where it runs.
    worker: SessionId voption
}

/// What is true of the whole state after every step.
module Invariants =

    let private stateName state =
        match state with
        | TaskState.Queued -> "queued"
        | TaskState.Suspected -> "suspected"
        | TaskState.Running _ -> "running"
        | TaskState.Waiting _ -> "waiting"
        | TaskState.Publishing -> "publishing"
        | TaskState.Succeeding -> "succeeding"
        | TaskState.Quarantined -> "quarantined"

    /// Every task that is not finished, by id.
    let view (scheduler: Scheduler) : TaskView[] =
        let struct (tasks, _, _, _, _) = scheduler.Parts

        tasks.ToSeq()
        |> Seq.map (fun task -> {
            id = task.Id
            name = task.Submission.Name
            state = stateName task.State
            attempt = task.Attempt
            failures = int task.Failures
            losses = int task.Losses
            stage = int task.Stage
            worker =
                match task.State with
                | TaskState.Running worker -> ValueSome worker.Session
                | _ -> ValueNone
        })
        |> Seq.toArray

    /// What is wrong, as sentences; empty when all is well.
    let violations (scheduler: Scheduler) : string list =
        let struct (tasks, workers, queues, successors, files) = scheduler.Parts
        let status = scheduler.Status

        // Where each task was found, by walking the lists rather than by asking the tasks.
        let places = [
            for task in queues.ToSeq() do
                task, TaskState.Queued
            for task in queues.Suspects.ToSeq() do
                task, TaskState.Suspected
            for task in successors.Values do
                task, TaskState.Succeeding
            for worker in workers.All do
                for task in worker.Held.ToSeq() do
                    task, worker.Running
        ]

        let found = places |> List.countBy (fun (task, _) -> task.Id) |> Map.ofList
        let all = Seq.toList (tasks.ToSeq())

        let inState name =
            all
            |> List.filter (fun task -> stateName task.State = name)
            |> List.length
            |> int64

        [
            for task, place in places do
                if not (obj.ReferenceEquals(tasks.Find task.Id, task)) then
                    $"task {task.Id} is in a list but not in the table"

                if task.State <> place then
                    $"task {task.Id} says {stateName task.State} and stands among the {stateName place}"

            for task in all do
                match task.State, Map.tryFind task.Id found with
                | (TaskState.Queued | TaskState.Suspected | TaskState.Succeeding | TaskState.Running _),
                  Some 1
                | (TaskState.Waiting _ | TaskState.Publishing | TaskState.Quarantined), None -> ()
                | state, count ->
                    $"task {task.Id} is {stateName state} and stands in {defaultArg count 0} lists"

                if int task.Stage >= task.Pipeline.stages.Length then
                    $"task {task.Id} has no stage left and is not finished"

            for name, count in
                [
                    "running", status.running
                    "waiting", status.waiting
                    "publishing", status.publishing
                    "quarantined", status.quarantined
                ] do
                if count <> inState name then
                    $"{count} tasks are counted as {name} and {inState name} are"

            if status.queued <> inState "queued" + inState "suspected" + inState "succeeding" then
                $"{status.queued} tasks are counted as queued"

            for KeyValue(name, task) in files do
                if task.Submission.Name <> name || isNull (tasks.Find task.Id) then
                    $"the file {name} belongs to task {task.Id}, which is not there"

            for worker in workers.All do
                let held = worker.Held.Count

                if held > worker.Ceiling then
                    $"worker {worker.Session} holds {held} tasks and may hold {worker.Ceiling}"

                if worker.IsIdle <> (held < worker.Slots) then
                    $"worker {worker.Session} holds {held} of {worker.Slots} and is idle: {worker.IsIdle}"

                for task in worker.Held.ToSeq() do
                    if int task.Losses >= Limits.lossesMax - 1 && held > 1 then
                        $"the suspected task {task.Id} is not alone on worker {worker.Session}"

                if worker.IsIdle && isNull worker.Reserved then
                    for stage in queues.Stages do
                        if worker.Can stage then
                            $"worker {worker.Session} is idle while a task waits for {stage}"

            if workers.Idle.Count <> (workers.All |> Seq.filter _.IsIdle |> Seq.length) then
                $"{workers.Idle.Count} workers are listed as idle"

            for priority, tasks in
                queues.ToSeq()
                |> Seq.groupBy (fun task ->
                    task.Pipeline.stages[int task.Stage].name, task.Submission.Priority) do
                if
                    tasks |> Seq.pairwise |> Seq.exists (fun (one, next) -> one.Order >= next.Order)
                then
                    $"the queue {priority} is out of order"
        ]
