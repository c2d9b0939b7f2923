namespace FsScheduler.Core

open System
open System.Collections.Generic

/// What the scheduler knows between inputs, and what it has decided on the present one.
[<Sealed>]
type internal State(settings: Settings, tasksMax: int) =
    let backlog = Backpressure settings.spoolBytes
    let probation = Probation()
    let workers = WorkerPool probation
    let queues = ReadyQueues(backlog, workers, probation)
    member _.Settings = settings
    member _.TasksMax = tasksMax
    member val Tasks = TaskTable()
    member _.Workers = workers
    member _.Probation = probation
    member _.Backlog = backlog
    member _.Queues = queues

    /// Failed tasks by the moment of their next attempt, with some that wait no longer.
    member val Waiting = PriorityQueue<Task, struct (Duration * TaskId)>()

    /// Tasks that are worked on in pieces.
    member val Splits = SortedDictionary<TaskId, Task>()

    /// The newest version of each file.
    member val Files = Dictionary<string, Task>()

    /// By file: how many versions in a row were begun and overtaken. A restart forgets it.
    member val Overtaken = Dictionary<string, int>()

    /// By the task that is to end first: the newer version of its file.
    member val Successors = Dictionary<TaskId, Task>()
    member val Keys = IdempotencyKeys(settings.memory < Settings.unlimited)

    /// What was taken of the folder of inputs.
    member val Taken = TakenFiles()

    /// Whose the names of results are that do not tell it, each with the event that the journal has it at.
    member val Owners = Dictionary<TaskName, struct (ResultSource * int64)>()

    member val OwnerHomes = Homes<TaskName>()
    member val WorkerHomes = Homes<SessionId>()

    /// Of earlier runs: results that were accepted, by which they are known in their places.
    member val Marks = Dictionary<Attempt, ResultMark>()

    /// The results of events up to this number have reached the device.
    member val FlushedUpTo = 0L with get, set

    member val Retaining = Retaining()

    /// Whether tasks that were carried stand behind others that they belong before: see `Sort`.
    member val IsUnsorted = false with get, set

    /// Stages that a pipeline may name.
    member val Known = HashSet<string>(settings.expected)

    /// Stages that tasks wait for and no worker offers: since when, and whether it was told.
    member val Missing = Dictionary<string, struct (Instant * bool)>()

    /// Pipelines that were parsed, by their text.
    member val Pipelines = Dictionary<string, Pipeline>()

    member val StepOutput = StepOutput() with get, set
    member val Now = Instant.zero with get, set
    member val LastTick = Instant.zero with get, set
    member val Started: Instant voption = ValueNone with get, set
    member val LastId = 0L<taskId> with get, set

    /// Where the random sequence is.
    member val Chance = settings.seed with get, set

    /// Whether somebody idle may now have something to do.
    member val IsChanged = false with get, set

    member val Running = 0 with get, set
    member val WaitingCount = 0 with get, set
    member val Publishing = 0 with get, set
    member val Quarantined = 0 with get, set
    member val Finished = 0L with get, set
    member val Rates = Throughput()
    member val Cancelled = 0L with get, set

    /// The number of the latest event.
    member val LastEvent = 0L with get, set

    /// The latest session that the journal has heard of.
    member val LastSession = 0L<sessionId> with get, set

    /// What the submissions of unfinished tasks take in memory.
    member val Held = 0L<B> with get, set

    /// Files of payloads that what has happened has no use for any more.
    member val Released = ResizeArray<Payload>()

    member state.Ask effect = state.StepOutput.Effects.Add effect

    /// Stages that a worker offers: pipelines may name them from now on.
    member state.Learn(stages: string[]) =
        for stage in stages do
            if state.Known.Count < SchedulerLimits.stagesMax then
                state.Known.Add stage |> ignore

    /// A worker of the latest event, which is absent until a connection speaks for it.
    member state.Introduce(session, name, stages: string[]) =
        state.Learn stages
        let worker = state.WorkerOf session
        worker.Introduce(name, stages)
        worker.Number <- state.LastEvent
        state.WorkerHomes.Add(state.LastEvent, session)

    /// The worker of a session; one whose event was dropped is introduced later, or was forgotten.
    member state.WorkerOf session : Worker =
        match workers.Find session with
        | null ->
            state.LastSession <- max state.LastSession session
            workers.Join(session, $"session {session}", [||], state.Now)
        | worker -> worker

    /// Whose the name of a result is, by the latest event.
    member state.Own(name, source) =
        state.Owners[name] <- struct (source, state.LastEvent)
        state.OwnerHomes.Add(state.LastEvent, name)

    /// A payload that an event was recorded with, as it is kept: in the journal, if that can be read. One without bytes may
    /// be that of no event.
    member _.Kept(number: int64, payload: Payload) =
        match payload with
        | Bytes bytes when bytes.Length > 0 && settings.memory < Settings.unlimited ->
            Recorded(number, int64 bytes.Length * 1L<B>)
        | Recorded(_, size) -> Recorded(number, size)
        | _ -> payload

    /// Brings tasks that were carried into their places.
    member state.Sort() =
        if state.IsUnsorted then
            queues.Sort()

            for worker in workers.All do
                worker.Held.Sort()

            state.IsUnsorted <- false

    member state.Reply(session, message) =
        state.Ask(Effect.ToPeer(PeerEffect.Reply(session, message, Payload.empty, false)))

    /// Lets go of a payload that nobody needs any more.
    member state.Discard payload =
        match payload with
        | Spooled _ -> state.Ask(Effect.ToDisk(DiskEffect.Discard payload))
        | Packed
        | Bytes _
        | Journaled
        | Recorded _
        | Input _
        | Slice _ -> ()

    /// A payload that no task has any more, for `DiscardReleased`.
    member state.Release payload =
        match payload with
        | Spooled _ -> state.Released.Add payload
        | Packed
        | Bytes _
        | Journaled
        | Recorded _
        | Input _
        | Slice _ -> ()

    /// Lets go of all that was released.
    member state.DiscardReleased() =
        if state.Released.Count > 0 then
            for payload in state.Released do
                state.Ask(Effect.ToDisk(DiskEffect.Discard payload))

            state.Released.Clear()

    /// The result of a stage that a task has brought there waits for the next one no longer.
    member state.Unload(task: Task) =
        let full = backlog.FullCount
        backlog.Remove task

        if backlog.FullCount < full then
            state.Queues.OpenAll()
            state.IsChanged <- true

    /// A worker may have become able to take a task.
    member state.Offer(worker: Worker) =
        state.IsChanged <- true

        if worker.IsIdle && isNull worker.Reserved then
            state.Queues.OpenFor worker

    /// The latest attempt of a task.
    member _.AttemptOf(task: Task) = { task = task.Id; number = task.Attempt }

    /// The one that comes after it.
    member _.NextAttemptOf(task: Task) = { task = task.Id; number = task.Attempt + 1 }

    /// What a task was submitted with is held in another way: what the journal had of it is here.
    member state.Recall(task: Task, submission: Submission) =
        state.Held <- state.Held + submission.MemorySize - task.Submission.MemorySize
        task.Submission <- submission.From task.Submission.Origin

        if task.Progress.Payload.IsJournaled then
            task.Progress.Payload <- submission.Payload

    /// Takes a task from those that wait, if there is one whose time has come: it waits no longer if it was cancelled, or
    /// retried, meanwhile.
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

    /// The task, if this attempt of it is the current one: the fence.
    member state.Current(attempt: Attempt) : Task | null =
        match state.Tasks.Find attempt.task with
        | null -> null
        | task -> if task.Attempt = attempt.number then task else null

    /// What went wrong with a task's latest attempt.
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
