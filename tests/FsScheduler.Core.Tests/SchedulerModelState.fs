/// What the model of the scheduler knows, and the moves of a task that its rules are made of.
module FsScheduler.Core.Tests.SchedulerModelState

open FsScheduler.Core

type Where =
    | Queued
    | Suspected
    | Running of SessionId
    | Waiting of Instant
    | Publishing
    | Succeeding of TaskId
    | Quarantined

type ModelTask = {
    id: TaskId
    submission: Submission
    stages: string list
    where: Where
    since: Instant
    /// Its place among the tasks of its queue, or of its worker.
    position: int
    attempt: int
    failures: int
    losses: int
    stage: int
    stageEnd: int
} with

    member task.IsBegun = task.attempt > 0
    member task.StageName = task.stages[task.stage]
    member task.Rest = task.stages |> List.skip task.stage

type ModelWorker = {
    name: string
    can: Set<string>
    slots: int
    heard: Instant
    turn: int
    isDismissed: bool
    /// From before a restart, and not back.
    isAbsent: bool
}

type Model = {
    settings: Settings
    now: Instant
    lastTick: Instant
    lastId: TaskId
    tasks: Map<TaskId, ModelTask>
    workers: Map<SessionId, ModelWorker>
    /// The newest version of each file.
    files: Map<string, TaskId>
    keys: Map<string, TaskId>
    front: int
    back: int
}

let initial settings = {
    settings = settings
    now = Instant.zero
    lastTick = Instant.zero
    lastId = 0L<taskId>
    tasks = Map.empty
    workers = Map.empty
    files = Map.empty
    keys = Map.empty
    front = 0
    back = 0
}

let put (task: ModelTask) (model: Model) = { model with tasks = Map.add task.id task model.tasks }

let enter where (task: ModelTask) (model: Model) =
    put { task with where = where; since = model.now } model

let toBack (task: ModelTask) (model: Model) =
    let model = { model with back = model.back + 1 }
    { task with position = model.back }, model

let toFront (task: ModelTask) (model: Model) =
    let model = { model with front = model.front - 1 }
    { task with position = model.front }, model

let enqueue place (task: ModelTask) (model: Model) : Model =
    let task, model = place task model

    if task.losses >= 2 then
        enter Suspected task model
    else
        enter Queued task model

let held session (model: Model) =
    model.tasks.Values
    |> Seq.filter (fun task -> task.where = Running session)
    |> Seq.sortBy _.position
    |> List.ofSeq

let finish (task: ModelTask) (model: Model) : Model =
    let name = task.submission.Name

    let files =
        match task.where with
        | Succeeding older when model.files[name] = task.id -> Map.add name older model.files
        | _ when Map.tryFind name model.files = Some task.id -> Map.remove name model.files
        | _ -> model.files

    let model = { model with files = files; tasks = Map.remove task.id model.tasks }

    match
        model.tasks.Values
        |> Seq.tryFind (fun other -> other.where = Succeeding task.id)
    with
    | Some successor -> enqueue toBack successor model
    | None -> model

let delay events (task: ModelTask) (model: Model) =
    let delay =
        events
        |> List.pick (function
            | Event.Delayed(id, _, delay) when id = task.id -> Some delay
            | _ -> None)

    enter (Waiting(model.now + delay)) task model

let fail events retry (task: ModelTask) (model: Model) =
    let task = { task with failures = task.failures + 1 }

    if not retry || task.failures >= model.settings.maxAttempts then
        enter Quarantined task model
    else
        delay events task model

let lose session (model: Model) =
    let drained = model.workers[session].slots = 0

    let giveBack model (task: ModelTask) =
        let task = { task with losses = task.losses + (if drained then 0 else 1) }

        if task.losses >= 3 then
            enter Quarantined task model
        else
            enqueue toFront task model

    let model = held session model |> List.rev |> List.fold giveBack model
    { model with workers = Map.remove session model.workers }

let heard session (model: Model) =
    match Map.tryFind session model.workers with
    | Some worker ->
        let worker = { worker with heard = model.now }
        { model with workers = Map.add session worker model.workers }
    | None -> model

let current (attempt: Attempt) (model: Model) =
    Map.tryFind attempt.task model.tasks
    |> Option.filter (fun task -> task.attempt = attempt.number)
