/// Who may be given what: workers that only fail are held back, and what waits between stages holds back what is new.
module FsScheduler.Machine.Tests.SchedulerModelWorkers

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Machine.Tests.SchedulerModelState

module Text = FsScheduler.Machine.Tests.SchedulerModelText

/// What a worker would be given of what is left of a task.
let given (worker: ModelWorker) (stages: string list) =
    stages |> List.takeWhile worker.can.Contains

let holdOf (worker: ModelWorker) stages (model: Model) =
    if model.conducts.IsEmpty then
        None
    else
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
        match current attempt model with
        | Some { where = Running _ } -> true
        | _ -> false

let private mayTry (worker: ModelWorker) stages (model: Model) =
    match holdOf worker stages model with
    | Some conduct -> conduct.isDue && not (isOnTrial conduct model)
    | None -> true

let private withConduct key conduct (model: Model) = {
    model with
        conducts = Map.add key conduct model.conducts
}

/// It counts as any other again.
let private forget (worker, stages) (model: Model) =
    match Map.tryFind (worker, stages) model.conducts with
    | Some conduct ->
        let model = { model with conducts = Map.remove (worker, stages) model.conducts }

        if conduct.isHeldBack then
            ask (Text.takenUp worker stages) model
        else
            model
    | None -> model

let private exonerate (id: TaskId) (model: Model) =
    let look (model: Model) (KeyValue(key, conduct)) =
        let failed = List.except [ id ] conduct.failed
        let inARow = failed.Length + conduct.unable

        if failed.Length = conduct.failed.Length then
            model
        elif inARow < (if conduct.isHeldBack then 3 else 1) then
            forget key model
        else
            withConduct key { conduct with failed = failed } model

    Seq.fold look model model.conducts

/// What a failure says of its worker.
let failedOn (worker: ModelWorker) (task: ModelTask) cause (model: Model) : Model =
    let isOfAnother (name, past) =
        name <> "" && name <> worker.name && (past = TaskError || past = WorkerLost)

    if cause <> WorkerUnable && List.exists isOfAnother task.pastFailures then
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
            if cause = WorkerUnable then
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
            let conduct = { conduct with isHeldBack = true; next = model.now + conduct.delay }
            model |> withConduct key conduct |> ask (Text.heldBack worker.name task.Given)
        else
            withConduct key conduct model

/// It has done these stages.
let succeededOn (worker: ModelWorker) (task: ModelTask) model =
    forget (worker.name, task.Given) model

/// It is given some stages: if it is held back for them, that is the trial.
let tried (worker: ModelWorker) (task: ModelTask) (model: Model) =
    match Map.tryFind (worker.name, task.Given) model.conducts with
    | Some conduct when conduct.isHeldBack && not (isOnTrial conduct model) ->
        let conduct = { conduct with isDue = false; trial = Some task.Current }
        withConduct (worker.name, task.Given) conduct model
    | _ -> model

/// Who is tried again from now on, and who is not expected back any more.
let lookAtTime (model: Model) =
    let due (conduct: ModelConduct) =
        if
            conduct.isHeldBack
            && not (isOnTrial conduct model)
            && model.now - conduct.next >= 0L<ms>
        then
            { conduct with isDue = true }
        else
            conduct

    {
        model with
            tickedAt = model.now
            expected =
                model.expected
                |> Map.filter (fun _ (_, since) -> model.now - since < model.settings.lostAfter)
            conducts = Map.map (fun _ conduct -> due conduct) model.conducts
    }

/// The stages before which enough waits.
let private fullStages (model: Model) : Set<string> =
    let waiting = [
        for KeyValue(_, task) in model.tasks do
            if task.isResult && task.where <> Quarantined then
                task.StageName, Payload.size task.payload
    ]

    waiting
    |> List.groupBy fst
    |> List.filter (fun (_, sizes) -> List.sumBy snd sizes >= model.settings.spoolBytes)
    |> List.map fst
    |> set

