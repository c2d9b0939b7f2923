namespace FsScheduler.Stages

open System
open System.Collections.Generic
open System.Threading

/// <summary>Merges sorted sources into one sorted sequence.</summary>
/// <param name="sources">Each sorted by `order`. Of equal lines, the line of the earlier source
/// comes first.</param>
/// <param name="order">The order of the lines.</param>
/// <param name="sink">Receives the lines; the caller calls `Finish`.</param>
[<Sealed>]
type internal LineMerge(sources: LineSource[], order: LineOrder, sink: LineSink) =

    let count = sources.Length

    /// Sources before this index have been advanced to their first line.
    let mutable begun = 0
    let mutable hungry = Unchecked.defaultof<LineSource>

    let compareLines left right =
        let a = sources[left]
        let b = sources[right]

        if a.Key <> b.Key then
            compare a.Key b.Key
        else
            match LineOrder.compare order a.Line b.Line with
            | 0 -> compare left right
            | different -> different

    /// Indexes of the sources that have a line, in the order of these lines.
    let waiting =
        PriorityQueue<int, int>(count, Comparer.Create(Comparison compareLines))

    let beginSources () =
        while begun < count && sources[begun].TryAdvance() do
            begun <- begun + 1

            if not sources[begun - 1].IsDone then
                waiting.Enqueue(begun - 1, begun - 1)

        begun = count

    /// The source that needs `FillAsync` before the next `Advance`.
    member _.Hungry = hungry

    /// Merges until `Hungry` needs more bytes (false), or until the sources end or the sink is full
    /// (true).
    member _.Advance() : bool =
        let mutable hasEnded = count = 0
        let mutable goesOn = not hasEnded

        if goesOn && not (beginSources ()) then
            hungry <- sources[begun]
            goesOn <- false

        while goesOn do
            if waiting.Count = 0 || sink.IsFull then
                hasEnded <- true
                goesOn <- false
            else
                let first = waiting.Peek()
                let winner = sources[first]

                if not winner.IsTaken then
                    sink.Add(winner.Line, winner.Count)
                    winner.IsTaken <- true
                elif not (winner.TryAdvance()) then
                    hungry <- winner
                    goesOn <- false
                else
                    waiting.Dequeue() |> ignore

                    if not winner.IsDone then
                        waiting.Enqueue(first, first)

        hasEnded

    /// Merges to the end. Blocks while a source is read, and so is for runs on the local disk only.
    member merge.Run(ct: CancellationToken) =
        while not (merge.Advance()) do
            ct.ThrowIfCancellationRequested()
            merge.Hungry.FillAsync(ct).GetAwaiter().GetResult()
