/// The scheduler's rules once more: immutable, slow and plain. It takes two things from the machine,
/// because any choice is right there: which worker is served next, and how long a delay is.
module FsScheduler.Core.Tests.SchedulerModel

open FsScheduler.Core
open FsScheduler.Core.Tests.SchedulerModelState

let private succeed (task: ModelTask) (model: Model) =
    if task.stageEnd < task.stages.Length then
        enqueue toBack { task with stage = task.stageEnd } model
    else
        match task.submission.Origin with
        | Origin.Client(_, (Result | Nothing), _) -> finish task model
        | Piece _ -> invalidOp "nothing is split here"
        | Origin.Client(_, File, _)
        | Folder -> enter Publishing task model

let private submit (submission: Submission) (text: string) (model: Model) : Model =
    let id = model.lastId + 1L<taskId>

    let task = {
        id = id
        submission = submission
        stages =
            if text = "" then
                [ "a" ]
            else
                [ for part in text.Split '|' -> part.Trim() ]
        where = Queued
        since = model.now
        position = 0
        attempt = 0
        failures = 0
        losses = 0
        troubles = []
        failedBy = Set.empty
        stage = 0
        stageEnd = 0
    }

    let name = submission.Name

    let newest (model: Model) =
        Map.tryFind name model.files |> Option.map (fun id -> model.tasks[id])

    match submission.Origin with
    | Piece _ -> invalidOp "nothing is split here"
    | Origin.Client(_, _, Some key) when model.keys.ContainsKey key.text -> model
    | Origin.Client(_, _, key) ->
        let keys =
            match key with
            | Some key -> Map.add key.text id model.keys
            | None -> model.keys

        enqueue toBack task { model with lastId = id; keys = keys }
    | Folder ->
        let model = { model with lastId = id }

        let model =
            match newest model with
            | Some { where = Publishing } -> model
            | Some older when isUnderWay older && mayFinish name model -> model
            | Some older when isUnderWay older -> finish older (overtake name model)
            | Some older -> finish older model
            | None -> model

        let model =
            match newest model with
            | Some older -> enter (Succeeding older.id) task model
            | None -> enqueue toBack task model

        { model with files = Map.add name id model.files }

let private tick events (model: Model) =
    let slept = model.now - model.lastTick
    let isAsleep = slept > model.settings.lostAfter / 2L

    let later since =
        if isAsleep then min model.now (since + slept) else since

    let model = {
        model with
            lastTick = model.now
            workers = model.workers |> Map.map (fun _ w -> { w with heard = later w.heard })
            tasks =
                model.tasks
                |> Map.map (fun _ task ->
                    match task.where with
                    | Running _ -> { task with since = later task.since }
                    | _ -> task)
    }

    let look (model: Model) (KeyValue(session, worker)) =
        if model.now - worker.heard > model.settings.lostAfter then
            lose session model
        else
            held session model
            |> List.filter (fun task -> model.now - task.since > model.settings.taskTimeout)
            |> List.fold (fun model task -> failBy worker Fault events true task model) model

    let model = model.workers |> Seq.fold look model

    let woken =
        model.tasks.Values
        |> Seq.choose (fun task ->
            match task.where with
            | Waiting until when until <= model.now -> Some((until, task.id), task)
            | _ -> None)
        |> Seq.sortBy fst
        |> Seq.fold (fun model (_, task) -> enqueue toBack task model) model

    let due (conduct: ModelConduct) =
        if
            conduct.isHeldBack
            && not (isOnTrial conduct woken)
            && woken.now - conduct.next >= 0L<ms>
        then
            { conduct with isDue = true }
        else
            conduct

    {
        woken with
            tickedAt = woken.now
            expected =
                woken.expected
                |> Map.filter (fun _ (_, since) -> woken.now - since < woken.settings.lostAfter)
            conducts = Map.map (fun _ conduct -> due conduct) woken.conducts
    }

let rec private vanish name (model: Model) =
    match Map.tryFind name model.files with
    | Some id when model.tasks[id].where <> Publishing -> vanish name (finish model.tasks[id] model)
    | _ -> model

