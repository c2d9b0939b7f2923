namespace FsScheduler.Machine

open FsScheduler.Core

/// Assigns a task to a worker.
module internal Assign =

    /// Sends an attempt to its worker, once its submission is loaded.
    let private send (state: State) (worker: Worker) (task: Task) =
        let stages = task.Pipeline.stages
        let first, last = task.Stage, task.StageEnd

        let message = {
            attempt = state.AttemptOf task
            name = task.Submission.Name
            stages =
                if last - first = stages.Length then
                    task.Pipeline.wire
                else
                    task.Pipeline.wire[first .. last - 1]
            timeout = state.Settings.taskTimeout
            piece =
                match task.Submission.Origin with
                | Piece(_, index) -> ValueSome index
                | Folder
                | Client _ -> ValueNone
            files = ValueNone
        }

        state.Ask(
            Effect.ToPeer(PeerEffect.Assign(worker.Session, message, task.Submission, task.Payload))
        )

    /// Assigns the next stage of a task, and as many of the following ones as the worker can run.
    let private give (state: State) (worker: Worker) (task: Task) =
        let stages = task.Pipeline.stages
        let first = task.Stage
        let mutable last = first + 1

        while last < stages.Length && worker.Can stages[last].demand do
            last <- last + 1

        let attempt = state.NextAttemptOf task
        state.Record(Event.Assigned(attempt, worker.Session, struct (first, last)))
        state.DiscardReleased()

        if state.CircuitBreakers.HeldBackCount > 0 then
            let given = stages[first .. last - 1] |> Array.map _.demand
            state.CircuitBreakers.Given(worker, given, task.Id)

        if task.Submission.IsJournaled then
            state.Ask(Effect.ToJournal(JournalEffect.LoadSubmission(attempt, task.Number)))
        else
            send state worker task

    /// Serves a queued task: a payload that is too large for one worker is split, and its pieces are served next.
    let assign (state: State) (worker: Worker) (task: Task) =
        if Split.isDue state task then
            Split.start state task
        else
            give state worker task

    /// The submission of an assigned task, or of one to be split, is loaded.
    let loaded (state: State) (task: Task) (submission: Submission) =
        state.SetSubmission(task, submission)

        match task.State with
        | TaskState.Running worker -> send state worker task
        | _ -> Split.goOn state task
