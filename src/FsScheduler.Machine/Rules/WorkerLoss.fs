namespace FsScheduler.Machine

open FsScheduler.Core

/// Lost workers and their tasks, and workers that come back after a restart.
module internal WorkerLoss =

    /// Requeues the tasks of a worker, and forgets the worker. A worker without slots may leave before it has finished,
    /// and one that never came back after a restart tells nothing: neither counts against its tasks.
    let lose (state: State) (worker: Worker) reason =
        let cause = if worker.Slots = 0 then WorkerLeft else WorkerLost

        // The latest first, so that the oldest comes to the very front. Quarantining a piece cancels the other pieces
        // of its file, which the worker then holds no more.
        let held = Array.rev (Seq.toArray (worker.Held.ToSeq()))
        let error = $"the worker {worker.Name} was lost: {reason}"

        if cause = WorkerLost then
            HoldingBack.lost state worker (Array.rev held) (fun task ->
                state.NewFailure(task, cause, worker.Name, error))

        for task in held |> Seq.filter (fun task -> task.State = worker.Running) do
            let failure = state.NewFailure(task, cause, worker.Name, error)
            let losses = if cause = WorkerLost then task.Losses + 1 else task.Losses

            if losses >= SchedulerLimits.lossesMax then
                let error = $"{error}; it is the worker number {losses} lost with this task"
                Fail.quarantine state task { failure with error = error }
            elif not (Finish.giveWay state task) then
                state.Record(Event.Requeued(task.Id, failure))

        state.Record(Event.Left(worker.Session, worker.Name, reason))

        if cause = WorkerLost then
            state.Workers.Expect(worker, state.Now)

        HoldingBack.reopen state

    /// Whether a worker that claims a task can be the one that was assigned it.
    let private isSame (worker: Worker) (task: Task) (absent: Worker) =
        worker.Name = absent.Name
        && Seq.forall
            (fun index -> worker.Can task.Pipeline.stages[index].demand)
            (seq { task.Stage .. task.StageEnd - 1 })

    /// A worker that comes back keeps the attempts that no other worker was given since, and is to drop the others.
    let claim (state: State) (worker: Worker) (holding: Attempt[]) =
        let mayKeep (attempt: Attempt) =
            match state.Current attempt with
            | null -> false
            | task ->
                match task.State with
                | TaskState.Running absent -> absent.IsAbsent && isSame worker task absent
                | TaskState.Queued
                | TaskState.Suspected
                | TaskState.Split _
                | TaskState.Waiting _
                | TaskState.Publishing
                | TaskState.Succeeding _
                | TaskState.Quarantined
                | TaskState.Ended -> false

        let kept = Array.distinct holding |> Array.filter mayKeep

        for attempt in kept do
            state.Record(Event.Claimed(attempt, worker.Session))

        state.Ask(Effect.ToPeer(PeerEffect.Welcome(worker.Session, kept)))
