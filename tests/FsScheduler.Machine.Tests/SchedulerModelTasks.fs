/// What becomes of tasks: they come to their next stage, fail and end.
module FsScheduler.Machine.Tests.SchedulerModelTasks

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Machine.Tests.SchedulerModelState
open FsScheduler.Machine.Tests.SchedulerModelWorkers
open FsScheduler.Machine.Tests.SchedulerModelPieces

module Text = FsScheduler.Machine.Tests.SchedulerModelText

// The end.

let private finish line isError result (task: ModelTask) (model: Model) : Model =
    let model = record line model
    let key = keyOf task model

    let keep (model: Model) =
        match key with
        | Some(text, key) ->
            let ending = { attempts = task.attempt; isError = isError; result = kept result model }

            let key = { key with ending = Some ending }
            { model with keys = Map.add text key model.keys }
        | None -> model

    let forgetFile (model: Model) =
        let name = task.submission.Name

        if Map.tryFind name model.files = Some task.id && task.submission.Origin = Folder then
            match task.where with
            | Succeeding older -> { model with files = Map.add name older model.files }
            | _ -> { model with files = Map.remove name model.files }
        else
            model

    let wakeSuccessor (model: Model) =
        match successorOf task model with
        | Some successor -> model |> record (Text.woken successor.id) |> enqueue toBack successor
        | None -> model

    let forgetWaiters (model: Model) =
        match keyOf task model with
        | Some(text, key) ->
            let key = { key with waiters = [] }
            { model with keys = Map.add text key model.keys }
        | None -> model

    /// Without a key, whoever is sent the result has it.
    let discardUnwanted (model: Model) =
        match task.submission.Origin with
        | _ when key.IsSome -> model
        | Origin.Client(_, Result, _) when not isError -> model
        | _ -> discard result model

    model
    |> keep
    |> forgetFile
    |> remove task
    |> discardAll (task.payload :: partsOf task)
    |> wakeSuccessor
    |> tellAll task isError result key.IsSome
    |> forgetWaiters
    |> discardUnwanted

let complete result isStored (task: ModelTask) (model: Model) =
    let model =
        match task.submission.Origin with
        | Folder -> forgetOvertaken task.submission.Name model
        | _ -> model

    let left =
        if isStored then "stored"
        elif (keyOf task model).IsSome then Text.keeps result
        else "nothing"

    finish (Text.completed task.Current left) false result task model

let rec cancel (task: ModelTask) (model: Model) : Model =
    let model =
        match task.where with
        | Running session -> ask (Text.revoke session task.Current) model
        | Cutting
        | InPieces -> cancelPieces task model
        | _ -> model

    finish (Text.cancelled task.id) true Text.nothing model.tasks[task.id] model

and private cancelPieces (whole: ModelTask) (model: Model) =
    let count =
        match whole.pieces with
        | Some pieces -> pieces.Count
        | None -> 0

    [ 0 .. count - 1 ]
    |> List.collect (fun index -> tasksOf whole.id index model)
    |> List.fold (fun model piece -> cancel piece model) (abandon whole model)

/// The task that is cancelled where this one is to be: a piece is nothing without its whole.
let wholeOf (task: ModelTask) (model: Model) =
    match task.submission.Origin with
    | Piece(whole, _) -> model.tasks[whole]
    | _ -> task

// What is done.

let private advance stage result (task: ModelTask) (model: Model) =
    let later = {
        task with
            stage = stage
            stageEnd = stage
            payload = result
            isResult = true
            pieces = None
    }

    model
    |> record (Text.advanced task.Current stage result)
    |> enqueue toBack later
    |> discardAll (task.payload :: partsOf task)

/// The first result of a piece is its part; whoever else does the same piece is not needed any more.
let private fill whole index result (piece: ModelTask) (model: Model) =
    let model = record (Text.part whole index result) model
    let pieces = model.tasks[whole].pieces.Value

    let pieces = {
        pieces with
            parts = Map.add index (kept result model) pieces.parts
            durations = (model.now - piece.since) :: pieces.durations
    }

    let model =
        model
        |> withPieces pieces model.tasks[whole]
        |> complete Text.nothing false piece

    tasksOf whole index model
    |> List.fold (fun model other -> cancel other model) model
    |> joinParts whole

