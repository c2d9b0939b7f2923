namespace FsScheduler.Core

open System.Collections.Generic

/// The queued tasks, by the stage that they wait for.
type internal Queues() =
    let queues = ResizeArray<TaskQueue>()
    let byStage = Dictionary<string, TaskQueue>()
    let suspects = TaskList()
    let mutable count = 0
    let mutable back = 0L
    let mutable front = 0L
    let mutable turn = 0

    let stageOf (task: Task) =
        task.Pipeline.stages[int task.Stage].name

    let queueOf (task: Task) =
        let stage = stageOf task

        match byStage.TryGetValue stage with
        | true, queue -> queue
        | _ ->
            let queue = TaskQueue stage
            byStage.Add(stage, queue)
            queues.Add queue
            queue

    let precedes (task: Task) (other: Task) =
        let priority, otherPriority = task.Submission.Priority, other.Submission.Priority
        priority > otherPriority || priority = otherPriority && task.Order < other.Order

    let first (worker: Worker) : Task | null =
        let mutable best: Task | null = null

        for queue in queues do
            if queue.Count > 0 && worker.Can queue.Stage then
                match queue.First, best with
                | null, _ -> ()
                | task, null -> best <- task
                | task, other ->
                    if precedes task other then
                        best <- task

        best

    let aged (worker: Worker) (now: Instant) : Task | null =
        let mutable oldest: Task | null = null

        for queue in queues do
            if queue.Count > 0 && worker.Can queue.Stage then
                match queue.Oldest, oldest with
                | null, _ -> ()
                | task, null ->
                    if now - task.Since >= Limits.agingAfter then
                        oldest <- task
                | task, other ->
                    if now - task.Since > now - other.Since then
                        oldest <- task

        oldest

    /// All that wait in a queue, without the suspects.
    member _.Count = count
    member _.Suspects = suspects

    member _.Stages =
        queues |> Seq.filter (fun queue -> queue.Count > 0) |> Seq.map _.Stage

    member _.AddLast(task: Task) =
        back <- back + 1L
        task.Order <- back
        (queueOf task).AddLast task
        count <- count + 1

    member _.AddFirst(task: Task) =
        front <- front - 1L
        task.Order <- front
        (queueOf task).AddFirst task
        count <- count + 1

    member _.Remove(task: Task) =
        (queueOf task).Remove task
        count <- count - 1

    /// What a worker should run next: the first of the highest priority; and now and then, so that
    /// no task starves, the one that has been waiting too long.
    member _.Next(worker: Worker, now: Instant) : Task | null =
        turn <- (turn + 1) % Limits.agingTurns

        if turn <> 0 then
            first worker
        else
            match aged worker now with
            | null -> first worker
            | task -> task

    member _.Oldest: Task | null =
        let mutable oldest = suspects.First

        for queue in queues do
            match queue.Oldest, oldest with
            | null, _ -> ()
            | task, null -> oldest <- task
            | task, other ->
                if (task.Since - other.Since) < 0L<ms> then
                    oldest <- task

        oldest

    member _.ToSeq() = queues |> Seq.collect _.ToSeq()
