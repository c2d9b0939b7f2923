/// The scheduler's rules once more: immutable, slow and plain. What happens and what is asked for is the model's own; it takes
/// from the machine how long a delay is, which is left to chance, and what is carried of old events.
module FsScheduler.Machine.Tests.SchedulerModel

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Machine.Tests.SchedulerModelState
open FsScheduler.Machine.Tests.SchedulerModelWorkers
open FsScheduler.Machine.Tests.SchedulerModelPieces
open FsScheduler.Machine.Tests.SchedulerModelTasks
open FsScheduler.Machine.Tests.SchedulerModelDispatch
open FsScheduler.Machine.Tests.SchedulerModelJournal

module Text = FsScheduler.Machine.Tests.SchedulerModelText

// What is submitted.

let private submitFile (submission: Submission) stages (model: Model) : Model =
    let name = submission.Name

    let newest (model: Model) =
        Map.tryFind name model.files |> Option.map (fun id -> model.tasks[id])

    let model =
        match newest model with
        | Some { where = Publishing } -> model
        | Some older when isUnderWay older && mayFinish name model -> model
        | Some older when isUnderWay older -> cancel older (overtake name model)
        | Some older -> cancel older model
        | None -> model

    let task, model = add (model.lastId + 1L<taskId>) submission stages model

    let model =
        match newest model with
        | Some older -> enter (Succeeding older.id) task model
        | None -> enqueue toBack task model

    { model with files = Map.add name task.id model.files }

/// A key that was used: the task is the one of that time, and whoever comes late is told how it ended.
let private joinKey
    (submission: Submission)
    session
    (want: Want)
    (key: Key)
    (known: ModelKey)
    (model: Model)
    =
    if known.content <> key.content || known.want.IsFile <> want.IsFile then
        model
        |> discard submission.Payload
        |> ask (Text.reject session submission.Ref RejectionCode.BadKey)
    else
        let waiter = { session = session; ref = submission.Ref; want = want }

        let model =
            model
            |> discard submission.Payload
            |> ask (Text.accept session submission.Ref known.task)

        match known.ending, Map.tryFind known.task model.tasks with
        | Some ending, _ -> tell known.task 0L ending true model waiter
        | None, task ->
            let known = { known with waiters = known.waiters @ [ waiter ] }
            let model = { model with keys = Map.add key.text known model.keys }

            match task with
            | Some({ where = Quarantined } as task) ->
                let ending = { attempts = task.attempt; isError = true; result = Text.nothing }

                tell task.id task.home ending false model waiter
            | _ -> model

let private submit (submission: Submission) (text: string) (model: Model) : Model =
    let stages =
        if text = "" then
            List.ofArray model.settings.pipeline.wire
        else
            [ for part in text.Split '|' -> part.Trim() ]

    match submission.Origin with
    | Piece _ -> invalidOp "a piece is submitted by the task that it is a piece of"
    | Folder -> submitFile submission stages model
    | Origin.Client(session, want, key) ->
        match key |> Option.bind (fun key -> Map.tryFind key.text model.keys) with
        | Some known -> joinKey submission session want key.Value known model
        | None ->
            let task, model = add (model.lastId + 1L<taskId>) submission stages model
            let model = enqueue toBack task model

            let keys =
                match key with
                | Some key ->
                    let entry = {
                        content = key.content
                        task = task.id
                        want = want
                        number = model.lastEvent
                        waiters = []
                        ending = None
                    }

                    Map.add key.text entry model.keys
                | None -> model.keys

            { model with keys = keys } |> ask (Text.accept session submission.Ref task.id)

// Inputs.

let private tick (model: Model) : Model =
    model
    |> forgive
    |> lookAtWorkers
    |> wake
    |> lookAtTime
    |> helpStragglers
    |> lookForMissing
    |> dropUnread

let rec private vanish name (model: Model) =
    match Map.tryFind name model.files with
    | Some id when model.tasks[id].where <> Publishing -> vanish name (cancel model.tasks[id] model)
    | _ -> model

let private retry (task: ModelTask) (model: Model) =
    let areAllThere =
        match task.pieces with
        | Some pieces -> pieces.Missing = 0
        | None -> false

    let parts = if areAllThere then partsOf task else []
    let pieces = if areAllThere then None else task.pieces

    model
    |> record (Text.retried task.id)
    |> enqueue toBack { task with failures = 0; losses = 0; pieces = pieces }
    |> fun model -> List.fold (fun model part -> discard part model) model parts

let private claim session (holding: Attempt[]) (model: Model) =
    let worker = model.workers[session]

    let mayKeep attempt =
        match current attempt model with
        | Some({ where = Running other } as task) ->
            let absent = model.workers[other]

            absent.isAbsent
            && absent.name = worker.name
            && List.forall worker.can.Contains task.Given
        | _ -> false

    let keep (model: Model) (attempt: Attempt) =
        let model = record (Text.claimed attempt session) model
        let task, model = toBack model.tasks[attempt.task] model
        let isKept = model.reserved.ContainsKey task.id
        let model = enter (Running session) task model

        if isKept then
            { model with reserved = Map.add task.id session model.reserved }
        else
            model

    let kept = Array.distinct holding |> Array.filter mayKeep
    kept |> Array.fold keep model |> ask (Text.welcome session kept)

