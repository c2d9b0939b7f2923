namespace FsScheduler.Core

/// A task is given to a worker.
module internal Assign =

    /// Sends an attempt to its worker, once all that it needs is at hand.
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

    /// Gives a task to a worker: its next stage, and as many of the following ones as it can run.
    let private give (state: State) (worker: Worker) (task: Task) =
        let stages = task.Pipeline.stages
        let first = task.Stage
        let mutable last = first + 1

        while last < stages.Length && worker.Can stages[last].demand do
            last <- last + 1

        let attempt = state.NextAttemptOf task
        state.Record(Event.Assigned(attempt, worker.Session, struct (first, last)))
        state.DiscardReleased()

        if state.Probation.HeldBackCount > 0 then
            let given = stages[first .. last - 1] |> Array.map _.demand
            state.Probation.Given(worker, given, task.Id)

        if task.Submission.IsJournaled then
            state.Ask(Effect.ToJournal(JournalEffect.LoadSubmission(attempt, task.Number)))
        else
            send state worker task

    /// It is the turn of a queued task: what is too large for one worker is cut, and its pieces are served next.
    let assign (state: State) (worker: Worker) (task: Task) =
        if Split.isDue state task then
            Split.start state task
        else
            give state worker task

    /// What the journal had of a task that is given out, or to be split, is at hand.
    let loaded (state: State) (task: Task) (submission: Submission) =
        state.Recall(task, submission)

        match task.State with
        | TaskState.Running worker -> send state worker task
        | _ -> Split.goOn state task
