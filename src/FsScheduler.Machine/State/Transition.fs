namespace FsScheduler.Machine

open System
open FsScheduler.Core

/// The end of the queue that a task is added to.
[<Struct>]
type internal Place =
    | Front
    | Back

/// Moves tasks between states. For `Apply` and `ApplyCarried` alone.
module internal Transition =

    /// Undoes `enter`: a task is in one state at a time.
    let leave (state: State) (task: Task) =
        match task.State with
        | TaskState.Queued ->
            state.Queues.Remove task

            // The next task of its queue may be assignable, unlike this one: see `ReadyQueues.Remove`.
            if task.FailedBy.Length > 0 then
                state.IsChanged <- true
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
            state.Backpressure.Add task
        | TaskState.Ended -> ()

    let enter (state: State) (task: Task) (taskState: TaskState) =
        if taskState.IsQuarantined then
            state.Unload task

        task.State <- taskState

        match taskState with
        // No event records this state: in the journal the task keeps its place in its queue.
        | TaskState.Split Splitting.Cutting -> ()
        | TaskState.Queued
        | TaskState.Suspected -> task.Since <- state.Now
        | TaskState.Running _
        | TaskState.Split _
        | TaskState.Waiting _
        | TaskState.Publishing
        | TaskState.Succeeding _
        | TaskState.Quarantined
        | TaskState.Ended ->
            task.Since <- state.Now

            if task.IsBegun then
                task.Place <- state.LastEvent

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

    /// The names of the workers that failed a task.
    let private failedBy (task: Task) : string[] =
        match task.PastFailures with
        | [] -> Array.empty
        | pastFailures ->
            pastFailures
            |> Seq.filter (fun failure ->
                match failure.cause with
                | TaskError
                | WorkerLost
                | WorkerUnable -> failure.worker <> ""
                | WorkerLeft
                | StorageError -> false)
            |> Seq.map _.worker
            |> Seq.distinct
            |> Seq.truncate SchedulerLimits.failedByMax
            |> Seq.sortWith (fun one other -> String.CompareOrdinal(one, other))
            |> Seq.toArray

    /// Adds a new task, in no list yet, whose submission is at the latest event. Beyond `Settings.memory` the
    /// submission is left to the journal.
    let add (state: State) id (submission: Submission) pipeline : Task =
        state.LastId <- max state.LastId id

        let held =
            match submission.Origin with
            | Client _ when
                submission.Payload.IsPacked
                && state.Held + submission.MemorySize > state.Settings.memory
                ->
                submission.ToJournaled()
            | Client _
            | Folder
            | Piece _ -> submission

        let task = Task(id, state.LastEvent, held, pipeline)
        state.Held <- state.Held + held.MemorySize
        state.Tasks.Add task
        task

    let private put (state: State) (task: Task) place =
        if task.IsBegun then
            task.Progress.FailedBy <- failedBy task

        let isSuspected = task.Losses >= SchedulerLimits.lossesMax - 1

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

    /// Adds a task that is in no list to its queue, by the latest event.
    let enqueue (state: State) (task: Task) place =
        task.Place <-
            match place with
            | Front -> -state.LastEvent
            | Back -> state.LastEvent

        put state task place

    let requeue state task place =
        leave state task
        enqueue state task place

    /// Puts a task that no event took out of its queue back to the front.
    let putBack state (task: Task) =
        let since = task.Since
        leave state task
        put state task Front
        task.Since <- since

    /// Adds a task that has its place already; `State.Sort` moves it there.
    let putUnsorted (state: State) task =
        state.IsUnsorted <- true
        put state task Back

    /// Stores a part of the result of a task in pieces, which came with event `number`.
    let fill (state: State) number (whole: Task) index part =
        match whole.Pieces with
        | null -> ()
        | pieces ->
            pieces.Fill(index, state.Kept(number, part))

            if whole.State.IsSplit then
                whole.State <- TaskState.Split pieces.Splitting

    /// The state of a task as it is carried.
    let stateOf (task: Task) : CarriedState =
        match task.State with
        | TaskState.Queued
        | TaskState.Split Splitting.Cutting -> CarriedState.Queued
        | TaskState.Suspected -> CarriedState.Suspected
        | TaskState.Running worker -> CarriedState.Running worker.Session
        | TaskState.Split _ -> CarriedState.Split
        | TaskState.Waiting until -> CarriedState.Waiting until
        | TaskState.Publishing -> CarriedState.Publishing
        | TaskState.Succeeding older -> CarriedState.Succeeding older.Id
        | TaskState.Quarantined -> CarriedState.Quarantined
        | TaskState.Ended -> invalidOp "a task that has ended is not carried"
