namespace FsScheduler.Core

open System.Collections.Generic

/// How workers of one name have done with the same stages since they last did them: they failed.
type internal Conduct(worker: string, stages: string[]) =
    member _.Worker = worker

    /// What a worker must offer for each stage of those attempts.
    member _.Stages = stages

    /// Different tasks that it failed, and that no other worker has failed; the latest first.
    member val Failed: TaskId list = [] with get, set

    /// How often it said that it cannot run them, whatever the task.
    member val Unable = 0 with get, set

    /// What went wrong last.
    member val Error = "" with get, set

    /// Given nothing of these stages but a trial now and then.
    member val IsHeldBack = false with get, set
    member val Since = Instant.zero with get, set

    /// How long after a trial that failed the next one is.
    member val Delay = SchedulerLimits.trialAfter with get, set
    member val Next = Instant.zero with get, set

    /// The time for a trial has come. Said by a tick, so that nothing becomes possible between two inputs.
    member val IsDue = false with get, set

    /// The task that it is tried with.
    member val Trial: TaskId voption = ValueNone with get, set

    member conduct.InARow = conduct.Failed.Length + conduct.Unable

/// The workers that only fail, by name: one that comes back under its name is the one that left. It is in memory only: after
/// a restart of the scheduler each has its chance again.
type internal Probation() =
    let byName = Dictionary<string, ResizeArray<Conduct>>()
    let mutable count = 0
    let mutable heldBack = 0

    let ofName (worker: Worker) : ResizeArray<Conduct> | null =
        match byName.TryGetValue worker.Name with
        | true, conducts -> conducts
        | _ -> null

    /// Whether these are the stages that a worker would be given of what is left of a task.
    let isGivenOf (stages: string[]) (worker: Worker) (conduct: Conduct) =
        let given = conduct.Stages.Length

        given <= stages.Length
        && (given = stages.Length || not (worker.Can stages[given]))
        && (let mutable same = true

            for index in 0 .. given - 1 do
                same <- same && conduct.Stages[index] = stages[index] && worker.Can stages[index]

            same)

    /// <summary>What is held against a worker, for what it would be given of these stages.</summary>
    /// <returns>Null: it is not held back.</returns>
    member _.HoldOf(worker: Worker, stages: string[]) : Conduct | null =
        if heldBack = 0 then
            null
        else
            match ofName worker with
            | null -> null
            | conducts ->
                let mutable found: Conduct | null = null

                for conduct in conducts do
                    if conduct.IsHeldBack && isGivenOf stages worker conduct then
                        found <- conduct

                found

    member probation.IsHeldBack(worker: Worker, stages: string[]) =
        not (isNull (probation.HoldOf(worker, stages)))

    /// Whether a worker may be given these stages now: it is not held back, or it is time to try it.
    member probation.MayTry(worker: Worker, stages: string[]) =
        match probation.HoldOf(worker, stages) with
        | null -> true
        | conduct -> conduct.IsDue && conduct.Trial.IsNone

    /// That of a worker with exactly these stages.
    member _.Find(worker: Worker, stages: string[]) : Conduct | null =
        match ofName worker with
        | null -> null
        | conducts ->
            match conducts.Find(fun conduct -> conduct.Stages = stages) with
            | null -> null
            | conduct -> conduct

    /// The same, made if it is not there. Null: there are too many.
    member probation.FindOrAdd(worker: Worker, stages: string[]) : Conduct | null =
        match probation.Find(worker, stages) with
        | null when count >= SchedulerLimits.conductsMax -> null
        | null ->
            let conduct = Conduct(worker.Name, stages)

            match byName.TryGetValue worker.Name with
            | true, conducts -> conducts.Add conduct
            | _ -> byName[worker.Name] <- ResizeArray [ conduct ]

            count <- count + 1
            conduct
        | conduct -> conduct

    member _.Forget(conduct: Conduct) =
        let conducts = byName[conduct.Worker]

        if conducts.Remove conduct then
            count <- count - 1

            if conduct.IsHeldBack then
                heldBack <- heldBack - 1

            if conducts.Count = 0 then
                byName.Remove conduct.Worker |> ignore

    member _.HoldBack(conduct: Conduct, now: Instant) =
        heldBack <- heldBack + 1
        conduct.IsHeldBack <- true
        conduct.Since <- now
        conduct.Next <- now + conduct.Delay

    /// How many are held back.
    member _.HeldBackCount = heldBack

    /// Those of a worker that are held back, in the order in which they began to fail.
    member _.HoldsOf(worker: Worker) : Conduct[] =
        match (if heldBack = 0 then null else ofName worker) with
        | null -> [||]
        | conducts -> conducts |> Seq.filter _.IsHeldBack |> Seq.toArray

    member _.All: Conduct[] =
        if count = 0 then
            [||]
        else
            byName.Values |> Seq.concat |> Seq.toArray

    /// A task is given to a worker that is held back for its stages: that is the trial.
    member probation.Given(worker: Worker, stages: string[], task: TaskId) =
        if heldBack > 0 then
            match probation.Find(worker, stages) with
            | null -> ()
            | conduct ->
                if conduct.IsHeldBack && conduct.Trial.IsNone then
                    conduct.IsDue <- false
                    conduct.Trial <- ValueSome task

    /// A worker holds a task no longer, whatever came of it.
    member _.TakenBack(worker: Worker, task: TaskId) =
        if heldBack > 0 then
            match ofName worker with
            | null -> ()
            | conducts ->
                for conduct in conducts do
                    if conduct.Trial = ValueSome task then
                        conduct.Trial <- ValueNone
