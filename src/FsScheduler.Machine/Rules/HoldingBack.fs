namespace FsScheduler.Machine

open System
open FsScheduler.Core

/// Holds back a worker that fails again and again, so that tasks do not lose their attempts there: it is tried with a
/// task now and then, until one succeeds. It is held back for the stages of those attempts together: a worker that
/// cannot run one program may well run others.
module internal HoldingBack =

    /// The offers of the stages that a running task was assigned for.
    let private stagesOf (task: Task) =
        let progress = task.Progress

        task.Pipeline.stages[int progress.Stage .. int progress.StageEnd - 1]
        |> Array.map _.demand

    /// The offers of a task's remaining stages.
    let restOf (task: Task) =
        task.Pipeline.stages[task.Stage ..] |> Array.map _.demand

    /// Opens all queues, since workers may have become able to take tasks.
    let reopen (state: State) =
        state.Queues.OpenAll()
        state.IsChanged <- true

    let private forget (state: State) (breaker: CircuitBreaker) =
        state.CircuitBreakers.Forget breaker

        if breaker.IsHeldBack then
            state.Ask(Effect.ToLog(LogEffect.TakenUp(breaker.Worker, breaker.Stages)))
            reopen state

    /// A worker has run some stages with success: its failures at them are forgotten.
    let succeeded (state: State) (worker: Worker) (task: Task) =
        match state.CircuitBreakers.Find(worker, stagesOf task) with
        | null -> ()
        | breaker -> forget state breaker

    /// A second worker has failed the task: it does not count against the first one any more.
    let private exonerate (state: State) (task: Task) =
        for breaker in state.CircuitBreakers.All do
            if List.contains task.Id breaker.Failed then
                breaker.Failed <- breaker.Failed |> List.filter (fun id -> id <> task.Id)

                if
                    breaker.InARow <
                        (if breaker.IsHeldBack then
                             SchedulerLimits.failuresInARow
                         else
                             1)
                then
                    forget state breaker

    /// A failed trial doubles the delay before the next one.
    let private putOff (state: State) (breaker: CircuitBreaker) =
        breaker.Delay <- min SchedulerLimits.trialDelayMax (2L * breaker.Delay)
        breaker.Next <- state.Now + breaker.Delay

    /// A worker that reports to be unable is held back whichever others there are. One that fails tasks is held back
    /// only where another worker may do better: if none can, the tasks are the cause, and are quarantined as usual.
    let private isToBeHeldBack (state: State) (breaker: CircuitBreaker) =
        breaker.Unable >= SchedulerLimits.failuresInARow
        || breaker.InARow >= SchedulerLimits.failuresInARow
           && state.Workers.IsAnotherAble(breaker.Stages, [| breaker.Worker |])

    let private isOfAnother (worker: Worker) (past: Failure) =
        past.worker <> ""
        && past.worker <> worker.Name
        && (past.cause = TaskError || past.cause = WorkerLost)

    let private count (state: State) (breaker: CircuitBreaker) (task: Task) (failure: Failure) =
        breaker.Error <- failure.error

        if failure.cause = WorkerUnable then
            breaker.Unable <- breaker.Unable + 1
        elif not (List.contains task.Id breaker.Failed) then
            breaker.Failed <-
                List.truncate SchedulerLimits.failuresInARow (task.Id :: breaker.Failed)

        if breaker.IsHeldBack then
            if breaker.Trial = ValueSome task.Id then
                putOff state breaker
        elif isToBeHeldBack state breaker then
            state.CircuitBreakers.HoldBack(breaker, state.Now)

            state.Ask(
                Effect.ToLog(LogEffect.HeldBack(breaker.Worker, breaker.Stages, failure.error))
            )

            reopen state

    /// <summary>Counts a failure of a worker, or its loss, at a task that it holds.</summary>
    /// <param name="state">Changed.</param>
    /// <param name="worker">The worker.</param>
    /// <param name="task">The task, without this failure in its list.</param>
    /// <param name="failure">A task error, a lost worker or an inability.</param>
    let failed (state: State) (worker: Worker) (task: Task) (failure: Failure) =
        if
            failure.cause <> WorkerUnable
            && List.exists (isOfAnother worker) task.Progress.PastFailures
        then
            exonerate state task
        else
            match state.CircuitBreakers.FindOrAdd(worker, stagesOf task) with
            | null -> ()
            | breaker -> count state breaker task failure

    /// Whether a worker is held back for the stages that it was given with this task.
    let isHeldBack (state: State) (worker: Worker) (task: Task) =
        match state.CircuitBreakers.Find(worker, stagesOf task) with
        | null -> false
        | breaker -> breaker.IsHeldBack

    /// Counts a lost worker as one failure for each list of stages among its tasks, at the oldest task of each.
    let lost (state: State) (worker: Worker) (held: Task seq) (failure: Task -> Failure) =
        for task in held |> Seq.distinctBy stagesOf |> Seq.toArray do
            failed state worker task (failure task)

    /// The breakers that hold back all workers of these stages; empty if one is not held back, or there is none.
    let holdsOfAll (state: State) (stages: string[]) : CircuitBreaker list =
        let holds = [
            for worker in state.Workers.All |> Seq.sortBy _.Session do
                if worker.Slots > 0 && worker.Can stages[0] then
                    state.CircuitBreakers.HoldOf(worker, stages)
        ]

        if List.exists isNull holds then
            []
        else
            List.map nonNull holds

    /// Why no worker runs these stages, if all that could are held back.
    let whyNobody (state: State) (stages: string[]) : string voption =
        match
            (if state.CircuitBreakers.HeldBackCount = 0 then
                 []
             else
                 holdsOfAll state stages)
        with
        | first :: others ->
            let others = if others.IsEmpty then "" else $", and {others.Length} more"

            let stages = String.Join(" | ", first.Stages)

            ValueSome
                $"no worker runs '{stages}' without failing: {first.Worker}{others}: {first.Error}"
        | [] -> ValueNone

    /// At a tick: makes trials due, and reopens queues for tasks that waited long enough for another worker.
    let tick (state: State) =
        state.Queues.TickedAt <- state.Now

        if
            state.Workers.GiveUpExpected(state.Now, state.Settings.lostAfter)
            || state.Queues.IsAnyAvoiding
        then
            reopen state

        for breaker in state.CircuitBreakers.All do
            if
                breaker.IsHeldBack
                && not breaker.IsDue
                && breaker.Trial.IsNone
                && state.Now - breaker.Next >= 0L<ms>
            then
                breaker.IsDue <- true
                reopen state
