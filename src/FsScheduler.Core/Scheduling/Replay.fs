namespace FsScheduler.Core

open System.Collections.Generic

/// What is so after an event, whoever decided it: the scheduler of an earlier run. Decides nothing, refuses nothing,
/// asks for nothing: it has happened already.
module internal Replay =

    /// The worker of a session, known from the journal only.
    let private absent (state: State) session name stages =
        state.LastSession <- max state.LastSession session
        state.Workers.Join(session, name, stages, state.Now)
        let worker = nonNull (state.Workers.Find session)
        worker.IsAbsent <- true
        worker

    let private workerOf (state: State) (session: SessionId) =
        match state.Workers.Find session with
        | null -> absent state session $"session {session}" [||]
        | worker -> worker

    let private give (state: State) (worker: Worker) (task: Task) number last =
        let isSuspected = task.State = TaskState.Suspected
        Life.start state worker task number last
        worker.Ceiling <- worker.Held.Count

        if isSuspected then
            state.Workers.Reserve(worker, task)

    let private submit (state: State) id (submission: Submission) pipeline =
        match submission.Origin with
        | Folder ->
            let task = Placement.add state id submission pipeline

            match state.Files.TryGetValue submission.Name with
            // It did not give way: that would have been told of before.
            | true, older -> Placement.enter state task (TaskState.Succeeding older)
            | _ -> Placement.enqueue state task Back

            state.Files[submission.Name] <- task
        | Piece(whole, index) ->
            match state.Tasks.Find whole with
            | whole when not (isNull whole) && (nonNull whole).State = TaskState.Split ->
                let whole = nonNull whole
                // It was missing by then: a part from before was not kept, or given up.
                (nonNull whole.Progress.Pieces).Lose index
                Splitting.add state id whole index submission pipeline |> ignore
            | _ -> ()
        | Client(_, want, key) ->
            Placement.enqueue state (Placement.add state id submission pipeline) Back

            match key with
            | Some key -> state.Keys.Add(key, id, want.IsFile)
            | None -> ()

    /// The end of a task. The payload, if one is kept, is where the journal has it.
    let private finish (state: State) (task: Task) error payload =
        Answers.keep state task error payload
        Life.forget state task

    /// The progress of a task whose attempts may not be told of. It leaves its queue before it is begun: begun tasks
    /// have a list of their own there.
    let private begin' (state: State) (task: Task) =
        if not task.IsBegun then
            Placement.move state task TaskState.Publishing

        task.Begin()

    let private completed (state: State) number (attempt: Attempt) remainder =
        state.Finished <- state.Finished + 1L

        match state.Tasks.Find attempt.task with
        | null -> ()
        | task ->
            let kept =
                match remainder with
                | KeptResult payload -> state.Kept(number, payload)
                | NothingLeft
                | StoredResult _ -> Payload.empty

            (begin' state task).Attempt <- attempt.number
            finish state task None kept

    let private onTask (state: State) id change =
        match state.Tasks.Find id with
        | null -> () // forgotten, and so not told of
        | task -> change task

    /// <summary>Applies one event.</summary>
    /// <param name="state">Its time is that of the event.</param>
    /// <param name="number">The event's.</param>
    /// <param name="event">Of any run before.</param>
    let apply (state: State) (number: int64) (event: Event) =
        state.LastEvent <- max state.LastEvent number

        match event with
        | Event.Submitted(id, submission, pipeline) -> submit state id submission pipeline
        | Event.Assigned(attempt, session, struct (_, last)) ->
            onTask state attempt.task (fun task ->
                give state (workerOf state session) task attempt.number last)
        | Event.Claimed(attempt, session) ->
            onTask state attempt.task (fun task ->
                match task.State with
                | TaskState.Running worker -> Life.claim state (workerOf state session) task worker
                | _ -> ())
        | Event.Advanced(attempt, stage, payload) ->
            onTask state attempt.task (fun task ->
                Placement.leave state task
                let progress = task.Begin()

                match progress.Pieces with
                | null -> ()
                | pieces -> Expansion.close state task pieces |> ignore

                progress.Pieces <- null
                state.Unload task
                progress.Payload <- state.Kept(number, payload)
                progress.IsResult <- true
                progress.Stage <- byte stage
                state.Backlog.Add task
                Placement.enqueue state task Back)
        | Event.Split(attempt, last, others, cuts) ->
            onTask state attempt.task (fun task ->
                // Its queue knows it as what it was before it was begun.
                Placement.leave state task
                let progress = task.Begin()
                progress.Attempt <- attempt.number
                progress.StageEnd <- byte last

                let own () =
                    Pipeline.ofStages task.Pipeline.stages[task.Stage .. last - 1]

                let pipeline = ValueOption.defaultWith own others

                match progress.Pieces with
                | null -> progress.Pieces <- Expansion.pieces task cuts last pipeline
                | pieces when pieces.Cuts = cuts && pieces.Pipeline = pipeline -> ()
                | _ -> progress.Pieces <- Expansion.pieces task cuts last pipeline

                Placement.enter state task TaskState.Split)
        | Event.Part(whole, index, part) ->
            onTask state whole (fun task ->
                match task.Progress.Pieces with
                | null -> ()
                | pieces -> pieces.Fill(index, state.Kept(number, part)))
        | Event.Speculated _ -> ()
        | Event.Delayed(id, trouble, delay) ->
            onTask state id (fun task ->
                begin' state task |> ignore
                Life.blame task trouble
                Placement.remember task trouble
                Placement.move state task (TaskState.Waiting(state.Now + delay)))
        | Event.Woken id -> onTask state id (fun task -> Placement.requeue state task Back)
        | Event.Retried id ->
            onTask state id (fun task ->
                let progress = begin' state task
                progress.Failures <- 0
                progress.Losses <- 0uy
                Splitting.startOver state task
                Placement.requeue state task Back)
        | Event.Requeued(id, trouble) ->
            onTask state id (fun task ->
                begin' state task |> ignore
                Life.blame task trouble
                Placement.remember task trouble
                Placement.requeue state task Front)
        | Event.Quarantined(id, trouble) ->
            onTask state id (fun task ->
                begin' state task |> ignore
                Life.blame task trouble
                Placement.remember task trouble
                Placement.move state task TaskState.Quarantined)
        | Event.Accepted(attempt, _) ->
            onTask state attempt.task (fun task ->
                (begin' state task).Pieces <- null
                Placement.move state task TaskState.Publishing)
        | Event.Completed(attempt, remainder) -> completed state number attempt remainder
        | Event.Cancelled(id, reason) ->
            state.Cancelled <- state.Cancelled + 1L
            onTask state id (fun task -> finish state task (Some reason) Payload.empty)
        | Event.Gone _ -> ()
        | Event.Joined(session, name, stages) ->
            state.Learn stages
            absent state session name stages |> ignore
        | Event.Left(session, _, _) ->
            match state.Workers.Find session with
            | null -> ()
            | worker -> state.Workers.Remove worker

    /// All is applied, and the scheduler goes on. Whoever had work before is expected back, and has from now
    /// on as long as a silent worker has. What was being published is run again, unless its result has been found.
    let resume (state: State) (found: IReadOnlyDictionary<Attempt, Proof>) =
        for worker in state.Workers.All |> Seq.sortBy _.Session |> Seq.toArray do
            worker.LastHeard <- state.Now

            for task in worker.Held.ToSeq() do
                task.Since <- state.Now

            if worker.Held.Count = 0 then
                let reason = "the scheduler was started again"
                state.Record(Event.Left(worker.Session, worker.Name, reason))
                state.Workers.Remove worker
                // Who comes back first is not to be given what it has failed because the others come a little later.
                state.Workers.Expect(worker, state.Now)

        let publishing =
            state.Tasks.ToSeq()
            |> Seq.filter (fun task -> task.State = TaskState.Publishing)
            |> Seq.toArray

        for task in Array.rev publishing do
            let attempt = state.AttemptOf task

            if found.ContainsKey attempt then
                state.Ask(Effect.Settle(attempt, task.Submission, found[attempt]))
            elif state.Successors.ContainsKey task.Id then
                Life.cancel state task Life.superseded
            else
                let error = "the scheduler was started again while its result was being published"
                let trouble = state.Trouble(task, Departure, "", error)
                Placement.remember task trouble
                Placement.requeue state task Front
                state.Record(Event.Requeued(task.Id, trouble))

        // Where it was to be cut, and was not yet, nothing of that is in the journal: it is in its queue again.
        for older in Seq.toArray state.Successors.Keys |> Seq.sort do
            match state.Tasks.Find older with
            | null -> ()
            | task when task.State = TaskState.Publishing || Life.isUnderWay task -> ()
            | task -> Life.giveWay state task |> ignore

        for whole in Seq.toArray state.Splits.Values do
            Splitting.resume state whole
