namespace FsScheduler.Core

open System.Collections.Generic

/// What stages gave and the next ones have not taken: how much lies before each stage.
/// <param name="limit">From so much on, a stage has enough.</param>
type internal Backlog(limit: Size) =
    let sizes = Dictionary<string, Size>()
    let mutable fullCount = 0

    let change stage difference =
        let before =
            match sizes.TryGetValue stage with
            | true, size -> size
            | false, _ -> 0L<B>

        let after = before + difference

        if after = 0L<B> then
            sizes.Remove stage |> ignore
        else
            sizes[stage] <- after

        if before < limit && after >= limit then
            fullCount <- fullCount + 1
        elif before >= limit && after < limit then
            fullCount <- fullCount - 1

    /// How many stages have enough.
    member _.FullCount = fullCount

    /// Whether enough lies before this stage.
    member _.IsFull(stage: string) =
        match sizes.TryGetValue stage with
        | true, size -> size >= limit
        | false, _ -> false

    /// The payload of a task is the result of a stage, and waits for the next one. What is in quarantine waits for somebody,
    /// and holds nobody back.
    member _.Add(task: Task) =
        if task.Stage > 0 && not task.State.IsQuarantined then
            change task.Demand (Payload.size task.Payload)

    member _.Remove(task: Task) =
        if task.Stage > 0 && not task.State.IsQuarantined then
            change task.Demand (-(Payload.size task.Payload))

    /// By stage, where something lies.
    member _.ToSeq() =
        sizes |> Seq.map (fun (KeyValue(stage, size)) -> struct (stage, size))

    /// <summary>The stage that keeps a worker from a task: it would have to be handed over there, and enough lies before it.</summary>
    /// <param name="worker">Runs as many of the stages as it can.</param>
    /// <param name="stages">What is left of the task's, the next one first.</param>
    member backlog.HoldsBack(worker: Worker, stages: string[]) : string voption =
        if fullCount = 0 then
            ValueNone
        else
            let mutable next = 1

            while next < stages.Length && worker.Can stages[next] do
                next <- next + 1

            if next < stages.Length && backlog.IsFull stages[next] then
                ValueSome stages[next]
            else
                ValueNone
