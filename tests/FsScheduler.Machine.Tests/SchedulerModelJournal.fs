/// What is carried of old events, and what a restart makes of those that are there.
module FsScheduler.Machine.Tests.SchedulerModelJournal

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Machine.Tests.SchedulerModelState
open FsScheduler.Machine.Tests.SchedulerModelPieces
open FsScheduler.Machine.Tests.SchedulerModelTasks

module Text = FsScheduler.Machine.Tests.SchedulerModelText

/// Whether the machine waits for something to be read from the journal, or for parts that may be there.
let private isRead (model: Model) (task: ModelTask) =
    match task.where with
    | Running _
    | Cutting -> task.submission.IsJournaled
    | InPieces ->
        task.pieces.Value.Missing = 0
        || task.submission.IsJournaled && not (idlePieces task model).IsEmpty
    | _ -> false

let dropUnread (model: Model) : Model =
    match model.dropping with
    | Some dropping when dropping.at <= model.now ->
        let isStill attempt =
            current attempt model |> Option.exists (isRead model)

        match List.filter isStill dropping.reading with
        | [] -> { model with dropping = None } |> ask (Text.drop dropping.before)
        | reading -> { model with dropping = Some { dropping with reading = reading } }
    | _ -> model

// What is carried.

/// The journal has it at this event too.
let private carryTask (carried: CarriedTask) (model: Model) =
    match Map.tryFind carried.task model.tasks with
    | Some task ->
        let payload =
            if task.isResult then
                kept task.payload model
            else
                task.payload

        let model = put { task with home = model.lastEvent; payload = payload } model

        match keyOf task model with
        | Some(text, key) when key.task = task.id ->
            let key = { key with number = model.lastEvent }
            { model with keys = Map.add text key model.keys }
        | _ -> model
    | None -> failwith $"task {carried.task} is carried, and is not there"

let private carryPart whole index (model: Model) =
    let task = model.tasks[whole]
    let pieces = task.pieces.Value
    let parts = Map.add index (kept pieces.parts[index] model) pieces.parts
    put { task with pieces = Some { pieces with parts = parts } } model

let private carryKey (carried: CarriedKey) (model: Model) =
    let key = model.keys[carried.key.text]

    let ending =
        key.ending
        |> Option.map (fun ending -> { ending with result = kept ending.result model })

    let key = { key with number = model.lastEvent; ending = ending }
    { model with keys = Map.add carried.key.text key model.keys }

let private drop before (model: Model) =
    let isDropped _ key =
        key.ending.IsSome && key.number < before

    let dropped, others = Map.partition isDropped model.keys

    let model = {
        model with
            keys = others
            dropping =
                Some {
                    before = before
                    at = model.now + 1_000L<ms>
                    reading = [
                        for task in model.tasks.Values do
                            if isRead model task then
                                task.Current
                    ]
                }
    }

    Seq.fold (fun model key -> discard key.ending.Value.result model) model dropped.Values

/// Which part of that is carried at once is the machine's choice.
let rec follow (model: Model) : Model =
    match model.oracle with
    | Event.Carried carried :: _ ->
        let model = pass model

        match carried with
        | Carried.Task task -> carryTask task model
        | Carried.Part(whole, index, _) -> carryPart whole index model
        | Carried.Key key -> carryKey key model
        | Carried.File _
        | Carried.Owner _
        | Carried.Worker _ -> model
        |> follow
    | Event.Dropped(before, _) :: _ -> model |> pass |> drop before |> follow
    | _ -> model

let start now events (model: Model) = {
    model with
        now = now
        oracle = events
        happened = []
        asked = []
}

// A restart.

/// What is held in memory of the submissions, after all that is recorded: what was recalled is left to the journal again.
let private heldAfter (settings: Settings) events : Map<TaskId, Submission> =
    let add id (submission: Submission) (held: Map<TaskId, Submission>) =
        let size = held.Values |> Seq.sumBy _.MemorySize

        match submission.Origin with
        | _ when held.ContainsKey id -> held
        | Origin.Client _ when
            submission.Payload.IsPacked && size + submission.MemorySize > settings.memory
            ->
            Map.add id (submission.ToJournaled()) held
        | Piece(whole, _) when not (held.ContainsKey whole) -> held
        | _ -> Map.add id submission held

    let look held (struct (_, _, event)) =
        match event with
        | Event.Submitted(id, submission, _) -> add id submission held
        | Event.Carried(Carried.Task task) -> add task.task task.submission held
        | Event.Completed(attempt, _) -> Map.remove attempt.task held
        | Event.Cancelled(id, _) -> Map.remove id held
        | _ -> held

    List.fold look Map.empty events

/// What is known from events alone: who had work is absent, and what was being cut is in its queue.
let private forgetTheRest recorded (model: Model) : Model =
    let submissions = heldAfter model.settings recorded

    let restored (task: ModelTask) =
        let submission = submissions[task.id]

        {
            task with
                submission = submission
                payload =
                    if task.isResult || task.IsPiece then
                        task.payload
                    else
                        submission.Payload
                where = if task.where = Cutting then Queued else task.where
                since =
                    match task.where with
                    | Running _ -> model.now
                    | _ -> task.since
                pieces =
                    task.pieces
                    |> Option.map (fun pieces -> { pieces with gathered = 0; durations = [] })
        }

    let isKept (id: TaskId) _ =
        match model.tasks[id].where with
        | Running _ -> true
        | _ -> false

    {
        model with
            lastTick = model.now
            tickedAt = Instant.zero
            tasks = Map.map (fun _ task -> restored task) model.tasks
            workers =
                model.workers
                |> Map.map (fun _ worker -> {
                    worker with
                        slots = 0
                        heard = model.now
                        turn = 0
                        isDismissed = false
                        isAbsent = true
                })
            idle = []
            reserved = Map.filter isKept model.reserved
            overtaken = Map.empty
            conducts = Map.empty
            expected = Map.empty
            missing = Map.empty
            dropping = None
            keys = Map.map (fun _ key -> { key with waiters = [] }) model.keys
    }

/// Whoever had work is expected back, and what was being published is run again, unless its result has been found.
let restart now (found: Set<TaskId>) recorded events (model: Model) : Model =
    let model =
        model |> start now events |> forgetTheRest recorded |> record Text.opened

    let leave (model: Model) (KeyValue(session, worker: ModelWorker)) =
        if (held session model).IsEmpty then
            let model = record (Text.left session) model

            {
                model with
                    workers = Map.remove session model.workers
                    expected = Map.add worker.name (worker, now) model.expected
            }
        else
            model

    let publishAgain model (task: ModelTask) =
        if found.Contains task.id then
            ask (Text.settle task.Current) model
        else
            requeue "" WorkerLeft task model

    let giveWay (model: Model) (task: ModelTask) =
        if isAwaited task model && task.where <> Publishing && not (isUnderWay task) then
            cancel task model
        else
            model

    let resume (model: Model) (whole: ModelTask) =
        match idlePieces whole model with
        | _ when whole.where <> InPieces -> model
        | [] -> joinParts whole.id model
        | _ when whole.submission.IsJournaled -> ask (Text.recall whole.Current whole.home) model
        | idle ->
            idle
            |> List.fold
                (fun model index -> submitPiece whole.submission whole.id index model)
                model
            |> joinParts whole.id

    let model = Seq.fold leave model model.workers

    let model =
        model.tasks.Values
        |> Seq.filter (fun task -> task.where = Publishing)
        |> Seq.rev
        |> Seq.fold publishAgain model

    let model = Seq.fold giveWay model model.tasks.Values
    Seq.fold resume model model.tasks.Values
