/// What the model of the scheduler knows, and the moves of a task that its rules are made of.
module FsScheduler.Machine.Tests.SchedulerModelState

open FsScheduler.Core
open FsScheduler.Machine

module Text = FsScheduler.Machine.Tests.SchedulerModelText

type Where =
    | Queued
    | Suspected
    | Running of SessionId
    /// It is looked for where it can be cut, or its submission is on its way.
    | Cutting
    /// Its pieces are tasks, or their parts are put together.
    | InPieces
    | Waiting of Instant
    | Publishing
    | Succeeding of TaskId
    | Quarantined

type ModelPieces = {
    cuts: Size list
    /// The stages of the whole that are run on them end before this index.
    last: int
    stages: string list
    /// What comes after those; none where the payload is the result of a stage.
    downstream: string list option
    parts: Map<int, Payload>
    /// How many parts, from the first, are gathered.
    gathered: int
    /// How long those took whose parts came since the start.
    durations: Duration list
} with

    member pieces.Count = pieces.cuts.Length
    member pieces.Missing = pieces.Count - pieces.parts.Count

    member pieces.SliceOf(payload, index) =
        let start = if index = 0 then 0L<B> else pieces.cuts[index - 1]
        Slice(payload, start, pieces.cuts[index] - start)

type ModelTask = {
    id: TaskId
    /// As it is held: of one that is left to the journal, next to nothing.
    submission: Submission
    /// The event that the journal has it at.
    home: int64
    stages: string list
    where: Where
    since: Instant
    /// Its place among the tasks of its queue, or of its worker.
    position: int
    attempt: int
    failures: int
    losses: int
    /// What went wrong, and the worker if it was one, the latest first.
    pastFailures: (string * Cause) list
    /// The workers that had failed it when it came into its queue.
    failedBy: Set<string>
    stage: int
    stageEnd: int
    /// The input of its next stage.
    payload: Payload
    /// Whether that is the result of a stage.
    isResult: bool
    /// Of a piece, as of the pieces of its whole.
    downstream: string list option
    pieces: ModelPieces option
} with

    member task.IsPiece = task.submission.Origin.IsPiece
    member task.IsBegun = task.attempt > 0 || not task.pastFailures.IsEmpty || task.IsPiece
    member task.Downstream = if task.isResult then None else task.downstream
    member task.StageName = task.stages[task.stage]
    member task.Rest = task.stages |> List.skip task.stage
    /// What it was given to its worker for.
    member task.Given = task.stages[task.stage .. task.stageEnd - 1]
    member task.Current = { task = task.id; number = task.attempt }

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

type ModelWaiter = { session: SessionId; ref: string; want: Want }

type ModelEnding = { attempts: int; isError: bool; result: Payload }

type ModelKey = {
    content: string
    task: TaskId
    want: Want
    /// The event that the journal has it at.
    number: int64
    /// Those who came with it after the submitter, in order.
    waiters: ModelWaiter list
    ending: ModelEnding option
}

/// What was carried, and may still be read.
type ModelDropping = { before: int64; at: Instant; reading: Attempt list }

type Model = {
    settings: Settings
    now: Instant
    lastTick: Instant
    lastId: TaskId
    tasks: Map<TaskId, ModelTask>
    workers: Map<SessionId, ModelWorker>
    /// Those that have a slot free, in the order in which they are served.
    idle: SessionId list
    /// The workers that are kept free for suspected tasks, or run them.
    reserved: Map<TaskId, SessionId>
    conducts: Map<string * string list, ModelConduct>
    /// Those that were lost a moment ago, by name.
    expected: Map<string, ModelWorker * Instant>
    tickedAt: Instant
    /// The newest version of each file.
    files: Map<string, TaskId>
    /// How many versions of a file in a row were begun and overtaken.
    overtaken: Map<string, int>
    keys: Map<string, ModelKey>
    /// Stages that tasks wait for and nobody offers: since when, and whether that was told.
    missing: Map<string, Instant * bool>
    dropping: ModelDropping option
    front: int
    back: int
    lastEvent: int64
    /// The events of the machine in this step from the next one on: how long a delay is, is its choice.
    oracle: Event list
    /// What happens in this step, and what is asked for, the latest first.
    happened: string list
    asked: string list
}

let initial settings = {
    settings = settings
    now = Instant.zero
    lastTick = Instant.zero
    lastId = 0L<taskId>
    tasks = Map.empty
    workers = Map.empty
    idle = []
    reserved = Map.empty
    conducts = Map.empty
    expected = Map.empty
    tickedAt = Instant.zero
    files = Map.empty
    overtaken = Map.empty
    keys = Map.empty
    missing = Map.empty
    dropping = None
    front = 0
    back = 0
    lastEvent = 0L
    oracle = []
    happened = []
    asked = []
}

// What comes of a step.

let pass (model: Model) = {
    model with
        lastEvent = model.lastEvent + 1L
        oracle = if model.oracle.IsEmpty then [] else List.tail model.oracle
}

