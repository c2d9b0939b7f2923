namespace FsScheduler.Machine

open FsScheduler.Core

/// The state of a task as tests and other observers compare it.
type TaskView = {
    id: TaskId
    name: string
    state: string
    attempt: int
    failures: int
    losses: int
    stage: int
    /// The session of the worker that runs the task.
    worker: SessionId voption
}

module TaskView =

    let internal stateName (state: TaskState) =
        match state with
        | TaskState.Queued -> "queued"
        | TaskState.Suspected -> "suspected"
        | TaskState.Running _ -> "running"
        | TaskState.Split _ -> "split"
        | TaskState.Waiting _ -> "waiting"
        | TaskState.Publishing -> "publishing"
        | TaskState.Succeeding _ -> "succeeding"
        | TaskState.Quarantined -> "quarantined"
        | TaskState.Ended -> "ended"

    let private viewOf (task: Task) = {
        id = task.Id
        name = task.Submission.Name
        state = stateName task.State
        attempt = task.Attempt
        failures = task.Failures
        losses = task.Losses
        stage = task.Stage
        worker =
            match task.State with
            | TaskState.Running worker -> ValueSome worker.Session
            | _ -> ValueNone
    }

    /// Every unfinished task, by number.
    let all (scheduler: Scheduler) : TaskView[] =
        scheduler.State.Tasks.ToSeq() |> Seq.map viewOf |> Seq.toArray
