namespace FsScheduler.Machine

open FsScheduler.Core

/// Where an unfinished task is, and what it waits for.
type TaskLocation =
    /// Queued for a worker that runs this stage, behind `before` tasks.
    | InQueue of stage: string * isOffered: bool * before: int
    /// Queued: a worker of its stage would have to hand the task over, and too much waits for the stage `next` already.
    | HeldBack of stage: string * next: string
    /// Queued: all workers of its stage are held back, this one after this error, and get trials only.
    | OnlyFailing of stage: string * worker: string * others: int * error: string
    /// Queued for another worker than those that failed the task.
    | Avoiding of stage: string * failedBy: string[]
    /// Queued, to be run by a worker that has no other task.
    | Alone of stage: string * isOffered: bool
    | RunningOn of worker: string * since: Duration
    /// Running since before a restart, on a worker that has not come back yet.
    | Awaited of worker: string
    | BeingCut
    /// In pieces, of which `finished` of `count` are finished; `tasks` run the others.
    | InPieces of count: int * finished: int * tasks: TaskId[]
    | BackedOff of remaining: Duration
    | BeingPublished
    /// Waits for an older version of its file.
    | Behind of older: TaskId
    | InQuarantine

module TaskLocation =

    /// <summary>Where a task is.</summary>
    /// <returns>None: the task is finished, or never was.</returns>
    let ofTask (id: TaskId) (now: Instant) (scheduler: Scheduler) : TaskLocation option =
        let state = scheduler.State

        let isOffered stage =
            state.Workers.All
            |> Seq.exists (fun worker -> worker.Slots > 0 && worker.Can stage)

        match state.Tasks.Find id with
        | null -> None
        | task ->
            match task.State with
            | TaskState.Queued ->
                let stage = task.Demand

                let held = [
                    for worker in state.Workers.All do
                        if worker.Slots > 0 && worker.Can stage then
                            state.Queues.HeldBackBy(worker, task)
                ]

                match held with
                | ValueSome next :: _ when List.forall ValueOption.isSome held ->
                    Some(HeldBack(stage, next))
                | _ ->
                    let rest = HoldingBack.restOf task

                    match HoldingBack.holdsOfAll state rest with
                    | first :: others ->
                        Some(OnlyFailing(stage, first.Worker, others.Length, first.Error))
                    | [] when
                        task.FailedBy.Length > 0 && state.Workers.IsAnotherAble(rest, task.FailedBy)
                        ->
                        Some(Avoiding(stage, task.FailedBy))
                    | [] -> Some(InQueue(stage, isOffered stage, state.Queues.CountBefore task))
            | TaskState.Suspected ->
                let stage = task.Demand
                Some(Alone(stage, isOffered stage))
            | TaskState.Running worker when worker.IsAbsent -> Some(Awaited worker.Name)
            | TaskState.Running worker -> Some(RunningOn(worker.Name, now - task.Since))
            | TaskState.Split _ ->
                match task.Progress.Pieces with
                | null -> Some BeingCut
                | pieces ->
                    let tasks = pieces.Tasks |> Array.map _.Id
                    Some(InPieces(pieces.Count, pieces.Count - pieces.Missing, tasks))
            | TaskState.Waiting until -> Some(BackedOff(max 0L<ms> (until - now)))
            | TaskState.Publishing -> Some BeingPublished
            | TaskState.Succeeding older -> Some(Behind older.Id)
            | TaskState.Quarantined -> Some InQuarantine
            | TaskState.Ended -> None
