namespace FsScheduler.Core

/// How far a task that is worked on in pieces has come.
[<RequireQualifiedAccess; Struct>]
type internal Splitting =
    /// It is looked for where it can be cut, or what it was submitted with is on its way.
    | Cutting
    /// Its pieces are tasks of their own.
    | InPieces
    /// All parts are there, and are merged.
    | Merging

/// The pieces of a payload, and what is there of the result.
[<Sealed>]
type internal PiecesOf<'task when 'task: not struct>
    (cuts: Size[], last: int, pipeline: Pipeline, downstream: string[] | null) =
    let parts: Payload voption[] = Array.create cuts.Length ValueNone
    let tasks: 'task list[] = Array.create cuts.Length []
    let durations = ResizeArray<Duration>()
    let mutable missing = cuts.Length
    let mutable gathered = 0

    /// Where each piece ends, in bytes from the beginning.
    member _.Cuts = cuts
    member _.Count = cuts.Length

    /// The stages that are run on pieces end before this index.
    member _.Last = last

    /// What is run on them.
    member _.Pipeline = pipeline

    /// What comes after that; null where the payload is the result of a stage.
    member _.Downstream = downstream

    /// How many have no result yet.
    member _.Missing = missing

    member _.StartOf(index: int) : Size =
        if index = 0 then 0L<B> else cuts[index - 1]

    /// What a piece is of the payload of the whole.
    member pieces.SliceOf(payload: Payload, index: int) =
        let start = pieces.StartOf index
        Slice(payload, start, cuts[index] - start)

    member _.IsMissing(index: int) = parts[index].IsNone

    /// The next part that the outside can be told of ahead of all of them: it is there, and so are those before it, of which
    /// it was told.
    member _.TryGather() : struct (int * Payload) voption =
        if gathered < cuts.Length && parts[gathered].IsSome then
            gathered <- gathered + 1
            ValueSome(struct (gathered - 1, parts[gathered - 1].Value))
        else
            ValueNone

    /// <summary>The outside is told from the beginning, if at all.</summary>
    /// <returns>Whether it was told of any.</returns>
    member _.ForgetGathered() : bool =
        let isAny = gathered > 0
        gathered <- 0
        isAny

    /// The result of a piece, if it is there.
    member _.PartOf(index: int) : Payload voption = parts[index]

    /// The results that are there, in order.
    member _.Parts = parts |> Seq.choose ValueOption.toOption |> Seq.toArray

    /// The tasks that are to give the result of a piece: one, or two for a while.
    member _.TasksOf(index: int) = tasks[index]
    member _.Tasks = tasks |> Seq.concat |> Seq.toArray

    member _.Add(index: int, task: 'task) = tasks[index] <- task :: tasks[index]

    member _.Remove(index: int, task: 'task) =
        tasks[index] <-
            tasks[index]
            |> List.filter (fun other -> not (obj.ReferenceEquals(other, task)))

    /// How long a piece takes: the median of those whose result came in this run; none before the first.
    member _.Median: Duration voption =
        if durations.Count = 0 then
            ValueNone
        else
            let sorted = durations.ToArray()
            System.Array.Sort sorted
            ValueSome sorted[sorted.Length / 2]

    member _.Measure(duration: Duration) = durations.Add duration

    member _.Fill(index: int, part: Payload) =
        if parts[index].IsNone then
            missing <- missing - 1

        parts[index] <- ValueSome part

    /// How far a task that has these is.
    member _.Splitting =
        if missing = 0 then
            Splitting.Merging
        else
            Splitting.InPieces

    /// The result of a piece, if there is one, is there no more.
    member _.Lose(index: int) =
        if parts[index].IsSome then
            missing <- missing + 1
            parts[index] <- ValueNone
