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
    /// What workers made of it, the latest first.
    troubles: (string * Cause) list
    /// The workers that had failed it when it came into its queue.
    failedBy: Set<string>
    stage: int
    stageEnd: int
} with

    member task.IsBegun = task.attempt > 0
    member task.StageName = task.stages[task.stage]
    member task.Rest = task.stages |> List.skip task.stage
    /// What it was given to its worker for.
    member task.Given = task.stages[task.stage .. task.stageEnd - 1]

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

/// How workers of one name have failed the same stages since they last did them.
type ModelConduct = {
    failed: TaskId list
    unable: int
    isHeldBack: bool
    delay: Duration
    next: Instant
    isDue: bool
    trial: Attempt option
}

type Model = {
    settings: Settings
    now: Instant
    lastTick: Instant
    lastId: TaskId
    tasks: Map<TaskId, ModelTask>
    workers: Map<SessionId, ModelWorker>
    conducts: Map<string * string list, ModelConduct>
    /// Those that were lost a moment ago, by name.
    expected: Map<string, ModelWorker * Instant>
    tickedAt: Instant
    /// The newest version of each file.
    files: Map<string, TaskId>
    /// How many versions of a file in a row were begun and overtaken.
    overtaken: Map<string, int>
    keys: Map<string, TaskId>
    /// By key: the event that the journal has it at.
    homes: Map<string, int64>
    lastEvent: int64
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
    conducts = Map.empty
    expected = Map.empty
    tickedAt = Instant.zero
    files = Map.empty
    overtaken = Map.empty
    keys = Map.empty
    homes = Map.empty
    lastEvent = 0L
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
    let task = { task with failedBy = task.troubles |> List.map fst |> set }

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

/// What a worker would be given of what is left of a task.
let given (worker: ModelWorker) (stages: string list) =
    stages |> List.takeWhile worker.can.Contains

let holdOf (worker: ModelWorker) stages (model: Model) =
    Map.tryFind (worker.name, given worker stages) model.conducts
    |> Option.filter _.isHeldBack

let isAnotherAble (stages: string list) (but: Set<string>) (model: Model) =
    let isThere (worker: ModelWorker) = worker.slots > 0 || worker.isAbsent

    Seq.append (Seq.filter isThere model.workers.Values) (Seq.map fst model.expected.Values)
    |> Seq.exists (fun worker ->
        worker.can.Contains stages.Head
        && not (but.Contains worker.name)
        && (holdOf worker stages model).IsNone)

/// A trial is over when its attempt is, however that went.
let isOnTrial (conduct: ModelConduct) (model: Model) =
    match conduct.trial with
    | None -> false
    | Some attempt ->
        match Map.tryFind attempt.task model.tasks with
        | Some { where = Running _; attempt = number } -> number = attempt.number
        | _ -> false

let mayTry (worker: ModelWorker) stages (model: Model) =
    match holdOf worker stages model with
    | Some conduct -> conduct.isDue && not (isOnTrial conduct model)
    | None -> true

let private withConduct key conduct (model: Model) = {
    model with
        conducts = Map.add key conduct model.conducts
}

let private exonerate (id: TaskId) (model: Model) =
    let look (model: Model) (KeyValue(key, conduct)) =
        let failed = List.except [ id ] conduct.failed
        let inARow = failed.Length + conduct.unable

        if failed.Length = conduct.failed.Length then
            model
        elif inARow < (if conduct.isHeldBack then 3 else 1) then
            { model with conducts = Map.remove key model.conducts }
        else
            withConduct key { conduct with failed = failed } model

    Seq.fold look model model.conducts

/// What a failure says of its worker.
let failedOn (worker: ModelWorker) (task: ModelTask) cause (model: Model) : Model =
    let isOfAnother (name, past) =
        name <> worker.name && (past = Fault || past = Loss)

    if cause <> Inability && List.exists isOfAnother task.troubles then
        exonerate task.id model
    else
        let key = worker.name, task.Given

        let known = {
            failed = []
            unable = 0
            isHeldBack = false
            delay = 1_000L<ms>
            next = Instant.zero
            isDue = false
            trial = None
        }

        let conduct = Map.tryFind key model.conducts |> Option.defaultValue known

        let conduct =
            if cause = Inability then
                { conduct with unable = conduct.unable + 1 }
            elif List.contains task.id conduct.failed then
                conduct
            else
                { conduct with failed = List.truncate 3 (task.id :: conduct.failed) }

        if conduct.isHeldBack then
            if isOnTrial conduct model && conduct.trial.Value.task = task.id then
                let delay = min 60_000L<ms> (2L * conduct.delay)
                withConduct key { conduct with delay = delay; next = model.now + delay } model
            else
                withConduct key conduct model
        elif
            conduct.unable >= 3
            || conduct.failed.Length + conduct.unable >= 3
               && isAnotherAble task.Given (set [ worker.name ]) model
        then
            withConduct
                key
                { conduct with isHeldBack = true; next = model.now + conduct.delay }
                model
        else
            withConduct key conduct model

/// It has done these stages.
let succeededOn (worker: ModelWorker) (task: ModelTask) (model: Model) = {
    model with
        conducts = Map.remove (worker.name, task.Given) model.conducts
}

/// Whether a version is worked on, and what was read of it is still good.
let isUnderWay (task: ModelTask) =
    match task.where with
    | Running _ -> true
    | Queued
    | Suspected -> task.stage > 0
    | Waiting _
    | Publishing
    | Succeeding _
    | Quarantined -> false

let overtake name (model: Model) =
    let count = Map.tryFind name model.overtaken |> Option.defaultValue 0
    { model with overtaken = Map.add name (count + 1) model.overtaken }

let forgetOvertaken name (model: Model) = { model with overtaken = Map.remove name model.overtaken }

let mayFinish name (model: Model) =
    Map.tryFind name model.overtaken |> Option.exists (fun count -> count >= 2)

/// Whether a newer version waits for a task to end.
let isAwaited (task: ModelTask) (model: Model) =
    model.tasks.Values |> Seq.exists (fun other -> other.where = Succeeding task.id)

let delay events (task: ModelTask) (model: Model) =
    let delay =
        events
        |> List.pick (function
            | Event.Delayed(id, _, delay) when id = task.id -> Some delay
            | _ -> None)

    enter (Waiting(model.now + delay)) task model

let delayUnlessAwaited events task model =
    if isAwaited task model then
        finish task model
    else
        delay events task model

/// It failed for a reason of the scheduler's.
let fail events retry (task: ModelTask) (model: Model) =
    let task = { task with failures = task.failures + 1 }

    if isAwaited task model then
        finish task model
    elif not retry || task.failures >= model.settings.maxAttempts then
        enter Quarantined task model
    else
        delay events task model

let private remember (worker: ModelWorker) cause (task: ModelTask) = {
    task with
        troubles = (worker.name, cause) :: task.troubles
}

/// Its worker failed it.
let failBy (worker: ModelWorker) cause events retry (task: ModelTask) (model: Model) =
    let model = failedOn worker task cause model

    let isHeldBack =
        match Map.tryFind (worker.name, task.Given) model.conducts with
        | Some conduct -> conduct.isHeldBack
        | None -> false

    let isAgain (name, past) =
        name = worker.name && (past = Fault || past = Inability)

    let past = task.troubles |> List.filter isAgain |> List.length

    let cause =
        if cause = Inability && past >= 2 && not isHeldBack then
            Fault
        else
            cause

    let task = remember worker cause task

    if cause = Inability then
        delayUnlessAwaited events task model
    else
        fail events retry task model

let lose session (model: Model) =
    let worker = model.workers[session]
    let drained = worker.slots = 0
    let lost = held session model

    let giveBack model (task: ModelTask) =
        let task = if drained then task else remember worker Loss task
        let task = { task with losses = task.losses + (if drained then 0 else 1) }

        if isAwaited task model then finish task model
        elif task.losses >= 3 then enter Quarantined task model
        else enqueue toFront task model

    let model =
        if drained then
            model
        else
            lost
            |> List.distinctBy _.Given
            |> List.fold (fun model task -> failedOn worker task Loss model) model

    let model = lost |> List.rev |> List.fold giveBack model

    {
        model with
            workers = Map.remove session model.workers
            expected =
                if drained then
                    model.expected
                else
                    Map.add worker.name (worker, model.now) model.expected
    }

let heard session (model: Model) =
    match Map.tryFind session model.workers with
    | Some worker ->
        let worker = { worker with heard = model.now }
        { model with workers = Map.add session worker model.workers }
    | None -> model

let current (attempt: Attempt) (model: Model) =
    Map.tryFind attempt.task model.tasks
    |> Option.filter (fun task -> task.attempt = attempt.number)
