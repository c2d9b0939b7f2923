namespace FsScheduler.Machine

open FsScheduler.Core

/// Queued tasks of one stage and one priority.
type internal QueueLevel(priority: int) =
    let begun = TaskList()
    let fresh = TaskList()

    member _.Priority = priority

    /// Tasks that were assigned before. They come first: so the spool stays small, and lost tasks do not wait twice.
    member _.Begun = begun

    /// Tasks never assigned, in the order of submission.
    member _.Fresh = fresh
    member _.ListOf(task: Task) = if task.IsBegun then begun else fresh
    member _.Count = begun.Count + fresh.Count

    member _.First: Task | null =
        match begun.First with
        | null -> fresh.First
        | task -> task

    /// The older of the two first tasks.
    member _.Oldest: Task | null =
        match begun.First, fresh.First with
        | null, task
        | task, null -> task
        | task, other -> if task.Since - other.Since <= 0L<ms> then task else other

    member _.ToSeq() =
        Seq.append (begun.ToSeq()) (fresh.ToSeq())

/// Queued tasks with equal stages left: higher priority first, then begun before fresh, then first come, first served.
/// <param name="stages">What a worker must offer for each, the next one first.</param>
/// <param name="downstream">As that of each task.</param>
/// <param name="failedBy">As that of each task.</param>
type internal ReadyQueue(stages: string[], downstream: string[] | null, failedBy: string[]) =
    // By falling priority. Some empty levels are kept, since most tasks have one of a few priorities.
    let levels = ResizeArray<QueueLevel>()
    let levelsEmptyMax = 16
    let mutable count = 0
    let mutable stuckSince: Instant voption = ValueNone

    /// The index of the level of this priority, or of the level that it is inserted before.
    let indexOf priority =
        let mutable low = 0
        let mutable high = levels.Count

        while low < high do
            let middle = (low + high) >>> 1

            if levels[middle].Priority > priority then
                low <- middle + 1
            else
                high <- middle

        low

    let levelOf (task: Task) =
        let priority = task.Submission.Priority
        let index = indexOf priority

        if index < levels.Count && levels[index].Priority = priority then
            levels[index]
        else
            let level = QueueLevel priority
            levels.Insert(index, level)
            level

    member _.Stages = stages
    member _.Downstream = downstream
    member _.FailedBy = failedBy

    /// The stage that the tasks wait for.
    member _.Stage = stages[0]
    member _.Count = count

    /// False where no idle worker can run this stage, so that dispatch skips the queue.
    member val IsOpen = true with get, set

    /// A worker may run this queue: it is not stuck.
    member _.Unstick() = stuckSince <- ValueNone

    /// For how long all workers that could run this queue have been held back.
    member _.StuckFor(now: Instant) : Duration =
        match stuckSince with
        | ValueSome since -> now - since
        | ValueNone ->
            stuckSince <- ValueSome now
            0L<ms>

    /// True where the queue was empty and another one has taken its place.
    member val IsForgotten = false with get, set

    /// The task to be served next.
    member _.First: Task | null =
        let mutable first: Task | null = null
        let mutable index = 0

        while isNull first && index < levels.Count do
            first <- levels[index].First
            index <- index + 1

        first

    /// The task that has waited longest, of the first ones of each priority.
    member _.Oldest: Task | null =
        let mutable oldest: Task | null = null

        for level in levels do
            match level.Oldest, oldest with
            | null, _ -> ()
            | first, null -> oldest <- first
            | first, other ->
                if first.Since - other.Since < 0L<ms> then
                    oldest <- first

        oldest

    /// Adds a task behind those of its priority.
    member _.AddLast(task: Task) =
        (levelOf task).ListOf(task).AddLast task
        count <- count + 1

    /// Adds a task before those of its priority.
    member _.AddFirst(task: Task) =
        (levelOf task).ListOf(task).AddFirst task
        count <- count + 1

    member _.Remove(task: Task) =
        let level = levelOf task
        level.ListOf(task).Remove task
        count <- count - 1

        if level.Count = 0 && levels.Count > levelsEmptyMax then
            levels.RemoveAt(indexOf level.Priority)

    /// The tasks that are served before this one. Linear in the tasks of its level.
    member _.CountBefore(task: Task) : int =
        let mutable before = 0
        let mutable index = 0

        while levels[index].Priority > task.Submission.Priority do
            before <- before + levels[index].Count
            index <- index + 1

        let level = levels[index]

        if not task.IsBegun then
            before <- before + level.Begun.Count

        let mutable at = level.ListOf(task).First

        while not (isNull at) && not (obj.ReferenceEquals(at, task)) do
            before <- before + 1
            at <- (nonNull at).Next

        before

    /// Sorts the tasks by place.
    member _.Sort() =
        for level in levels do
            level.Begun.Sort()
            level.Fresh.Sort()

    member _.ToSeq() = levels |> Seq.collect _.ToSeq()
