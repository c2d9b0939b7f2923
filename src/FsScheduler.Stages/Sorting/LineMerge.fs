namespace FsScheduler.Stages

open System
open System.Collections.Generic
open System.Threading

/// <summary>Makes one sequence in order of several.</summary>
/// <param name="sources">Each in this order. Of equal lines, that of the first source comes first.</param>
/// <param name="order">How lines are compared.</param>
/// <param name="sink">Takes the lines. `Finish` is left to the caller.</param>
[<Sealed>]
type internal LineMerge(sources: LineSource[], order: LineOrder, sink: LineSink) =

    let count = sources.Length

    /// How many sources have been brought to their first line.
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

    /// Sources that have a line, by their lines.
    let waiting =
        PriorityQueue<int, int>(count, Comparer.Create(Comparison compareLines))

    let beginSources () =
        while begun < count && sources[begun].TryAdvance() do
            begun <- begun + 1

            if not sources[begun - 1].IsDone then
                waiting.Enqueue(begun - 1, begun - 1)

        begun = count

    /// The source whose bytes do not suffice.
    member _.Hungry = hungry

    /// Goes as far as it can: to the end, or until `Hungry` has to be filled. Whether it is the end.
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

                if not (winner.TryAdvance()) then
                    hungry <- winner
                    goesOn <- false
                else
                    waiting.Dequeue() |> ignore

                    if not winner.IsDone then
                        waiting.Enqueue(first, first)

        hasEnded

    /// To the end, with sources that are read at once.
    member merge.Run(ct: CancellationToken) =
        while not (merge.Advance()) do
            ct.ThrowIfCancellationRequested()
            merge.Hungry.FillAsync(ct).GetAwaiter().GetResult()
