namespace FsScheduler.Core

/// Large payloads, which many workers work on at once: in pieces, each a task of its own.
module internal Splitting =

    /// Others are too small to be cut.
    let private isFile payload =
        match payload with
        | Input _
        | Spooled _ -> true
        | Packed
        | Bytes _
        | Filed
        | Recorded _
        | Slice _ -> false

    /// Whether the next stages of a queued task are to be run on pieces.
    let isDue (state: State) (task: Task) =
        let payload = task.Payload

        isFile payload
        && Payload.size payload > state.Settings.split
        && task.State = TaskState.Queued
        && not task.Submission.Origin.IsPiece
        && (Expansion.find state task).IsSome

    /// So that there are not too many pieces.
    let private pieceSize (state: State) (size: Size) : Size =
        max state.Settings.split (1L<B> + size / int64 Limits.piecesMax)

    /// A piece, in its queue: like what was given out before it goes before what is new, so that a file that was begun
    /// comes to its end.
    let add (state: State) id (whole: Task) index (submission: Submission) pipeline =
        let pieces = nonNull whole.Progress.Pieces
        let start = pieces.StartOf index
        let payload = Slice(whole.Payload, start, pieces.Cuts[index] - start)

        let piece =
            Placement.add state id (submission.Piece(whole.Id, index, payload)) pipeline

        piece.Begin().Downstream <- pieces.Downstream
        pieces.Add(index, piece)
        Placement.enqueue state piece Back
        piece

    let private submitWith (state: State) (whole: Task) (named: Submission) pipeline index =
        let id = state.LastId + 1L<taskId>
        let piece = add state id whole index named pipeline
        state.Record(Event.Submitted(id, piece.Submission, pipeline))
        piece

    /// <summary>A further task for a piece.</summary>
    /// <param name="state">The scheduler's.</param>
    /// <param name="whole">What it is a piece of.</param>
    /// <param name="named">Has the name: the submission of the whole, which must be at hand, or that of a piece.</param>
    /// <param name="index">Which piece.</param>
    let submit (state: State) (whole: Task) named index =
        submitWith state whole named (nonNull whole.Progress.Pieces).Pipeline index

    /// What merges its parts; none where they are put one behind the other.
    let private mergeOf (pieces: Pieces) =
        let last = Array.last pieces.Pipeline.stages

        if last.kind = Aggregating then
            ValueSome last
        else
            ValueNone

    /// Parts that have those before them may be put there at once.
    let private gather (state: State) (whole: Task) (pieces: Pieces) =
        let attempt = state.AttemptOf whole

        while pieces.Gathered < pieces.Count && not (pieces.IsMissing pieces.Gathered) do
            let part = pieces.PartOf(pieces.Gathered).Value
            state.Ask(Effect.Gather(attempt, pieces.Gathered, part))
            pieces.Gathered <- pieces.Gathered + 1

    /// Asks for what can be done with the parts that are there.
    let join (state: State) (whole: Task) =
        let pieces = nonNull whole.Progress.Pieces
        let merge = mergeOf pieces

        if pieces.Missing = 0 then
            state.Ask(Effect.Join(state.AttemptOf whole, merge, pieces.Parts))
            pieces.Gathered <- 0
        elif merge.IsNone then
            gather state whole pieces

    /// Nothing comes of the parts that are there in this attempt.
    let abandon (state: State) (whole: Task) (pieces: Pieces) =
        if pieces.Gathered > 0 then
            state.Ask(Effect.Abandon(state.AttemptOf whole))
            pieces.Gathered <- 0

    /// Has neither a result nor a task that will give it.
    let private isIdle (pieces: Pieces) index =
        pieces.IsMissing index && (pieces.TasksOf index).IsEmpty

    /// Submits the pieces that have no result yet.
    let private launch (state: State) (whole: Task) (pieces: Pieces) =
        let progress = whole.Progress
        progress.StageEnd <- byte pieces.Last
        abandon state whole pieces
        progress.Attempt <- progress.Attempt + 1
        let own = whole.Pipeline.wire[whole.Stage .. pieces.Last - 1]

        let others =
            if pieces.Pipeline.wire = own then
                ValueNone
            else
                ValueSome pieces.Pipeline

        state.Record(Event.Split(state.AttemptOf whole, pieces.Last, others, pieces.Cuts))

        for index in 0 .. pieces.Count - 1 do
            if isIdle pieces index then
                submitWith state whole whole.Submission pieces.Pipeline index |> ignore

        join state whole

    /// Goes on after a restart: parts that were not kept are missing again.
    let resume (state: State) (whole: Task) =
        let pieces = nonNull whole.Progress.Pieces

        match List.filter (isIdle pieces) [ 0 .. pieces.Count - 1 ] with
        | [] -> join state whole
        // It is another attempt then: what is gathered for this one would be for nobody.
        | _ when whole.Submission.IsFiled -> state.Ask(Effect.Recall(state.AttemptOf whole))
        | idle ->
            for index in idle do
                submit state whole whole.Submission index |> ignore

            join state whole

    /// Lets go of what is there of the result.
    let drop (state: State) (task: Task) =
        if task.IsBegun then
            match task.Progress.Pieces with
            | null -> ()
            | pieces ->
                Array.iter state.Discard pieces.Parts
                task.Progress.Pieces <- null

    /// What it was submitted with is at hand.
    let goOn (state: State) (whole: Task) =
        match whole.Progress.Pieces with
        | pieces when not (isNull pieces) -> launch state whole (nonNull pieces)
        | _ ->
            let payload = whole.Payload
            let size = pieceSize state (Payload.size payload)
            state.Ask(Effect.Cut(state.AttemptOf whole, whole.Submission, payload, size))

    /// Takes a queued task out of its queue, to be worked on in pieces.
    let start (state: State) (task: Task) =
        Placement.leave state task

        match task.Begin().Pieces with
        | pieces when not (isNull pieces) && Expansion.isRunnable state task (nonNull pieces) -> ()
        | _ -> drop state task // there may be parts that nobody can complete any more

        Placement.enter state task TaskState.Split

        if task.Submission.IsFiled then
            state.Ask(Effect.Recall(state.AttemptOf task))
        else
            goOn state task

    /// It is known where its pieces end.
    let cut (state: State) (whole: Task) (cuts: Size[]) =
        match Expansion.find state whole with
        | ValueNone -> Placement.requeue state whole Front // whoever ran that on pieces has left meanwhile
        | ValueSome pipeline ->
            let pieces =
                Expansion.pieces whole cuts (whole.Stage + pipeline.stages.Length) pipeline

            whole.Progress.Pieces <- pieces
            launch state whole pieces

    /// Where all parts are there and could not be joined, none of them is trusted another time.
    let startOver (state: State) (task: Task) =
        match task.Progress.Pieces with
        | null -> ()
        | pieces ->
            if pieces.Missing = 0 then
                drop state task

    /// What a piece is called in messages about the whole.
    let nameOf (whole: Task) index =
        let pieces = nonNull whole.Progress.Pieces

        $"piece {index + 1} of {pieces.Count}, bytes {pieces.StartOf index} to {pieces.Cuts[index] - 1L<B>}"
