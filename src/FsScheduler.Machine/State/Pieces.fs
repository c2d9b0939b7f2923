namespace FsScheduler.Machine

open FsScheduler.Core

/// The phase of a task that is worked on in pieces.
[<RequireQualifiedAccess; Struct>]
type internal Splitting =
    /// The places to cut are being found, or the submission is being loaded.
    | Cutting
    /// Its pieces run, as tasks of their own.
    | InPieces
    /// All parts have come, and are being merged.
    | Merging

/// The pieces of a payload, and the parts of the result that have come.
[<Sealed>]
type internal PiecesOf<'task when 'task: not struct>
    (cuts: Size[], last: int, pipeline: Pipeline, downstream: string[] | null) =
    let parts: KeptContent voption[] = Array.create cuts.Length ValueNone
    let tasks: 'task list[] = Array.create cuts.Length []
    let durations = ResizeArray<Duration>()
    let mutable missing = cuts.Length
    let mutable prefetched = 0

    /// Where each piece ends, in bytes from the beginning.
    member _.Cuts = cuts
    member _.Count = cuts.Length

    /// The stages that run on pieces end before this index.
    member _.Last = last

    /// The stages that run on each piece.
    member _.Pipeline = pipeline

    /// The stages after those of the pieces; null where the payload is the result of a stage.
    member _.Downstream = downstream

    /// Pieces without a result.
    member _.Missing = missing

    member _.StartOf(index: int) : Size =
        if index = 0 then 0L<B> else cuts[index - 1]

    /// The range of a piece in the payload of the whole.
    member pieces.SliceOf(payload: Payload, index: int) =
        let start = pieces.StartOf index
        Slice(payload, start, cuts[index] - start)

    member _.IsMissing(index: int) = parts[index].IsNone

    /// The next part to prefetch: it has come, and so have all before it, which were prefetched already.
    member _.TryPrefetch() : struct (int * KeptContent) voption =
        if prefetched < cuts.Length && parts[prefetched].IsSome then
            prefetched <- prefetched + 1
            ValueSome(struct (prefetched - 1, parts[prefetched - 1].Value))
        else
            ValueNone

    /// <summary>Forgets what was prefetched: prefetching begins again with the first part.</summary>
    /// <returns>Whether any part was prefetched.</returns>
    member _.ForgetPrefetched() : bool =
        let isAny = prefetched > 0
        prefetched <- 0
        isAny

    /// The result of a piece; none: it has not come.
    member _.PartOf(index: int) : KeptContent voption = parts[index]

    /// The parts that have come, in order.
    member _.Parts = parts |> Seq.choose ValueOption.toOption |> Seq.toArray

    /// The tasks that run a piece: one, or two where a second worker helps.
    member _.TasksOf(index: int) = tasks[index]
    member _.Tasks = tasks |> Seq.concat |> Seq.toArray

    member _.Add(index: int, task: 'task) = tasks[index] <- task :: tasks[index]

    member _.Remove(index: int, task: 'task) =
        tasks[index] <-
            tasks[index]
            |> List.filter (fun other -> not (obj.ReferenceEquals(other, task)))

    /// The median duration of the pieces that finished in this run; none before the first.
    member _.Median: Duration voption =
        if durations.Count = 0 then
            ValueNone
        else
            let sorted = durations.ToArray()
            System.Array.Sort sorted
            ValueSome sorted[sorted.Length / 2]

    member _.Measure(duration: Duration) = durations.Add duration

    member _.Fill(index: int, part: KeptContent) =
        if parts[index].IsNone then
            missing <- missing - 1

        parts[index] <- ValueSome part

    member _.Splitting =
        if missing = 0 then
            Splitting.Merging
        else
            Splitting.InPieces

    /// Forgets the result of a piece.
    member _.Lose(index: int) =
        if parts[index].IsSome then
            missing <- missing + 1
            parts[index] <- ValueNone
