namespace FsScheduler.Machine

open FsScheduler.Core

/// Applies carried state: it is known already, or, where older events were dropped, restored. For `Apply` alone.
module internal ApplyCarried =

    let private run (state: State) (task: Task) session =
        let worker = state.WorkerOf session
        Transition.enter state task worker.Running
        state.IsUnsorted <- true
        worker.Ceiling <- max worker.Ceiling worker.Held.Count

        if task.Losses >= SchedulerLimits.lossesMax - 1 then
            state.Workers.Reserve(worker, task)

    /// Puts a task that is in no list into its state.
    let private place (state: State) (task: Task) (carried: CarriedTask) =
        task.Place <- carried.place

        match carried.state with
        | CarriedState.Queued
        | CarriedState.Suspected -> Transition.putUnsorted state task
        | CarriedState.Running session -> run state task session
        | CarriedState.Split ->
            match task.Pieces with
            | null -> Transition.putUnsorted state task
            | pieces -> Transition.enter state task (TaskState.Split pieces.Splitting)
        | CarriedState.Waiting until ->
            // A clock that was set back makes no delay longer than the longest.
            let latest = state.Now + Backoff.delayMax
            let until = if until - latest > 0L<ms> then latest else until
            Transition.enter state task (TaskState.Waiting until)
        | CarriedState.Publishing -> Transition.enter state task TaskState.Publishing
        | CarriedState.Succeeding older ->
            match state.Tasks.Find older with
            | null -> Transition.putUnsorted state task
            | older -> Transition.enter state task (TaskState.Succeeding older)
        | CarriedState.Quarantined -> Transition.enter state task TaskState.Quarantined

        task.Since <- carried.since
        task.Place <- carried.place

    let private go (state: State) (task: Task) (carried: CarriedProgress) =
        let progress = task.Begin()
        progress.Attempt <- carried.attempt
        progress.Failures <- carried.failures
        progress.Losses <- byte carried.losses
        progress.Stage <- byte carried.stage
        progress.StageEnd <- byte carried.stageEnd
        progress.PastFailures <- carried.pastFailures

        match carried.result with
        | ValueSome result ->
            progress.Payload <- Kept(state.Kept(state.LastEvent, result))
            progress.IsResult <- true
        | ValueNone -> ()

        match carried.pieces with
        | ValueSome pieces ->
            progress.Pieces <- PieceStages.pieces task pieces.cuts pieces.last pieces.pipeline
        | ValueNone -> ()

    /// Whether a task is of a newer version of its file than the known one: task numbers ascend.
    let private isNewest (state: State) (task: Task) =
        match state.Files.TryGetValue task.Submission.Name with
        | true, other -> other.Id < task.Id
        | _ -> true

    let private make (state: State) (carried: CarriedTask) (submission: Submission) : Task =
        let task = Transition.add state carried.task submission carried.pipeline
        ValueOption.iter (go state task) carried.progress
        state.Backpressure.Add task
        task

    let private create (state: State) (carried: CarriedTask) =
        match carried.submission.Origin with
        | Client(_, want, key) ->
            match key with
            | Some key -> state.Keys.Add(key, carried.task, want, state.LastEvent) |> ignore
            | None -> ()

            place state (make state carried carried.submission) carried
        | Folder ->
            let task = make state carried carried.submission

            if isNewest state task then
                state.Files[task.Submission.Name] <- task

            place state task carried
        | Piece(whole, index) ->
            match state.Tasks.Find whole with
            | null -> () // the whole has ended, and so has its piece
            | whole ->
                match whole.Pieces with
                | null -> ()
                | pieces ->
                    let range = pieces.SliceOf(whole.Payload, index)
                    let piece = carried.submission.Piece(whole.Id, index, range)
                    let task = make state carried piece
                    task.Begin().Downstream <- pieces.Downstream
                    pieces.Add(index, task)
                    place state task carried

    /// The latest event has the task too.
    let private relocate (state: State) (task: Task) =
        task.CarryTo state.LastEvent

        match task.Payload with
        | Kept result when task.IsResult ->
            task.Progress.Payload <- Kept(state.Kept(state.LastEvent, result))
        | _ -> ()

        match task.Submission.Origin with
        | Client(_, _, Some key) ->
            match state.Keys.Find key with
            | ValueSome entry when entry.task = task.Id ->
                state.Keys.CarryTo(entry, state.LastEvent)
            | _ -> ()
        | Client(_, _, None)
        | Folder
        | Piece _ -> ()

    let private task (state: State) (carried: CarriedTask) =
        match state.Tasks.Find carried.task with
        | null -> create state carried
        | task ->
            relocate state task

            // A newer version of a file whose older version was in dropped events only.
            if Transition.stateOf task <> carried.state then
                Transition.leave state task
                place state task carried

            task.Since <- carried.since

    let private key (state: State) (carried: CarriedKey) =
        match state.Keys.Find carried.key with
        | ValueSome entry when entry.task = carried.task ->
            state.Keys.CarryTo(entry, state.LastEvent)

            entry.outcome <-
                entry.outcome
                |> ValueOption.map (fun struct (outcome, result) ->
                    struct (outcome, state.Kept(state.LastEvent, result)))
        | _ ->
            let entry = state.Keys.Add(carried.key, carried.task, carried.want, state.LastEvent)

            let outcome = Done.kept carried.task carried.attempts carried.error

            let result = state.Kept(state.LastEvent, carried.result)
            state.Keys.Finish(entry, outcome, result, carried.finished)

            match carried.delivered with
            | ValueSome at -> state.Keys.Deliver(carried.task, at)
            | ValueNone -> ()

    let private file (state: State) (carried: CarriedFile) =
        state.Taken.Take(
            carried.name,
            {
                version = carried.version
                task = carried.task
                pipeline = carried.pipeline
                isDone = carried.isDone
                number = state.LastEvent
            }
        )

        match carried.unflushed with
        | ValueSome result -> state.Taken.AddUnflushed(carried.name, result)
        | ValueNone -> ()

    /// Applies carried state. `State.LastEvent` is the number of the event.
    let apply (state: State) (carried: Carried) =
        match carried with
        | Carried.Task carried -> task state carried
        | Carried.Part(whole, index, part) ->
            match state.Tasks.Find whole with
            | null -> ()
            | whole -> Transition.fill state state.LastEvent whole index part
        | Carried.Key carried -> key state carried
        | Carried.File carried -> file state carried
        | Carried.Owner(name, source) -> state.Own(name, source)
        | Carried.Worker(session, name, stages) -> state.Introduce(session, name, stages)