/// Everything but the assignments.
let private take input events (model: Model) =
    let unlessPublishing change (task: ModelTask) model =
        if task.where = Publishing then model else change task model

    let onTask id change =
        match Map.tryFind id model.tasks with
        | Some task -> change task model
        | None -> model

    match input with
    | Input.Submit(submission, text) -> submit submission text model
    | Input.Cancel(id, _) -> onTask id (unlessPublishing finish)
    | Input.Retry(id, _) ->
        onTask id (fun task model ->
            if task.where = Quarantined then
                enqueue toBack { task with failures = 0; losses = 0 } model
            else
                model)
    | Input.Ask _ -> model
    | Input.Join(session, name, stages) ->
        let worker = {
            name = name
            can = set stages
            slots = 0
            heard = model.now
            turn = 0
            isDismissed = false
            isAbsent = false
        }

        { model with workers = Map.add session worker model.workers }
    | Input.Ready(session, slots) ->
        let worker = model.workers[session]
        let slots = if worker.isDismissed then 0 else slots
        let worker = { worker with slots = slots; heard = model.now }
        { model with workers = Map.add session worker model.workers }
    | Input.Heard session -> heard session model
    | Input.Leave session -> lose session model
    | Input.Report(session, attempt, outcome, _) ->
        let model = heard session model

        match current attempt model, outcome with
        | Some task, Succeeded when task.where = Running session ->
            model |> succeededOn model.workers[session] task |> succeed task
        | Some task, Failed(_, retry) when task.where = Running session ->
            failBy model.workers[session] Fault events retry task model
        | Some task, Unable _ when task.where = Running session ->
            failBy model.workers[session] Inability events true task model
        | _ -> model
    | Input.Published(attempt, _) ->
        match current attempt model with
        | Some task when task.where = Publishing ->
            match task.submission.Origin with
            | Folder -> finish task (forgetOvertaken task.submission.Name model)
            | _ -> finish task model
        | _ -> model
    | Input.Unpublished(attempt, _) ->
        match current attempt model with
        | Some task when task.where = Publishing -> fail events true task model
        | _ -> model
    | Input.Withdraw attempt ->
        match current attempt model with
        | Some({ where = Running _ } as task) -> finish task model
        | _ -> model
    | Input.Outdated attempt ->
        match current attempt model with
        | Some({ where = Publishing } as task) ->
            match task.submission.Origin with
            | Folder -> finish task (overtake task.submission.Name model)
            | _ -> finish task model
        | _ -> model
    | Input.Vanish name -> vanish name (forgetOvertaken name model)
    | Input.Unreadable(attempt, _) ->
        match current attempt model with
        | Some({ where = Running _ } as task) -> fail events true task model
        | _ -> model
    | Input.OutOfSight(attempt, _) ->
        match current attempt model with
        | Some({ where = Running _ } as task) -> delay events task model
        | _ -> model
    | Input.Claim(session, holding) ->
        holding
        |> Array.fold
            (fun model attempt ->
                match current attempt model with
                | Some({ where = Running other } as task) when
                    model.workers[other].isAbsent
                    && model.workers[other].name = model.workers[session].name
                    && task.stages[task.stage .. task.stageEnd - 1]
                       |> List.forall model.workers[session].can.Contains
                    ->
                    let task, model = toBack task model
                    enter (Running session) task model
                | _ -> model)
            model
    | Input.Unstored(session, attempt, _) ->
        let model = heard session model

        match current attempt model with
        | Some task when task.where = Running session -> delayUnlessAwaited events task model
        | _ -> model
    | Input.Recalled _
    | Input.Cut _
    | Input.Joined _
    | Input.Unjoined _
    | Input.NoRoom _ -> model
    // No history has them.
    | Input.RetryWith _
    | Input.RetryAllWith _ -> model
    | Input.RetryAll _ ->
        model.tasks.Values
        |> Seq.filter (fun task -> task.where = Quarantined)
        |> Seq.fold
            (fun model task -> enqueue toBack { task with failures = 0; losses = 0 } model)
            model
    | Input.Drain(name, _) ->
        let dismiss session (worker: ModelWorker) =
            if string session = name && not worker.isAbsent then
                { worker with slots = 0; isDismissed = true }
            else
                worker

        { model with workers = Map.map dismiss model.workers }
    // See `remember`.
    | Input.Note _
    | Input.Retain _ -> model
    | Input.Tick -> tick events model

/// Whether a new task, which a worker would have to hand over, has a stage ahead for which enough waits.
/// Every result has 10 bytes.
let private isHeldBack (worker: ModelWorker) (task: ModelTask) (model: Model) =
    let isFull stage =
        let waiting =
            model.tasks.Values
            |> Seq.filter (fun task ->
                task.stage > 0 && task.StageName = stage && task.where <> Quarantined)
            |> Seq.length

        10L<B> * int64 waiting >= model.settings.spoolBytes

    task.stage = 0
    && task.Rest.Tail |> List.skipWhile worker.can.Contains |> List.exists isFull

/// The task that a worker has to be given next.
let private next (worker: ModelWorker) (model: Model) =
    let runnable =
        model.tasks.Values
        |> Seq.filter (fun task -> task.where = Queued && worker.can.Contains task.StageName)
        |> Seq.filter (fun task -> not (isHeldBack worker task model))
        |> Seq.filter (fun task -> mayTry worker task.Rest model)
        |> List.ofSeq

    // Left to a worker that has not failed it, for a while.
    let mayHave (task: ModelTask) =
        not (task.failedBy.Contains worker.name)
        || not (isAnotherAble task.Rest task.failedBy model)
        || model.tickedAt - task.since >= Limits.agingAfter
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

    let first =
        heads (fun task -> task.Rest, task.stage = 0, task.failedBy)
        |> List.filter mayHave
        |> List.sortBy (fun task -> isToldAlready task, kind task, task.id)
        |> List.tryHead

    let aged =
        heads (fun task -> task.Rest, task.stage = 0, task.failedBy, kind task)
        |> List.groupBy (fun task -> task.Rest, task.stage = 0, task.failedBy)
        |> List.map (fun (_, heads) ->
            heads |> List.minBy (fun task -> task.since, kind task, task.id))
        |> List.filter mayHave
        |> List.sortBy (fun task -> task.since, kind task, task.id)
        |> List.tryHead
        |> Option.filter (fun task -> model.now - task.since >= Limits.agingAfter)

    if worker.turn = Limits.agingTurns - 1 then
        Option.orElse first aged
    else
        first

