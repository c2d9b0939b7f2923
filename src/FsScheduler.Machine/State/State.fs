namespace FsScheduler.Machine

open System
open System.Collections.Generic
open FsScheduler.Core

/// The state of the scheduler between inputs, and the output of the present one.
[<Sealed>]
type internal State(settings: Settings, tasksMax: int) =
    let backpressure = Backpressure settings.spoolBytes
    let breakers = CircuitBreakers()
    let workers = WorkerPool breakers
    let queues = ReadyQueues(backpressure, workers, breakers)
    member _.Settings = settings
    member _.TasksMax = tasksMax
    member val Tasks = TaskTable()
    member _.Workers = workers
    member _.CircuitBreakers = breakers
    member _.Backpressure = backpressure
    member _.Queues = queues

    /// Failed tasks by the time of their next attempt, with some that wait no longer.
    member val Waiting = PriorityQueue<Task, struct (Duration * TaskId)>()

    /// Tasks worked on in pieces.
    member val Splits = SortedDictionary<TaskId, Task>()

    /// The newest version of each file.
    member val Files = Dictionary<string, Task>()

    /// How many begun versions of a file in a row were superseded, by file. Lost at a restart.
    member val Overtaken = Dictionary<string, int>()

    /// The newer version of a file, by the task of the older version that it waits for.
    member val Successors = Dictionary<TaskId, Task>()
    member val Keys = IdempotencyKeys(settings.memory < Settings.unlimited)

    member val Taken = TakenFiles()

    /// Owners of result names that differ from the name of their source, each with the number of its event.
    member val Owners = Dictionary<TaskName, struct (ResultSource * int64)>()

    member val OwnerIndex = EventIndex<TaskName>()
    member val WorkerIndex = EventIndex<SessionId>()

    /// The marks of results that earlier runs accepted, to recognize them under their final names.
    member val Marks = Dictionary<Attempt, ResultMark>()

    /// The results of events up to this number have reached the device.
    member val FlushedUpTo = 0L with get, set

    member val Retention = RetentionProgress()

    /// Whether carried tasks stand behind others that they belong before; see `Sort`.
    member val IsUnsorted = false with get, set

    /// The offers that a pipeline may name.
    member val Known = HashSet<string>(settings.expected)

    /// Stages that tasks wait for and no worker offers: since when, and whether this was logged.
    member val Missing = Dictionary<string, struct (Instant * bool)>()

    /// Parsed pipelines by their text.
    member val Pipelines = Dictionary<string, Pipeline>()

    member val StepOutput = StepOutput() with get, set
    member val Now = Instant.zero with get, set
    member val LastTick = Instant.zero with get, set
    member val Started: Instant voption = ValueNone with get, set
    member val LastId = 0L<taskId> with get, set

    /// The state of the random sequence for jitter.
    member val Chance = settings.seed with get, set

    /// Whether an idle worker may now have a task to run.
    member val IsChanged = false with get, set

    member val Running = 0 with get, set
    member val WaitingCount = 0 with get, set
    member val Publishing = 0 with get, set
    member val Quarantined = 0 with get, set
    member val Finished = 0L with get, set
    member val Throughput = Throughput()
    member val Cancelled = 0L with get, set

    /// The number of the latest event.
    member val LastEvent = 0L with get, set

    /// The latest session in the journal.
    member val LastSession = 0L<sessionId> with get, set

    /// Memory that the submissions of unfinished tasks take.
    member val Held = 0L<B> with get, set

    /// Payload files that the applied events have made useless.
    member val Released = ResizeArray<string>()

    member state.Ask effect = state.StepOutput.Effects.Add effect

    /// Adds the offers of a worker: pipelines may name them from now on.
    member state.Learn(stages: string[]) =
        for stage in stages do
            if state.Known.Count < SchedulerLimits.stagesMax then
                state.Known.Add stage |> ignore

    /// Adds the worker of the latest event, which is absent until a connection speaks for it.
    member state.Introduce(session, name, stages: string[]) =
        state.Learn stages
        let worker = state.WorkerOf session
        worker.Introduce(name, stages)
        worker.Number <- state.LastEvent
        state.WorkerIndex.Add(state.LastEvent, session)

    /// The worker of a session. One whose event was dropped is created without offers, for a later event.
    member state.WorkerOf session : Worker =
        match workers.Find session with
        | null ->
            state.LastSession <- max state.LastSession session
            workers.Join(session, $"session {session}", [||], state.Now)
        | worker -> worker

    /// Sets the owner of a result name, by the latest event.
    member state.Own(name, source) =
        state.Owners[name] <- struct (source, state.LastEvent)
        state.OwnerIndex.Add(state.LastEvent, name)

    /// The content of an event as it is kept: in the journal, if that can be read. An empty one may be in no event.
    member _.Kept(number: int64, content: KeptContent) =
        match content with
        | Held(Bytes bytes) when bytes.Length > 0 && settings.memory < Settings.unlimited ->
            Recorded(number, int64 bytes.Length * 1L<B>)
        | Recorded(_, size) -> Recorded(number, size)
        | Held _ -> content

    /// Sorts carried tasks into their places.
    member state.Sort() =
        if state.IsUnsorted then
            queues.Sort()

            for worker in workers.All do
                worker.Held.Sort()

            state.IsUnsorted <- false

    member state.Reply(session, message) =
        state.Ask(Effect.ToPeer(PeerEffect.Reply(session, message)))

    /// Deletes the file, if there is one, of a payload or result that is not needed any more.
    member state.Discard(file: string voption) =
        match file with
        | ValueSome path -> state.Ask(Effect.ToDisk(DiskEffect.Discard path))
        | ValueNone -> ()

    /// Marks a file, if there is one, as unused, for `DiscardReleased`.
    member state.Release(file: string voption) =
        match file with
        | ValueSome path -> state.Released.Add path
        | ValueNone -> ()

    member state.DiscardReleased() =
        if state.Released.Count > 0 then
            for path in state.Released do
                state.Ask(Effect.ToDisk(DiskEffect.Discard path))

            state.Released.Clear()

    /// The payload of a task waits for its next stage no longer.
    member state.Unload(task: Task) =
        let full = backpressure.FullCount
        backpressure.Remove task

        if backpressure.FullCount < full then
            state.Queues.OpenAll()
            state.IsChanged <- true

    /// Notes that a worker may have become able to take a task.
    member state.Offer(worker: Worker) =
        state.IsChanged <- true

        if worker.IsIdle && isNull worker.Reserved then
            state.Queues.OpenFor worker

    member _.AttemptOf(task: Task) = { task = task.Id; number = task.Attempt }

    member _.NextAttemptOf(task: Task) = { task = task.Id; number = task.Attempt + 1 }

    /// Replaces the submission of a task, as when the journal has loaded it.
    member state.SetSubmission(task: Task, submission: Submission) =
        state.Held <- state.Held + submission.MemorySize - task.Submission.MemorySize
        task.Submission <- submission.From task.Submission.Origin

        if task.Progress.Payload.IsJournaled then
            task.Progress.Payload <- submission.Payload

    /// Takes a waiting task whose time has come. Entries of tasks that were cancelled or retried meanwhile are skipped.
    member state.TryTakeDue() : Task voption =
        let mutable task = Unchecked.defaultof<Task>
        let mutable due = struct (0L<ms>, 0L<taskId>)
        let mutable found = ValueNone
        let isDue (struct (at, _)) = at <= state.Now.sinceStart

        while found.IsNone && state.Waiting.TryPeek(&task, &due) && isDue due do
            state.Waiting.Dequeue() |> ignore
            let struct (at, _) = due

            match task.State with
            | TaskState.Waiting until when until.sinceStart = at -> found <- ValueSome task
            | _ -> ()

        found

    /// The task, if this attempt is its current one: the fence.
    member state.Current(attempt: Attempt) : Task | null =
        match state.Tasks.Find attempt.task with
        | null -> null
        | task -> if task.Attempt = attempt.number then task else null

    /// A failure of the latest attempt of a task.
    member state.NewFailure(task: Task, cause, worker, error) =
        let first = task.Stage
        let last = max first (task.StageEnd - 1)

        {
            attempt = task.Attempt
            cause = cause
            stages = String.Join(" | ", task.Pipeline.wire[first..last])
            worker = worker
            error = error
            at = state.Now
        }
