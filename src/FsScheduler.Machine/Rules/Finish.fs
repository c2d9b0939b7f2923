namespace FsScheduler.Machine

open FsScheduler.Core

/// Ends attempts and tasks: a result goes to the next stage, to its final name or to its client.
module internal Finish =

    /// The whole and the index of a piece; none: the task is no piece.
    let pieceOf (state: State) (task: Task) : struct (Task * int) voption =
        match task.Submission.Origin with
        | Piece(whole, index) ->
            match state.Tasks.Find whole with
            | null -> ValueNone
            | whole -> ValueSome(struct (whole, index))
        | Folder
        | Client _ -> ValueNone

    /// The whole of a piece, whose cancellation ends all pieces; another task itself.
    let wholeOf (state: State) (task: Task) : Task =
        match pieceOf state task with
        | ValueSome(struct (whole, _)) -> whole
        | ValueNone -> task

    /// Queues the version that waited for an ended one by its own event, to keep its place over a restart.
    let private release (state: State) (task: Task) =
        state.DiscardReleased()

        match task.Submission.Origin with
        | Folder ->
            match state.Successors.TryGetValue task.Id with
            | true, successor -> state.Record(Event.Woken successor.Id)
            | _ -> ()
        | Client _
        | Piece _ -> ()

    let complete (state: State) (task: Task) result stored =
        if task.Submission.Origin.IsFolder then
            state.Overtaken.Remove task.Submission.Name |> ignore

        let entry = Replies.entryOf state task

        let struct (kept, reply) =
            match stored with
            | ValueSome hash -> struct (StoredResult hash, Replies.NoResult)
            | ValueNone when entry.IsSome ->
                let kept = Held result
                struct (KeptResult kept, Replies.Kept kept)
            | ValueNone -> struct (NothingKept, Replies.Once result)

        state.Record(Event.Completed(state.AttemptOf task, kept))
        state.Throughput.Add state.Now
        release state task
        Replies.complete state task entry reply

    let rec cancel (state: State) (task: Task) reason =
        match task.State with
        | TaskState.Running worker ->
            state.Ask(Effect.ToPeer(PeerEffect.Revoke(worker.Session, state.AttemptOf task)))
        | TaskState.Split _ -> cancelPieces state task reason
        | TaskState.Queued
        | TaskState.Suspected
        | TaskState.Waiting _
        | TaskState.Publishing
        | TaskState.Succeeding _
        | TaskState.Quarantined
        | TaskState.Ended -> ()

        let entry = Replies.entryOf state task
        state.Record(Event.Cancelled(task.Id, reason))
        release state task
        Replies.cancel state task entry reason

    /// Cancels the pieces that have no result yet.
    and cancelPieces (state: State) (whole: Task) reason =
        match whole.Pieces with
        | null -> ()
        | pieces ->
            Split.dropPrefetch state whole pieces

            for piece in pieces.Tasks do
                cancel state piece reason

    /// Cancels a task that a newer version waits for, in place of a retry. True: it was.
    let giveWay (state: State) (task: Task) : bool =
        let isAwaited = state.Successors.ContainsKey task.Id

        if isAwaited then
            cancel state task FileVersions.superseded

        isAwaited

    /// Some stages are done: the task is queued for the next one with their result.
    let advance (state: State) (task: Task) stage result =
        state.Record(Event.Advanced(state.AttemptOf task, stage, Held result))
        state.DiscardReleased()

    /// Stores the part of a finished piece, and cancels the other task of that piece.
    let private fill (state: State) (piece: Task) (whole: Task) index result =
        let pieces = nonNull whole.Pieces
        state.Record(Event.Part(whole.Id, index, Held result))
        pieces.Measure(state.Now - piece.Since)
        complete state piece Content.empty ValueNone

        for other in pieces.TasksOf index do
            cancel state other "another worker was faster with this piece"

        Split.mergeOrPrefetch state whole

    /// The last stage is done. The result is passed on before its inputs are deleted: large parts take a while.
    let publish (state: State) (task: Task) result =
        match task.Submission.Origin with
        | Piece _ ->
            match pieceOf state task with
            | ValueSome(struct (whole, index)) -> fill state task whole index result
            | ValueNone -> state.Discard(Content.file result)
        | Client(_, (Result | Nothing), _) -> complete state task result ValueNone
        | Folder
        | Client(_, File, _) ->
            let attempt = state.AttemptOf task
            state.Record(Event.Accepted(attempt, AcceptedContent result))

            if FileVersions.mayFinish state task || state.Successors.ContainsKey task.Id then
                state.Ask(Effect.ToDisk(DiskEffect.PublishOlder(attempt, task.Submission, result)))
            else
                state.Ask(Effect.ToDisk(DiskEffect.Publish(attempt, task.Submission, result)))

            state.DiscardReleased()

    /// The merged result of the whole has come.
    let merged (state: State) (task: Task) result =
        let next = PieceStages.next task (nonNull task.Pieces)

        if next < task.Pipeline.stages.Length then
            advance state task next result
        else
            publish state task result
