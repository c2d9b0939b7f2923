namespace FsScheduler.Machine

open FsScheduler.Core

/// Splits large payloads into pieces, each a task of its own, for many workers at once.
module internal Split =

    /// Payloads in memory are too small to be cut.
    let private isFile (payload: Payload) =
        payload.IsInput || (Payload.file payload).IsSome

    /// Whether the next stages of a queued task are to be run on pieces.
    let isDue (state: State) (task: Task) =
        let payload = task.Payload

        isFile payload
        && Payload.size payload > state.Settings.split
        && task.State = TaskState.Queued
        && not task.Submission.Origin.IsPiece
        && (PieceStages.find state task).IsSome

    /// At most `piecesMax` pieces of a payload.
    let private pieceSize (state: State) (size: Size) : Size =
        max state.Settings.split (1L<B> + size / int64 SchedulerLimits.piecesMax)

    /// <summary>Submits a task for a piece.</summary>
    /// <param name="state">The scheduler's.</param>
    /// <param name="whole">The task that it is a piece of.</param>
    /// <param name="named">Has the name: the submission of the whole, if it is loaded, or that of a piece.</param>
    /// <param name="index">The index of the piece.</param>
    let submit (state: State) (whole: Task) (named: Submission) index : Task =
        let pieces = nonNull whole.Pieces
        let id = state.LastId + 1L<taskId>
        let piece = named.Piece(whole.Id, index, pieces.SliceOf(whole.Payload, index))
        state.Record(Event.Submitted(id, piece, pieces.Pipeline))
        nonNull (state.Tasks.Find id)

    /// The stage that merges the parts; none where they are concatenated.
    let private mergeOf (pieces: Pieces) =
        let last = Array.last pieces.Pipeline.stages

        if last.kind = Aggregating then
            ValueSome last
        else
            ValueNone

    /// Asks to prefetch the parts before which none is missing.
    let private prefetch (state: State) (whole: Task) (pieces: Pieces) =
        let attempt = state.AttemptOf whole
        let mutable next = pieces.TryPrefetch()

        while next.IsSome do
            let struct (index, part) = next.Value
            state.Ask(Effect.ToPieces(PieceEffect.PrefetchPart(attempt, index, part)))
            next <- pieces.TryPrefetch()

    /// Asks to merge the parts if all have come, else to prefetch the first ones.
    let mergeOrPrefetch (state: State) (whole: Task) =
        let pieces = nonNull whole.Pieces
        let merge = mergeOf pieces

        if pieces.Missing = 0 then
            state.Ask(
                Effect.ToPieces(PieceEffect.MergeParts(state.AttemptOf whole, merge, pieces.Parts))
            )

            pieces.ForgetPrefetched() |> ignore
        elif merge.IsNone then
            prefetch state whole pieces

    /// The parts that have come are not merged in this attempt.
    let dropPrefetch (state: State) (whole: Task) (pieces: Pieces) =
        if pieces.ForgetPrefetched() then
            state.Ask(Effect.ToPieces(PieceEffect.DropPrefetch(state.AttemptOf whole)))

    /// Whether a piece has neither a result nor a task that will give one.
    let private isIdle (pieces: Pieces) index =
        pieces.IsMissing index && (pieces.TasksOf index).IsEmpty

    let isAnyIdle (whole: Task) =
        match whole.Pieces with
        | null -> false
        | pieces -> Seq.exists (isIdle pieces) (seq { 0 .. pieces.Count - 1 })

    /// Begins the attempt: submits the pieces that have no result yet.
    let private launch (state: State) (whole: Task) last (pipeline: Pipeline) (cuts: Size[]) =
        match whole.Pieces with
        | null -> ()
        | pieces -> dropPrefetch state whole pieces

        let own = whole.Pipeline.wire[whole.Stage .. last - 1]

        let others =
            if pipeline.wire = own then
                ValueNone
            else
                ValueSome pipeline

        state.Record(Event.Split(state.NextAttemptOf whole, last, others, cuts))
        let pieces = nonNull whole.Pieces

        for index in 0 .. pieces.Count - 1 do
            if isIdle pieces index then
                submit state whole whole.Submission index |> ignore

        mergeOrPrefetch state whole

    /// Goes on after a restart, which may have lost parts.
    let resume (state: State) (whole: Task) =
        let pieces = nonNull whole.Pieces

        match List.filter (isIdle pieces) [ 0 .. pieces.Count - 1 ] with
        | [] -> mergeOrPrefetch state whole
        // `launch` will begin another attempt, so that prefetching for this one would be wasted.
        | _ when whole.Submission.IsJournaled ->
            state.Ask(
                Effect.ToJournal(JournalEffect.LoadSubmission(state.AttemptOf whole, whole.Number))
            )
        | idle ->
            for index in idle do
                submit state whole whole.Submission index |> ignore

            mergeOrPrefetch state whole

    /// Goes on once the submission of the whole is loaded.
    let goOn (state: State) (whole: Task) =
        match whole.Pieces with
        | null ->
            let payload = whole.Payload
            let size = pieceSize state (Payload.size payload)

            state.Ask(
                Effect.ToPieces(
                    PieceEffect.Cut(state.AttemptOf whole, whole.Submission, payload, size)
                )
            )
        | pieces -> launch state whole pieces.Last pieces.Pipeline pieces.Cuts

    /// Takes a queued task out of its queue, to be worked on in pieces. Parts of an earlier attempt are kept if workers
    /// can still run its pieces.
    let start (state: State) (task: Task) =
        let areParts =
            match task.Pieces with
            | null -> false
            | pieces -> PieceStages.isRunnable state task pieces

        Apply.cutting state task areParts
        state.DiscardReleased()

        if task.Submission.IsJournaled then
            state.Ask(
                Effect.ToJournal(JournalEffect.LoadSubmission(state.AttemptOf task, task.Number))
            )
        else
            goOn state task

    /// The places to cut are found.
    let cut (state: State) (whole: Task) (cuts: Size[]) =
        match PieceStages.find state whole with
        | ValueNone -> Apply.uncut state whole // the workers for pieces have left meanwhile
        | ValueSome pipeline ->
            launch state whole (whole.Stage + pipeline.stages.Length) pipeline cuts

    /// The name of a piece in messages about the whole.
    let nameOf (whole: Task) index =
        let pieces = nonNull whole.Pieces

        $"piece {index + 1} of {pieces.Count}, bytes {pieces.StartOf index} to {pieces.Cuts[index] - 1L<B>}"
