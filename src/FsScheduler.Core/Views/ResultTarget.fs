namespace FsScheduler.Core

/// Where a result belongs, before it has come whole.
[<RequireQualifiedAccess>]
type ResultTarget =
    /// Nobody waits for it: its attempt is not the current one.
    | Nowhere
    /// It becomes a file of `resultados/`.
    | Results of Submission
    /// It is a part of what the stages give for a larger payload.
    | Part
    /// It is the input of the next stage, or kept for a client that comes with its key: it has to outlive the scheduler.
    | Kept
    /// It goes to a client, and is gone.
    | Sent

/// What a worker has been given.
type Assignment = { submission: Submission; payload: Payload; destination: ResultTarget }

module ResultTarget =

    /// Whether another stage reads what an attempt gives: parts may have to be merged yet, though it runs its last stage.
    let private isRead (task: Task) =
        let next =
            match task.State, task.Pieces with
            | TaskState.Split _, pieces when not (isNull pieces) ->
                PieceStages.next task (nonNull pieces)
            | _ -> task.StageEnd

        next < task.Pipeline.stages.Length

    /// Of the result of an attempt that runs, or of one that is put together of pieces.
    let ofResult (attempt: Attempt) (scheduler: Scheduler) : ResultTarget =
        match scheduler.State.Current attempt with
        | null -> ResultTarget.Nowhere
        | task ->
            match task.State with
            | TaskState.Running _
            | TaskState.Split _ ->
                match task.Submission.Origin with
                | _ when isRead task -> ResultTarget.Kept
                | Piece _ -> ResultTarget.Part
                | Folder
                | Client(_, File, _) -> ResultTarget.Results task.Submission
                | Client(_, (Result | Nothing), Some _) -> ResultTarget.Kept
                | Client(_, (Result | Nothing), None) -> ResultTarget.Sent
            | _ -> ResultTarget.Nowhere

    /// What this attempt is to a worker. None: it is not that worker's, or not the current one any more.
    let ofWorker
        (session: SessionId)
        (attempt: Attempt)
        (scheduler: Scheduler)
        : Assignment voption =
        match scheduler.State.Current attempt with
        | null -> ValueNone
        | task ->
            match task.State with
            | TaskState.Running worker when worker.Session = session ->
                ValueSome {
                    submission = task.Submission
                    payload = task.Progress.Payload
                    destination = ofResult attempt scheduler
                }
            | _ -> ValueNone
