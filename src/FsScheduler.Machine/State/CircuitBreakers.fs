namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// The circuit breaker for the workers of one name and a list of stages: their failures since their last success.
type internal CircuitBreaker(worker: string, stages: string[]) =
    member _.Worker = worker

    /// The offers of the stages of the failed attempts.
    member _.Stages = stages

    /// Tasks that failed on these workers and on no others; the latest first.
    member val Failed: TaskId list = [] with get, set

    /// How often the workers reported to be unable to run these stages.
    member val Unable = 0 with get, set

    /// The latest error.
    member val Error = "" with get, set

    /// Open: the workers are given these stages only as a trial now and then.
    member val IsHeldBack = false with get, set
    member val Since = Instant.zero with get, set

    /// The delay from a failed trial to the next one.
    member val Delay = SchedulerLimits.trialAfter with get, set
    member val Next = Instant.zero with get, set

    /// A trial is due. Set by a tick, so that no task becomes assignable between two inputs.
    member val IsDue = false with get, set

    /// The task of the trial that is under way.
    member val Trial: TaskId voption = ValueNone with get, set

    member breaker.InARow = breaker.Failed.Length + breaker.Unable

/// The circuit breakers of failing workers, by worker name, so that reconnecting resets none. In memory only: a restart
/// of the scheduler closes them all.
type internal CircuitBreakers() =
    let byName = Dictionary<string, ResizeArray<CircuitBreaker>>()
    let mutable count = 0
    let mutable heldBack = 0

    let ofName (worker: Worker) : ResizeArray<CircuitBreaker> | null =
        match byName.TryGetValue worker.Name with
        | true, ofWorker -> ofWorker
        | _ -> null

    /// Whether the breaker is for the stages that the worker would be given of these remaining ones.
    let isGivenOf (stages: string[]) (worker: Worker) (breaker: CircuitBreaker) =
        let given = breaker.Stages.Length

        given <= stages.Length
        && (given = stages.Length || not (worker.Can stages[given]))
        && (let mutable same = true

            for index in 0 .. given - 1 do
                same <- same && breaker.Stages[index] = stages[index] && worker.Can stages[index]

            same)

    /// <summary>The open breaker for what the worker would be given of these stages.</summary>
    /// <returns>Null: the worker is not held back.</returns>
    member _.HoldOf(worker: Worker, stages: string[]) : CircuitBreaker | null =
        if heldBack = 0 then
            null
        else
            match ofName worker with
            | null -> null
            | ofWorker ->
                let mutable found: CircuitBreaker | null = null

                for breaker in ofWorker do
                    if breaker.IsHeldBack && isGivenOf stages worker breaker then
                        found <- breaker

                found

    member breakers.IsHeldBack(worker: Worker, stages: string[]) =
        not (isNull (breakers.HoldOf(worker, stages)))

    /// Whether a worker may be given these stages now: it is not held back, or its trial is due.
    member breakers.MayTry(worker: Worker, stages: string[]) =
        match breakers.HoldOf(worker, stages) with
        | null -> true
        | breaker -> breaker.IsDue && breaker.Trial.IsNone

    /// The breaker of a worker for exactly these stages.
    member _.Find(worker: Worker, stages: string[]) : CircuitBreaker | null =
        match ofName worker with
        | null -> null
        | ofWorker ->
            match ofWorker.Find(fun breaker -> breaker.Stages = stages) with
            | null -> null
            | breaker -> breaker

    /// `Find`, or a new breaker. Null: there are `breakersMax` already.
    member breakers.FindOrAdd(worker: Worker, stages: string[]) : CircuitBreaker | null =
        match breakers.Find(worker, stages) with
        | null when count >= SchedulerLimits.breakersMax -> null
        | null ->
            let breaker = CircuitBreaker(worker.Name, stages)

            match byName.TryGetValue worker.Name with
            | true, ofWorker -> ofWorker.Add breaker
            | _ -> byName[worker.Name] <- ResizeArray [ breaker ]

            count <- count + 1
            breaker
        | breaker -> breaker

    member _.Forget(breaker: CircuitBreaker) =
        let ofWorker = byName[breaker.Worker]

        if ofWorker.Remove breaker then
            count <- count - 1

            if breaker.IsHeldBack then
                heldBack <- heldBack - 1

            if ofWorker.Count = 0 then
                byName.Remove breaker.Worker |> ignore

    member _.HoldBack(breaker: CircuitBreaker, now: Instant) =
        heldBack <- heldBack + 1
        breaker.IsHeldBack <- true
        breaker.Since <- now
        breaker.Next <- now + breaker.Delay

    /// How many breakers are open.
    member _.HeldBackCount = heldBack

    /// The open breakers of a worker, in the order of their first failures.
    member _.HoldsOf(worker: Worker) : CircuitBreaker[] =
        match (if heldBack = 0 then null else ofName worker) with
        | null -> [||]
        | ofWorker -> ofWorker |> Seq.filter _.IsHeldBack |> Seq.toArray

    member _.All: CircuitBreaker[] =
        if count = 0 then
            [||]
        else
            byName.Values |> Seq.concat |> Seq.toArray

    /// A task is assigned for these stages: if the worker is held back, the task is the trial.
    member breakers.Given(worker: Worker, stages: string[], task: TaskId) =
        if heldBack > 0 then
            match breakers.Find(worker, stages) with
            | null -> ()
            | breaker ->
                if breaker.IsHeldBack && breaker.Trial.IsNone then
                    breaker.IsDue <- false
                    breaker.Trial <- ValueSome task

    /// A worker holds a task no longer, whatever its outcome.
    member _.TakenBack(worker: Worker, task: TaskId) =
        if heldBack > 0 then
            match ofName worker with
            | null -> ()
            | ofWorker ->
                for breaker in ofWorker do
                    if breaker.Trial = ValueSome task then
                        breaker.Trial <- ValueNone
