namespace FsScheduler.Core

open System

/// A worker that only fails is held back, so that tasks do not lose their attempts there: it is given a task now and then,
/// until it does one. What it is held back for are the stages that it was given together: who cannot run a program may
/// well run others.
module internal HoldingBack =

    /// What a running task was given to its worker for.
    let private stagesOf (task: Task) =
        let progress = task.Progress

        task.Pipeline.stages[int progress.Stage .. int progress.StageEnd - 1]
        |> Array.map _.demand

    /// What is left of a task.
    let restOf (task: Task) =
        task.Pipeline.stages[task.Stage ..] |> Array.map _.demand

    /// Whoever was kept from a task may have it now.
    let reopen (state: State) =
        state.Queues.OpenAll()
        state.IsChanged <- true

    let private forget (state: State) (conduct: Conduct) =
        state.Probation.Forget conduct

        if conduct.IsHeldBack then
            state.Ask(Effect.ToLog(LogEffect.TakenUp(conduct.Worker, conduct.Stages)))
            reopen state

    /// A worker has done some stages: whatever it failed before is forgotten.
    let succeeded (state: State) (worker: Worker) (task: Task) =
        match state.Probation.Find(worker, stagesOf task) with
        | null -> ()
        | conduct -> forget state conduct

    /// A second worker fails a task: it says nothing of the first one any more.
    let private exonerate (state: State) (task: Task) =
        for conduct in state.Probation.All do
            if List.contains task.Id conduct.Failed then
                conduct.Failed <- conduct.Failed |> List.filter (fun id -> id <> task.Id)

                if
                    conduct.InARow <
                        (if conduct.IsHeldBack then
                             SchedulerLimits.failuresInARow
                         else
                             1)
                then
                    forget state conduct

    /// A trial that fails makes the next one rarer.
    let private putOff (state: State) (conduct: Conduct) =
        conduct.Delay <- min SchedulerLimits.trialDelayMax (2L * conduct.Delay)
        conduct.Next <- state.Now + conduct.Delay

    /// Those that fail by themselves are held back whoever else is there. Of the others that is only certain where somebody
    /// else may do what they failed: if nobody can, it is the tasks, and these go into quarantine as ever.
    let private isToBeHeldBack (state: State) (conduct: Conduct) =
        conduct.Unable >= SchedulerLimits.failuresInARow
        || conduct.InARow >= SchedulerLimits.failuresInARow
           && state.Workers.IsAnotherAble(conduct.Stages, [| conduct.Worker |])

    let private isOfAnother (worker: Worker) (past: Failure) =
        past.worker <> ""
        && past.worker <> worker.Name
        && (past.cause = TaskError || past.cause = WorkerLost)

    let private count (state: State) (conduct: Conduct) (task: Task) (failure: Failure) =
        conduct.Error <- failure.error

        if failure.cause = WorkerUnable then
            conduct.Unable <- conduct.Unable + 1
        elif not (List.contains task.Id conduct.Failed) then
            conduct.Failed <-
                List.truncate SchedulerLimits.failuresInARow (task.Id :: conduct.Failed)

        if conduct.IsHeldBack then
            if conduct.Trial = ValueSome task.Id then
                putOff state conduct
        elif isToBeHeldBack state conduct then
            state.Probation.HoldBack(conduct, state.Now)

            state.Ask(
                Effect.ToLog(LogEffect.HeldBack(conduct.Worker, conduct.Stages, failure.error))
            )

            reopen state

    /// <summary>A worker has failed a task that it holds, or is lost with it.</summary>
    /// <param name="state">Changed.</param>
    /// <param name="worker">That one.</param>
    /// <param name="task">With what went wrong before, and without this.</param>
    /// <param name="failure">A fault, a loss or an inability.</param>
    let failed (state: State) (worker: Worker) (task: Task) (failure: Failure) =
        if
            failure.cause <> WorkerUnable
            && List.exists (isOfAnother worker) task.Progress.PastFailures
        then
            exonerate state task
        else
            match state.Probation.FindOrAdd(worker, stagesOf task) with
            | null -> ()
            | conduct -> count state conduct task failure

    /// Whether a worker is held back for what it was given this task for.
    let isHeldBack (state: State) (worker: Worker) (task: Task) =
        match state.Probation.Find(worker, stagesOf task) with
        | null -> false
        | conduct -> conduct.IsHeldBack

    /// A worker is lost. However much it held, that is one failure, of the oldest task for each of its stages.
    let lost (state: State) (worker: Worker) (held: Task seq) (failure: Task -> Failure) =
        for task in held |> Seq.distinctBy stagesOf |> Seq.toArray do
            failed state worker task (failure task)

    /// What keeps every worker that could run these stages from them, if there is one and all are held back.
    let holdsOfAll (state: State) (stages: string[]) : Conduct list =
        let holds = [
            for worker in state.Workers.All |> Seq.sortBy _.Session do
                if worker.Slots > 0 && worker.Can stages[0] then
                    state.Probation.HoldOf(worker, stages)
        ]

        if List.exists isNull holds then
            []
        else
            List.map nonNull holds

    /// Why nobody runs these stages, if whoever could is held back.
    let whyNobody (state: State) (stages: string[]) : string voption =
        match
            (if state.Probation.HeldBackCount = 0 then
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

    /// Looks at the time: who is tried again, and who has waited long enough for a worker that has not failed it.
    let tick (state: State) =
        state.Queues.TickedAt <- state.Now

        if
            state.Workers.GiveUpExpected(state.Now, state.Settings.lostAfter)
            || state.Queues.IsAnyAvoiding
        then
            reopen state

        for conduct in state.Probation.All do
            if
                conduct.IsHeldBack
                && not conduct.IsDue
                && conduct.Trial.IsNone
                && state.Now - conduct.Next >= 0L<ms>
            then
                conduct.IsDue <- true
                reopen state