let private publish result (task: ModelTask) (model: Model) : Model =
    match task.submission.Origin with
    | Piece(whole, index) -> fill whole index result task model
    | Origin.Client(_, (Result | Nothing), _) -> complete result false task model
    | Origin.Client(_, File, _)
    | Folder ->
        let isOlder =
            isAwaited task model
            || task.submission.Origin = Folder && mayFinish task.submission.Name model

        model
        |> record (Text.accepted task.Current result)
        |> enter Publishing { task with pieces = None }
        |> ask (Text.publish (if isOlder then ", the older" else "") task.Current result)
        |> discardAll (partsOf task)

let succeed result (task: ModelTask) (model: Model) =
    if task.stageEnd < task.stages.Length then
        advance task.stageEnd result task model
    else
        publish result task model

// What fails.

let private remember worker cause (task: ModelTask) = {
    task with
        pastFailures = (worker, cause) :: task.pastFailures
        failures = task.failures + (if cause = TaskError then 1 else 0)
        losses = task.losses + (if cause = WorkerLost then 1 else 0)
}

let private delay worker cause (task: ModelTask) (model: Model) =
    let delay =
        match List.tryHead model.oracle with
        | Some(Event.Delayed(_, _, delay)) -> delay
        | _ -> 0L<ms>

    model
    |> record (Text.failed "delayed" task.id worker cause)
    |> enter (Waiting(model.now + delay)) (remember worker cause task)

let requeue worker cause (task: ModelTask) (model: Model) =
    if isAwaited task model then
        cancel task model
    else
        model
        |> record (Text.failed "requeued" task.id worker cause)
        |> enqueue toFront (remember worker cause task)

let private quarantineOne worker cause (task: ModelTask) (model: Model) =
    if isAwaited task model then
        cancel task model
    else
        let model =
            model
            |> record (Text.failed "quarantined" task.id worker cause)
            |> enter Quarantined (remember worker cause task)

        let model =
            match task.submission.Origin with
            | Folder
            | Origin.Client(_, File, _) -> ask (Text.publishError task.id) model
            | _ -> model

        tellAll task true Text.nothing false model

/// With a piece that nobody else does, its whole is tried no more.
let private quarantine worker cause (task: ModelTask) (model: Model) =
    let model = quarantineOne worker cause task model

    match task.submission.Origin with
    | Piece(whole, index) ->
        let model = cancel model.tasks[task.id] model

        if (tasksOf whole index model).IsEmpty then
            let model = cancelPieces model.tasks[whole] model
            quarantineOne worker cause model.tasks[whole] model
        else
            model
    | _ -> model

/// It failed; the worker is that whose name is in `pastFailures`, none: the scheduler.
let fail worker cause retry (task: ModelTask) (model: Model) =
    if isAwaited task model then
        cancel task model
    elif
        cause = TaskError
        && (not retry || task.failures + 1 >= model.settings.maxAttempts)
    then
        quarantine worker cause task model
    else
        delay worker cause task model

/// Its worker failed it. One that cannot run this one, again and again, and does others, is not to blame.
let failBy (worker: ModelWorker) cause retry (task: ModelTask) (model: Model) =
    let model = failedOn worker task cause model

    let isHeldBack =
        match Map.tryFind (worker.name, task.Given) model.conducts with
        | Some conduct -> conduct.isHeldBack
        | None -> false

    let isAgain (name, past) =
        name = worker.name && (past = TaskError || past = WorkerUnable)

    let past = task.pastFailures |> List.filter isAgain |> List.length

    let cause =
        if cause = WorkerUnable && past >= 2 && not isHeldBack then
            TaskError
        else
            cause

    fail worker.name cause retry task model

let lose session (model: Model) =
    let worker = model.workers[session]
    let cause = if worker.slots = 0 then WorkerLeft else WorkerLost
    let lost = held session model

    let giveBack (model: Model) (task: ModelTask) =
        match Map.tryFind task.id model.tasks with
        // With a piece that is tried no more, the others of its whole have ended.
        | Some({ where = Running holder } as task) when holder = session ->
            if task.losses + (if cause = WorkerLost then 1 else 0) >= 3 then
                quarantine worker.name cause task model
            else
                requeue worker.name cause task model
        | _ -> model

    let model =
        if cause = WorkerLeft then
            model
        else
            lost
            |> List.distinctBy _.Given
            |> List.fold (fun model task -> failedOn worker task WorkerLost model) model

    let model =
        lost |> List.rev |> List.fold giveBack model |> record (Text.left session)

    {
        model with
            workers = Map.remove session model.workers
            reserved = Map.filter (fun _ kept -> kept <> session) model.reserved
            expected =
                if cause = WorkerLeft then
                    model.expected
                else
                    Map.add worker.name (worker, model.now) model.expected
    }
    |> settle session