/// Follows an assignment of the machine; fails where it is not the one that had to be made.
let private assign (model: Model) (attempt: Attempt, session, struct (first, last)) =
    let worker = model.workers[session]
    let task = model.tasks[attempt.task]
    let holds = List.length (held session model)

    if holds >= worker.slots then
        failwith $"worker {session} holds {holds} of {worker.slots}"

    let model =
        if task.where = Suspected then
            if holds > 0 then
                failwith $"the suspected task {task.id} is not alone"

            model
        else
            let expected = next worker model |> Option.map _.id

            if expected <> Some task.id then
                failwith $"worker {session} got {task.id} and not {expected}"

            let worker = { worker with turn = (worker.turn + 1) % Limits.agingTurns }
            { model with workers = Map.add session worker model.workers }

    let can = task.stages |> List.skip task.stage |> List.takeWhile worker.can.Contains

    if
        attempt.number <> task.attempt + 1
        || first <> task.stage
        || last <> first + can.Length
    then
        failwith $"%A{attempt} runs {first} to {last}"

    let task = { task with attempt = attempt.number; stageEnd = last }

    let model =
        match Map.tryFind (worker.name, task.Given) model.conducts with
        | Some conduct when conduct.isHeldBack && not (isOnTrial conduct model) ->
            let conduct = { conduct with isDue = false; trial = Some attempt }

            {
                model with
                    conducts = Map.add (worker.name, task.Given) conduct model.conducts
            }
        | _ -> model

    let task, model = toBack task model
    enter (Running session) task model

let step (model: Model) input now (events: Event list) : Model =
    let assigned =
        events
        |> List.choose (function
            | Event.Assigned(attempt, session, stages) -> Some(attempt, session, stages)
            | _ -> None)

    take input events { model with now = now }
    |> fun model -> List.fold assign model assigned

/// The scheduler is started again: whoever had work is expected back, and what was being published is run again,
/// unless its result has been found.
let restart now (found: Set<TaskId>) (model: Model) : Model =
    let model = { model with now = now; lastTick = now }

    let workers =
        model.workers
        |> Map.filter (fun session _ -> held session model <> [])
        |> Map.map (fun _ worker -> {
            worker with
                slots = 0
                heard = now
                turn = 0
                isAbsent = true
        })

    let tasks =
        model.tasks
        |> Map.map (fun _ task ->
            match task.where with
            | Running _ -> { task with since = now }
            | _ -> task)

    let again model (task: ModelTask) =
        if isAwaited task model then
            finish task model
        else
            enqueue toFront task model

    tasks.Values
    |> Seq.filter (fun task -> task.where = Publishing && not (found.Contains task.id))
    |> Seq.rev
    |> Seq.fold again {
        model with
            workers = workers
            tasks = tasks
            overtaken = Map.empty
            conducts = Map.empty
            expected =
                model.workers
                |> Map.toList
                |> List.filter (fun (session, _) -> held session model = [])
                |> List.map (fun (_, worker) -> worker.name, (worker, now))
                |> Map.ofList
            tickedAt = Instant.zero
    }

/// As `TaskView.all` shows the machine.
let view (model: Model) : TaskView[] = [|
    for task in model.tasks.Values do
        {
            id = task.id
            name = task.submission.Name
            state =
                match task.where with
                | Queued -> "queued"
                | Suspected -> "suspected"
                | Running _ -> "running"
                | Waiting _ -> "waiting"
                | Publishing -> "publishing"
                | Succeeding _ -> "succeeding"
                | Quarantined -> "quarantined"
            attempt = task.attempt
            failures = task.failures
            losses = task.losses
            stage = task.stage
            worker =
                match task.where with
                | Running session -> ValueSome session
                | _ -> ValueNone
        }
|]

/// Where the journal has the keys, and which of them it has dropped.
let remember (events: Event list) (model: Model) : Model =
    let at key model = { model with homes = Map.add key model.lastEvent model.homes }

    let follow (model: Model) event =
        let model = { model with lastEvent = model.lastEvent + 1L }

        match event with
        | Event.Submitted(_, submission, _)
        | Event.Carried(Carried.Task { submission = submission }) ->
            match submission.Origin with
            | Origin.Client(_, _, Some key) -> at key.text model
            | _ -> model
        | Event.Carried(Carried.Key carried) -> at carried.key.text model
        | Event.Dropped(before, _) ->
            let isKept key id =
                model.tasks.ContainsKey id || model.homes[key] >= before

            { model with keys = Map.filter isKept model.keys }
        | _ -> model

    List.fold follow model events
