namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine

/// Looks at results that count and at the ends of tasks, and raises a violation at the first thing that may not be.
[<Sealed>]
type EndingObserver
    (scene: SimulationContext, spool: Spool, ledger: TaskAudit, splits: PieceObserver) =
    let cancels = HashSet<TaskId>()
    let failed = HashSet<TaskId>() // those of which a piece went into quarantine in this step

    /// As the protocol's users are told, not as the machine's limits say.
    static member LossesMax = 3

    /// A step begins.
    member _.Begin() = failed.Clear()

    /// Cancelled because somebody said CANCEL.
    member _.Cancels = cancels

    member _.IsLast(task: TaskRecord) =
        let struct (_, last) = task.Range
        last = task.Pipeline.stages.Length

    /// A worker has failed a task. A retry forgives nothing.
    member _.Blame(task: TaskRecord, trouble: Failure) =
        if
            trouble.worker <> ""
            && (trouble.cause = TaskError || trouble.cause = WorkerUnable)
        then
            task.Blamed.Add trouble.worker

    member observer.Quarantined(input: Input, id: TaskId, trouble: Failure) =
        let task = ledger.Task id

        must
            (not (task.Ending.IsSome || task.IsQuarantined))
            $"task {id} is put into quarantine after its end"

        let failedOut = task.Failures + 1 >= scene.climate.maxAttempts
        let lostOut = task.Losses + 1 >= EndingObserver.LossesMax

        let isDue, cause =
            match input with
            | Input.Report(_, _, Failed(_, false), _) -> true, "refused"
            | Input.Report(_, _, Unable _, _) ->
                let before = task.Blamed |> Seq.filter (fun worker -> worker = trouble.worker)
                failedOut && Seq.length before >= 2, "could not be run too often"
            | Input.Report(_, _, Failed _, _)
            | Input.Unreadable _
            | Input.Unpublished _ -> failedOut, "failed too often"
            | Input.MergeFailed _ -> failedOut, "joined in vain too often"
            | Input.Leave _ -> lostOut, "lost too often"
            | Input.Tick when lostOut -> true, "lost too often"
            | Input.Tick -> failedOut, "failed too often"
            | _ -> false, "nothing"

        // It has its trouble from a piece.
        let isDue, cause =
            if failed.Contains id then
                true, "a piece failed"
            else
                isDue, cause

        must
            isDue
            $"task {id} is put into quarantine after {task.Failures} failures and {task.Losses} losses by {input}"

        scene.coverage.Count $"seen: quarantine, {cause}"
        ledger.Free task
        ledger.Unsplit task

        match task.Whole with
        | ValueSome(struct (whole, index)) ->
            ledger.LeaveWhole task

            match (ledger.Task whole).Pieces with
            | ValueSome pieces when pieces.Tasks[index].Count > 0 ->
                scene.coverage.Count "seen: a straggler's helper fails or is left alone"
            | _ -> failed.Add whole |> ignore
        | ValueNone -> ()

        task.IsPublishing <- false
        task.IsQuarantined <- true
        observer.Blame(task, trouble)
        task.Ends <- task.Ends + 1

    member _.Cancelled(input: Input, id: TaskId) =
        let task = ledger.Task id
        must (task.Ending.IsNone) $"task {id} is cancelled after its end"

        let isDue =
            match input with
            | _ when task.Whole.IsSome -> true // looked at when the step is over
            | Input.Cancel(other, _) -> other = id || ledger.IsOf(id, other)
            | Input.FileChanged attempt -> attempt.task = id || ledger.IsOf(id, attempt.task)
            | Input.Outdated attempt -> attempt.task = id
            | Input.FileDeleted name -> name = task.Submission.Name
            | Input.Submit(submission, _) ->
                submission.Origin = Origin.Folder && submission.Name = task.Submission.Name
            | Input.Unpublished(attempt, _) -> attempt.task = id
            | _ -> ledger.HasNewer task

        must isDue $"task {id} is cancelled by {input}"

        match input with
        | Input.Cancel _ -> cancels.Add id |> ignore
        | _ -> ()

        if task.Whole.IsSome then
            must
                (not task.IsRunning)
                $"the piece that is task {id} is cancelled, and its worker is not told"

            ledger.LeaveWhole task
            splits.Drop task

        ledger.Free task
        ledger.Unsplit task
        task.Ending <- ValueSome Ending.Cancelled
        task.Ends <- task.Ends + 1

    /// What a result that counts holds.
    member _.Accepted(input: Input, attempt: Attempt, result: Content) : string =
        let task = ledger.Task attempt.task

        let expected, given =
            match input, task.Pieces with
            | Input.Report(session, reported, Succeeded, given), _ ->
                must
                    (reported = attempt && reported.number = task.Attempt && session = task.Session)
                    $"a result of attempt {reported.number} by session {session} counts for attempt {task.Attempt} of task {task.Id} by session {task.Session}"

                task.Expected, given
            | Input.PartsMerged(joined, given), ValueSome pieces ->
                must
                    (joined = attempt
                     && joined.number = task.Attempt
                     && task.IsSplit
                     && pieces.IsWhole)
                    $"what was joined for {joined} counts for attempt {task.Attempt} of task {task.Id}"

                let expected = splits.Joined(task, pieces)
                task.Range <- struct (task.Stage, pieces.Last)
                ledger.Unsplit task
                task.Pieces <- ValueNone
                expected, given
            | _ -> violation $"task {task.Id} succeeded by {input}"

        must (obj.ReferenceEquals(given, result)) $"another payload than the reported one"
        let content = spool.Result result
        must (content = expected) $"task {task.Id} became '{content}' where '{expected}' was due"
        content

    member observer.Completed(input: Input, attempt: Attempt) =
        let task = ledger.Task attempt.task
        must (task.Ending.IsNone) $"task {task.Id} is completed after its end"
        must (attempt.number = task.Attempt) $"an old attempt completes task {task.Id}"

        match input with
        | Input.Published(published, _) ->
            must (task.IsPublishing && published = attempt) $"task {task.Id} was not published"
        | Input.Report(_, _, Succeeded, result)
        | Input.PartsMerged(_, result) ->
            task.Result <- observer.Accepted(input, attempt, result)
            task.Payload <- Kept(Held result)
        | _ -> violation $"task {task.Id} completed by {input}"

        match task.Whole with
        | ValueSome(struct (whole, index)) ->
            match (ledger.Task whole).Pieces with
            | ValueSome pieces when pieces.Parts[index] = ValueSome task.Payload -> ()
            | _ -> violation $"task {task.Id} is completed, and is no part of task {whole}"

            ledger.LeaveWhole task
        | ValueNone -> ()

        must (observer.IsLast task) $"task {task.Id} completed without all its stages"
        task.IsPublishing <- false
        task.Ending <- ValueSome Ending.Completed
        task.Ends <- task.Ends + 1
