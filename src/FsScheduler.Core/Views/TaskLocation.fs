namespace FsScheduler.Core

/// Where an unfinished task is, now, and what it waits for.
type TaskLocation =
    /// In the queue, for a worker that runs this stage.
    | InQueue of stage: string * isOffered: bool * before: int
    /// In the queue: who runs its stage would have to hand it over, and enough waits for a later one already.
    | HeldBack of stage: string * next: string
    /// In the queue: the workers that run its stage only fail it, this one with this error, and are tried now and then.
    | OnlyFailing of stage: string * worker: string * others: int * error: string
    /// In the queue, for a worker that has not failed it as these have.
    | Avoiding of stage: string * failedBy: string[]
    /// In the queue, to be run by a worker that has nothing else.
    | Alone of stage: string * isOffered: bool
    | RunningOn of worker: string * since: Duration
    /// Known to be running before a restart; the worker has not come back yet.
    | Awaited of worker: string
    /// Being cut.
    | BeingCut
    /// So many of its pieces are done, and these tasks do the others.
    | InPieces of count: int * done': int * tasks: TaskId[]
    | BackedOff of for': Duration
    | BeingPublished
    /// Behind an older version of its file.
    | Behind of older: TaskId
    | InQuarantine

module TaskLocation =

    /// <summary>Where a task is.</summary>
    /// <returns>None: it is finished, or never was.</returns>
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
