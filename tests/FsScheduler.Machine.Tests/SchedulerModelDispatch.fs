/// Who runs what, and what follows from time alone.
module FsScheduler.Machine.Tests.SchedulerModelDispatch

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Machine.Tests.SchedulerModelState
open FsScheduler.Machine.Tests.SchedulerModelWorkers
open FsScheduler.Machine.Tests.SchedulerModelPieces
open FsScheduler.Machine.Tests.SchedulerModelTasks

module Text = FsScheduler.Machine.Tests.SchedulerModelText

// Who runs what.

/// Sends an attempt to its worker, once its submission is at hand.
let send session (task: ModelTask) =
    let piece =
        match task.submission.Origin with
        | Piece(_, index) -> Some index
        | _ -> None

    Text.assign session task.Current task.Given piece task.submission.Name task.payload
    |> ask

let private give session (task: ModelTask) (model: Model) : Model =
    let worker = model.workers[session]
    let holds = countHeld session model

    if holds >= worker.slots then
        failwith $"worker {session} holds {holds} of {worker.slots}"

    let parts = partsOf task

    let task = {
        task with
            attempt = task.attempt + 1
            stageEnd = task.stage + (given worker task.Rest).Length
            pieces = None
    }

    let model =
        model
        |> record (Text.assigned task.Current session task.stage task.stageEnd)
        |> tried worker task

    let task, model = toBack task model
    let model = enter (Running session) task model
    let model = List.fold (fun model part -> discard part model) model parts

    if task.submission.IsJournaled then
        ask (Text.recall task.Current task.home) model
    else
        send session task model

/// The suspected tasks, each by a worker that has nothing else.
let serveSuspects (model: Model) : Model =
    let serve (model: Model) (task: ModelTask) =
        match reservedFor task model with
        | Some session ->
            let model = { model with reserved = Map.add task.id session model.reserved }

            if countHeld session model = 0 then
                give session task model
            else
                model
        | None -> { model with reserved = Map.remove task.id model.reserved }

    model.tasks.Values
    |> Seq.filter (fun task -> task.where = Suspected)
    |> Seq.sortBy _.position
    |> Seq.fold serve model

/// The idle workers in turn, until no one of them can be given anything.
let rec serveIdle (model: Model) : Model =
    let isKept session =
        Seq.contains session model.reserved.Values

    let tryServe session =
        if isKept session then
            None
        else
            next model.workers[session] model |> Option.map (fun task -> session, task)

    if Map.exists (fun _ task -> task.where = Queued) model.tasks then
        match List.tryPick tryServe model.idle with
        | Some(session, task) ->
            let index = List.findIndex ((=) session) model.idle
            let passed, others = List.splitAt (index + 1) model.idle
            let worker = model.workers[session]
            let worker = { worker with turn = (worker.turn + 1) % SchedulerLimits.agingTurns }

            let model = {
                model with
                    idle = others @ passed
                    workers = Map.add session worker model.workers
            }

            if isToBeCut task model then
                serveIdle (startCutting task model)
            else
                serveIdle (give session task model)
        | None -> model
    else
        model

// What follows from time alone.

let forgive (model: Model) : Model =
    let slept = model.now - model.lastTick
    let isAsleep = slept > model.settings.lostAfter / 2L

    let later since =
        if isAsleep then min model.now (since + slept) else since

    {
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

let lookAtWorkers (model: Model) : Model =
    let rec giveUpLate session (model: Model) =
        match held session model with
        | task :: _ when model.now - task.since > model.settings.taskTimeout ->
            model
            |> ask (Text.revoke session task.Current)
            |> failBy model.workers[session] TaskError true task
            |> giveUpLate session
        | _ -> model

    let look (model: Model) (KeyValue(session, worker: ModelWorker)) =
        if model.now - worker.heard > model.settings.lostAfter then
            model |> lose session |> ask (Text.disconnect session)
        else
            giveUpLate session model

    Seq.fold look model model.workers

let wake (model: Model) : Model =
    model.tasks.Values
    |> Seq.choose (fun task ->
        match task.where with
        | Waiting until when until <= model.now -> Some((until, task.id), task)
        | _ -> None)
    |> Seq.sortBy fst
    |> Seq.fold
        (fun model (_, task) -> model |> record (Text.woken task.id) |> enqueue toBack task)
        model

/// When at most half of the pieces are left, what takes much longer than the median is given to a second worker.
let helpStragglers (model: Model) : Model =
    let help whole index (model: Model) =
        match tasksOf whole index model with
        | [ { where = Running slow } as piece ] ->
            let durations = List.sort model.tasks[whole].pieces.Value.durations
            let median = durations[durations.Length / 2]
            let limit = 1L<ms> * int64 (float median * model.settings.speculate)

            let isHelper session =
                let worker = model.workers[session]

                session <> slow
                && not (Seq.contains session model.reserved.Values)
                && worker.can.Contains piece.stages.Head
                && (holdOf worker piece.stages model).IsNone

            match List.tryFind isHelper model.idle with
            | Some helper when model.now - piece.since >= max 1_000L<ms> limit ->
                let model =
                    model
                    |> record (Text.speculated whole index piece.id)
                    |> submitPiece piece.submission whole index

                give helper model.tasks[model.lastId] model
            | _ -> model
        | _ -> model

    let look (model: Model) (whole: ModelTask) =
        match whole.pieces with
        | Some pieces when
            (whole.where = Cutting || whole.where = InPieces)
            && pieces.Missing > 0
            && 2 * pieces.Missing <= pieces.Count
            && not pieces.durations.IsEmpty
            ->
            List.fold (fun model index -> help whole.id index model) model [ 0 .. pieces.Count - 1 ]
        | _ -> model

    if model.settings.speculate > 0.0 then
        Seq.fold look model model.tasks.Values
    else
        model

/// Of a stage that nobody offers for long somebody is told once.
let lookForMissing (model: Model) : Model =
    let isOffered stage =
        model.workers.Values
        |> Seq.exists (fun worker -> not worker.isDismissed && worker.can.Contains stage)

    let waiting =
        model.tasks.Values
        |> Seq.filter (fun task -> task.where = Queued || task.where = Suspected)
        |> Seq.countBy _.StageName
        |> Seq.filter (fun (stage, _) -> not (isOffered stage))
        |> Map.ofSeq

    let look (model: Model) (KeyValue(stage, count)) =
        let entry, model =
            match Map.tryFind stage model.missing with
            | Some(since, false) when model.now - since >= model.settings.lostAfter ->
                (since, true), ask (Text.missing stage count) model
            | Some entry -> entry, model
            | None -> (model.now, false), model

        { model with missing = Map.add stage entry model.missing }

    let isStill stage _ = waiting.ContainsKey stage
    let model = { model with missing = Map.filter isStill model.missing }
    Seq.fold look model waiting
