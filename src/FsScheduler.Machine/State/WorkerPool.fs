namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// The workers with free slots, in the order in which they are served.
type internal IdleWorkers() =
    let mutable first: Worker | null = null
    let mutable last: Worker | null = null
    let mutable count = 0

    member _.First = first
    member _.Count = count

    member _.Add(worker: Worker) =
        worker.IsIdle <- true
        worker.Previous <- last
        worker.Next <- null

        match last with
        | null -> first <- worker
        | last -> last.Next <- worker

        last <- worker
        count <- count + 1

    member _.Remove(worker: Worker) =
        worker.IsIdle <- false

        match worker.Previous with
        | null -> first <- worker.Next
        | previous -> previous.Next <- worker.Next

        match worker.Next with
        | null -> last <- worker.Previous
        | next -> next.Previous <- worker.Previous

        count <- count - 1

    member idle.MoveToBack(worker: Worker) =
        if not (obj.ReferenceEquals(worker, last)) then
            idle.Remove worker
            idle.Add worker

/// <summary>The connected workers, idle and busy.</summary>
/// <param name="breakers">The workers that are held back.</param>
type internal WorkerPool(breakers: CircuitBreakers) =
    let all = Dictionary<SessionId, Worker>()
    let idle = IdleWorkers()
    let reservations = Dictionary<TaskId, Worker>()
    // Recently lost workers by name, with the time of the loss: they may reconnect.
    let expected = Dictionary<string, struct (Worker * Instant)>()

    let updateIdle (worker: Worker) =
        let isIdle = worker.Held.Count < worker.Slots

        if isIdle && not worker.IsIdle then
            idle.Add worker
        elif not isIdle && worker.IsIdle then
            idle.Remove worker

    let unreserve (worker: Worker) =
        match worker.Reserved with
        | null -> ()
        | task ->
            reservations.Remove task.Id |> ignore
            worker.Reserved <- null

    /// The rank of a worker for a suspected task: not held back, has not failed it, fewest tasks, oldest.
    let suits (task: Task) (stages: string[]) (worker: Worker) =
        struct (breakers.IsHeldBack(worker, stages),
                Array.contains worker.Name task.FailedBy,
                worker.Held.Count,
                worker.Session)

    member _.All = all.Values
    member _.Idle = idle

    member _.Find(session: SessionId) : Worker | null =
        match all.TryGetValue session with
        | true, worker -> worker
        | _ -> null

    /// Whether a worker that takes tasks, or is expected back, runs this stage.
    member _.Offers(stage: string) =
        all.Values
        |> Seq.exists (fun worker -> not worker.IsDismissed && worker.Can stage)

    /// Whether a worker that takes tasks runs this stage. One that is not back after a restart has no slots.
    member _.Run(stage: string) =
        all.Values |> Seq.exists (fun worker -> worker.Slots > 0 && worker.Can stage)

    /// Whether a worker of another name, present or expected, runs the first of these stages and is not held back.
    member _.IsAnotherAble(stages: string[], but: string[]) =
        let isAble (worker: Worker) =
            worker.Can stages[0]
            && not (Array.contains worker.Name but)
            && not (breakers.IsHeldBack(worker, stages))

        all.Values
        |> Seq.exists (fun worker -> (worker.Slots > 0 || worker.IsAbsent) && isAble worker)
        || expected.Count > 0
           && expected.Values |> Seq.exists (fun (struct (worker, _)) -> isAble worker)

    /// Expects a lost worker to reconnect.
    member _.Expect(worker: Worker, now: Instant) =
        if expected.Count < SchedulerLimits.expectedMax then
            expected[worker.Name] <- struct (worker, now)

    /// <summary>Forgets expected workers that were lost this long ago.</summary>
    /// <returns>Whether there were any.</returns>
    member _.GiveUpExpected(now: Instant, after: Duration) : bool =
        expected.Count > 0
        && (let late = [
                for KeyValue(name, struct (_, since)) in expected do
                    if now - since >= after then
                        name
            ]

            for name in late do
                expected.Remove name |> ignore

            not late.IsEmpty)

    /// Adds a worker, which is absent until `Connect`.
    member _.Join(session, name, stages, now) : Worker =
        let worker = Worker.Create(session, name, stages)
        worker.LastHeard <- now
        all.Add(session, worker)
        worker

    /// <summary>Moves the start of silences and attempts after a time in which the scheduler was suspended.</summary>
    /// <param name="later">The new start, from the old one.</param>
    member _.Forgive(later: Instant -> Instant) =
        for worker in all.Values do
            worker.LastHeard <- later worker.LastHeard

            for task in worker.Held.ToSeq() do
                task.Since <- later task.Since

    /// Forgets a worker. The caller takes its tasks back.
    member _.Remove(worker: Worker) =
        unreserve worker

        if worker.IsIdle then
            idle.Remove worker

        all.Remove worker.Session |> ignore

    member _.SetSlots(worker: Worker, slots: int) =
        worker.Slots <- slots
        // Tasks beyond the new slots may stay.
        worker.Ceiling <- max slots worker.Held.Count

        if slots = 0 && worker.Held.Count = 0 then
            unreserve worker

        updateIdle worker

    member pool.Dismiss(worker: Worker) =
        worker.IsDismissed <- true
        pool.SetSlots(worker, 0)

    member _.Give(worker: Worker, task: Task) =
        worker.Held.AddLast task
        updateIdle worker

    member _.TakeBack(worker: Worker, task: Task) =
        worker.Held.Remove task
        breakers.TakenBack(worker, task.Id)
        worker.Ceiling <- max worker.Slots worker.Held.Count

        if obj.ReferenceEquals(worker.Reserved, task) then
            unreserve worker

        updateIdle worker

    /// The worker that is kept free for a suspected task; chosen now if need be. Null: no worker can run the task.
    member _.ReservedFor(task: Task) : Worker | null =
        match reservations.TryGetValue task.Id with
        | true, worker when worker.Slots > 0 -> worker
        | found, worker ->
            if found then
                unreserve worker

            let mutable best: Worker | null = null
            let stages = task.Pipeline.stages[task.Stage ..] |> Array.map _.demand

            for candidate in all.Values do
                if
                    candidate.Slots > 0 && isNull candidate.Reserved && candidate.Can task.Demand
                then
                    match best with
                    | null -> best <- candidate
                    | other ->
                        if suits task stages candidate < suits task stages other then
                            best <- candidate

            match best with
            | null -> null
            | worker ->
                worker.Reserved <- task
                reservations[task.Id] <- worker
                worker

    /// Keeps a worker free for this suspected task alone.
    member _.Reserve(worker: Worker, task: Task) =
        unreserve worker
        worker.Reserved <- task
        reservations[task.Id] <- worker

    member _.IsReservedFor(task: Task) = reservations.ContainsKey task.Id

    /// Frees and returns the worker that was kept free for a task.
    member _.Unreserve(task: Task) : Worker | null =
        match reservations.TryGetValue task.Id with
        | true, worker ->
            unreserve worker
            worker
        | _ -> null