/// Whether what is new, and a worker would have to hand over, has a stage ahead before which enough waits.
let private isHeldBack (full: Set<string>) (worker: ModelWorker) (task: ModelTask) =
    match task.Downstream with
    | Some downstream when not full.IsEmpty ->
        (task.Rest.Tail |> List.skipWhile worker.can.Contains) @ downstream
        |> List.exists full.Contains
    | _ -> false

/// The task that a worker has to be given next.
let next (worker: ModelWorker) (model: Model) : ModelTask option =
    let able = [
        for KeyValue(_, task) in model.tasks do
            match task.where with
            | Queued when worker.can.Contains task.StageName -> task
            | _ -> ()
    ]

    let full = if able.IsEmpty then Set.empty else fullStages model

    let runnable =
        able
        |> List.filter (fun task ->
            mayTry worker task.Rest model && not (isHeldBack full worker task))

    // Left to a worker that has not failed it, for a while.
    let mayHave (task: ModelTask) =
        not (task.failedBy.Contains worker.name)
        || not (isAnotherAble task.Rest task.failedBy model)
        || model.tickedAt - task.since >= SchedulerLimits.agingAfter
           && (holdOf worker task.Rest model).IsNone

    let kind (task: ModelTask) =
        -task.submission.Priority, not task.IsBegun

    let heads key =
        runnable
        |> List.groupBy key
        |> List.map (fun (_, tasks) -> tasks |> List.minBy (fun task -> kind task, task.position))

    // A worker on trial is tried with what it has not failed.
    let isToldAlready (task: ModelTask) =
        task.failedBy.Contains worker.name && (holdOf worker task.Rest model).IsSome

    let queue (task: ModelTask) =
        task.Rest, task.Downstream, task.failedBy

    let first () =
        heads queue
        |> List.filter mayHave
        |> List.sortBy (fun task -> isToldAlready task, kind task, task.id)
        |> List.tryHead

    let aged () =
        heads (fun task -> queue task, kind task)
        |> List.groupBy queue
        |> List.map (fun (_, heads) ->
            heads |> List.minBy (fun task -> task.since, kind task, task.id))
        |> List.filter mayHave
        |> List.sortBy (fun task -> task.since, kind task, task.id)
        |> List.tryHead
        |> Option.filter (fun task -> model.now - task.since >= SchedulerLimits.agingAfter)

    if runnable.IsEmpty then
        None
    elif worker.turn = SchedulerLimits.agingTurns - 1 then
        aged () |> Option.orElseWith first
    else
        first ()

/// The worker that a suspected task is kept for, or is to be.
let reservedFor (task: ModelTask) (model: Model) : SessionId option =
    let isFree session =
        not (Seq.contains session model.reserved.Values)

    match Map.tryFind task.id model.reserved with
    | Some session when model.workers[session].slots > 0 -> Some session
    | _ ->
        model.workers
        |> Map.toList
        |> List.filter (fun (session, worker) ->
            worker.slots > 0 && worker.can.Contains task.StageName && isFree session)
        |> List.sortBy (fun (session, worker) ->
            (holdOf worker task.Rest model).IsSome,
            task.failedBy.Contains worker.name,
            (held session model).Length,
            session)
        |> List.tryHead
        |> Option.map fst

/// A worker that has just been heard.
let heard session (model: Model) =
    match Map.tryFind session model.workers with
    | Some worker ->
        let worker = { worker with heard = model.now }
        { model with workers = Map.add session worker model.workers }
    | None -> model

/// How many tasks a worker is given at once.
let withSlots session slots (model: Model) =
    let worker = { model.workers[session] with slots = slots }
    let model = { model with workers = Map.add session worker model.workers }

    let model =
        if slots = 0 && (held session model).IsEmpty then
            {
                model with
                    reserved = Map.filter (fun _ kept -> kept <> session) model.reserved
            }
        else
            model

    settle session model
