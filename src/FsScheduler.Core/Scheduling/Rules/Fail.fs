namespace FsScheduler.Core

/// The life of a task, from one state to the next.
module internal Life =

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
            piece =
                match task.Submission.Origin with
                | Piece(_, index) -> ValueSome index
                | Folder
                | Client _ -> ValueNone
            files = ValueNone
        }

        state.Ask(Effect.Assign(worker.Session, message, task.Submission, progress.Payload))

    /// A task, wherever it is, becomes an attempt of a worker that runs its stages up to before `last`.
    let start (state: State) (worker: Worker) (task: Task) number last =
        match task.State with
        // It keeps its reservation while it runs: nothing else is put beside it.
        | TaskState.Suspected -> state.Queues.Suspects.Remove task
        | _ -> Placement.leave state task

        // Left of a time when it was to be worked on in pieces.
        Splitting.drop state task
        let progress = task.Begin()
        progress.Attempt <- number
        progress.StageEnd <- byte last
        Placement.enter state task worker.Running

    /// Gives a task to a worker: its next stage, and as many of the following ones as it can run.
    let give (state: State) (worker: Worker) (task: Task) =
        let stages = task.Pipeline.stages
        let first = task.Stage
        let mutable last = first + 1

        while last < stages.Length && worker.Can stages[last].demand do
            last <- last + 1

        start state worker task (task.Attempt + 1) last
        let attempt = state.AttemptOf task
        state.Record(Event.Assigned(attempt, worker.Session, struct (first, last)))

        if state.Probation.HeldBackCount > 0 then
            let given = stages[first .. last - 1] |> Array.map _.demand
            state.Probation.Given(worker, given, task.Id)

        if task.Submission.IsFiled then
            state.Ask(Effect.Recall attempt)
        else
            send state worker task

    /// It is the turn of a queued task: what is too large for one worker is cut, and its pieces are served next.
    let assign (state: State) (worker: Worker) (task: Task) =
        if Splitting.isDue state task then
            Splitting.start state task
        else
            give state worker task

    /// What the journal had of a task that is given out, or to be split, is at hand.
    let recalled (state: State) (task: Task) (submission: Submission) =
        state.Held <- state.Held + submission.MemorySize - task.Submission.MemorySize
        task.Submission <- submission.From task.Submission.Origin

        if task.Progress.Payload.IsFiled then
            task.Progress.Payload <- submission.Payload

        match task.State with
        | TaskState.Running worker -> send state worker task
        | _ -> Splitting.goOn state task

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
        | true, successor -> Placement.requeue state successor Back
        | _ -> ()

    /// The task that this one does a piece of, and which piece; none: it is a whole itself.
    let pieceOf (state: State) (task: Task) : struct (Task * int) voption =
        match task.Submission.Origin with
        | Piece(whole, index) ->
            match state.Tasks.Find whole with
            | null -> ValueNone
            | whole -> ValueSome(struct (whole, index))
        | Folder
        | Client _ -> ValueNone

    /// A piece is no longer worked on.
    let private forgetPiece (state: State) (task: Task) =
        match pieceOf state task with
        | ValueSome(struct (whole, index)) -> (nonNull whole.Progress.Pieces).Remove(index, task)
        | ValueNone -> ()

    let forget (state: State) (task: Task) =
        match task.Submission.Origin with
        | Folder -> forgetFile state task
        | Piece _ -> forgetPiece state task
        | Client _ -> ()

        Placement.move state task TaskState.Ended
        Splitting.drop state task
        state.Unload task
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
        if task.Submission.Origin = Folder then
            state.Overtaken.Remove task.Submission.Name |> ignore

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

    let rec cancel (state: State) (task: Task) reason =
        match task.State with
        | TaskState.Running worker -> state.Ask(Effect.Revoke(worker.Session, state.AttemptOf task))
        | TaskState.Split -> cancelPieces state task reason
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

    /// Ends the pieces of a task that have no result yet.
    and cancelPieces (state: State) (whole: Task) reason =
        match whole.Progress.Pieces with
        | null -> ()
        | pieces ->
            Splitting.abandon state whole pieces

            for piece in pieces.Tasks do
                cancel state piece reason

    let superseded = "superseded by a newer version of the file"

    /// A version that a newer one waits for is not tried again: the newer one has its turn.
    let giveWay (state: State) (task: Task) : bool =
        let isAwaited = state.Successors.ContainsKey task.Id

        if isAwaited then
            cancel state task superseded

        isAwaited

    /// Its pieces wait for stages that nobody runs any more: it is back in its queue, for whoever runs its own.
    let private putBackWhole (state: State) (whole: Task) reason =
        let trouble = state.Trouble(whole, Departure, "", reason)
        cancelPieces state whole reason
        Placement.remember whole trouble
        Placement.requeue state whole Front
        state.Record(Event.Requeued(whole.Id, trouble))

    let putBack (state: State) (whole: Task) reason =
        if not (giveWay state whole) then
            putBackWhole state whole reason

    /// Whether a version of a file is worked on, and what was read of it is still good: it can end without being read anew.
    let isUnderWay (task: Task) =
        match task.State with
        | TaskState.Running _
        | TaskState.Split -> true
        | TaskState.Queued
        | TaskState.Suspected -> task.IsResult
        | TaskState.Waiting _
        | TaskState.Publishing
        | TaskState.Succeeding _
        | TaskState.Quarantined
        | TaskState.Ended -> false

    /// A version that was begun gives way to a newer one.
    let overtake (state: State) (task: Task) =
        let name = task.Submission.Name

        match state.Overtaken.TryGetValue name with
        | true, count -> state.Overtaken[name] <- count + 1
        | _ when state.Overtaken.Count < Limits.overtakenFilesMax -> state.Overtaken[name] <- 1
        | _ -> ()

    /// Whether a version of a file may end, though there is a newer one: too many before it could not.
    let mayFinish (state: State) (task: Task) =
        task.Submission.Origin = Folder
        && match state.Overtaken.TryGetValue task.Submission.Name with
           | true, count -> count >= Limits.overtakenMax
           | _ -> false

    /// A version of a file: the older ones give way, but for one whose result is on its way to the name
    /// that this one's will have, and for one that may finish. This one comes after it.
    let submitFile (state: State) (submission: Submission) pipeline =
        let name = submission.Name

        match state.Files.TryGetValue name with
        | true, older when older.State = TaskState.Publishing -> ()
        | true, older when isUnderWay older && mayFinish state older -> ()
        | true, older ->
            if isUnderWay older then
                overtake state older

            cancel state older superseded
        | _ -> ()

        let task = Placement.record state submission pipeline

        match state.Files.TryGetValue name with
        | true, older -> Placement.enter state task (TaskState.Succeeding older)
        | _ -> Placement.enqueue state task Back

        state.Files[name] <- task

    /// Counts what went wrong against the task, if it is to blame for it.
    let blame (task: Task) (trouble: Trouble) =
        let progress = task.Progress

        match trouble.cause with
        | Fault -> progress.Failures <- progress.Failures + 1
        | Loss -> progress.Losses <- progress.Losses + 1uy
        | Departure
        | Disk
        | Inability -> ()

    let private quarantineAlone (state: State) (task: Task) (trouble: Trouble) =
        Placement.remember task trouble
        Placement.move state task TaskState.Quarantined
        state.Record(Event.Quarantined(task.Id, trouble))

        match task.Submission.Origin with
        | Folder
        | Client(_, File, _) ->
            let troubles = List.rev task.Progress.Troubles
            state.Ask(Effect.PublishError(task.Id, task.Submission, troubles))
        | Piece _
        | Client(_, (Result | Nothing), _) -> ()

        Answers.tellAll state task (Some trouble.error) Payload.empty false

    let private quarantineOne (state: State) (task: Task) (trouble: Trouble) =
        if not (giveWay state task) then
            quarantineAlone state task trouble

    /// Of a piece, the whole goes into quarantine, and keeps the parts that are there: `retry` runs the others. Unless
    /// another task does the same piece.
    let private quarantine (state: State) (task: Task) (trouble: Trouble) =
        quarantineOne state task trouble

        match pieceOf state task with
        | ValueSome(struct (whole, index)) ->
            let name = Splitting.nameOf whole index
            cancel state task trouble.error

            if (nonNull whole.Progress.Pieces).TasksOf(index).IsEmpty then
                cancelPieces state whole $"{name}, failed"

                let ofWhole = {
                    trouble with
                        attempt = whole.Attempt
                        error = $"{name}: {trouble.error}"
                }

                blame whole ofWhole
                quarantineOne state whole ofWhole
        | ValueNone -> ()

    /// A worker fails the task that it holds. One that cannot run this one, again and again, and does well otherwise, is no
    /// worker that cannot: then it is the task.
    let private judge (state: State) (worker: Worker) (task: Task) (trouble: Trouble) : Trouble =
        HoldingBack.failed state worker task trouble

        let isAgain (past: Trouble) =
            past.worker = worker.Name && (past.cause = Fault || past.cause = Inability)

        let past = task.Progress.Troubles |> List.filter isAgain |> List.length

        if
            trouble.cause = Inability
            && past + 1 >= Limits.inabilitiesMax
            && not (HoldingBack.isHeldBack state worker task)
        then
            { trouble with cause = Fault }
        else
            trouble

    let fail (state: State) (task: Task) (trouble: Trouble) retry =
        let progress = task.Progress

        let trouble =
            match task.State, trouble.cause with
            | TaskState.Running worker, (Fault | Inability) when trouble.worker <> "" ->
                judge state worker task trouble
            | _ -> trouble

        blame task trouble

        let isOver =
            match trouble.cause with
            | Fault -> not retry || progress.Failures >= state.Settings.maxAttempts
            // A suspect has no queue in which it would be given up.
            | Inability ->
                task.Losses >= Limits.lossesMax - 1
                && state.Settings.unableAfter < Settings.patient
                && (HoldingBack.whyNobody state (HoldingBack.restOf task)).IsSome
            | Loss
            | Departure
            | Disk -> false

        if giveWay state task then
            ()
        elif isOver then
            quarantine state task trouble
        else
            Placement.remember task trouble

            let failures =
                match trouble.cause with
                | Disk
                | Inability ->
                    progress.Troubles
                    |> List.takeWhile (fun past -> past.cause = trouble.cause)
                    |> List.length
                | Fault
                | Loss
                | Departure -> progress.Failures

            let struct (chance, number) = Backoff.random state.Chance
            state.Chance <- chance
            let delay = Backoff.delay failures number
            Placement.move state task (TaskState.Waiting(state.Now + delay))
            state.Record(Event.Delayed(task.Id, trouble, delay))

    let private giveUpAll (state: State) (queue: TaskQueue) why =
        for task in Seq.toArray (queue.ToSeq()) do
            // With a piece, the others of its file have left.
            if task.State = TaskState.Queued then
                // Begun tasks have a list of their own: it leaves its queue before it is one.
                Placement.move state task TaskState.Publishing
                task.Begin() |> ignore
                quarantine state task (state.Trouble(task, Inability, "", why))

    /// Puts what nobody has been able to run for so long into quarantine, where that is not waited for.
    let giveUp (state: State) =
        for queue in Seq.toArray state.Queues.All do
            match HoldingBack.whyNobody state queue.Stages, queue.StuckSince with
            | ValueNone, _ -> queue.StuckSince <- ValueNone
            | ValueSome _, ValueNone -> queue.StuckSince <- ValueSome state.Now
            | ValueSome why, ValueSome since when state.Now - since >= state.Settings.unableAfter ->
                giveUpAll state queue why
            | ValueSome _, ValueSome _ -> ()

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
                Placement.requeue state task Back
            | _ -> () // cancelled meanwhile, or retried and waiting for another moment

    let retry (state: State) (task: Task) =
        task.Progress.Failures <- 0
        task.Progress.Losses <- 0uy
        state.Record(Event.Retried task.Id)
        Splitting.startOver state task
        Placement.requeue state task Back

    /// Takes back what a worker holds, and forgets the worker. One that took no more work may leave before
    /// it has finished, and one that never came back after a restart says nothing: neither is held against its tasks.
    let lose (state: State) (worker: Worker) reason =
        let cause = if worker.Slots = 0 then Departure else Loss

        // The latest first, so that the oldest comes to the very front.
        // With a piece that is given up, the others of its file end too, and those are no longer held.
        let held = Array.rev (Seq.toArray (worker.Held.ToSeq()))
        let error = $"the worker {worker.Name} was lost: {reason}"

        if cause = Loss then
            HoldingBack.lost state worker (Array.rev held) (fun task ->
                state.Trouble(task, cause, worker.Name, error))

        for task in held |> Seq.filter (fun task -> task.State = worker.Running) do
            let trouble = state.Trouble(task, cause, worker.Name, error)
            let progress = task.Progress
            blame task trouble

            if int progress.Losses >= Limits.lossesMax then
                let error =
                    $"{error}; it is the worker number {progress.Losses} lost with this task"

                quarantine state task { trouble with error = error }
            elif not (giveWay state task) then
                Placement.remember task trouble
                Placement.requeue state task Front
                state.Record(Event.Requeued(task.Id, trouble))

        state.Record(Event.Left(worker.Session, worker.Name, reason))
        state.Workers.Remove worker

        if cause = Loss then
            state.Workers.Expect(worker, state.Now)

        HoldingBack.reopen state

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
        Placement.leave state task
        Placement.enter state task worker.Running
        worker.Ceiling <- max worker.Ceiling worker.Held.Count

        if isReserved then
            state.Workers.Reserve(worker, task)

    /// A piece is done, and so is whatever else was to do it.
    let private fill (state: State) (piece: Task) (whole: Task) index result =
        let pieces = nonNull whole.Progress.Pieces
        state.Record(Event.Part(whole.Id, index, result))
        pieces.Fill(index, state.Kept(state.LastEvent, result))
        pieces.Measure(state.Now - piece.Since)
        complete state piece Payload.empty ValueNone

        for other in pieces.TasksOf index do
            cancel state other "another worker was faster with this piece"

        Splitting.join state whole

    /// The last stage is done.
    let publish (state: State) (task: Task) result =
        match task.Submission.Origin with
        | Piece _ ->
            match pieceOf state task with
            | ValueSome(struct (whole, index)) -> fill state task whole index result
            | ValueNone -> state.Discard result
        | Client(_, (Result | Nothing), _) -> complete state task result ValueNone
        | Folder
        | Client(_, File, _) ->
            Placement.move state task TaskState.Publishing
            let attempt = state.AttemptOf task
            state.Record(Event.Accepted(attempt, result))

            if mayFinish state task || state.Successors.ContainsKey task.Id then
                state.Ask(Effect.PublishOlder(attempt, task.Submission, result))
            else
                state.Ask(Effect.Publish(attempt, task.Submission, result))

    /// Some stages are done, and another worker goes on from their result.
    let advance (state: State) (task: Task) result =
        let progress = task.Progress
        let stage = progress.StageEnd
        state.Record(Event.Advanced(state.AttemptOf task, int stage, result))
        state.Discard progress.Payload
        Placement.leave state task
        state.Unload task
        progress.Payload <- result
        progress.IsResult <- true
        progress.Stage <- stage
        state.Backlog.Add task
        Placement.enqueue state task Back

    /// What the stages give for the whole is there. It goes on first: to let go of large parts takes a while.
    let joined (state: State) (task: Task) result =
        task.Progress.StageEnd <- byte (Expansion.close state task (nonNull task.Progress.Pieces))

        if int task.Progress.StageEnd < task.Pipeline.stages.Length then
            Splitting.drop state task
            advance state task result
        else
            publish state task result
            Splitting.drop state task
