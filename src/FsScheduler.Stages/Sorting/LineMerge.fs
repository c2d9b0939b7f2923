namespace FsScheduler.Stages

open System.Threading

/// <summary>Makes one sequence in order of several, by a tree of losers (Knuth, TAOCP 3, 5.4.1).</summary>
/// <param name="sources">Each in this order. Of equal lines, that of the first source comes first.</param>
/// <param name="order">How lines are compared.</param>
/// <param name="sink">Takes the lines. `Finish` is left to the caller.</param>
[<Sealed>]
type internal LineMerge(sources: LineSource[], order: LineOrder, sink: LineSink) =

    let count = sources.Length

    /// At 0 the source whose line comes first; at each inner node of the tree, the one that lost there.
    let tree = Array.zeroCreate<int>(max 1 count)

    /// How many sources have been brought to their first line.
    let mutable begun = 0
    let mutable hungry = Unchecked.defaultof<LineSource>

    let precedes left right =
        let a = sources[left]
        let b = sources[right]

        if b.IsDone then
            true
        elif a.IsDone then
            false
        elif a.Key <> b.Key then
            a.Key < b.Key
        else
            match LineOrder.compare order a.Line b.Line with
            | 0 -> left < right
            | different -> different < 0

    /// The winner below a node; the leaves follow the inner nodes.
    let rec play node =
        if node >= count then
            node - count
        else
            let left = play (2 * node)
            let right = play (2 * node + 1)
            let isLeft = precedes left right
            tree[node] <- if isLeft then right else left
            if isLeft then left else right

    /// A source has another line: it plays its way up again.
    let replay source =
        let mutable winner = source
        let mutable node = (source + count) / 2

        while node > 0 do
            let other = tree[node]

            if precedes other winner then
                tree[node] <- winner
                winner <- other

            node <- node / 2

        tree[0] <- winner

    let beginSources () =
        while begun < count && sources[begun].TryAdvance() do
            begun <- begun + 1

            if begun = count then
                tree[0] <- play 1

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
            let winner = sources[tree[0]]

            if not winner.IsTaken && not winner.IsDone then
                sink.Add(winner.Line, winner.Count)
                winner.IsTaken <- true

            if winner.IsDone || sink.IsFull then
                hasEnded <- true
                goesOn <- false
            elif winner.TryAdvance() then
                replay tree[0]
            else
                hungry <- winner
                goesOn <- false

        hasEnded

    /// To the end, with sources that are read at once.
    member merge.Run(ct: CancellationToken) =
        while not (merge.Advance()) do
            ct.ThrowIfCancellationRequested()
            merge.Hungry.FillAsync(ct).GetAwaiter().GetResult()
