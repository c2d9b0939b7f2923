namespace FsScheduler.Machine

open FsScheduler.Core

/// Failures of a task: a retry after a delay, or quarantine.
module internal Fail =

    let private quarantineAlone (state: State) (task: Task) (failure: Failure) =
        state.Record(Event.Quarantined(task.Id, failure))

        match task.Submission.Origin with
        | Folder
        | Client(_, File, _) ->
            state.Ask(
                Effect.ToDisk(
                    DiskEffect.PublishError(task.Id, task.Submission, List.rev task.PastFailures)
                )
            )
        | Piece _
        | Client(_, (Result | Nothing), _) -> ()

        let entry = Replies.entryOf state task
        Replies.tellQuarantined state task entry failure.error

    let private quarantineOne (state: State) (task: Task) (failure: Failure) =
        if not (Finish.giveWay state task) then
            quarantineAlone state task failure

    /// Quarantines a task. With a piece the whole is quarantined, and keeps its parts: `retry` runs the others. But if
    /// another task does the same piece, only this one ends.
    let quarantine (state: State) (task: Task) (failure: Failure) =
        quarantineOne state task failure

        match Finish.pieceOf state task with
        | ValueSome(struct (whole, index)) ->
            let name = Split.nameOf whole index
            Finish.cancel state task failure.error

            if (nonNull whole.Pieces).TasksOf(index).IsEmpty then
                Finish.cancelPieces state whole $"{name}, failed"

                quarantineOne state whole {
                    failure with
                        attempt = whole.Attempt
                        error = $"{name}: {failure.error}"
                }
        | ValueNone -> ()

    /// Counts a failure against the worker. A worker that is unable to run this task again and again, but runs others
    /// well, shows that the task is the cause: then it counts as a task error.
    let private blame (state: State) (worker: Worker) (task: Task) (failure: Failure) : Failure =
        HoldingBack.failed state worker task failure

        let isAgain (past: Failure) =
            past.worker = worker.Name
            && (past.cause = TaskError || past.cause = WorkerUnable)

        let past = task.PastFailures |> List.filter isAgain |> List.length

        if
            failure.cause = WorkerUnable
            && past + 1 >= SchedulerLimits.inabilitiesMax
            && not (HoldingBack.isHeldBack state worker task)
        then
            { failure with cause = TaskError }
        else
            failure

    /// Whether the task is quarantined after this failure.
    let private isOver (state: State) (task: Task) (failure: Failure) retry =
        match failure.cause with
        | TaskError -> not retry || task.Failures + 1 >= state.Settings.maxAttempts
        // A suspect is in no queue that `giveUp` would look at.
        | WorkerUnable ->
            task.Losses >= SchedulerLimits.lossesMax - 1
            && state.Settings.unableAfter < Settings.patient
            && (HoldingBack.whyNobody state (HoldingBack.restOf task)).IsSome
        | WorkerLost
        | WorkerLeft
        | StorageError -> false

    /// How many failures like this one, itself included, determine the delay.
    let private failuresCounted (task: Task) (failure: Failure) =
        match failure.cause with
        | TaskError -> task.Failures + 1
        | StorageError
        | WorkerUnable ->
            let past =
                task.PastFailures |> List.takeWhile (fun past -> past.cause = failure.cause)

            past.Length + 1
        | WorkerLost
        | WorkerLeft -> task.Failures

    let fail (state: State) (task: Task) (failure: Failure) retry =
        let failure =
            match task.State, failure.cause with
            | TaskState.Running worker, (TaskError | WorkerUnable) when failure.worker <> "" ->
                blame state worker task failure
            | _ -> failure

        let isOver = isOver state task failure retry

        if Finish.giveWay state task then
            ()
        elif isOver then
            quarantine state task failure
        else
            let struct (chance, number) = Backoff.random state.Chance
            state.Chance <- chance
            let delay = Backoff.delay (failuresCounted task failure) number
            state.Record(Event.Delayed(task.Id, failure, delay))

    let private giveUpAll (state: State) (queue: ReadyQueue) why =
        for task in Seq.toArray (queue.ToSeq()) do
            // Quarantining a piece takes the other pieces of its file out of the queue.
            if task.State = TaskState.Queued then
                quarantine state task (state.NewFailure(task, WorkerUnable, "", why))

    /// Quarantines tasks that no worker has been able to run for `unableAfter`.
    let giveUp (state: State) =
        for queue in Seq.toArray state.Queues.All do
            match HoldingBack.whyNobody state queue.Stages with
            | ValueNone -> queue.Unstick()
            | ValueSome why ->
                if queue.StuckFor state.Now >= state.Settings.unableAfter then
                    giveUpAll state queue why

    /// Puts a task back into its queue for its own stages, since no worker runs those of its pieces any more.
    let putBack (state: State) (whole: Task) reason =
        if not (Finish.giveWay state whole) then
            let failure = state.NewFailure(whole, WorkerLeft, "", reason)
            Finish.cancelPieces state whole reason
            state.Record(Event.Requeued(whole.Id, failure))

    let retry (state: State) (task: Task) =
        state.Record(Event.Retried task.Id)
        state.DiscardReleased()
