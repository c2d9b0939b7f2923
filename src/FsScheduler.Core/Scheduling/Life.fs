namespace FsScheduler.Core

/// Where a task comes back into its queue.
[<Struct>]
type internal Place =
    | Front
    | Back

/// The life of a task, from one state to the next.
module internal Life =

    /// Undoes what `enter` did: a task is in one state at a time.
    let private leave (state: State) (task: Task) =
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

    let private enter (state: State) (task: Task) taskState =
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

    let private move state task taskState =
        leave state task
        enter state task taskState

    /// Puts a task that is in no list into its queue.
    let private enqueue (state: State) (task: Task) place =
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

    let private requeue state task place =
        leave state task
        enqueue state task place

    let private remember (task: Task) (trouble: Trouble) =
        let progress = task.Progress
        progress.Troubles <- trouble :: List.truncate (Limits.troublesMax - 1) progress.Troubles

    /// A new task, in no list yet.
    let private add (state: State) submission pipeline =
        state.LastId <- state.LastId + 1L<taskId>
        let task = Task(state.LastId, submission, pipeline)
        state.Tasks.Add task
        state.Record(Event.Submitted(task.Id, submission, pipeline))
        task

    let submit state submission pipeline =
        let task = add state submission pipeline
        enqueue state task Back
        task

    /// Gives a queued task to a worker: its next stage, and as many of the following ones as it can run.
    let assign (state: State) (worker: Worker) (task: Task) =
        let stages = task.Pipeline.stages
        let first = task.Stage
        let mutable last = first + 1

        while last < stages.Length && worker.Can stages[last].name do
            last <- last + 1

        match task.State with
        // It keeps its reservation while it runs: nothing else is put beside it.
        | TaskState.Suspected -> state.Queues.Suspects.Remove task
        | _ -> leave state task

        let progress = task.Begin()
        progress.Attempt <- progress.Attempt + 1
        progress.StageEnd <- byte last
        enter state task worker.Running
        let attempt = state.AttemptOf task
        state.Record(Event.Assigned(attempt, worker.Session, struct (first, last)))

        let message = {
            attempt = attempt
            name = task.Submission.Name
            stages =
                if last - first = stages.Length then
                    task.Pipeline.wire
                else
                    task.Pipeline.wire[first .. last - 1]
            timeout = state.Settings.taskTimeout
        }

        state.Ask(Effect.Assign(worker.Session, message, task.Submission, progress.Payload))

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

    let private forget (state: State) (task: Task) =
        match task.Submission.Origin with
        | Folder -> forgetFile state task
        | Client _ -> ()

        move state task TaskState.Ended
        state.Tasks.Remove task
        state.Discard task.Payload

    let complete (state: State) (task: Task) result =
        state.Record(Event.Completed(state.AttemptOf task))
        state.Finished <- state.Finished + 1L
        forget state task
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
        forget state task
        Answers.settle state task (Some reason) Payload.empty

    let superseded = "superseded by a newer version of the file"

    /// A version of a file: the older ones give way, but for one whose result is on its way to the name
    /// that this one's will have. This one comes after it.
    let submitFile (state: State) (submission: Submission) pipeline =
        let task = add state submission pipeline
        let name = submission.Name

        match state.Files.TryGetValue name with
        | true, older when older.State <> TaskState.Publishing -> cancel state older superseded
        | _ -> ()

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

    let fail (state: State) (task: Task) (trouble: Trouble) retry =
        let progress = task.Progress
        progress.Failures <- progress.Failures + 1

        if not retry || progress.Failures >= state.Settings.maxAttempts then
            quarantine state task trouble
        else
            remember task trouble
            let struct (chance, number) = Backoff.random state.Chance
            state.Chance <- chance
            let delay = Backoff.delay progress.Failures number
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
            | TaskState.Waiting until when until.sinceStart = at -> requeue state task Back
            | _ -> () // cancelled meanwhile, or retried and waiting for another moment

    let retry (state: State) (task: Task) =
        task.Progress.Failures <- 0
        task.Progress.Losses <- 0uy
        state.Record(Event.Retried task.Id)
        requeue state task Back

    /// Takes back what a worker holds, and forgets the worker. One that took no more work may leave before
    /// it has finished: that says nothing against its tasks.
    let lose (state: State) (worker: Worker) reason =
        state.Record(Event.Left(worker.Session, worker.Name, reason))
        let isDrained = worker.Slots = 0

        // The latest first, so that the oldest comes to the very front.
        for task in Array.rev (Seq.toArray (worker.Held.ToSeq())) do
            let error = $"the worker {worker.Name} was lost: {reason}"
            let trouble = state.Trouble(task, worker.Name, error)
            let progress = task.Progress

            if not isDrained then
                progress.Losses <- progress.Losses + 1uy

            if int progress.Losses >= Limits.lossesMax then
                let error =
                    $"{error}; it is the worker number {progress.Losses} lost with this task"

                quarantine state task { trouble with error = error }
            else
                remember task trouble
                requeue state task Front
                state.Record(Event.Requeued(task.Id, trouble))

        state.Workers.Remove worker
        state.IsChanged <- true

    /// The last stage is done.
    let publish (state: State) (task: Task) result =
        match task.Submission.Origin with
        | Client(_, (Result | Nothing), _) -> complete state task result
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
