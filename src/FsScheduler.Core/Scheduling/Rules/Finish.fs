namespace FsScheduler.Core

/// What is done goes to its next stage, under its name or to its client; and a task ends.
module internal Finish =

    /// The task that this one does a piece of, and which piece; none: it is a whole itself.
    let pieceOf (state: State) (task: Task) : struct (Task * int) voption =
        match task.Submission.Origin with
        | Piece(whole, index) ->
            match state.Tasks.Find whole with
            | null -> ValueNone
            | whole -> ValueSome(struct (whole, index))
        | Folder
        | Client _ -> ValueNone

    /// Of a piece, the task that it is a piece of: there is no result without it.
    let wholeOf (state: State) (task: Task) : Task =
        match pieceOf state task with
        | ValueSome(struct (whole, _)) -> whole
        | ValueNone -> task

    /// A task has ended. The version of its file that waited for it has its place in the queue from here on, and keeps it over
    /// a restart.
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

        let remainder =
            match stored with
            | ValueSome hash -> StoredResult hash
            | ValueNone when entry.IsSome -> KeptResult result
            | ValueNone -> NothingKept

        state.Record(Event.Completed(state.AttemptOf task, remainder))
        state.Rates.Add state.Now
        release state task
        Replies.complete state task entry result

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

    /// Ends the pieces of a task that have no result yet.
    and cancelPieces (state: State) (whole: Task) reason =
        match whole.Pieces with
        | null -> ()
        | pieces ->
            Split.abandon state whole pieces

            for piece in pieces.Tasks do
                cancel state piece reason

    /// A version that a newer one waits for is not tried again: the newer one has its turn.
    let giveWay (state: State) (task: Task) : bool =
        let isAwaited = state.Successors.ContainsKey task.Id

        if isAwaited then
            cancel state task FileVersions.superseded

        isAwaited

    /// Some stages are done, and another worker goes on from their result.
    let advance (state: State) (task: Task) stage result =
        state.Record(Event.Advanced(state.AttemptOf task, stage, result))
        state.DiscardReleased()

    /// A piece is done, and so is whatever else was to do it.
    let private fill (state: State) (piece: Task) (whole: Task) index result =
        let pieces = nonNull whole.Pieces
        state.Record(Event.Part(whole.Id, index, result))
        pieces.Measure(state.Now - piece.Since)
        complete state piece Payload.empty ValueNone

        for other in pieces.TasksOf index do
            cancel state other "another worker was faster with this piece"

        Split.join state whole

    /// The last stage is done. The result goes on before what it was made of goes: to let go of large parts takes a while.
    let publish (state: State) (task: Task) result =
        match task.Submission.Origin with
        | Piece _ ->
            match pieceOf state task with
            | ValueSome(struct (whole, index)) -> fill state task whole index result
            | ValueNone -> state.Discard result
        | Client(_, (Result | Nothing), _) -> complete state task result ValueNone
        | Folder
        | Client(_, File, _) ->
            let attempt = state.AttemptOf task
            state.Record(Event.Accepted(attempt, AcceptedPayload result))

            if FileVersions.mayFinish state task || state.Successors.ContainsKey task.Id then
                state.Ask(Effect.ToDisk(DiskEffect.PublishOlder(attempt, task.Submission, result)))
            else
                state.Ask(Effect.ToDisk(DiskEffect.Publish(attempt, task.Submission, result)))

            state.DiscardReleased()

    /// What the stages give for the whole is there.
    let merged (state: State) (task: Task) result =
        let next = PieceStages.next task (nonNull task.Pieces)

        if next < task.Pipeline.stages.Length then
            advance state task next result
        else
            publish state task result