let private drain name by (model: Model) =
    let dismiss (model: Model) session =
        let worker = { model.workers[session] with isDismissed = true }

        { model with workers = Map.add session worker model.workers }
        |> withSlots session 0
        |> ask (Text.dismiss session)

    let named =
        model.workers
        |> Map.filter (fun session worker ->
            not worker.isAbsent && (worker.name = name || string session = name))

    if named.IsEmpty then
        ask (Text.error by) model
    else
        Seq.fold dismiss model named.Keys

let private report session attempt outcome result (model: Model) =
    match current attempt model, outcome with
    | Some({ where = Running holder } as task), outcome when holder = session ->
        let worker = model.workers[session]

        match outcome with
        | Succeeded -> model |> succeededOn worker task |> succeed result task
        | Failed(_, retry) -> model |> discard result |> failBy worker TaskError retry task
        | Unable _ -> model |> discard result |> failBy worker WorkerUnable true task
    | _ -> discard result model

let private join session name stages (model: Model) =
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
    |> record (Text.joined session)

let private recalled attempt (submission: Submission) (model: Model) =
    match current attempt model with
    | Some task when task.submission.IsJournaled ->
        let payload = if task.isResult then task.payload else submission.Payload
        let task = { task with submission = submission; payload = payload }

        match task.where with
        | Running session -> model |> put task |> send session task
        | Cutting
        | InPieces -> model |> put task |> goOnCutting task
        | _ -> model
    | _ -> model

let private areJoined (task: ModelTask) =
    task.where = InPieces && task.pieces.Value.Missing = 0

/// Everything but who runs what.
let private take input (model: Model) : Model =
    let onTask (id: TaskId) by isThere change =
        match Map.tryFind id model.tasks with
        | Some task when isThere task.where -> change task model
        | _ -> ask (Text.error by) model

    let ofAttempt attempt isThere change orElse =
        match current attempt model with
        | Some task when isThere task -> change task model
        | _ -> orElse model

    let isPublishing (task: ModelTask) = task.where = Publishing

    let isRead (task: ModelTask) =
        match task.where with
        | Running _
        | Cutting
        | InPieces -> true
        | _ -> false

    match input with
    | Input.Submit(submission, text) -> submit submission text model
    | Input.SubmitFile(submission, pipeline) ->
        submitFile submission (List.ofArray pipeline.wire) model
    | Input.Cancel(id, by) ->
        onTask id by ((<>) Publishing) (fun task model -> cancel (wholeOf task model) model)
    | Input.Retry(id, by) -> onTask id by ((=) Quarantined) retry
    | Input.RetryAll by ->
        let quarantined =
            model.tasks.Values |> Seq.filter (fun task -> task.where = Quarantined)

        if Seq.isEmpty quarantined then
            ask (Text.error by) model
        else
            Seq.fold (fun model task -> retry task model) model quarantined
    | Input.Join(session, name, stages) -> join session name stages model
    | Input.Claim(session, holding) -> claim session holding model
    | Input.Ready(session, slots) ->
        let slots = if model.workers[session].isDismissed then 0 else slots
        model |> heard session |> withSlots session slots
    | Input.Heard session -> heard session model
    | Input.Leave session -> lose session model
    | Input.Drain(name, by) -> drain name by model
    | Input.Report(session, attempt, outcome, result) ->
        model |> heard session |> report session attempt outcome (Kept(Held result))
    | Input.Unstored(session, attempt, _) ->
        let isHeld (task: ModelTask) = task.where = Running session

        let fail task model =
            fail model.workers[session].name StorageError true task (heard session model)

        ofAttempt attempt isHeld fail (heard session)
    | Input.SubmissionLoaded(attempt, submission) -> recalled attempt submission model
    | Input.Published(attempt, _) -> ofAttempt attempt isPublishing (complete Text.nothing true) id
    | Input.Unpublished(attempt, _) -> ofAttempt attempt isPublishing (fail "" TaskError true) id
    | Input.FileChanged attempt ->
        ofAttempt attempt isRead (fun task model -> cancel (wholeOf task model) model) id
    | Input.Outdated attempt ->
        let end' (task: ModelTask) model =
            match task.submission.Origin with
            | Folder -> cancel task (overtake task.submission.Name model)
            | _ -> cancel task model

        ofAttempt attempt isPublishing end' id
    | Input.FileDeleted name ->
        model |> record (Text.gone name) |> forgetOvertaken name |> vanish name
    | Input.Unreadable(attempt, _) -> ofAttempt attempt isRead (fail "" TaskError true) id
    | Input.OutOfSight(attempt, _) -> ofAttempt attempt isRead (fail "" StorageError true) id
    | Input.Cut(attempt, cuts) ->
        let isToBeCut (task: ModelTask) =
            task.where = Cutting && task.pieces.IsNone

        ofAttempt attempt isToBeCut (wasCut cuts) id
    | Input.PartsMerged(attempt, result) ->
        let result = Kept(Held result)
        ofAttempt attempt areJoined (succeed result) (discard result)
    | Input.MergeFailed(attempt, _) -> ofAttempt attempt areJoined (fail "" TaskError true) id
    | Input.NoRoom(attempt, _) -> ofAttempt attempt areJoined (fail "" StorageError true) id
    | Input.Note notes -> Array.fold (fun model _ -> record Text.noted model) model notes
    | Input.Retain _ -> follow model
    | Input.Tick -> tick model
    // No history has them.
    | Input.Ask _
    | Input.RetryWith _
    | Input.RetryAllWith _ -> model

let step (model: Model) input now (events: Event list) : Model =
    model |> start now events |> take input |> serveSuspects |> serveIdle

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
                | Cutting
                | InPieces -> "split"
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
