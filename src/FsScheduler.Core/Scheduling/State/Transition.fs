namespace FsScheduler.Core

open System

/// Where a task comes back into its queue.
[<Struct>]
type internal Place =
    | Front
    | Back

/// Where a task is, and how it comes there. For `Apply` alone.
module internal Transition =

    /// Undoes what `enter` did: a task is in one state at a time.
    let leave (state: State) (task: Task) =
        match task.State with
        | TaskState.Queued -> state.Queues.Remove task
        | TaskState.Suspected ->
            state.Queues.Suspects.Remove task

            match state.Workers.Unreserve task with
            | null -> ()
            | worker -> state.Offer worker
        | TaskState.Running worker ->
            state.Workers.TakeBack(worker, task)
            state.Running <- state.Running - 1
            state.Offer worker
        | TaskState.Split _ -> state.Splits.Remove task.Id |> ignore
        | TaskState.Waiting _ -> state.WaitingCount <- state.WaitingCount - 1
        | TaskState.Publishing -> state.Publishing <- state.Publishing - 1
        | TaskState.Succeeding older -> state.Successors.Remove older.Id |> ignore
        | TaskState.Quarantined ->
            state.Quarantined <- state.Quarantined - 1
            task.State <- TaskState.Ended
            state.Backlog.Add task
        | TaskState.Ended -> ()

    let enter (state: State) (task: Task) (taskState: TaskState) =
        if taskState.IsQuarantined then
            state.Unload task

        task.State <- taskState
        task.Since <- state.Now

        match taskState with
        | TaskState.Queued
        | TaskState.Suspected -> state.IsChanged <- true
        | TaskState.Running worker ->
            state.Workers.Give(worker, task)
            state.Running <- state.Running + 1
        | TaskState.Split _ -> state.Splits.Add(task.Id, task)
        | TaskState.Waiting until ->
            state.Waiting.Enqueue(task, struct (until.sinceStart, task.Id))
            state.WaitingCount <- state.WaitingCount + 1
        | TaskState.Publishing -> state.Publishing <- state.Publishing + 1
        | TaskState.Succeeding older -> state.Successors.Add(older.Id, task)
        | TaskState.Quarantined -> state.Quarantined <- state.Quarantined + 1
        | TaskState.Ended -> ()

    /// The workers that have failed a task, by name.
    let private failedBy (task: Task) : string[] =
        match task.Troubles with
        | [] -> Array.empty
        | troubles ->
            troubles
            |> Seq.filter (fun trouble ->
                match trouble.cause with
                | Fault
                | Loss
                | Inability -> trouble.worker <> ""
                | Departure
                | Disk -> false)
            |> Seq.map _.worker
            |> Seq.distinct
            |> Seq.truncate Limits.failedByMax
            |> Seq.sortWith (fun one other -> String.CompareOrdinal(one, other))
            |> Seq.toArray

    /// Puts a task that is in no list into its queue.
    let enqueue (state: State) (task: Task) place =
        if task.IsBegun then
            task.Progress.FailedBy <- failedBy task

        let isSuspected = task.Losses >= Limits.lossesMax - 1

        match isSuspected, place with
        | true, Front -> state.Queues.Suspects.AddFirst task
        | true, Back -> state.Queues.Suspects.AddLast task
        | false, Front -> state.Queues.AddFirst task
        | false, Back -> state.Queues.AddLast task

        enter
            state
            task
            (if isSuspected then
                 TaskState.Suspected
             else
                 TaskState.Queued)

    let requeue state task place =
        leave state task
        enqueue state task place
