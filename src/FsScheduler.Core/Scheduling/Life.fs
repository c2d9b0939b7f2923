namespace FsScheduler.Core

/// Where a task comes back into its queue.
[<Struct>]
type internal Place =
    | Front
    | Back

/// The life of a task, from one state to the next.
module internal Life =

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
        | TaskState.Waiting _ -> state.WaitingCount <- state.WaitingCount - 1
        | TaskState.Publishing -> state.Publishing <- state.Publishing - 1
        | TaskState.Succeeding older -> state.Successors.Remove older.Id |> ignore
        | TaskState.Quarantined -> state.Quarantined <- state.Quarantined - 1
        | TaskState.Ended -> ()

    let enter (state: State) (task: Task) taskState =
        task.State <- taskState
        task.Since <- state.Now

        match taskState with
        | TaskState.Queued
        | TaskState.Suspected -> state.IsChanged <- true
        | TaskState.Running worker ->
            state.Workers.Give(worker, task)
            state.Running <- state.Running + 1
        | TaskState.Waiting until ->
            state.Waiting.Enqueue(task, struct (until.sinceStart, task.Id))
            state.WaitingCount <- state.WaitingCount + 1
        | TaskState.Publishing -> state.Publishing <- state.Publishing + 1
        | TaskState.Succeeding older -> state.Successors.Add(older.Id, task)
        | TaskState.Quarantined -> state.Quarantined <- state.Quarantined + 1
        | TaskState.Ended -> ()

    let move state task taskState =
        leave state task
        enter state task taskState

    /// Puts a task that is in no list into its queue.
    let enqueue (state: State) (task: Task) place =
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

    let remember (task: Task) (trouble: Trouble) =
        let progress = task.Progress
        progress.Troubles <- trouble :: List.truncate (Limits.troublesMax - 1) progress.Troubles

    /// A new task, in no list yet. While more waits than is to be held in memory, it is left to the journal.
    let add (state: State) id (submission: Submission) pipeline =
        state.LastId <- max state.LastId id

        let held =
            match submission.Origin with
            | Client _ when
                submission.Payload.IsPacked
                && state.Held + submission.MemorySize > state.Settings.memory
                ->
                submission.File()
            | Client _
            | Folder -> submission

        let task = Task(id, held, pipeline)
        state.Held <- state.Held + held.MemorySize
        state.Tasks.Add task
        task

    let private record (state: State) (submission: Submission) pipeline =
        let id = state.LastId + 1L<taskId>
        state.Record(Event.Submitted(id, submission, pipeline))
        add state id submission pipeline

    let submit state submission pipeline =
        let task = record state submission pipeline
        enqueue state task Back
        task

    /// Sends an attempt to its worker, once all that it needs is at hand.
    let send (state: State) (worker: Worker) (task: Task) =
        let stages = task.Pipeline.stages
        let progress = task.Progress
        let first, last = int progress.Stage, int progress.StageEnd

        let message = {
            attempt = state.AttemptOf task
            name = task.Submission.Name
            stages =
                if last - first = stages.Length then
                    task.Pipeline.wire
                else
                    task.Pipeline.wire[first .. last - 1]
            timeout = state.Settings.taskTimeout
        }

        state.Ask(Effect.Assign(worker.Session, message, task.Submission, progress.Payload))

    /// A task, wherever it is, becomes an attempt of a worker that runs its stages up to before `last`.
    let start (state: State) (worker: Worker) (task: Task) number last =
        match task.State with
        // It keeps its reservation while it runs: nothing else is put beside it.
        | TaskState.Suspected -> state.Queues.Suspects.Remove task
        | _ -> leave state task

        let progress = task.Begin()
        progress.Attempt <- number
        progress.StageEnd <- byte last
        enter state task worker.Running

    /// Gives a queued task to a worker: its next stage, and as many of the following ones as it can run.
    let assign (state: State) (worker: Worker) (task: Task) =
        let stages = task.Pipeline.stages
        let first = task.Stage
        let mutable last = first + 1

        while last < stages.Length && worker.Can stages[last].demand do
            last <- last + 1

        start state worker task (task.Attempt + 1) last
        let attempt = state.AttemptOf task
        state.Record(Event.Assigned(attempt, worker.Session, struct (first, last)))

        if task.Submission.IsFiled then
            state.Ask(Effect.Recall attempt)
        else
            send state worker task

    /// What the journal had of a task that is given out is at hand.
    let recalled (state: State) (worker: Worker) (task: Task) (submission: Submission) =
        state.Held <- state.Held + submission.MemorySize - task.Submission.MemorySize
        task.Submission <- submission.From task.Submission.Origin

        if task.Progress.Payload.IsFiled then
            task.Progress.Payload <- submission.Payload

        send state worker task

    /// Takes an ended task out of the files, and lets the version behind it go on.
    let private forgetFile (state: State) (task: Task) =
        let name = task.Submission.Name

        match state.Files.TryGetValue name, task.State with
        | (true, newest), TaskState.Succeeding older when obj.ReferenceEquals(newest, task) ->
            state.Files[name] <- older
        | (true, newest), _ when obj.ReferenceEquals(newest, task) ->
            state.Files.Remove name |> ignore
        | _ -> ()

        match state.Successors.TryGetValue task.Id with
        | true, successor -> requeue state successor Back
        | _ -> ()

    let forget (state: State) (task: Task) =
        match task.Submission.Origin with
        | Folder -> forgetFile state task
        | Client _ -> ()

        move state task TaskState.Ended
        state.Tasks.Remove task
        state.Held <- state.Held - task.Submission.MemorySize
        state.Discard task.Payload

    /// Forgets a task that ended now. The version of its file that waited for it has its place in the queue from here on,
    /// and keeps it over a restart.
    let private release (state: State) (task: Task) =
        let successor = state.Successors.TryGetValue task.Id
        forget state task

        match successor with
        | true, successor -> state.Record(Event.Woken successor.Id)
        | _ -> ()

    let complete (state: State) (task: Task) result stored =
        let remainder =
            match stored with
            | ValueSome proof -> StoredResult proof
            | ValueNone when Answers.isKept state task -> KeptResult result
            | ValueNone -> NothingLeft

        state.Record(Event.Completed(state.AttemptOf task, remainder))
        state.Finished <- state.Finished + 1L
        state.Rates.Add state.Now
        release state task
        Answers.settle state task None result

    let cancel (state: State) (task: Task) reason =
        match task.State with
        | TaskState.Running worker -> state.Ask(Effect.Revoke(worker.Session, state.AttemptOf task))
        | TaskState.Queued
        | TaskState.Suspected
        | TaskState.Waiting _
        | TaskState.Publishing
        | TaskState.Succeeding _
        | TaskState.Quarantined
        | TaskState.Ended -> ()

        state.Record(Event.Cancelled(task.Id, reason))
        state.Cancelled <- state.Cancelled + 1L
        release state task
        Answers.settle state task (Some reason) Payload.empty

    let superseded = "superseded by a newer version of the file"

    /// A version of a file: the older ones give way, but for one whose result is on its way to the name
    /// that this one's will have. This one comes after it.
    let submitFile (state: State) (submission: Submission) pipeline =
        let name = submission.Name

        match state.Files.TryGetValue name with
        | true, older when older.State <> TaskState.Publishing -> cancel state older superseded
        | _ -> ()

        let task = record state submission pipeline

        match state.Files.TryGetValue name with
        | true, publishing -> enter state task (TaskState.Succeeding publishing)
        | _ -> enqueue state task Back

        state.Files[name] <- task

    let private quarantine (state: State) (task: Task) (trouble: Trouble) =
        remember task trouble
        move state task TaskState.Quarantined
        state.Record(Event.Quarantined(task.Id, trouble))

        match task.Submission.Origin with
        | Folder
        | Client(_, File, _) ->
            let troubles = List.rev task.Progress.Troubles
            state.Ask(Effect.PublishError(task.Id, task.Submission, troubles))
        | Client(_, (Result | Nothing), _) -> ()

        Answers.tellAll state task (Some trouble.error) Payload.empty false

    /// Counts what went wrong against the task, if it is to blame for it.
    let blame (task: Task) (trouble: Trouble) =
        let progress = task.Progress

        match trouble.cause with
        | Fault -> progress.Failures <- progress.Failures + 1
        | Loss -> progress.Losses <- progress.Losses + 1uy
        | Departure
        | Disk -> ()

    let fail (state: State) (task: Task) (trouble: Trouble) retry =
        let progress = task.Progress
        blame task trouble

        if
            trouble.cause = Fault
            && (not retry || progress.Failures >= state.Settings.maxAttempts)
        then
            quarantine state task trouble
        else
            remember task trouble

            let failures =
                match trouble.cause with
                | Disk ->
                    progress.Troubles
                    |> List.takeWhile (fun past -> past.cause = Disk)
                    |> List.length
                | Fault
                | Loss
                | Departure -> progress.Failures

            let struct (chance, number) = Backoff.random state.Chance
            state.Chance <- chance
            let delay = Backoff.delay failures number
            move state task (TaskState.Waiting(state.Now + delay))
            state.Record(Event.Delayed(task.Id, trouble, delay))

    /// Tries the waiting tasks again whose time has come.
    let wake (state: State) =
        let mutable task = Unchecked.defaultof<Task>
        let mutable due = struct (0L<ms>, 0L<taskId>)
        let isDue (struct (at, _)) = at <= state.Now.sinceStart

        while state.Waiting.TryPeek(&task, &due) && isDue due do
            state.Waiting.Dequeue() |> ignore
            let struct (at, _) = due

            match task.State with
            | TaskState.Waiting until when until.sinceStart = at ->
                state.Record(Event.Woken task.Id)
                requeue state task Back
            | _ -> () // cancelled meanwhile, or retried and waiting for another moment

    let retry (state: State) (task: Task) =
        task.Progress.Failures <- 0
        task.Progress.Losses <- 0uy
        state.Record(Event.Retried task.Id)
        requeue state task Back

    /// Takes back what a worker holds, and forgets the worker. One that took no more work may leave before
    /// it has finished, and one that never came back after a restart says nothing: neither is held against its tasks.
    let lose (state: State) (worker: Worker) reason =
        let cause = if worker.Slots = 0 then Departure else Loss

        // The latest first, so that the oldest comes to the very front.
        for task in Array.rev (Seq.toArray (worker.Held.ToSeq())) do
            let error = $"the worker {worker.Name} was lost: {reason}"
            let trouble = state.Trouble(task, cause, worker.Name, error)
            let progress = task.Progress
            blame task trouble

            if int progress.Losses >= Limits.lossesMax then
                let error =
                    $"{error}; it is the worker number {progress.Losses} lost with this task"

                quarantine state task { trouble with error = error }
            else
                remember task trouble
                requeue state task Front
                state.Record(Event.Requeued(task.Id, trouble))

        state.Record(Event.Left(worker.Session, worker.Name, reason))
        state.Workers.Remove worker
        state.IsChanged <- true

    /// Whether a worker that says that it holds a task can be the one that was given it.
    let mayClaim (worker: Worker) (task: Task) (absent: Worker) =
        let progress = task.Progress

        worker.Name = absent.Name
        && Seq.forall
            (fun index -> worker.Can task.Pipeline.stages[index].demand)
            (seq { int progress.Stage .. int progress.StageEnd - 1 })

    /// A worker goes on with what it held before a restart: its own, or that of the connection it had then.
    let claim (state: State) (worker: Worker) (task: Task) (absent: Worker) =
        let isReserved = obj.ReferenceEquals(absent.Reserved, task)
        leave state task
        enter state task worker.Running
        worker.Ceiling <- max worker.Ceiling worker.Held.Count

        if isReserved then
            state.Workers.Reserve(worker, task)

    /// The last stage is done.
    let publish (state: State) (task: Task) result =
        match task.Submission.Origin with
        | Client(_, (Result | Nothing), _) -> complete state task result ValueNone
        | Folder
        | Client(_, File, _) ->
            move state task TaskState.Publishing
            let attempt = state.AttemptOf task
            state.Record(Event.Accepted(attempt, result))
            state.Ask(Effect.Publish(attempt, task.Submission, result))

    /// Some stages are done, and another worker goes on from their result.
    let advance (state: State) (task: Task) result =
        let progress = task.Progress
        let stage = progress.StageEnd
        state.Record(Event.Advanced(state.AttemptOf task, int stage, result))
        state.Discard progress.Payload
        leave state task
        progress.Payload <- result
        progress.Stage <- stage
        enqueue state task Back
