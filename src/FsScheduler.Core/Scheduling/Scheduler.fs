namespace FsScheduler.Core

open System
open System.Collections.Generic

/// The scheduler: who runs what, when, and whose result counts. Deterministic: the same inputs at
/// the same times give the same decisions. It reads no clock and does nothing; `Effect` says what
/// is to be done, `Event` what is to be remembered. Not for use by two threads at once.
[<Sealed>]
type Scheduler(settings: Settings) =
    let tasks = TaskTable()
    let workers = Workers()
    let queues = Queues()
    let waiting = PriorityQueue<Task, Duration>()
    let files = Dictionary<string, Task>()
    let successors = Dictionary<TaskId, Task>()
    let keys = Keys()
    let known = HashSet<string>(settings.expected)
    let pipelines = Dictionary<string, Pipeline>()
    let mutable decisions = Decisions()
    let mutable now = Instant.zero
    let mutable lastTick = Instant.zero
    let mutable started = ValueNone
    let mutable lastId = 0L<taskId>
    let mutable random = settings.seed
    let mutable changed = false // whether somebody idle may now have something to do
    let mutable waitingCount = 0
    let mutable publishing = 0
    let mutable quarantined = 0
    let mutable running = 0
    let mutable finished = 0L
    let mutable cancelled = 0L

    let superseded = "superseded by a newer version of the file"

    let record event = decisions.Events.Add event
    let ask effect = decisions.Effects.Add effect

    let reply session message =
        ask (Effect.Reply(session, message, Payload.empty, false))

    let attemptOf (task: Task) = { task = task.Id; number = task.Attempt }

    let discard payload =
        match payload with
        | Spooled _ -> ask (Effect.Discard payload)
        | Packed
        | Bytes _
        | Input _ -> ()

    let stageTexts (task: Task) =
        task.Pipeline.wire[int task.Stage .. int (max (task.StageEnd - 1uy) task.Stage)]

    let troubleOf (task: Task) worker error = {
        attempt = task.Attempt
        stages = String.Join(" | ", stageTexts task)
        worker = worker
        error = error
        at = now
    }

    // A task is in one state at a time; `leave` undoes what `enter` did.

    let leave (task: Task) =
        match task.State with
        | TaskState.Queued -> queues.Remove task
        | TaskState.Suspected ->
            queues.Suspects.Remove task
            workers.Unreserve task
        | TaskState.Running worker ->
            workers.TakeBack(worker, task)
            running <- running - 1
            changed <- true
        | TaskState.Waiting _ -> waitingCount <- waitingCount - 1
        | TaskState.Publishing -> publishing <- publishing - 1
        | TaskState.Succeeding -> ()
        | TaskState.Quarantined -> quarantined <- quarantined - 1

    let enter (task: Task) state =
        task.State <- state
        task.Since <- now

        match state with
        | TaskState.Queued
        | TaskState.Suspected -> changed <- true
        | TaskState.Running worker ->
            workers.Give(worker, task)
            running <- running + 1
        | TaskState.Waiting until ->
            waiting.Enqueue(task, until.sinceStart)
            waitingCount <- waitingCount + 1
        | TaskState.Publishing -> publishing <- publishing + 1
        | TaskState.Succeeding -> ()
        | TaskState.Quarantined -> quarantined <- quarantined + 1

    let enqueue (task: Task) atFront =
        if int task.Losses >= Limits.lossesMax - 1 then
            queues.Suspects.AddLast task
            enter task TaskState.Suspected
        else
            if atFront then
                queues.AddFirst task
            else
                queues.AddLast task

            enter task TaskState.Queued

    let assign (worker: Worker) (task: Task) =
        let stages = task.Pipeline.stages
        let first = int task.Stage
        let mutable last = first + 1

        while last < stages.Length && worker.Can stages[last].name do
            last <- last + 1

        // A suspected task keeps its reservation while it runs: nothing else is put beside it.
        match task.State with
        | TaskState.Suspected -> queues.Suspects.Remove task
        | _ -> leave task

        task.Attempt <- task.Attempt + 1
        task.StageEnd <- byte last
        enter task worker.Running
        record (Event.Assigned(attemptOf task, worker.Session, struct (first, last)))

        let message = {
            attempt = attemptOf task
            name = task.Submission.Name
            stages =
                if last - first = stages.Length then
                    task.Pipeline.wire
                else
                    task.Pipeline.wire[first .. last - 1]
            timeout = settings.taskTimeout
        }

        ask (Effect.Assign(worker.Session, message, task.Submission, task.Payload))

    let serveSuspects () =
        if queues.Suspects.Count > 0 then
            for task in Seq.toArray (queues.Suspects.ToSeq()) do
                match workers.ReservedFor task with
                | null -> ()
                | worker ->
                    if worker.Held.Count = 0 then
                        assign worker task

    let serveIdle () =
        let mutable unserved = 0

        while queues.Count > 0 && unserved < workers.Idle.Count do
            let worker = nonNull workers.Idle.First
            workers.Idle.MoveToBack worker

            match
                (if isNull worker.Reserved then
                     queues.Next(worker, now)
                 else
                     null)
            with
            | null -> unserved <- unserved + 1
            | task ->
                assign worker task
                unserved <- 0

    // Answers to those who wait for a task.

    let outcomeOf (task: Task) error = {
        ref = ""
        task = task.Id
        attempts = task.Attempt
        error = error
    }

    let tell (waiter: Waiter) (outcome: Done) payload kept =
        let message = FromScheduler.Done { outcome with ref = waiter.ref }

        match waiter.want with
        | Result when outcome.error.IsNone ->
            ask (Effect.Reply(waiter.session, message, payload, kept))
        | Result
        | File
        | Nothing -> reply waiter.session message

    let submitter (task: Task) =
        match task.Submission.Origin with
        | Folder -> ValueNone
        | Client(session, want, _) ->
            ValueSome { session = session; ref = task.Submission.Ref; want = want }

    let entryOf (task: Task) =
        match task.Submission.Origin with
        | Client(_, _, Some key) -> keys.Find key
        | Client(_, _, None)
        | Folder -> ValueNone

    /// Tells all who wait for a task, without forgetting it.
    let tellAll (task: Task) error payload kept =
        let outcome = outcomeOf task error

        match submitter task with
        | ValueSome waiter -> tell waiter outcome payload kept
        | ValueNone -> ()

        match entryOf task with
        | ValueSome entry ->
            for waiter in entry.waiters do
                tell waiter outcome payload kept
        | ValueNone -> ()

    /// Puts the result in the hands of those who wait for it. Whoever keeps it last, discards it.
    let settle (task: Task) error payload =
        match entryOf task with
        | ValueSome entry ->
            tellAll task error payload true
            keys.Finish(entry, outcomeOf task error, payload) |> List.iter discard
        | ValueNone ->
            tellAll task error payload false

            match submitter task with
            | ValueSome { want = Result } when Option.isNone error -> ()
            | _ -> discard payload

    let forget (task: Task) =
        leave task
        tasks.Remove task
        discard task.Payload

        match task.Submission.Origin with
        | Folder ->
            let name = task.Submission.Name

            match files.TryGetValue name with
            | true, current when obj.ReferenceEquals(current, task) -> files.Remove name |> ignore
            | _ -> ()

            let mutable successor = Unchecked.defaultof<Task>

            if successors.Remove(task.Id, &successor) then
                leave successor
                enqueue successor false
        | Client _ -> ()

    let complete (task: Task) result =
        record (Event.Completed(attemptOf task))
        finished <- finished + 1L
        forget task
        settle task None result

    let cancel (task: Task) reason =
        match task.State with
        | TaskState.Running worker -> ask (Effect.Revoke(worker.Session, attemptOf task))
        | TaskState.Succeeding ->
            for KeyValue(predecessor, successor) in Seq.toArray successors do
                if obj.ReferenceEquals(successor, task) then
                    successors.Remove predecessor |> ignore
        | TaskState.Queued
        | TaskState.Suspected
        | TaskState.Waiting _
        | TaskState.Publishing
        | TaskState.Quarantined -> ()

        record (Event.Cancelled(task.Id, reason))
        cancelled <- cancelled + 1L
        forget task
        settle task (Some reason) Payload.empty

    let quarantine (task: Task) trouble =
        task.Troubles <- trouble :: task.Troubles
        leave task
        enter task TaskState.Quarantined
        record (Event.Quarantined(task.Id, trouble))

        match task.Submission.Origin with
        | Folder
        | Client(_, File, _) ->
            ask (Effect.PublishError(task.Id, task.Submission, List.rev task.Troubles))
        | Client(_, (Result | Nothing), _) -> ()

        tellAll task (Some trouble.error) Payload.empty false

    let fail (task: Task) (trouble: Trouble) retry =
        task.Failures <- task.Failures + 1uy

        if not retry || int task.Failures >= settings.maxAttempts then
            quarantine task trouble
        else
            task.Troubles <- trouble :: task.Troubles
            let struct (state, chance) = Backoff.random random
            random <- state
            let delay = Backoff.delay (int task.Failures) chance
            leave task
            enter task (TaskState.Waiting(now + delay))
            record (Event.Delayed(task.Id, trouble, delay))

    let lose (worker: Worker) reason =
        record (Event.Left(worker.Session, worker.Name, reason))
        let held = worker.Held.ToSeq() |> Seq.toArray |> Array.rev // the oldest goes to the front last
        let drained = worker.Slots = 0

        for task in held do
            let trouble =
                troubleOf task worker.Name $"the worker {worker.Name} was lost: {reason}"

            if not drained then
                task.Losses <- task.Losses + 1uy

            if int task.Losses >= Limits.lossesMax then
                quarantine task {
                    trouble with
                        error =
                            $"{trouble.error}; it is the worker number {task.Losses} lost with this task"
                }
            else
                task.Troubles <- trouble :: task.Troubles
                leave task
                enqueue task true
                record (Event.Requeued(task.Id, trouble))

        workers.Remove worker
        changed <- true

    let publish (task: Task) result =
        match task.Submission.Origin with
        | Client(_, (Result | Nothing), _) -> complete task result
        | Folder
        | Client(_, File, _) ->
            leave task
            enter task TaskState.Publishing
            record (Event.Accepted(attemptOf task, result))
            ask (Effect.Publish(attemptOf task, task.Submission, result))

    let advance (task: Task) result =
        record (Event.Advanced(attemptOf task, int task.StageEnd, result))
        discard task.Payload
        leave task
        task.Payload <- result
        task.Stage <- task.StageEnd
        enqueue task true // what was begun is finished first: so little is spooled

    /// The task, if this attempt of it is the current one: the fence.
    let current (attempt: Attempt) : Task | null =
        match tasks.Find attempt.task with
        | null -> null
        | task -> if task.Attempt = attempt.number then task else null

    let report session (attempt: Attempt) outcome result =
        match current attempt with
        | null -> discard result
        | task ->
            match task.State with
            | TaskState.Running worker when worker.Session = session ->
                match outcome with
                | Succeeded ->
                    worker.Finished <- worker.Finished + 1L

                    if int task.StageEnd < task.Pipeline.stages.Length then
                        advance task result
                    else
                        publish task result
                | Failed(error, retry) ->
                    worker.Failed <- worker.Failed + 1L
                    discard result
                    fail task (troubleOf task worker.Name error) retry
            | _ -> discard result

    let resolve text =
        if text = "" then
            Ok settings.pipeline
        else
            match pipelines.TryGetValue text with
            | true, pipeline -> Ok pipeline
            | _ ->
                Pipeline.parse known text
                |> Result.map (fun pipeline ->
                    if pipelines.Count >= 1_000 then
                        pipelines.Clear()

                    pipelines[text] <- pipeline
                    pipeline)

    let add submission pipeline =
        lastId <- lastId + 1L<taskId>
        let task = Task(lastId, submission, pipeline)
        tasks.Add task
        record (Event.Submitted(task.Id, submission, pipeline))
        task

    let submitFile submission pipeline =
        let task = add submission pipeline
        let name = submission.Name

        match files.TryGetValue name with
        | true, older when older.State = TaskState.Publishing ->
            // Its result is on its way to the name that this one's will have: this one comes after it.
            match successors.TryGetValue older.Id with
            | true, between -> cancel between superseded
            | _ -> ()

            successors[older.Id] <- task
            enter task TaskState.Succeeding
        | true, older ->
            cancel older superseded
            enqueue task false
        | _ -> enqueue task false

        files[name] <- task

    let submitClient (submission: Submission) pipeline session want key =
        let refuse code message =
            discard submission.Payload
            reply session (FromScheduler.Rejected(submission.Ref, code, message))

        let accept (key: Key option) =
            if tasks.Count >= Limits.tasksMax then
                refuse RejectionCode.Busy $"there are {tasks.Count} tasks; try again later"
            else
                let task = add submission pipeline
                key |> Option.iter (fun key -> keys.Add(key, task.Id))
                reply session (FromScheduler.Accepted(submission.Ref, task.Id))
                enqueue task false

        match key with
        | None -> accept None
        | Some key ->
            match keys.Find key with
            | ValueNone -> accept (Some key)
            | ValueSome entry when entry.key.content <> key.content ->
                refuse
                    RejectionCode.BadKey
                    $"the key '{key.text}' was used for other content, in task {entry.task}"
            | ValueSome entry ->
                let waiter = { session = session; ref = submission.Ref; want = want }
                discard submission.Payload
                reply session (FromScheduler.Accepted(submission.Ref, entry.task))

                match entry.outcome with
                | ValueSome(struct (outcome, payload)) -> tell waiter outcome payload true
                | ValueNone ->
                    entry.waiters.Add waiter

                    match tasks.Find entry.task with
                    | null -> ()
                    | task ->
                        match task.State, task.Troubles with
                        | TaskState.Quarantined, trouble :: _ ->
                            tell waiter (outcomeOf task (Some trouble.error)) Payload.empty false
                        | _ -> ()

    let unknown session (id: TaskId) =
        let message = $"task {id} is not known: it never was, or it is finished"
        reply session (FromScheduler.Error(ErrorCode.BadField, message))

    let tick () =
        // Who was not looking cannot say that a worker was silent.
        let slept = now - lastTick
        lastTick <- now

        for worker in Seq.toArray workers.All do
            if slept > settings.lostAfter / 2L then
                worker.LastHeard <- worker.LastHeard + slept

            if now - worker.LastHeard > settings.lostAfter then
                let reason = $"silent for {now - worker.LastHeard} ms"
                lose worker reason
                ask (Effect.Disconnect(worker.Session, reason))
            else
                let mutable late = worker.Held.First

                while not (isNull late) && now - (nonNull late).Since > settings.taskTimeout do
                    let task = nonNull late
                    ask (Effect.Revoke(worker.Session, attemptOf task))

                    fail
                        task
                        (troubleOf task worker.Name $"not finished within {settings.taskTimeout} ms")
                        true

                    late <- worker.Held.First

        let mutable due = Unchecked.defaultof<Task>
        let mutable at = 0L<ms>

        while waiting.TryPeek(&due, &at) && at <= now.sinceStart do
            let task = waiting.Dequeue()

            match task.State with
            | TaskState.Waiting until when until.sinceStart = at ->
                leave task
                enqueue task true
            | _ -> () // cancelled meanwhile, or retried and waiting for another moment

    let status () = {
        queued = int64 (queues.Count + queues.Suspects.Count + successors.Count)
        running = int64 running
        waiting = int64 waitingCount
        publishing = int64 publishing
        quarantined = int64 quarantined
        finished = finished
        cancelled = cancelled
        idle = workers.Idle.Count
        busy = workers.All.Count - workers.Idle.Count
        uptime = now - ValueOption.defaultValue now started
        oldest =
            match queues.Oldest with
            | null -> 0L<ms>
            | task -> now - task.Since
        workers =
            workers.All
            |> Seq.truncate Limits.workersListedMax
            |> Seq.map (fun worker -> {
                session = worker.Session
                name = worker.Name
                slots = worker.Slots
                held = worker.Held.Count
                finished = worker.Finished
                failed = worker.Failed
            })
            |> Seq.toArray
    }

    let take input =
        match input with
        | Input.Submit(submission, text) ->
            match resolve text, submission.Origin with
            | Ok pipeline, Folder -> submitFile submission pipeline
            | Ok pipeline, Client(session, want, key) ->
                submitClient submission pipeline session want key
            | Error error, Client(session, _, _) ->
                discard submission.Payload

                reply
                    session
                    (FromScheduler.Rejected(
                        submission.Ref,
                        RejectionCode.BadPipeline,
                        error.message
                    ))
            | Error error, Folder ->
                invalidOp $"a file came with the pipeline '{text}': {error.message}"
        | Input.Cancel(id, by) ->
            match tasks.Find id with
            | null -> unknown by id
            | task when task.State = TaskState.Publishing ->
                reply
                    by
                    (FromScheduler.Error(
                        ErrorCode.BadField,
                        $"task {id} is being published: too late to cancel it"
                    ))
            | task -> cancel task "cancelled"
        | Input.Retry(id, by) ->
            match tasks.Find id with
            | null -> unknown by id
            | task when task.State = TaskState.Quarantined ->
                task.Failures <- 0uy
                task.Losses <- 0uy
                leave task
                enqueue task false
                record (Event.Retried id)
            | _ ->
                reply
                    by
                    (FromScheduler.Error(ErrorCode.BadField, $"task {id} is not in quarantine"))
        | Input.Ask by -> reply by (FromScheduler.Status(status ()))
        | Input.Join(session, name, stages) ->
            if isNull (workers.Find session) then
                for stage in stages do
                    if known.Count < Limits.stagesMax then
                        known.Add stage |> ignore

                workers.Join(session, name, stages, now)
                record (Event.Joined(session, name))
        | Input.Ready(session, slots) ->
            match workers.Find session with
            | null -> ()
            | worker ->
                worker.LastHeard <- now
                workers.SetSlots(worker, slots)
                changed <- true
        | Input.Heard session ->
            match workers.Find session with
            | null -> ()
            | worker -> worker.LastHeard <- now
        | Input.Leave session ->
            match workers.Find session with
            | null -> ()
            | worker -> lose worker "its connection ended"
        | Input.Report(session, attempt, outcome, result) ->
            match workers.Find session with
            | null -> ()
            | worker -> worker.LastHeard <- now

            report session attempt outcome result
        | Input.Published attempt ->
            match current attempt with
            | null -> ()
            | task ->
                if task.State = TaskState.Publishing then
                    complete task Payload.empty
        | Input.Unpublished(attempt, error) ->
            match current attempt with
            | null -> ()
            | task when task.State <> TaskState.Publishing -> ()
            | task when successors.ContainsKey task.Id -> cancel task superseded
            | task -> fail task (troubleOf task "" error) true
        | Input.Withdraw id ->
            match tasks.Find id with
            | null -> ()
            | task -> cancel task "the file changed or went"
        | Input.Vanish name ->
            match files.TryGetValue name with
            | true, task when task.State <> TaskState.Publishing -> cancel task "the file is gone"
            | _ -> ()
        | Input.Unreadable(attempt, error) ->
            match current attempt with
            | null -> ()
            | task ->
                match task.State with
                | TaskState.Running _ -> fail task (troubleOf task "" error) true
                | _ -> ()
        | Input.Tick -> tick ()

    /// <summary>Takes one input. Total: any input, in any state, at any time.</summary>
    /// <param name="input">What has arrived.</param>
    /// <param name="at">When; never before the previous input.</param>
    /// <param name="into">What follows from it is appended here.</param>
    member _.Step(input: Input, at: Instant, into: Decisions) =
        decisions <- into
        now <- at

        if started.IsNone then
            started <- ValueSome at
            lastTick <- at

        take input

        if changed then
            changed <- false
            serveSuspects ()
            serveIdle ()

    member _.Status = status ()

    /// Whether nothing is left that could still succeed by itself: what remains is in quarantine.
    member _.IsDone = tasks.Count = quarantined

    member _.Quarantined = quarantined

    member internal _.Parts = struct (tasks, workers, queues, successors, files)
