namespace FsScheduler.Core

/// A task fails: it is tried again after a while, or goes into quarantine.
module internal Fail =

    let private quarantineAlone (state: State) (task: Task) (trouble: Trouble) =
        state.Record(Event.Quarantined(task.Id, trouble))

        match task.Submission.Origin with
        | Folder
        | Client(_, File, _) ->
            state.Ask(
                Effect.ToDisk(
                    DiskEffect.PublishError(task.Id, task.Submission, List.rev task.Troubles)
                )
            )
        | Piece _
        | Client(_, (Result | Nothing), _) -> ()

        let entry = Replies.entryOf state task
        Replies.tellAll state task entry (Some trouble.error) Payload.empty false

    let private quarantineOne (state: State) (task: Task) (trouble: Trouble) =
        if not (Finish.giveWay state task) then
            quarantineAlone state task trouble

    /// Of a piece, the whole goes into quarantine, and keeps the parts that are there: `retry` runs the others. Unless
    /// another task does the same piece.
    let quarantine (state: State) (task: Task) (trouble: Trouble) =
        quarantineOne state task trouble

        match Finish.pieceOf state task with
        | ValueSome(struct (whole, index)) ->
            let name = Split.nameOf whole index
            Finish.cancel state task trouble.error

            if (nonNull whole.Pieces).TasksOf(index).IsEmpty then
                Finish.cancelPieces state whole $"{name}, failed"

                quarantineOne state whole {
                    trouble with
                        attempt = whole.Attempt
                        error = $"{name}: {trouble.error}"
                }
        | ValueNone -> ()

    /// A worker fails the task that it holds. One that cannot run this one, again and again, and does well otherwise, is no
    /// worker that cannot: then it is the task.
    let private judge (state: State) (worker: Worker) (task: Task) (trouble: Trouble) : Trouble =
        HoldingBack.failed state worker task trouble

        let isAgain (past: Trouble) =
            past.worker = worker.Name && (past.cause = Fault || past.cause = Inability)

        let past = task.Troubles |> List.filter isAgain |> List.length

        if
            trouble.cause = Inability
            && past + 1 >= Limits.inabilitiesMax
            && not (HoldingBack.isHeldBack state worker task)
        then
            { trouble with cause = Fault }
        else
            trouble

    /// With this trouble, the task is tried no more.
    let private isOver (state: State) (task: Task) (trouble: Trouble) retry =
        match trouble.cause with
        | Fault -> not retry || task.Failures + 1 >= state.Settings.maxAttempts
        // A suspect has no queue in which it would be given up.
        | Inability ->
            task.Losses >= Limits.lossesMax - 1
            && state.Settings.unableAfter < Settings.patient
            && (HoldingBack.whyNobody state (HoldingBack.restOf task)).IsSome
        | Loss
        | Departure
        | Disk -> false

    /// How often it has failed like this, this time too: so long it waits.
    let private failures (task: Task) (trouble: Trouble) =
        match trouble.cause with
        | Fault -> task.Failures + 1
        | Disk
        | Inability ->
            let past = task.Troubles |> List.takeWhile (fun past -> past.cause = trouble.cause)
            past.Length + 1
        | Loss
        | Departure -> task.Failures

    let fail (state: State) (task: Task) (trouble: Trouble) retry =
        let trouble =
            match task.State, trouble.cause with
            | TaskState.Running worker, (Fault | Inability) when trouble.worker <> "" ->
                judge state worker task trouble
            | _ -> trouble

        let isOver = isOver state task trouble retry

        if Finish.giveWay state task then
            ()
        elif isOver then
            quarantine state task trouble
        else
            let struct (chance, number) = Backoff.random state.Chance
            state.Chance <- chance
            let delay = Backoff.delay (failures task trouble) number
            state.Record(Event.Delayed(task.Id, trouble, delay))

    let private giveUpAll (state: State) (queue: ReadyQueue) why =
        for task in Seq.toArray (queue.ToSeq()) do
            // With a piece, the others of its file have left.
            if task.State = TaskState.Queued then
                quarantine state task (state.Trouble(task, Inability, "", why))

    /// Puts what nobody has been able to run for so long into quarantine, where that is not waited for.
    let giveUp (state: State) =
        for queue in Seq.toArray state.Queues.All do
            match HoldingBack.whyNobody state queue.Stages with
            | ValueNone -> queue.Unstick()
            | ValueSome why ->
                if queue.StuckFor state.Now >= state.Settings.unableAfter then
                    giveUpAll state queue why

    /// The pieces of a task wait for stages that nobody runs any more: it is back in its queue, for whoever runs its own.
    let putBack (state: State) (whole: Task) reason =
        if not (Finish.giveWay state whole) then
            let trouble = state.Trouble(whole, Departure, "", reason)
            Finish.cancelPieces state whole reason
            state.Record(Event.Requeued(whole.Id, trouble))

    let retry (state: State) (task: Task) =
        state.Record(Event.Retried task.Id)
        state.DiscardReleased()
