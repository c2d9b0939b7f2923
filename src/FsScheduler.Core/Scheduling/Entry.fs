namespace FsScheduler.Core

open System.Collections.Generic

/// A task, as the scheduler keeps it: 72 bytes beside its submission.
type internal Task(id: TaskId, submission: Submission, pipeline: Pipeline) =
    let mutable previous: Task | null = null
    let mutable next: Task | null = null

    member _.Id = id
    member _.Submission = submission
    member _.Pipeline = pipeline

    /// Neighbours in the list that the task is in, if it is in one.
    member _.Previous
        with get () = previous
        and set (task: Task | null) = previous <- task

    member _.Next
        with get () = next
        and set (task: Task | null) = next <- task

    member val State = TaskState.Queued with get, set

    /// When it came into its state.
    member val Since = Instant.zero with get, set

    /// Its place among tasks of one priority: the lower, the earlier.
    member val Order = 0L with get, set

    /// The input of its next stage.
    member val Payload = submission.Payload with get, set
    member val Troubles: Trouble list = [] with get, set

    /// The number of its latest attempt; 0 before the first.
    member val Attempt = 0 with get, set
    member val Failures = 0uy with get, set

    /// How often a worker was lost that held it.
    member val Losses = 0uy with get, set

    /// The index of its next stage.
    member val Stage = 0uy with get, set

    /// The stages given to its worker end before this index.
    member val StageEnd = 0uy with get, set

/// Where a task is. Each case carries what is true there and nowhere else.
and [<RequireQualifiedAccess; ReferenceEquality>] internal TaskState =
    | Queued
    /// Queued, to be run by a worker that has nothing else: twice lost with its worker.
    | Suspected
    | Running of Worker
    /// Failed; tried again at this moment.
    | Waiting of until: Instant
    | Publishing
    /// A newer version of a file whose older version is being published.
    | Succeeding
    | Quarantined

/// A worker, and what it holds, oldest first.
and internal Worker(session: SessionId, name: string, stages: string[]) =
    let stages = HashSet<string> stages
    let mutable previous: Worker | null = null
    let mutable next: Worker | null = null

    member _.Session = session
    member _.Name = name
    member _.Can(stage: string) = stages.Contains stage

    /// Neighbours among the idle workers.
    member _.Previous
        with get () = previous
        and set (worker: Worker | null) = previous <- worker

    member _.Next
        with get () = next
        and set (worker: Worker | null) = next <- worker

    /// The state of every task that it holds: one object serves them all.
    member val Running = Unchecked.defaultof<TaskState> with get, set
    member val Held = TaskList()
    member val Slots = 0 with get, set

    /// It never holds more: its slots, or what it held when they were lowered.
    member val Ceiling = 0 with get, set
    member val IsIdle = false with get, set

    /// The suspected task that it is kept free for, or that it runs.
    member val Reserved: Task | null = null with get, set
    member val LastHeard = Instant.zero with get, set
    member val Finished = 0L with get, set
    member val Failed = 0L with get, set

    static member Create(session, name, stages) =
        let worker = Worker(session, name, stages)
        worker.Running <- TaskState.Running worker
        worker

/// Tasks in a row, linked through the tasks themselves: no allocation, and any of them leaves in constant time.
and internal TaskList() =
    let mutable first: Task | null = null
    let mutable last: Task | null = null
    let mutable count = 0

    member _.First = first
    member _.Last = last
    member _.Count = count

    member _.AddLast(task: Task) =
        task.Previous <- last
        task.Next <- null

        match last with
        | null -> first <- task
        | last -> last.Next <- task

        last <- task
        count <- count + 1

    member _.AddFirst(task: Task) =
        task.Next <- first
        task.Previous <- null

        match first with
        | null -> last <- task
        | first -> first.Previous <- task

        first <- task
        count <- count + 1

    member _.Remove(task: Task) =
        match task.Previous with
        | null -> first <- task.Next
        | previous -> previous.Next <- task.Next

        match task.Next with
        | null -> last <- task.Previous
        | next -> next.Previous <- task.Previous

        task.Previous <- null
        task.Next <- null
        count <- count - 1

    member list.ToSeq() =
        seq {
            let mutable at = first

            while not (isNull at) do
                let task = nonNull at
                at <- task.Next
                task
        }
