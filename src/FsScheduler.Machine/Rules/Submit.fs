namespace FsScheduler.Machine

open FsScheduler.Core

/// Submissions of clients, and of files in the folder.
[<CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module internal Submit =

    let private resolve (state: State) text =
        if text = "" then
            Ok state.Settings.pipeline
        else
            match state.Pipelines.TryGetValue text with
            | true, pipeline -> Ok pipeline
            | _ ->
                Pipeline.parse state.Known text
                |> Result.map (fun pipeline ->
                    if state.Pipelines.Count >= SchedulerLimits.pipelinesMax then
                        state.Pipelines.Clear()

                    state.Pipelines[text] <- pipeline
                    pipeline)

    let private record (state: State) (submission: Submission) pipeline : TaskId =
        let id = state.LastId + 1L<taskId>
        state.Record(Event.Submitted(id, submission, pipeline))
        id

    /// Submits a version of a file, after cancelling the older ones: but not one whose result is on its way to the same
    /// final name, nor one that may finish. The new version waits for these.
    let submitFile (state: State) (submission: Submission) pipeline =
        match state.Files.TryGetValue submission.Name with
        | true, older when older.State = TaskState.Publishing -> ()
        | true, older when older.IsUnderWay && FileVersions.mayFinish state older -> ()
        | true, older ->
            if older.IsUnderWay then
                FileVersions.overtake state older

            Finish.cancel state older FileVersions.superseded
        | _ -> ()

        record state submission pipeline |> ignore

    let private accept (state: State) (submission: Submission) pipeline session =
        if state.Tasks.Count >= state.TasksMax then
            Replies.refuse
                state
                session
                submission
                RejectionCode.Busy
                $"there are {state.Tasks.Count} tasks; try again later"
        else
            let id = record state submission pipeline
            state.Reply(session, FromScheduler.Accepted(submission.Ref, id))

    /// Attaches a submission to the task that has its key already.
    let private attachKey
        (state: State)
        (submission: Submission)
        session
        (want: Want)
        (key: Key)
        (entry: KeyEntry)
        =
        let refuse = Replies.refuse state session submission

        if entry.key.content <> key.content then
            refuse
                RejectionCode.BadKey
                $"the key '{key.text}' was used for other content, in task {entry.task}"
        elif entry.want.IsFile <> want.IsFile then
            // A stored result cannot be sent any more, and a sent one is not stored.
            refuse
                RejectionCode.BadKey
                $"the key '{key.text}' was used with another 'want', in task {entry.task}"
        elif
            not (isNull entry.waiters)
            && (nonNull entry.waiters).Count >= SchedulerLimits.waitersMax
        then
            refuse
                RejectionCode.Busy
                $"{SchedulerLimits.waitersMax} requests wait for task {entry.task}; try again later"
        else
            state.Discard(Payload.file submission.Payload)
            state.Reply(session, FromScheduler.Accepted(submission.Ref, entry.task))
            Replies.attach state entry { session = session; ref = submission.Ref; want = want }

    /// Retries a file in quarantine with another pipeline, as a new task: results of the old stages are useless.
    let retryWith (state: State) (task: Task) (text: string) by =
        let refuse message = Replies.error state by message

        match resolve state text, task.Submission.Origin with
        | Error error, _ -> refuse $"task {task.Id}: {error.message}"
        | Ok pipeline, _ when pipeline.wire = task.Pipeline.wire -> Fail.retry state task
        | Ok pipeline, Folder ->
            let submission = task.Submission
            Finish.cancel state task "it is tried again with another pipeline, as a new task"
            submitFile state submission pipeline
        | Ok _, Client _ ->
            refuse
                $"task {task.Id} was submitted by a client, and keeps its pipeline: submit it again with the other one"
        | Ok _, Piece _ ->
            refuse $"task {task.Id} is a piece of a file: say it of the task of the file"

    /// <summary>Accepts a submission, or refuses it with a reply.</summary>
    /// <param name="state">Changed.</param>
    /// <param name="submission">Of a client, or of a file in the folder.</param>
    /// <param name="text">The pipeline. Empty: the one of the scheduler.</param>
    let submit (state: State) (submission: Submission) (text: string) =
        match resolve state text, submission.Origin with
        | Ok pipeline, Folder -> submitFile state submission pipeline
        | Ok pipeline, Client(session, _, None) -> accept state submission pipeline session
        | Ok pipeline, Client(session, want, Some key) ->
            match state.Keys.Find key with
            | ValueNone -> accept state submission pipeline session
            | ValueSome entry -> attachKey state submission session want key entry
        | Error error, Client(session, _, _) ->
            Replies.refuse state session submission RejectionCode.BadPipeline error.message
        | Error error, Folder ->
            invalidOp $"a file came with the pipeline '{text}': {error.message}"
        | _, Piece _ -> invalidOp "a piece is submitted by the task that it is a piece of"
