namespace FsScheduler.Core

/// What can happen, and what is so afterwards: here alone an event changes the state, while it is decided, at a restart, and in
/// `replay`. It decides nothing, refuses nothing and asks for nothing: it has happened. Files that are of no use any more are
/// put into `State.Released`, for the rule.
module internal Apply =

    // Tasks that come.

    /// A version of a file comes after the one that has not given way to it, whose end would have been told of before.
    let private fileSubmitted (state: State) id (submission: Submission) pipeline =
        let name = submission.Name
        let task = Transition.add state id submission pipeline

        match state.Files.TryGetValue name with
        | true, older -> Transition.enter state task (TaskState.Succeeding older)
        | false, _ -> Transition.enqueue state task Back

        state.Files[name] <- task

        match submission.Payload with
        | Input version ->
            let file = {
                version = version
                task = id
                pipeline = pipeline
                isDone = false
                number = state.LastEvent
            }

            state.Taken.Take(name, file)
        | Packed
        | Bytes _
        | Spooled _
        | Journaled
        | Recorded _
        | Slice _ -> ()

    /// A piece is in its queue like what was given out before: it goes before what is new, so that a file that was begun comes
    /// to its end. Its part was missing by then: one from before was not kept, or was given up.
    let private pieceSubmitted
        (state: State)
        id
        (whole: Task)
        index
        (submission: Submission)
        pipeline
        =
        let pieces = nonNull whole.Progress.Pieces

        // The journal leaves out what follows from the task that it is a piece of.
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
            | null -> () // it has ended, and so has this
            | whole ->
                if whole.State.IsSplit then
                    pieceSubmitted state id whole index submission pipeline

    // Tasks that are worked on.

    /// A task leaves its place before it is changed: what it is found by there may be what changes.
    let private take (state: State) (task: Task) : Progress =
        Transition.leave state task
        task.Begin()

    /// Lets go of what is there of a result.
    let private dropParts (state: State) (progress: Progress) =
        match progress.Pieces with
        | null -> ()
        | pieces ->
            Array.iter state.Release pieces.Parts
            progress.Pieces <- null

    let private assigned (state: State) (worker: Worker) (task: Task) number last =
        if task.State.IsSuspected then
            // It keeps its worker for itself while it runs.
            state.Queues.Suspects.Remove task
            state.Workers.Reserve(worker, task)
        else
            Transition.leave state task

        let progress = task.Begin()
        dropParts state progress // left of a time when it was worked on in pieces
        progress.Attempt <- number
        progress.StageEnd <- byte last
        Transition.enter state task worker.Running

        if worker.IsAbsent then
            worker.Ceiling <- worker.Held.Count

    /// A worker goes on with what it held before a restart: its own, or that of the connection it had then.
    let private claimed (state: State) (worker: Worker) (task: Task) (absent: Worker) =
        let isReserved = obj.ReferenceEquals(absent.Reserved, task)
        Transition.leave state task
        Transition.enter state task worker.Running
        worker.Ceiling <- max worker.Ceiling worker.Held.Count

        if isReserved then
            state.Workers.Reserve(worker, task)

    /// The result of some stages, or what the parts of a task that was in pieces give together, is what the next stage reads.
    let private advanced (state: State) (task: Task) stage payload =
        let progress = take state task
        state.Unload task

        match progress.Pieces with
        | null -> ()
        | pieces -> task.Pipeline <- PieceStages.merging task pieces

        dropParts state progress
        state.Release progress.Payload
        progress.Payload <- payload
        progress.IsResult <- true
        progress.Stage <- byte stage
        progress.StageEnd <- byte stage
        state.Backlog.Add task
        Transition.enqueue state task Back

    let private split (state: State) (task: Task) number last others cuts =
        let progress = take state task
        progress.Attempt <- number
        progress.StageEnd <- byte last

        let pipeline =
            match others with
            | ValueSome others -> others
            | ValueNone -> Pipeline.ofStages task.Pipeline.stages[task.Stage .. last - 1]

        // The parts of the same pieces are good for this attempt too.
        let pieces =
            match progress.Pieces with
            | null -> PieceStages.pieces task cuts last pipeline
            | pieces when pieces.Cuts = cuts && pieces.Pipeline = pipeline -> pieces
            | _ ->
                dropParts state progress
                PieceStages.pieces task cuts last pipeline

        progress.Pieces <- pieces
        Transition.enter state task (TaskState.Split pieces.Splitting)

    let private accepted (state: State) (task: Task) =
        let progress = take state task
        dropParts state progress
        Transition.enter state task TaskState.Publishing

    // Tasks that fail.

    /// Counts what went wrong against the task, if it is to blame for it, and remembers it.
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

        // Where all parts are there and could not be merged, none of them is trusted another time.
        match progress.Pieces with
        | null -> ()
        | pieces ->
            if pieces.Missing = 0 then
                dropParts state progress

        Transition.enqueue state task Back

    // Tasks that end.

    /// How a task ended is kept for those who come with its key. Where the journal forgets, it has no attempts of it but the
    /// last.
    let private keep (state: State) number (task: Task) attempts error payload =
        match task.Submission.Origin with
        | Client(_, _, Some key) ->
            match state.Keys.Find key with
            | ValueSome entry ->
                let outcome = Done.kept task.Id attempts error
                state.Keys.Finish(entry, outcome, state.Kept(number, payload), state.Now)
            | ValueNone -> ()
        | Client(_, _, None)
        | Folder
        | Piece _ -> ()

    /// The newest version of a file is now the one that this one waited for, if there is one. What waits for this one is woken
    /// by an event of its own.
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

    let private ended (state: State) number (task: Task) attempts error payload =
        keep state number task attempts error payload

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
        state.Release task.Payload

    let private completed (state: State) number (task: Task) (attempt: Attempt) remainder =
        match task.Submission.Origin, remainder with
        | Folder, StoredResult hash -> state.Taken.Done(task.Submission.Name, task.Id, number, hash)
        | _ -> ()

        let result =
            match remainder with
            | KeptResult result -> result
            | NothingKept
            | StoredResult _ -> Payload.empty

        ended state number task attempt.number None result

    // What the journal remembers beside tasks.

    let private noted (state: State) (note: Note) =
        match note with
        | Note.Owner(name, ValueSome source) -> state.Own(name, source)
        | Note.Owner(name, ValueNone) -> state.Owners.Remove name |> ignore
        | Note.Delivered task -> state.Keys.Deliver(task, state.Now)
        | Note.Flushed number ->
            state.FlushedUpTo <- max state.FlushedUpTo number
            state.Taken.Flush number
        | Note.Damaged file -> state.Taken.Forget file

    let rec private forget (homes: Homes<'item>) before =
        if (homes.TryTake before).IsSome then
            forget homes before

    let private dropped (state: State) before (totals: Totals) =
        List.iter state.Release (state.Keys.Drop before)
        forget state.Taken.Homes before
        forget state.OwnerHomes before
        forget state.WorkerHomes before
        state.Finished <- totals.completed
        state.Cancelled <- totals.cancelled
        state.LastId <- max state.LastId totals.lastTask
        state.LastSession <- max state.LastSession totals.lastSession
        state.Learn totals.known

    // What no event tells, because after a restart it begins again from where the task was.

    /// It is looked for where a queued task, which is not in its queue meanwhile, can be cut.
    let cutting (state: State) (task: Task) (areParts: bool) =
        let progress = take state task

        if not areParts then
            dropParts state progress

        Transition.enter state task (TaskState.Split Splitting.Cutting)

    /// It is not cut after all.
    let uncut (state: State) (task: Task) = Transition.putBack state task

    /// A task that is not there has ended, and is forgotten by the journal.
    let inline private onTask (state: State) id ([<InlineIfLambda>] change: Task -> unit) =
        match state.Tasks.Find id with
        | null -> ()
        | task -> change task

    /// <summary>Makes an event so.</summary>
    /// <param name="state">Its time is that of the event.</param>
    /// <param name="number">The event's.</param>
    /// <param name="event">Any, of any journal: what it speaks of may have been dropped.</param>
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
        | Event.Advanced(attempt, stage, payload) ->
            onTask state attempt.task (fun task -> advanced state task stage payload)
        | Event.Split(attempt, last, others, cuts) ->
            onTask state attempt.task (fun task -> split state task attempt.number last others cuts)
        | Event.Part(whole, index, part) ->
            onTask state whole (fun whole -> Transition.fill state number whole index part)
        | Event.Speculated _ -> () // the second task of the piece is submitted like the first
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
            | AcceptedPayload _ -> ()

            onTask state attempt.task (fun task -> accepted state task)
        | Event.Completed(attempt, remainder) ->
            state.Finished <- state.Finished + 1L
            onTask state attempt.task (fun task -> completed state number task attempt remainder)
        | Event.Cancelled(id, reason) ->
            state.Cancelled <- state.Cancelled + 1L

            onTask state id (fun task ->
                ended state number task task.Attempt (Some reason) Payload.empty)
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

        /// Something happens: it is to be made durable, and is so from here on.
        member state.Record(event: Event) =
            state.LastEvent <- state.LastEvent + 1L
            state.StepOutput.Events.Add event
            Apply.event state state.LastEvent event
