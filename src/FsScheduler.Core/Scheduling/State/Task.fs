namespace FsScheduler.Core

open System.Collections.Generic

/// A task, as the scheduler keeps it: 72 bytes beside its submission.
[<Sealed>]
type internal Task(id: TaskId, number: int64, submission: Submission, pipeline: Pipeline) =
    let mutable number = number
    let mutable submission = submission
    let mutable pipeline = pipeline
    let mutable previous: Task | null = null
    let mutable next: Task | null = null
    // Its progress, which has its state; before the first attempt its state alone, or with its place where that is another
    // than its number.
    let mutable standing: obj = TaskState.Queued

    let progress () : Progress | null =
        match standing with
        | :? Progress as progress -> progress
        | _ -> null

    member _.Id = id

    /// The event that has its submission: the one that it came with, until it is carried.
    member _.Number = number

    /// Its submission is in the journal at a later event too.
    member task.CarryTo(later: int64) =
        let place = task.Place
        number <- later
        task.Place <- place

    /// The number of the event that brought it where it is; negative where it came to the front of its queue.
    member _.Place
        with get (): int64 =
            match standing with
            | :? Progress as progress -> progress.Place
            | :? Placed as placed -> placed.Place
            | _ -> number
        and set (place: int64) =
            match standing with
            | :? Progress as progress -> progress.Place <- place
            | :? Placed as placed -> placed.Place <- place
            | state ->
                if place <> number then
                    standing <- Placed(downcast state, place)

    member _.Submission
        with get () = submission
        and set (recalled: Submission) = submission <- recalled

    /// Another one only from `PieceStages`.
    member _.Pipeline
        with get () = pipeline
        and set (expanded: Pipeline) = pipeline <- expanded

    /// Neighbours in the list that the task is in, if it is in one.
    member _.Previous
        with get () = previous
        and set (task: Task | null) = previous <- task

    member _.Next
        with get () = next
        and set (task: Task | null) = next <- task

    member _.State
        with get (): TaskState =
            match standing with
            | :? Progress as progress -> progress.State
            | :? Placed as placed -> placed.State
            | state -> downcast state
        and set (state: TaskState) =
            match standing with
            | :? Progress as progress -> progress.State <- state
            | :? Placed as placed -> placed.State <- state
            | _ -> standing <- state

    /// When it came into its state.
    member val Since = Instant.zero with get, set

    /// Whether it was ever given out.
    member _.IsBegun = not (isNull (progress ()))

    /// Only of a task that is begun.
    member _.Progress: Progress = nonNull (progress ())

    /// Its progress, from the first attempt on.
    member task.Begin() : Progress =
        match standing with
        | :? Progress as progress -> progress
        | _ ->
            let made = Progress(submission.Payload, task.State, task.Place)
            standing <- made
            made

    /// The input of its next stage.
    member _.Payload =
        match progress () with
        | null -> submission.Payload
        | progress -> progress.Payload

    /// The number of its latest attempt; 0 before the first.
    member _.Attempt =
        match progress () with
        | null -> 0
        | progress -> progress.Attempt

    /// How often it has failed, since it was last retried.
    member _.Failures =
        match progress () with
        | null -> 0
        | progress -> progress.Failures

    member _.Losses =
        match progress () with
        | null -> 0
        | progress -> int progress.Losses

    /// What went wrong with it, the latest first.
    member _.PastFailures =
        match progress () with
        | null -> []
        | progress -> progress.PastFailures

    /// The index of its next stage.
    member _.Stage =
        match progress () with
        | null -> 0
        | progress -> int progress.Stage

    /// The stages given to its worker end before this index.
    member _.StageEnd =
        match progress () with
        | null -> 0
        | progress -> int progress.StageEnd

    /// What comes after the stages of its pipeline: none, or, of a piece, the stages of the file after those of its pieces.
    /// Null where it has the result of a stage, or is a piece of one: what has come so far is not held back.
    member task.Downstream: string[] | null =
        match progress () with
        | null -> Array.empty
        | progress when progress.IsResult -> null
        | progress -> progress.Downstream

    /// The workers that have failed it, by name and in order, as of when it came into its queue.
    member _.FailedBy =
        match progress () with
        | null -> Array.empty
        | progress -> progress.FailedBy

    /// Whether its payload is the result of a stage.
    member _.IsResult =
        match progress () with
        | null -> false
        | progress -> progress.IsResult

    /// What a worker must offer to be given its next stage.
    member task.Demand = pipeline.stages[task.Stage].demand

    /// The pieces of its payload, if it was cut.
    member _.Pieces: PiecesOf<Task> | null =
        match progress () with
        | null -> null
        | progress -> progress.Pieces

    /// Whether it is worked on, and what was read of its file is still good: it can end without the file being read anew.
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

