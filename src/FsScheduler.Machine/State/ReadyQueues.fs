namespace FsScheduler.Machine

open System
open System.Collections.Generic
open System.Runtime.CompilerServices
open FsScheduler.Core

/// <summary>All queued tasks: a `ReadyQueue` for each list of remaining stages.</summary>
/// <param name="backpressure">The results that wait between stages.</param>
/// <param name="workers">The connected workers.</param>
/// <param name="breakers">The workers that are held back.</param>
type internal ReadyQueues
    (backpressure: Backpressure, workers: WorkerPool, breakers: CircuitBreakers) =
    // Up to this number of queues, empty ones are kept: most will be needed again.
    let emptyMax = 64
    let queues = ResizeArray<ReadyQueue>()
    let byKey = Dictionary<string, ReadyQueue>()
    let ofPipelines = ConditionalWeakTable<Pipeline, string[][]>()
    let suspects = TaskList()
    let mutable count = 0
    let mutable openCount = 0 // tasks in open queues
    let mutable latestOf: Pipeline voption = ValueNone
    let mutable latestStage = 0
    let mutable latest = ReadyQueue([| "" |], [||], [||])
    let mutable avoiding = 0 // tasks that a worker has failed
    let mutable tickedAt = Instant.zero

    let keyOf (stages: string[]) (downstream: string[] | null) (failedBy: string[]) =
        let separator = "\000"
        let own = String.Join(separator, stages)

        let key =
            match downstream with
            | null -> own
            | others -> String.Join(separator, [| own; ""; yield! others |])

        if failedBy.Length = 0 then
            key
        else
            String.Join("\001", [| key; yield! failedBy |])

    let forgetEmpty () =
        for queue in queues.FindAll(fun queue -> queue.Count = 0) do
            queue.IsForgotten <- true
            byKey.Remove(keyOf queue.Stages queue.Downstream queue.FailedBy) |> ignore
            queues.Remove queue |> ignore

    let find (stages: string[]) (downstream: string[] | null) (failedBy: string[]) =
        let key = keyOf stages downstream failedBy

        match byKey.TryGetValue key with
        | true, queue -> queue
        | _ ->
            if queues.Count >= emptyMax then
                forgetEmpty ()

            let queue = ReadyQueue(stages, downstream, failedBy)
            byKey.Add(key, queue)
            queues.Add queue
            queue

    /// The remaining offers of a pipeline from each of its stages on.
    let restsOf (pipeline: Pipeline) =
        ofPipelines.GetValue(
            pipeline,
            fun pipeline ->
                let demands = pipeline.stages |> Array.map _.demand
                Array.init demands.Length (fun first -> demands[first..])
        )

    let queueOf (task: Task) =
        // Most tasks have the pipeline and stage of the task before.
        let isLatest =
            match latestOf with
            | ValueSome pipeline ->
                latestStage = task.Stage
                && obj.ReferenceEquals(pipeline, task.Pipeline)
                && obj.ReferenceEquals(latest.Downstream, task.Downstream)
                && latest.FailedBy.Length = 0
                && task.FailedBy.Length = 0
            | ValueNone -> false

        if not isLatest || latest.IsForgotten then
            let rests = restsOf task.Pipeline
            latest <- find rests[task.Stage] task.Downstream task.FailedBy
            latestOf <- ValueSome task.Pipeline
            latestStage <- task.Stage

        latest

    let heldBackBy (worker: Worker) (queue: ReadyQueue) =
        backpressure.HoldsBack(worker, queue.Stages, queue.Downstream)

    /// Whether a worker may run a task. A task waits for a worker that has not failed it, however busy, but not longer
    /// than `agingAfter`; a held-back worker gets it only if there is no other.
    let mayHave (worker: Worker) (queue: ReadyQueue) (task: Task) =
        not (Array.contains worker.Name queue.FailedBy)
        || not (workers.IsAnotherAble(queue.Stages, queue.FailedBy))
        || tickedAt - task.Since >= SchedulerLimits.agingAfter
           && not (breakers.IsHeldBack(worker, queue.Stages))

    let mayTry (worker: Worker) (queue: ReadyQueue) =
        queue.Count > 0
        && worker.Can queue.Stage
        && breakers.MayTry(worker, queue.Stages)
        && (heldBackBy worker queue).IsNone

    /// The first task of a queue that a worker may be given.
    let firstOf (worker: Worker) (queue: ReadyQueue) : Task | null =
        if mayTry worker queue then
            match queue.First with
            | null -> null
            | task -> if mayHave worker queue task then task else null
        else
            null

    /// Whether a task is served before another one that is first in its own queue.
    let precedes (task: Task) (other: Task) =
        let priority, otherPriority = task.Submission.Priority, other.Submission.Priority

        if priority <> otherPriority then priority > otherPriority
        elif task.IsBegun <> other.IsBegun then task.IsBegun
        else task.Id < other.Id

    /// Whether a worker on trial has failed this queue before: a task that it has not failed is the better trial.
    let isToldAlready (worker: Worker) (queue: ReadyQueue) =
        Array.contains worker.Name queue.FailedBy
        && breakers.IsHeldBack(worker, queue.Stages)

    let first (worker: Worker) : Task | null =
        let mutable best: Task | null = null
        let mutable isBestTold = false

        for queue in queues do
            if queue.IsOpen then
                match firstOf worker queue with
                | null -> ()
                | task ->
                    let isTold = isToldAlready worker queue

                    let isBetter =
                        match best with
                        | null -> true
                        | other when isTold = isBestTold -> precedes task other
                        | _ -> isBestTold

                    if isBetter then
                        best <- task
                        isBestTold <- isTold

        best

    /// The oldest task that a worker could run, if the task has waited for `agingAfter`.
    let aged (worker: Worker) (now: Instant) : Task | null =
        let mutable oldest: Task | null = null

        for queue in queues do
            if queue.IsOpen && mayTry worker queue then
                match queue.Oldest, oldest with
                | null, _ -> ()
                | task, _ when not (mayHave worker queue task) -> ()
                | task, null ->
                    if now - task.Since >= SchedulerLimits.agingAfter then
                        oldest <- task
                | task, other ->
                    let age = task.Since - other.Since

                    if age < 0L<ms> || age = 0L<ms> && precedes task other then
                        oldest <- task

        oldest

    let counted (queue: ReadyQueue) difference =
        count <- count + difference

        if queue.FailedBy.Length > 0 then
            avoiding <- avoiding + difference

        if queue.IsOpen then
            openCount <- openCount + difference

    let openQueue (queue: ReadyQueue) =
        if not queue.IsOpen then
            queue.IsOpen <- true
            openCount <- openCount + queue.Count

    /// At its `agingTurns`th turn a worker may be given a task that stands behind one that it has failed.
    let openForAged (worker: Worker) =
        if worker.Turn = SchedulerLimits.agingTurns - 1 && avoiding > 0 then
            for queue in queues do
                if queue.FailedBy.Length > 0 then
                    openQueue queue

    /// Queued tasks without the suspects.
    member _.Count = count

    /// Whether an idle worker may be able to run a task.
    member _.IsAnyOpen = openCount > 0

    /// Opens the queues that a newly idle worker can run.
    member _.OpenFor(worker: Worker) =
        for queue in queues do
            if worker.Can queue.Stage then
                openQueue queue

    /// Opens all queues, after a stage is full no longer or a worker held back no longer.
    member _.OpenAll() =
        for queue in queues do
            queue.IsOpen <- true

        openCount <- count

    /// Whether a worker may be given some queued task.
    member _.MayServe(worker: Worker) =
        queues.Exists(fun queue -> not (isNull (firstOf worker queue)))

    member _.IsAnyAvoiding = avoiding > 0

    /// The last tick. Waits are measured up to it, so that no task becomes assignable between two ticks.
    member _.TickedAt
        with get () = tickedAt
        and set (at: Instant) = tickedAt <- at

    /// The full stage, if any, that holds a queued task back from a worker that could run the task.
    member _.HeldBackBy(worker: Worker, task: Task) = heldBackBy worker (queueOf task)

    /// Sorts the tasks of each queue by place.
    member _.Sort() =
        suspects.Sort()

        for queue in queues do
            queue.Sort()

    /// The queues in the order of their first use, some of them empty.
    member _.All: seq<ReadyQueue> = queues

    /// Closes all queues, as no idle worker can run any task: a thousand workers need not be asked again at every step.
    member _.Close() =
        for queue in queues do
            if queue.Count > 0 then
                queue.IsOpen <- false

        openCount <- 0

    member _.Suspects = suspects

    /// The stages that tasks wait for, with their numbers of tasks; without the suspects.
    member _.Stages: seq<struct (string * int)> =
        queues
        |> Seq.filter (fun queue -> queue.Count > 0)
        |> Seq.map (fun queue -> struct (queue.Stage, queue.Count))

    member _.AddLast(task: Task) =
        let queue = queueOf task
        queue.AddLast task
        counted queue 1

    member _.AddFirst(task: Task) =
        let queue = queueOf task
        queue.AddFirst task
        counted queue 1

    member _.Remove(task: Task) =
        let queue = queueOf task
        queue.Remove task
        counted queue -1

        // The next task may have waited for another worker long enough, unlike the one before it.
        if queue.FailedBy.Length > 0 then
            openQueue queue

    /// The next task for a worker: the first of the highest priority; every `agingTurns`th time the one that has waited
    /// too long, so that no task starves.
    member _.Next(worker: Worker, now: Instant) : Task | null =
        let task =
            if worker.Turn < SchedulerLimits.agingTurns - 1 then
                first worker
            else
                match aged worker now with
                | null -> first worker
                | task -> task

        if not (isNull task) then
            worker.Turn <- (worker.Turn + 1) % SchedulerLimits.agingTurns
            openForAged worker

        task

    /// The task that has waited longest, of the first ones of each queue and priority.
    member _.Oldest: Task | null =
        let mutable oldest = suspects.First

        for queue in queues do
            match queue.Oldest, oldest with
            | null, _ -> ()
            | task, null -> oldest <- task
            | task, other ->
                if task.Since - other.Since < 0L<ms> then
                    oldest <- task

        oldest

    /// The tasks of its queue that are served before a task.
    member _.CountBefore(task: Task) : int = (queueOf task).CountBefore task

    member _.ToSeq() = queues |> Seq.collect _.ToSeq()
