namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// A task in the scheduler's memory: 72 bytes beside its submission.
[<Sealed>]
type internal Task(id: TaskId, number: int64, submission: Submission, pipeline: Pipeline) =
    let mutable number = number
    let mutable submission = submission
    let mutable pipeline = pipeline
    let mutable previous: Task | null = null
    let mutable next: Task | null = null
    // A `Progress`; before the first attempt a `TaskState`, or a `Placed` where the place is not `number`.
    let mutable progressOrState: obj = TaskState.Queued

    let progress () : Progress | null =
        match progressOrState with
        | :? Progress as progress -> progress
        | _ -> null

    member _.Id = id

    /// The number of the event that has the submission: `Submitted`, or the latest that carried it.
    member _.Number = number

    /// A later event has the submission too.
    member task.CarryTo(later: int64) =
        let place = task.Place
        number <- later
        task.Place <- place

    /// The number of the event that brought the task here; negative at the front of its queue.
    member _.Place
        with get (): int64 =
            match progressOrState with
            | :? Progress as progress -> progress.Place
            | :? Placed as placed -> placed.Place
            | _ -> number
        and set (place: int64) =
            match progressOrState with
            | :? Progress as progress -> progress.Place <- place
            | :? Placed as placed -> placed.Place <- place
            | state ->
                if place <> number then
                    progressOrState <- Placed(downcast state, place)

    member _.Submission
        with get () = submission
        and set (loaded: Submission) = submission <- loaded

    /// Only `PieceStages.merging` replaces the pipeline.
    member _.Pipeline
        with get () = pipeline
        and set (expanded: Pipeline) = pipeline <- expanded

    /// Neighbours in the list that the task is in.
    member _.Previous
        with get () = previous
        and set (task: Task | null) = previous <- task

    member _.Next
        with get () = next
        and set (task: Task | null) = next <- task

    member _.State
        with get (): TaskState =
            match progressOrState with
            | :? Progress as progress -> progress.State
            | :? Placed as placed -> placed.State
            | state -> downcast state
        and set (state: TaskState) =
            match progressOrState with
            | :? Progress as progress -> progress.State <- state
            | :? Placed as placed -> placed.State <- state
            | _ -> progressOrState <- state

    /// When the task came into its state.
    member val Since = Instant.zero with get, set

    /// Whether the task was ever assigned.
    member _.IsBegun = not (isNull (progress ()))

    /// Only of a begun task.
    member _.Progress: Progress = nonNull (progress ())

    /// Creates the progress, if there is none.
    member task.Begin() : Progress =
        match progressOrState with
        | :? Progress as progress -> progress
        | _ ->
            let made = Progress(submission.Payload, task.State, task.Place)
            progressOrState <- made
            made

    /// The input of the next stage.
    member _.Payload =
        match progress () with
        | null -> submission.Payload
        | progress -> progress.Payload

    /// The number of its latest attempt; 0 before the first.
    member _.Attempt =
        match progress () with
        | null -> 0
        | progress -> progress.Attempt

    /// Failures since the last manual retry.
    member _.Failures =
        match progress () with
        | null -> 0
        | progress -> progress.Failures

    member _.Losses =
        match progress () with
        | null -> 0
        | progress -> int progress.Losses

    /// The failures, the latest first.
    member _.PastFailures =
        match progress () with
        | null -> []
        | progress -> progress.PastFailures

    member _.Stage =
        match progress () with
        | null -> 0
        | progress -> int progress.Stage

    /// The stages given to the worker end before this index.
    member _.StageEnd =
        match progress () with
        | null -> 0
        | progress -> int progress.StageEnd

    /// The stages after those of the pipeline: none, or for a piece the stages of the file after the pieces. Null for a
    /// task with the result of a stage, or a piece of one: back-pressure does not hold back such tasks.
    member task.Downstream: string[] | null =
        match progress () with
        | null -> Array.empty
        | progress when progress.IsResult -> null
        | progress -> progress.Downstream

    /// The names of the workers that failed the task, sorted, as of when it came into its queue.
    member _.FailedBy =
        match progress () with
        | null -> Array.empty
        | progress -> progress.FailedBy

    /// Whether the payload is the result of a stage.
    member _.IsResult =
        match progress () with
        | null -> false
        | progress -> progress.IsResult

    /// The offer that a worker must make to run the next stage.
    member task.Demand = pipeline.stages[task.Stage].demand

    /// The pieces of the payload; null: it is not cut.
    member _.Pieces: PiecesOf<Task> | null =
        match progress () with
        | null -> null
        | progress -> progress.Pieces

    /// Whether the task is worked on, and can end without reading its file again.
    member task.IsUnderWay =
        match task.State with
        | TaskState.Running _
        | TaskState.Split _ -> true
        | TaskState.Queued
        | TaskState.Suspected -> task.IsResult
        | TaskState.Waiting _
        | TaskState.Publishing
        | TaskState.Succeeding _
        | TaskState.Quarantined
        | TaskState.Ended -> false

