namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// Back-pressure between stages: the bytes of results that wait before each stage.
/// <param name="limit">Bytes from which on a stage is full.</param>
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

    member _.FullCount = fullCount

    /// Whether the results that wait for this stage reach the limit.
    member _.IsFull(stage: string) =
        match sizes.TryGetValue stage with
        | true, size -> size >= limit
        | false, _ -> false

    /// Counts a task whose payload is the result of a stage. A quarantined task holds back no other.
    member _.Add(task: Task) =
        if task.IsResult && not task.State.IsQuarantined then
            change task.Demand (Payload.size task.Payload)

    member _.Remove(task: Task) =
        if task.IsResult && not task.State.IsQuarantined then
            change task.Demand (-(Payload.size task.Payload))

    /// Waiting bytes by stage, where there are any.
    member _.ToSeq() =
        sizes |> Seq.map (fun (KeyValue(stage, size)) -> struct (stage, size))

    /// <summary>The full stage that holds a task back from a worker: the task would come to wait there.</summary>
    /// <param name="worker">Runs as many of the stages as it can, and then hands the task over.</param>
    /// <param name="stages">The remaining stages of the task, the next one first.</param>
    /// <param name="downstream">The stages after those. Null: the task itself waits between stages and is never held
    /// back, so that full stages always drain and crossing pipelines cannot deadlock.</param>
    member backpressure.HoldsBack
        (worker: Worker, stages: string[], downstream: string[] | null)
        : string voption =
        match downstream with
        | null -> ValueNone
        | _ when fullCount = 0 -> ValueNone
        | downstream ->
            let handedOver = stages |> Seq.skip 1 |> Seq.skipWhile worker.Can

            Seq.append handedOver downstream
            |> Seq.tryFind backpressure.IsFull
            |> ValueOption.ofOption
