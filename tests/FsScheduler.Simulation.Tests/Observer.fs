namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine

/// Looks over the machine's shoulder, and raises a violation at the first thing that may not be.
/// It keeps its own account of every task from inputs and events, and asks the machine nothing.
[<Sealed>]
type Observer(scene: SimulationContext, spool: Spool) =
    let ledger = TaskAudit()
    let splits = PieceObserver(scene, spool, ledger)
    let requests = Dictionary<struct (SessionId * string), RequestRecord>()
    let keys = Dictionary<string, TaskId>()
    let slotsAt = Dictionary<Attempt, int>()
    let endings = EndingObserver(scene, spool, ledger, splits)
    let lossesMax = EndingObserver.LossesMax

    let requeued (task: TaskRecord) = task.QueuedSince <- scene.Now

    /// What the machine learns from an input frees slots before its events say so.
    let before input =
        ledger.IsCurrent <- false

        match input with
        | Input.Join(session, _, stages) ->
            ledger.Sessions.TryAdd(session, SessionRecord stages) |> ignore
        | Input.Ready(session, slots) ->
            match ledger.Sessions.TryGetValue session with
            | true, record -> record.Slots <- slots
            | _ -> ()
        | Input.Submit(submission, _) ->
            match submission.Origin with
            | Origin.Folder -> ()
            | Origin.Piece _ -> violation "a piece is submitted from outside"
            | Origin.Client(session, want, key) ->
                let content = spool.Content(submission.Payload, submission)
                requests.Add((session, submission.Ref), RequestRecord(content, want, key))
        | Input.Report(session, attempt, _, _) ->
            match ledger.Tasks.TryGetValue attempt.task with
            | true, task when
                task.Attempt = attempt.number && task.Session = session && task.IsRunning
                ->
                ledger.Free task
                ledger.IsCurrent <- true
            | true, task when task.Attempt = attempt.number && task.IsRunning ->
                scene.coverage.Count "seen: result by another session"
            | true, task when task.Session = session && task.IsRunning ->
                scene.coverage.Count "seen: result of an earlier attempt by the same session"
            | _ -> scene.coverage.Count "seen: result fenced off"
        | _ -> ()

    let submitted input id (submission: Submission) pipeline =
        match input, submission.Origin with
        | _, Origin.Piece(whole, index) -> splits.Submitted(id, submission, pipeline, whole, index)
        | Input.Submit(given, _), (Origin.Folder | Origin.Client _) ->
            must (given = submission) $"task {id} is not what was submitted"
        | _ -> violation $"task {id} was made from nothing"

        let content = spool.Content(submission.Payload, submission)

        must
            (ledger.Tasks.TryAdd(id, TaskRecord(id, submission, pipeline, content)))
            $"task {id} twice"

        requeued (ledger.Task id)

        match submission.Origin with
        | Origin.Client(_, _, Some key) ->
            if scene.climate.spooledSize < 1_000_000L<B> then
                must (keys.TryAdd(key.text, id)) $"the key {key.text} made two tasks"
        | Origin.Client _
        | Origin.Piece _
        | Origin.Folder -> ()

    let assigned (attempt: Attempt) session struct (first, last) =
        let task = ledger.Task attempt.task
        let worker = ledger.Session session
        must (task.Ending.IsNone) $"task {task.Id} is given out after its end"
        must (not task.IsRunning) $"task {task.Id} is given out while it runs"

        must
            (not task.IsPublishing && not task.IsQuarantined)
            $"task {task.Id} is given out while it is published or in quarantine"

        must
            (not task.IsSplit && not task.IsCutting)
            $"task {task.Id} is given out while its pieces are"

        task.Pieces <- ValueNone // left of a time when it was split

        splits.Assigned(task.Id, session)

        must (attempt.number = task.Attempt + 1) $"attempt {attempt.number} of task {task.Id}"
        must (first = task.Stage && last > first) $"task {task.Id} goes on at the wrong stage"
        must (scene.Now.sinceStart >= task.NotBefore.sinceStart) $"task {task.Id} is tried too soon"

        for stage in task.Pipeline.stages[first .. last - 1] do
            must
                (Array.contains stage.name worker.Stages)
                $"session {session} is given {stage.name}, which it cannot run"

        worker.Held.Add task.Id |> ignore

        must
            (worker.Held.Count <= worker.Slots)
            $"session {session} is given {worker.Held.Count} tasks and has {worker.Slots} slots"

        for held in worker.Held do
            must
                (worker.Held.Count = 1 || (ledger.Task held).Losses < lossesMax - 1)
                $"task {held}, twice lost, is not alone on session {session}"

        if task.Losses >= lossesMax - 1 then
            scene.coverage.Count "seen: suspect run alone"

        let waited = scene.Now - task.QueuedSince
        scene.coverage.Most("longest wait in a queue, ms", int64 waited)
        task.IsRunning <- true
        task.Session <- session
        task.Attempt <- attempt.number
        task.Range <- struct (first, last)
        slotsAt[attempt] <- worker.Slots

    let happened input event =
        match event with
        | Event.Submitted(id, submission, pipeline) -> submitted input id submission pipeline
        | Event.Assigned(attempt, session, range) -> assigned attempt session range
        | Event.Advanced(_, _, Recorded _) -> violation "nothing is left to the journal here"
        | Event.Advanced(attempt, stage, (Held result as kept)) ->
            let task = ledger.Task attempt.task
            let pieces = task.Pieces
            task.Content <- endings.Accepted(input, attempt, result)

            match input, pieces with
            | Input.PartsMerged _, ValueSome pieces when
                (Array.last pieces.Stages).EndsWith Stage.partForm
                ->
                // What merges the parts is to be run on them.
                let at = pieces.Last - 1
                let merge = task.Pipeline.wire[at] + Stage.mergeForm
                let wire = Array.updateAt at merge task.Pipeline.wire

                match Pipeline.parseRecorded (String.concat " | " wire) with
                | Ok pipeline -> task.Pipeline <- pipeline
                | Error error -> violation error.message

                task.Range <- struct (task.Stage, at)
            | _ -> ()

            must (not (endings.IsLast task)) $"task {task.Id} goes on after its last stage"
            task.Payload <- Kept kept
            let struct (_, last) = task.Range
            must (stage = last) $"task {task.Id} is said to be at stage {stage}"
            task.Stage <- last
            requeued task
        | Event.Split(attempt, last, others, cuts) ->
            splits.Split(input, attempt, last, others, cuts)
        | Event.Part(whole, index, part) -> splits.Part(input, whole, index, part)
        | Event.PartLost _ -> violation "there is no restart here"
        | Event.Speculated(whole, index, slow) -> splits.Speculate(whole, index, slow)
        | Event.Delayed(id, trouble, delay) ->
            let task = ledger.Task id
            ledger.Free task
            ledger.Unsplit task
            task.IsPublishing <- false

            endings.Blame(task, trouble)

            if trouble.cause = WorkerUnable then
                match input with
                | Input.Report(_, _, Unable _, _) -> ()
                | _ -> violation $"task {id} could not be run by {input}"

                scene.coverage.Count "seen: failed for nothing"
            elif trouble.cause = StorageError then
                match input with
                | Input.OutOfSight(attempt, _) when attempt.task = id -> ()
                | _ -> violation $"task {id} waits for the disk after {input}"

                scene.coverage.Count "seen: input out of sight"
            else
                task.Failures <- task.Failures + 1

            must
                (task.Failures < scene.climate.maxAttempts)
                $"task {id} is tried again after {task.Failures} failures"

            task.NotBefore <- scene.Now + delay
            requeued task
            task.QueuedSince <- task.NotBefore
        | Event.Woken id ->
            must ((ledger.Task id).NotBefore - scene.Now <= 0L<ms>) $"task {id} is woken too early"
        | Event.Gone _ -> ()
        | Event.Claimed _ -> violation "nobody was away"
        | Event.Requeued(id, trouble) when (ledger.Task id).IsSplit ->
            let task = ledger.Task id

            must
                (input = Input.Tick && trouble.cause = WorkerLeft && not (splits.IsRunnable task))
                $"task {id} is given up in pieces by {input}, and somebody runs them"

            scene.coverage.Count "seen: pieces that nobody runs any more"
            ledger.Unsplit task
            requeued task
        | Event.Requeued(id, trouble) ->
            let task = ledger.Task id
            must task.IsRunning $"task {id} is queued again and was not running"

            must
                ((trouble.cause = WorkerLost) = ((ledger.Session task.Session).Slots > 0))
                $"the loss of task {id} counts wrongly"

            if trouble.cause = WorkerLost then
                task.Losses <- task.Losses + 1
            else
                scene.coverage.Count "seen: lost while draining"

            must (task.Losses < lossesMax) $"task {id} is queued again after {task.Losses} losses"
            ledger.Free task
            requeued task
        | Event.Quarantined(id, trouble) -> endings.Quarantined(input, id, trouble)
        | Event.Accepted(_, AcceptedMark _) -> violation "a result is known by its mark only"
        | Event.Accepted(attempt, AcceptedContent result) ->
            let task = ledger.Task attempt.task
            task.Result <- endings.Accepted(input, attempt, result)
            must (endings.IsLast task) $"task {task.Id} is published before its last stage"
            task.IsPublishing <- true
        | Event.Completed(attempt, _) -> endings.Completed(input, attempt)
        | Event.Cancelled(id, _) -> endings.Cancelled(input, id)
        | Event.Retried id ->
            let task = ledger.Task id
            must task.IsQuarantined $"task {id} is retried and was not in quarantine"
            task.IsQuarantined <- false

            match task.Pieces with
            | ValueSome pieces when pieces.IsWhole -> task.Pieces <- ValueNone // none is trusted
            | ValueSome _ -> scene.coverage.Count "seen: retried after a piece failed"
            | ValueNone -> ()

            task.Failures <- 0
            task.Losses <- 0
            requeued task
        | Event.Joined(session, _, _) -> must (ledger.Sessions.ContainsKey session) $"who joined?"
        | Event.Left(session, _, _) ->
            // Its tasks were requeued, or quarantined, by the events before.
            must (ledger.Sessions.ContainsKey session) $"session {session} leaves and never came"
            ledger.Sessions[session].IsGone <- true
        | Event.Noted _ -> ()
        | Event.Opened _
        | Event.Carried _
        | Event.Dropped _ -> violation "nothing is dropped here"

    member _.Tasks = ledger.Tasks.Values
    member _.Task id = ledger.Task id
    member _.Requests = requests

    /// Cancelled because somebody said CANCEL.
    member _.Cancels = endings.Cancels

    /// The slots of a worker when it was given this attempt.
    member _.SlotsAt attempt = slotsAt[attempt]

    /// Held by running tasks, as their events say.
    member _.Running = ledger.Tasks.Values |> Seq.filter _.IsRunning |> Seq.length

    /// An input is about to be taken.
    member _.Before input = before input

    /// What a step has decided, before anybody else hears of it.
    member _.Decided(input: Input, events: Event seq, effects: Effect seq) =
        splits.Begin()
        endings.Begin()

        // These free a slot that an event of the same step may have given away again.
        for effect in effects do
            match effect with
            | Effect.ToPeer(PeerEffect.Revoke(_, attempt)) when
                (ledger.Task attempt.task).Attempt = attempt.number
                ->
                ledger.Free(ledger.Task attempt.task)
            | _ -> ()

        match input with
        | Input.Unreadable(attempt, _)
        | Input.OutOfSight(attempt, _) when ledger.Tasks.ContainsKey attempt.task ->
            if (ledger.Task attempt.task).Attempt = attempt.number then
                ledger.Free(ledger.Task attempt.task)
        | _ -> ()

        let isAwaited =
            match input with
            | Input.Cut(attempt, _) ->
                match ledger.Tasks.TryGetValue attempt.task with
                | true, task -> task.IsCutting && task.Attempt = attempt.number
                | _ -> false
            | Input.PartsMerged(attempt, _)
            | Input.MergeFailed(attempt, _) ->
                match ledger.Tasks.TryGetValue attempt.task with
                | true, task ->
                    task.IsSplit && task.Joining = attempt.number && task.Attempt = attempt.number
                | _ -> false
            | _ -> false

        let isBack =
            match input with
            | Input.Cut(attempt, _) -> isAwaited && splits.NeedsWhole(ledger.Task attempt.task)
            | _ -> false

        match input with
        | Input.Cut(attempt, _) when isBack ->
            ledger.Unsplit(ledger.Task attempt.task)
            scene.coverage.Count "seen: cut, and nobody does pieces any more"
        | _ -> ()

        for event in events do
            happened input event

        Seq.iter splits.Asked effects
        splits.End()

        must
            (not isAwaited || isBack || not (Seq.isEmpty events))
            $"{input} is awaited, and nothing came of it"

        match input with
        | Input.Cut _
        | Input.PartsMerged _
        | Input.MergeFailed _ when not isAwaited ->
            must (Seq.isEmpty events) $"{input} is not awaited, and counts"
            scene.coverage.Count "seen: cut or joined for nobody"
        | _ -> ()

        match input, Seq.tryHead events with
        | Input.Report(_, attempt, Failed(_, false), _), first when ledger.IsCurrent ->
            must
                (match first with
                 | Some(Event.Quarantined _) -> true
                 // A version of a file that a newer one waits for gives way to it.
                 | Some(Event.Cancelled(id, _)) -> id = attempt.task
                 | _ -> false)
                $"attempt {attempt.number} of task {attempt.task} asked not to be retried, and was"
        | Input.Report(_, attempt, _, _), first when ledger.IsCurrent ->
            must first.IsSome $"the report of {attempt} counts, and nothing came of it"
        | _ -> ()