/// The place of a task that was never assigned and is not in the order of submission.
and [<Sealed>] internal Placed(state: TaskState, place: int64) =
    member val State = state with get, set
    member val Place = place with get, set

/// The progress of a task that was assigned. A task that never was has none, since a million of those may wait.
and [<Sealed>] internal Progress(payload: Payload, state: TaskState, place: int64) =
    let mutable pieces: PiecesOf<Task> | null = null

    member val State = state with get, set

    /// As `Task.Place`.
    member val Place = place with get, set

    /// The input of the next stage.
    member val Payload = payload with get, set

    /// Whether the payload is the result of a stage; or its parts are to be merged by another.
    member val IsResult = false with get, set

    /// The latest first, at most `SchedulerLimits.pastFailuresMax`.
    member val PastFailures: Failure list = [] with get, set

    /// As `Task.FailedBy`.
    member val FailedBy: string[] = Array.empty with get, set

    member val Attempt = 0 with get, set
    member val Failures = 0 with get, set

    /// Workers that were lost while they held the task.
    member val Losses = 0uy with get, set

    member val Stage = 0uy with get, set

    /// The stages given to the worker end before this index.
    member val StageEnd = 0uy with get, set

    /// As `Task.Downstream`, until the task has the result of a stage.
    member val Downstream: string[] | null = Array.empty with get, set

    /// The pieces of the payload, from the cut until their parts are merged.
    member _.Pieces
        with get () = pieces
        and set (cut: PiecesOf<Task> | null) = pieces <- cut

/// The state of a task. Each case carries what is true in that state alone.
and [<RequireQualifiedAccess; ReferenceEquality>] internal TaskState =
    | Queued
    /// Queued, to be run by a worker that has no other task: lost twice with its worker.
    | Suspected
    | Running of Worker
    /// Worked on in pieces.
    | Split of Splitting
    /// Failed; retried at this moment.
    | Waiting of until: Instant
    | Publishing
    /// A newer version of a file, which waits for this older version that is being published or may finish first.
    | Succeeding of Task
    | Quarantined
    /// Completed or cancelled: removed from the table, though a reference may remain.
    | Ended

/// A connected worker and its tasks, oldest first.
and internal Worker(session: SessionId, name: string, offers: string[]) =
    let mutable name = name
    let mutable offers = HashSet<string> offers
    let mutable previous: Worker | null = null
    let mutable next: Worker | null = null

    member _.Session = session
    member _.Name = name

    /// The number of the event that has its name and offers.
    member val Number = 0L with get, set

    /// Sets name and offers, which no earlier event had.
    member _.Introduce(called: string, offered: string[]) =
        name <- called
        offers <- HashSet<string> offered

    member _.Can(demand: string) = offers.Contains demand
    member _.Offers: seq<string> = offers

    /// Neighbours among the idle workers.
    member _.Previous
        with get () = previous
        and set (worker: Worker | null) = previous <- worker

    member _.Next
        with get () = next
        and set (worker: Worker | null) = next <- worker

    /// The state of each of its tasks: one object serves them all.
    member val Running = Unchecked.defaultof<TaskState> with get, set
    member val Held = TaskList()
    member val Slots = 0 with get, set

    /// The most tasks that it may hold: its slots, or its tasks when the slots were lowered.
    member val Ceiling = 0 with get, set
    member val IsIdle = false with get, set

    /// Asked to finish its tasks and leave: it gets no new tasks.
    member val IsDismissed = false with get, set

    /// Known from events only: after a restart of the scheduler it has not connected yet.
    member val IsAbsent = true with get, set

    /// The suspected task that the worker is kept free for, or that it runs.
    member val Reserved: Task | null = null with get, set
    member val LastHeard = Instant.zero with get, set

    /// Counts assigned tasks, up to the turn of a task that has waited too long. A count for each worker: with one for
    /// all, workers in lockstep would leave that turn always to the same one.
    member val Turn = 0 with get, set

    member val Finished = 0L with get, set
    member val Failed = 0L with get, set

    member worker.Hear(now: Instant) = worker.LastHeard <- now

    member worker.Connect() = worker.IsAbsent <- false

    /// Counts a finished or failed attempt.
    member worker.Count(isDone: bool) =
        if isDone then
            worker.Finished <- worker.Finished + 1L
        else
            worker.Failed <- worker.Failed + 1L

    static member Create(session, name, offers) =
        let worker = Worker(session, name, offers)
        worker.Running <- TaskState.Running worker
        worker

/// A doubly linked list through the tasks themselves: no allocation, and removal in constant time.
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

    member list.ToSeq() : seq<Task> =
        seq {
            let mutable at = first

            while not (isNull at) do
                let task = nonNull at
                at <- task.Next
                task
        }

    /// Sorts the tasks by place.
    member list.Sort() =
        let tasks: Task[] =
            list.ToSeq() |> Seq.sortBy (fun (task: Task) -> task.Place) |> Seq.toArray

        first <- null
        last <- null
        count <- 0
        Array.iter list.AddLast tasks

/// The pieces of the payload of a task.
type internal Pieces = PiecesOf<Task>