let record line (model: Model) = { pass model with happened = line :: model.happened }

let ask line (model: Model) = { model with asked = line :: model.asked }

let discard payload (model: Model) =
    match payload with
    | Kept(Held(Spooled(path, _))) -> ask (Text.discard path) model
    | _ -> model

/// A payload that came with the latest event, or was carried by it, where the journal has it.
let kept payload (model: Model) =
    match payload with
    | Kept(Held(Bytes bytes)) when bytes.Length > 0 && model.settings.memory < Settings.unlimited ->
        Kept(Recorded(model.lastEvent, int64 bytes.Length * 1L<B>))
    | Kept(Recorded(_, size)) -> Kept(Recorded(model.lastEvent, size))
    | _ -> payload

// Where tasks are.

let held session (model: Model) =
    model.tasks.Values
    |> Seq.filter (fun task -> task.where = Running session)
    |> Seq.sortBy _.position
    |> List.ofSeq

let countHeld session (model: Model) =
    let mutable count = 0

    for KeyValue(_, task) in model.tasks do
        match task.where with
        | Running holder when holder = session -> count <- count + 1
        | _ -> ()

    count

/// Who becomes idle is the last to be served.
let settle session (model: Model) =
    let isIdle =
        match Map.tryFind session model.workers with
        | Some worker -> countHeld session model < worker.slots
        | None -> false

    match isIdle, List.contains session model.idle with
    | true, false -> { model with idle = model.idle @ [ session ] }
    | false, true -> { model with idle = List.except [ session ] model.idle }
    | _ -> model

let private settleHolders (wheres: Where list) model =
    let settleIf model where =
        match where with
        | Running session -> settle session model
        | _ -> model

    List.fold settleIf model wheres

/// A worker is kept for a task from when it is suspected until it has run.
let private unreserve before (task: ModelTask) (model: Model) =
    match before, task.where with
    | _, Running _
    | Suspected, Suspected -> model
    | _ -> { model with reserved = Map.remove task.id model.reserved }

let put (task: ModelTask) (model: Model) =
    let before =
        match Map.tryFind task.id model.tasks with
        | Some known -> known.where
        | None -> Queued

    let model = { model with tasks = Map.add task.id task model.tasks }

    if before = task.where then
        model
    else
        model |> unreserve before task |> settleHolders [ before; task.where ]

let remove (task: ModelTask) (model: Model) =
    {
        model with
            tasks = Map.remove task.id model.tasks
            reserved = Map.remove task.id model.reserved
    }
    |> settleHolders [ task.where ]

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

    let hasFailed (worker, cause) =
        worker <> ""
        && (cause = TaskError || cause = WorkerLost || cause = WorkerUnable)

    let failedBy = task.pastFailures |> List.filter hasFailed |> List.map fst |> set
    let task = { task with failedBy = failedBy }

    if task.losses >= 2 then
        enter Suspected task model
    else
        enter Queued task model

// Whom a task is told of.

let keyOf (task: ModelTask) (model: Model) =
    match task.submission.Origin with
    | Origin.Client(_, _, Some key) ->
        Map.tryFind key.text model.keys |> Option.map (fun known -> key.text, known)
    | _ -> None

let tell (task: TaskId) home (ending: ModelEnding) isKept (model: Model) (waiter: ModelWaiter) =
    if waiter.want = Result && not ending.isError then
        Text.tell waiter.session waiter.ref task ending.attempts false ending.result isKept
    elif obj.ReferenceEquals(waiter.ref, Submission.JournaledRef) then
        Text.tellRecalled waiter.session task ending.attempts ending.isError home
    else
        Text.tell waiter.session waiter.ref task ending.attempts ending.isError Text.nothing false
    |> fun line -> ask line model

/// All who wait for a task.
let tellAll (task: ModelTask) isError result isKept (model: Model) =
    let submitter =
        match task.submission.Origin with
        | Origin.Client(session, want, _) -> [
            { session = session; ref = task.submission.Ref; want = want }
          ]
        | Folder
        | Piece _ -> []

    let waiters =
        match keyOf task model with
        | Some(_, key) -> key.waiters
        | None -> []

    let ending = { attempts = task.attempt; isError = isError; result = result }
    List.fold (tell task.id task.home ending isKept) model (submitter @ waiters)

// Versions of files.

/// The version that waits for a task to end.
let successorOf (task: ModelTask) (model: Model) =
    model.tasks.Values
    |> Seq.tryFind (fun other -> other.where = Succeeding task.id)

let isAwaited task model = (successorOf task model).IsSome

/// Whether a version is worked on, and what was read of it is still good.
let isUnderWay (task: ModelTask) =
    match task.where with
    | Running _
    | Cutting
    | InPieces -> true
    | Queued
    | Suspected -> task.isResult
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

let current (attempt: Attempt) (model: Model) =
    Map.tryFind attempt.task model.tasks
    |> Option.filter (fun task -> task.attempt = attempt.number)