/// Where a task is that was never given out, and is not in the order in which tasks were submitted.
and [<Sealed>] internal Placed(state: TaskState, place: int64) =
    member val State = state with get, set
    member val Place = place with get, set

/// How far a task has come. What was never given out has none, and a million of those may wait.
and [<Sealed>] internal Progress(payload: Payload, state: TaskState, place: int64) =
    let mutable pieces: PiecesOf<Task> | null = null

    member val State = state with get, set

    /// See the task's.
    member val Place = place with get, set

    /// The input of its next stage.
    member val Payload = payload with get, set

    /// Whether that is the result of a stage. Of the first as well, where its parts are to be merged by another.
    member val IsResult = false with get, set

    /// The latest first, at most `SchedulerLimits.pastFailuresMax`.
    member val PastFailures: Failure list = [] with get, set

    /// See the task's.
    member val FailedBy: string[] = Array.empty with get, set

    /// The number of its latest attempt.
    member val Attempt = 0 with get, set
    member val Failures = 0 with get, set

    /// How often a worker was lost that held it.
    member val Losses = 0uy with get, set

    /// The index of its next stage.
    member val Stage = 0uy with get, set

    /// The stages given to its worker end before this index.
    member val StageEnd = 0uy with get, set

    /// As that of the task, until it has the result of a stage.
    member val Downstream: string[] | null = Array.empty with get, set

    /// The pieces of its payload, from when it was cut until their results are joined.
    member _.Pieces
        with get () = pieces
        and set (cut: PiecesOf<Task> | null) = pieces <- cut

/// Where a task is. Each case carries what is true there and nowhere else.
and [<RequireQualifiedAccess; ReferenceEquality>] internal TaskState =
    | Queued
    /// Queued, to be run by a worker that has nothing else: twice lost with its worker.
    | Suspected
    | Running of Worker
    /// Worked on in pieces.
    | Split of Splitting
    /// Failed; tried again at this moment.
    | Waiting of until: Instant
    | Publishing
    /// A newer version of a file whose older version, this one, is being published, or may finish first.
    | Succeeding of Task
    | Quarantined
    /// Completed or cancelled: out of the table, though somebody may still hold a reference.
    | Ended

/// A worker, and what it holds, oldest first.
and internal Worker(session: SessionId, name: string, offers: string[]) =
    let mutable name = name
    let mutable offers = HashSet<string> offers
    let mutable previous: Worker | null = null
    let mutable next: Worker | null = null

    member _.Session = session
    member _.Name = name

    /// The event that has its name and what it offers.
    member val Number = 0L with get, set

    /// What it is called, and what it offers, was known from no event until now.
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

    /// The state of every task that it holds: one object serves them all.
    member val Running = Unchecked.defaultof<TaskState> with get, set
    member val Held = TaskList()
    member val Slots = 0 with get, set

    /// It never holds more: its slots, or what it held when they were lowered.
    member val Ceiling = 0 with get, set
    member val IsIdle = false with get, set

    /// Asked to finish what it has and go: it gets nothing new, whatever it says.
    member val IsDismissed = false with get, set

    /// Known from its events only, until a connection speaks for it: after a restart of the scheduler it has not come back.
    member val IsAbsent = true with get, set

    /// The suspected task that it is kept free for, or that it runs.
    member val Reserved: Task | null = null with get, set
    member val LastHeard = Instant.zero with get, set

    /// Counts what it was given, up to the turn of a task that has waited too long. Its own count: with one for
    /// all, workers in lockstep would give that turn always to the same of them.
    member val Turn = 0 with get, set

    member val Finished = 0L with get, set
    member val Failed = 0L with get, set

    /// A sign of life.
    member worker.Hear(now: Instant) = worker.LastHeard <- now

    /// A connection speaks for it.
    member worker.Connect() = worker.IsAbsent <- false

    /// It has done what it was given, or not.
    member worker.Count(isDone: bool) =
        if isDone then
            worker.Finished <- worker.Finished + 1L
        else
            worker.Failed <- worker.Failed + 1L

    static member Create(session, name, offers) =
        let worker = Worker(session, name, offers)
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

    member list.ToSeq() : seq<Task> =
        seq {
            let mutable at = first

            while not (isNull at) do
                let task = nonNull at
                at <- task.Next
                task
        }

    /// Brings the tasks into the order of their places.
    member list.Sort() =
        let tasks: Task[] =
            list.ToSeq() |> Seq.sortBy (fun (task: Task) -> task.Place) |> Seq.toArray

        first <- null
        last <- null
        count <- 0
        Array.iter list.AddLast tasks

/// The pieces of the payload of a task.
type internal Pieces = PiecesOf<Task>
