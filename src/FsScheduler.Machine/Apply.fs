namespace FsScheduler.Machine

open FsScheduler.Core

/// Applies events: the only place where an event changes the state, while deciding, at a restart, and in `replay`. It
/// decides nothing, refuses nothing and asks for no effect. Files that become useless are collected in
/// `State.Released`, for the rule.
module internal Apply =

    // Submitted tasks.

    /// A version waits for the older one, if that has not ended: a superseded version has ended by an event before.
    let private fileSubmitted (state: State) id (submission: Submission) pipeline =
        let name = submission.Name
        let task = Transition.add state id submission pipeline

        match state.Files.TryGetValue name with
        | true, older -> Transition.enter state task (TaskState.Succeeding older)
        | false, _ -> Transition.enqueue state task Back

        state.Files[name] <- task

        match Payload.version submission.Payload with
        | ValueSome version ->
            let file = {
                version = version
                task = id
                pipeline = pipeline
                isDone = false
                number = state.LastEvent
            }

            state.Taken.Take(name, file)
        | ValueNone -> ()

    /// A piece is queued like a task that was begun: before new tasks, so that a begun file gets finished. Its part is
    /// missing: an earlier one was not kept, or was given up.
    let private pieceSubmitted
        (state: State)
        id
        (whole: Task)
        index
        (submission: Submission)
        pipeline
        =
        let pieces = nonNull whole.Progress.Pieces

        // The journal leaves out the range, which follows from the whole.
        let submission =
            if submission.Payload.IsSlice then
                submission
            else
                submission.Piece(whole.Id, index, pieces.SliceOf(whole.Payload, index))

        let piece = Transition.add state id submission pipeline
        piece.Begin().Downstream <- pieces.Downstream
        pieces.Lose index
        pieces.Add(index, piece)
        whole.State <- TaskState.Split pieces.Splitting
        Transition.enqueue state piece Back

    let private submitted (state: State) id (submission: Submission) pipeline =
        match submission.Origin with
        | Client(_, want, key) ->
            Transition.enqueue state (Transition.add state id submission pipeline) Back

            match key with
            | Some key -> state.Keys.Add(key, id, want, state.LastEvent) |> ignore
            | None -> ()
        | Folder -> fileSubmitted state id submission pipeline
        | Piece(whole, index) ->
            match state.Tasks.Find whole with
            | null -> () // the whole has ended, and so has its piece
            | whole ->
                if whole.State.IsSplit then
                    pieceSubmitted state id whole index submission pipeline

    // Running tasks.

    /// A task leaves its list before it is changed: the list may find it by the changed fields.
    let private take (state: State) (task: Task) : Progress =
        Transition.leave state task
        task.Begin()

    /// Releases the parts of a result.
    let private dropParts (state: State) (progress: Progress) =
        match progress.Pieces with
        | null -> ()
        | pieces ->
            Array.iter (KeptContent.file >> state.Release) pieces.Parts
            progress.Pieces <- null

    let private assigned (state: State) (worker: Worker) (task: Task) number last =
        if task.State.IsSuspected then
            // A suspect keeps its worker for itself while it runs.
            state.Queues.Suspects.Remove task
            state.Workers.Reserve(worker, task)
        else
            Transition.leave state task

        let progress = task.Begin()
        dropParts state progress // from when the task was in pieces
        progress.Attempt <- number
        progress.StageEnd <- byte last
        Transition.enter state task worker.Running

        if worker.IsAbsent then
            worker.Ceiling <- worker.Held.Count

    /// A worker goes on with a task from before a restart, of its own or of an earlier connection.
    let private claimed (state: State) (worker: Worker) (task: Task) (absent: Worker) =
        let isReserved = obj.ReferenceEquals(absent.Reserved, task)
        Transition.leave state task
        Transition.enter state task worker.Running
        worker.Ceiling <- max worker.Ceiling worker.Held.Count

        if isReserved then
            state.Workers.Reserve(worker, task)

    /// The result of some stages, or the merged parts, becomes the payload of the next stage.
    let private advanced (state: State) (task: Task) stage result =
        let progress = take state task
        state.Unload task

        match progress.Pieces with
        | null -> ()
        | pieces -> task.Pipeline <- PieceStages.merging task pieces

        dropParts state progress
        state.Release(Payload.file progress.Payload)
        progress.Payload <- Kept result
        progress.IsResult <- true
        progress.Stage <- byte stage
        progress.StageEnd <- byte stage
        state.Backpressure.Add task
        Transition.enqueue state task Back

    let private split (state: State) (task: Task) number last others cuts =
        let progress = take state task
        progress.Attempt <- number
        progress.StageEnd <- byte last

        let pipeline =
            match others with
            | ValueSome others -> others
            | ValueNone -> Pipeline.ofStages task.Pipeline.stages[task.Stage .. last - 1]

        // The parts of equal pieces are good for this attempt too.
        let pieces =
            match progress.Pieces with
            | null -> PieceStages.pieces task cuts last pipeline
            | pieces when pieces.Cuts = cuts && pieces.Pipeline = pipeline -> pieces
            | _ ->
                dropParts state progress
                PieceStages.pieces task cuts last pipeline

        progress.Pieces <- pieces
        Transition.enter state task (TaskState.Split pieces.Splitting)

    let private partLost (state: State) (whole: Task) index =
        match whole.Pieces with
        | null -> ()
        | pieces ->
            ValueOption.iter (KeptContent.file >> state.Release) (pieces.PartOf index)
            pieces.Lose index

            if whole.State.IsSplit then
                whole.State <- TaskState.Split pieces.Splitting

    let private accepted (state: State) (task: Task) =
        let progress = take state task
        dropParts state progress
        Transition.enter state task TaskState.Publishing

    // Failed tasks.

    /// Remembers a failure, and counts it against the task where the task may be its cause.
    let private failed (state: State) (task: Task) (failure: Failure) =
        let progress = take state task

        match failure.cause with
        | TaskError -> progress.Failures <- progress.Failures + 1
        | WorkerLost -> progress.Losses <- progress.Losses + 1uy
        | WorkerLeft
        | StorageError
        | WorkerUnable -> ()

        progress.PastFailures <-
            failure
            :: List.truncate (SchedulerLimits.pastFailuresMax - 1) progress.PastFailures

    let private retried (state: State) (task: Task) =
        let progress = take state task
        progress.Failures <- 0
        progress.Losses <- 0uy

        // Parts that could not be merged are not trusted another time.
        match progress.Pieces with
        | null -> ()
        | pieces ->
            if pieces.Missing = 0 then
                dropParts state progress

        Transition.enqueue state task Back

    // Ended tasks.

    /// Keeps the outcome of a task for submissions with its key. Once events are dropped, only the last attempt is
    /// known.
    let private keep (state: State) number (task: Task) attempts error result =
        match task.Submission.Origin with
        | Client(_, _, Some key) ->
            match state.Keys.Find key with
            | ValueSome entry ->
                let outcome = Done.kept task.Id attempts error
                state.Keys.Finish(entry, outcome, state.Kept(number, result), state.Now)
            | ValueNone -> ()
        | Client(_, _, None)
        | Folder
        | Piece _ -> ()

    /// Makes the version that this one waited for, if any, the newest of the file. A version that waits for this one is
    /// woken by an event of its own.
    let private forgetFile (state: State) (task: Task) =
        let name = task.Submission.Name

        match state.Files.TryGetValue name with
        | true, newest when obj.ReferenceEquals(newest, task) ->
            match task.State with
            | TaskState.Succeeding older -> state.Files[name] <- older
            | _ -> state.Files.Remove name |> ignore
        | _ -> ()

    let private forgetPiece (state: State) (task: Task) whole index =
        match state.Tasks.Find whole with
        | null -> ()
        | whole ->
            match whole.Pieces with
            | null -> ()
            | pieces -> pieces.Remove(index, task)

    let private ended (state: State) number (task: Task) attempts error result =
        keep state number task attempts error result

        match task.Submission.Origin with
        | Folder -> forgetFile state task
        | Piece(whole, index) -> forgetPiece state task whole index
        | Client _ -> ()

        Transition.leave state task
        Transition.enter state task TaskState.Ended

        if task.IsBegun then
            dropParts state task.Progress

        state.Unload task
        state.Tasks.Remove task
        state.Held <- state.Held - task.Submission.MemorySize
        state.Release(Payload.file task.Payload)

    let private completed (state: State) number (task: Task) (attempt: Attempt) kept =
        match task.Submission.Origin, kept with
        | Folder, StoredResult hash -> state.Taken.Done(task.Submission.Name, task.Id, number, hash)
        | _ -> ()

        let result =
            match kept with
            | KeptResult result -> result
            | NothingKept
            | StoredResult _ -> KeptContent.empty

        ended state number task attempt.number None result

    // Notes, and state of dropped events.

    let private noted (state: State) (note: Note) =
        match note with
        | Note.Owner(name, ValueSome source) -> state.Own(name, source)
        | Note.Owner(name, ValueNone) -> state.Owners.Remove name |> ignore
        | Note.Delivered task -> state.Keys.Deliver(task, state.Now)
        | Note.Flushed number ->
            state.FlushedUpTo <- max state.FlushedUpTo number
            state.Taken.Flush number
        | Note.Damaged file -> state.Taken.Forget file

    let rec private forget (index: EventIndex<'item>) before =
        if (index.TryTake before).IsSome then
            forget index before

    let private dropped (state: State) before (totals: Totals) =
        List.iter (KeptContent.file >> state.Release) (state.Keys.Drop before)
        forget state.Taken.Index before
        forget state.OwnerIndex before
        forget state.WorkerIndex before
        state.Finished <- totals.completed
        state.Cancelled <- totals.cancelled
        state.LastId <- max state.LastId totals.lastTask
        state.LastSession <- max state.LastSession totals.lastSession
        state.Learn totals.known

    // Without an event, because after a restart it begins again from where the task was.

    /// Takes a queued task out of its queue while the places to cut it are found.
    let cutting (state: State) (task: Task) (areParts: bool) =
        let progress = take state task

        if not areParts then
            dropParts state progress

        Transition.enter state task (TaskState.Split Splitting.Cutting)

    let uncut (state: State) (task: Task) = Transition.putBack state task

    /// Skips a task that is not there: it has ended, and the journal has forgotten it.
    let inline private onTask (state: State) id ([<InlineIfLambda>] change: Task -> unit) =
        match state.Tasks.Find id with
        | null -> ()
        | task -> change task

    /// <summary>Applies an event.</summary>
    /// <param name="state">`State.Now` is the time of the event.</param>
    /// <param name="number">The number of the event.</param>
    /// <param name="event">Any event of any journal: tasks and workers in it may have been dropped.</param>
    let event (state: State) (number: int64) (event: Event) =
        match event with
        | Event.Submitted(id, submission, pipeline) -> submitted state id submission pipeline
        | Event.Assigned(attempt, session, struct (_, last)) ->
            onTask state attempt.task (fun task ->
                assigned state (state.WorkerOf session) task attempt.number last)
        | Event.Claimed(attempt, session) ->
            onTask state attempt.task (fun task ->
                match task.State with
                | TaskState.Running absent -> claimed state (state.WorkerOf session) task absent
                | _ -> ())
        | Event.Advanced(attempt, stage, result) ->
            onTask state attempt.task (fun task -> advanced state task stage result)
        | Event.Split(attempt, last, others, cuts) ->
            onTask state attempt.task (fun task -> split state task attempt.number last others cuts)
        | Event.Part(whole, index, part) ->
            onTask state whole (fun whole -> Transition.fill state number whole index part)
        | Event.PartLost(whole, index) ->
            onTask state whole (fun whole -> partLost state whole index)
        | Event.Speculated _ -> () // the second task of the piece has its own Submitted
        | Event.Delayed(id, failure, delay) ->
            onTask state id (fun task ->
                failed state task failure
                Transition.enter state task (TaskState.Waiting(state.Now + delay)))
        | Event.Woken id -> onTask state id (fun task -> Transition.requeue state task Back)
        | Event.Requeued(id, failure) ->
            onTask state id (fun task ->
                failed state task failure
                Transition.enqueue state task Front)
        | Event.Quarantined(id, failure) ->
            onTask state id (fun task ->
                failed state task failure
                Transition.enter state task TaskState.Quarantined)
        | Event.Retried id -> onTask state id (fun task -> retried state task)
        | Event.Accepted(attempt, result) ->
            match result with
            | AcceptedMark mark -> state.Marks[attempt] <- mark
            | AcceptedContent _ -> ()

            onTask state attempt.task (fun task -> accepted state task)
        | Event.Completed(attempt, kept) ->
            state.Finished <- state.Finished + 1L
            onTask state attempt.task (fun task -> completed state number task attempt kept)
        | Event.Cancelled(id, reason) ->
            state.Cancelled <- state.Cancelled + 1L

            onTask state id (fun task ->
                ended state number task task.Attempt (Some reason) KeptContent.empty)
        | Event.Gone name -> state.Taken.Forget name
        | Event.Joined(session, name, stages) -> state.Introduce(session, name, stages)
        | Event.Left(session, _, _) ->
            match state.Workers.Find session with
            | null -> ()
            | worker -> state.Workers.Remove worker
        | Event.Opened _ -> ()
        | Event.Noted note -> noted state note
        | Event.Carried carried -> ApplyCarried.apply state carried
        | Event.Dropped(before, totals) -> dropped state before totals

[<AutoOpen>]
module internal Recording =

    type State with

        /// Appends an event to the output, and applies it: the state has changed from here on.
        member state.Record(event: Event) =
            state.LastEvent <- state.LastEvent + 1L
            state.StepOutput.Events.Add event
            Apply.event state state.LastEvent event
