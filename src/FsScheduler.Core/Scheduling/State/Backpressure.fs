namespace FsScheduler.Core

open System.Collections.Generic

/// What stages gave and the next ones have not taken: how much lies before each stage.
/// <param name="limit">From so much on, a stage has enough.</param>
type internal Backpressure(limit: Size) =
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
        if task.IsResult && not task.State.IsQuarantined then
            change task.Demand (Payload.size task.Payload)

    member _.Remove(task: Task) =
        if task.IsResult && not task.State.IsQuarantined then
            change task.Demand (-(Payload.size task.Payload))

    /// By stage, where something lies.
    member _.ToSeq() =
        sizes |> Seq.map (fun (KeyValue(stage, size)) -> struct (stage, size))

    /// <summary>The stage that keeps a worker from a task: enough lies before it, and what is begun would come to lie there too.</summary>
    /// <param name="worker">Runs as many of the stages as it can, and hands the task over then.</param>
    /// <param name="stages">What is left of the task's, the next one first.</param>
    /// <param name="downstream">What comes after those. Null: the task has come out of what lies between stages, and nothing
    /// keeps anybody from it. So what lies before a full stage can always go on, and pipelines that cross cannot wait for
    /// each other.</param>
    member backlog.HoldsBack
        (worker: Worker, stages: string[], downstream: string[] | null)
        : string voption =
        match downstream with
        | null -> ValueNone
        | _ when fullCount = 0 -> ValueNone
        | downstream ->
            let handedOver = stages |> Seq.skip 1 |> Seq.skipWhile worker.Can

            Seq.append handedOver downstream
            |> Seq.tryFind backlog.IsFull
            |> ValueOption.ofOption
