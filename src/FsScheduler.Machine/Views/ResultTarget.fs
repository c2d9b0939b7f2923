namespace FsScheduler.Machine

open FsScheduler.Core

/// Where an incoming result is written to.
[<RequireQualifiedAccess>]
type ResultTarget =
    /// Dropped: its attempt is not the current one.
    | Nowhere
    /// A file of `resultados/`.
    | Results of Submission
    /// A part of the result of a larger payload.
    | Part
    /// The input of the next stage, or a result kept for an idempotency key: it has to outlive the scheduler.
    | Kept
    /// Sent to a client, and then gone.
    | Sent

type Assignment = { submission: Submission; payload: Payload; destination: ResultTarget }

module ResultTarget =

    /// Whether another stage reads the result of an attempt: parts may have to be merged after its last stage.
    let private isRead (task: Task) =
        let next =
            match task.State, task.Pieces with
            | TaskState.Split _, pieces when not (isNull pieces) ->
                PieceStages.next task (nonNull pieces)
            | _ -> task.StageEnd

        next < task.Pipeline.stages.Length

    /// The target of the result of a running attempt, or of one that is merged of parts.
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

    /// What a worker was given with an attempt. None: the attempt is another worker's, or not current.
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
