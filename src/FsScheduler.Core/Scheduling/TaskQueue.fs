namespace FsScheduler.Core

/// The tasks that wait for one stage: higher priority first, then first come, first served.
type internal TaskQueue(stage: string) =
    // By falling priority. A few empty levels stay, since most tasks have one of a few priorities.
    let levels = ResizeArray<struct (int * TaskList)>()
    let levelsEmptyMax = 16
    let mutable count = 0

    /// The index of the level of this priority, or of the level to insert it before.
    let indexOf priority =
        let mutable low = 0
        let mutable high = levels.Count

        while low < high do
            let middle = (low + high) >>> 1
            let struct (other, _) = levels[middle]

            if other > priority then
                low <- middle + 1
            else
                high <- middle

        low

    let level priority =
        let index = indexOf priority

        if
            index < levels.Count
            && (let struct (other, _) = levels[index] in other = priority)
        then
            let struct (_, tasks) = levels[index]
            tasks
        else
            let tasks = TaskList()
            levels.Insert(index, struct (priority, tasks))
            tasks

    member _.Stage = stage
    member _.Count = count

    /// The one to be served next.
    member _.First: Task | null =
        let mutable first: Task | null = null
        let mutable index = 0

        while isNull first && index < levels.Count do
            let struct (_, tasks) = levels[index]
            first <- tasks.First
            index <- index + 1

        first

    /// The one that has been waiting longest, of any priority.
    member _.Oldest: Task | null =
        let mutable oldest: Task | null = null

        for struct (_, tasks) in levels do
            match tasks.First, oldest with
            | null, _ -> ()
            | first, null -> oldest <- first
            | first, other ->
                if first.Since.sinceStart < other.Since.sinceStart then
                    oldest <- first

        oldest

    /// Behind its equals. Its order is set by the caller, above all before it.
    member _.AddLast(task: Task) =
        (level task.Submission.Priority).AddLast task
        count <- count + 1

    /// Before its equals. Its order is set by the caller, below all behind it.
    member _.AddFirst(task: Task) =
        (level task.Submission.Priority).AddFirst task
        count <- count + 1

    member _.Remove(task: Task) =
        let tasks = level task.Submission.Priority
        tasks.Remove task
        count <- count - 1

        if tasks.Count = 0 && levels.Count > levelsEmptyMax then
            levels.RemoveAt(indexOf task.Submission.Priority)

    member _.ToSeq() =
        levels |> Seq.collect (fun (struct (_, tasks)) -> tasks.ToSeq())
