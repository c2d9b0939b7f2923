namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core

/// Looks over the machine's shoulder, and raises a violation at the first thing that may not be.
/// It keeps its own account of every task from inputs and events, and asks the machine nothing.
[<Sealed>]
type Observer(scene: Scene, spool: Spool) =
    let tasks = Dictionary<TaskId, TaskRecord>()
    let sessions = Dictionary<SessionId, SessionRecord>()
    let requests = Dictionary<struct (SessionId * string), RequestRecord>()
    let keys = Dictionary<string, TaskId>()
    let slotsAt = Dictionary<Attempt, int>()
    let cancels = HashSet<TaskId>()
    let mutable isCurrent = false // whether the input is a report of a current attempt
    let lossesMax = 3 // as the protocol's users are told, not as the machine's limits say

    let violation text = raise (Violation text)

    let must isSo text =
        if not isSo then
            violation text

    let taskOf id =
        match tasks.TryGetValue id with
        | true, task -> task
        | _ -> violation $"task {id} was never submitted"

    let sessionOf id =
        match sessions.TryGetValue id with
        | true, session -> session
        | _ -> violation $"session {id} is no worker's"

    let free (task: TaskRecord) =
        if task.IsRunning then
            task.IsRunning <- false

            match sessions.TryGetValue task.Session with
            | true, session -> session.Held.Remove task.Id |> ignore
            | _ -> ()

    let requeued (task: TaskRecord) = task.QueuedSince <- scene.Now

    let isFinal (task: TaskRecord) = task.Ending.IsSome

    let isLast (task: TaskRecord) =
        let struct (_, last) = task.Range
        last = task.Pipeline.stages.Length

    /// What the machine learns from an input frees slots before its events say so.
    let before input =
        isCurrent <- false

        match input with
        | Input.Join(session, _, stages) -> sessions.TryAdd(session, SessionRecord stages) |> ignore
        | Input.Ready(session, slots) ->
            match sessions.TryGetValue session with
            | true, record -> record.Slots <- slots
            | _ -> ()
        | Input.Submit(submission, _) ->
            match submission.Origin with
            | Origin.Folder -> ()
            | Origin.Client(session, want, key) ->
                let content = spool.Content(submission.Payload, submission)
                requests.Add((session, submission.Ref), RequestRecord(content, want, key))
        | Input.Report(session, attempt, _, _) ->
            match tasks.TryGetValue attempt.task with
            | true, task when
                task.Attempt = attempt.number && task.Session = session && task.IsRunning
                ->
                free task
                isCurrent <- true
            | true, task when task.Attempt = attempt.number && task.IsRunning ->
                scene.coverage.Count "seen: result by another session"
            | true, task when task.Session = session && task.IsRunning ->
                scene.coverage.Count "seen: result of an earlier attempt by the same session"
            | _ -> scene.coverage.Count "seen: result fenced off"
        | _ -> ()

    let submitted input id (submission: Submission) pipeline =
        match input with
        | Input.Submit(given, _) -> must (given = submission) $"task {id} is not what was submitted"
        | _ -> violation $"task {id} was made from nothing"

        let content = spool.Content(submission.Payload, submission)
        must (tasks.TryAdd(id, TaskRecord(id, submission, pipeline, content))) $"task {id} twice"
        requeued tasks[id]

        match submission.Origin with
        | Origin.Client(_, _, Some key) ->
            if scene.climate.spooledSize < 1_000_000L<B> then
                must (keys.TryAdd(key.text, id)) $"the key {key.text} made two tasks"
        | Origin.Client _
        | Origin.Folder -> ()

    let assigned (attempt: Attempt) session struct (first, last) =
        let task = taskOf attempt.task
        let worker = sessionOf session
        must (not (isFinal task)) $"task {task.Id} is given out after its end"
        must (not task.IsRunning) $"task {task.Id} is given out while it runs"

        must
            (not task.IsPublishing && not task.IsQuarantined)
            $"task {task.Id} is given out while it is published or in quarantine"

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
                (worker.Held.Count = 1 || (taskOf held).Losses < lossesMax - 1)
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

    let quarantined input id =
        let task = taskOf id

        must
            (not (isFinal task || task.IsQuarantined))
            $"task {id} is put into quarantine after its end"

        let failedOut = task.Failures + 1 >= scene.climate.maxAttempts
        let lostOut = task.Losses + 1 >= lossesMax

        let isDue, cause =
            match input with
            | Input.Report(_, _, Failed(_, false), _) -> true, "refused"
            | Input.Report(_, _, Failed _, _)
            | Input.Unreadable _
            | Input.Unpublished _ -> failedOut, "failed too often"
            | Input.Leave _ -> lostOut, "lost too often"
            | Input.Tick when lostOut -> true, "lost too often"
            | Input.Tick -> failedOut, "failed too often"
            | _ -> false, "nothing"

        must
            isDue
            $"task {id} is put into quarantine after {task.Failures} failures and {task.Losses} losses by {input}"

        scene.coverage.Count $"seen: quarantine, {cause}"
        free task
        task.IsPublishing <- false
        task.IsQuarantined <- true
        task.Ends <- task.Ends + 1

    let cancelled input id =
        let task = taskOf id
        must (not (isFinal task)) $"task {id} is cancelled after its end"

        let isDue =
            match input with
            | Input.Cancel(other, _) -> other = id
            | Input.Withdraw attempt
            | Input.Outdated attempt -> attempt.task = id
            | Input.Vanish name -> name = task.Submission.Name
            | Input.Submit(submission, _) ->
                submission.Origin = Origin.Folder && submission.Name = task.Submission.Name
            | Input.Unpublished(attempt, _) -> attempt.task = id
            | _ -> false

        must isDue $"task {id} is cancelled by {input}"

        match input with
        | Input.Cancel _ -> cancels.Add id |> ignore
        | _ -> ()

        free task
        task.Ending <- ValueSome Ending.Cancelled
        task.Ends <- task.Ends + 1

    /// What a result that counts holds.
    let accepted input (attempt: Attempt) payload =
        let task = taskOf attempt.task

        match input with
        | Input.Report(session, reported, Succeeded, given) ->
            must
                (reported = attempt && reported.number = task.Attempt && session = task.Session)
                $"a result of attempt {reported.number} by session {session} counts for attempt {task.Attempt} of task {task.Id} by session {task.Session}"

            must (obj.ReferenceEquals(given, payload)) "another payload than the reported one"
        | _ -> violation $"task {task.Id} succeeded by {input}"

        let content = spool.Content(payload, task.Submission)

        must
            (content = task.Expected)
            $"task {task.Id} became '{content}' where '{task.Expected}' was due"

        content

    let completed input (attempt: Attempt) =
        let task = taskOf attempt.task
        must (not (isFinal task)) $"task {task.Id} is completed after its end"
        must (attempt.number = task.Attempt) $"an old attempt completes task {task.Id}"

        match input with
        | Input.Published(published, _) ->
            must (task.IsPublishing && published = attempt) $"task {task.Id} was not published"
        | Input.Report(_, _, Succeeded, payload) ->
            task.Result <- accepted input attempt payload
            task.Payload <- payload
        | _ -> violation $"task {task.Id} completed by {input}"

        must (isLast task) $"task {task.Id} completed without all its stages"
        task.IsPublishing <- false
        task.Ending <- ValueSome Ending.Completed
        task.Ends <- task.Ends + 1

    let happened input event =
        match event with
        | Event.Submitted(id, submission, pipeline) -> submitted input id submission pipeline
        | Event.Assigned(attempt, session, range) -> assigned attempt session range
        | Event.Advanced(attempt, stage, payload) ->
            let task = taskOf attempt.task
            must (not (isLast task)) $"task {task.Id} goes on after its last stage"
            task.Content <- accepted input attempt payload
            task.Payload <- payload
            let struct (_, last) = task.Range
            must (stage = last) $"task {task.Id} is said to be at stage {stage}"
            task.Stage <- last
            requeued task
        | Event.Delayed(id, _, delay) ->
            let task = taskOf id
            free task
            task.IsPublishing <- false
            task.Failures <- task.Failures + 1

            must
                (task.Failures < scene.climate.maxAttempts)
                $"task {id} is tried again after {task.Failures} failures"

            task.NotBefore <- scene.Now + delay
            requeued task
            task.QueuedSince <- task.NotBefore
        | Event.Woken id ->
            must ((taskOf id).NotBefore - scene.Now <= 0L<ms>) $"task {id} is woken too early"
        | Event.Gone _ -> ()
        | Event.Claimed _ -> violation "nobody was away"
        | Event.Requeued(id, trouble) ->
            let task = taskOf id
            must task.IsRunning $"task {id} is queued again and was not running"

            must
                ((trouble.cause = Loss) = ((sessionOf task.Session).Slots > 0))
                $"the loss of task {id} counts wrongly"

            if trouble.cause = Loss then
                task.Losses <- task.Losses + 1
            else
                scene.coverage.Count "seen: lost while draining"

            must (task.Losses < lossesMax) $"task {id} is queued again after {task.Losses} losses"
            free task
            requeued task
        | Event.Quarantined(id, _) -> quarantined input id
        | Event.Accepted(attempt, payload) ->
            let task = taskOf attempt.task
            must (isLast task) $"task {task.Id} is published before its last stage"
            task.Result <- accepted input attempt payload
            task.IsPublishing <- true
        | Event.Completed(attempt, _) -> completed input attempt
        | Event.Cancelled(id, _) -> cancelled input id
        | Event.Retried id ->
            let task = taskOf id
            must task.IsQuarantined $"task {id} is retried and was not in quarantine"
            task.IsQuarantined <- false
            task.Failures <- 0
            task.Losses <- 0
            requeued task
        | Event.Joined(session, _, _) -> must (sessions.ContainsKey session) "who joined?"
        | Event.Left(session, _, _) ->
            // Its tasks were requeued, or quarantined, by the events before.
            must (sessions.ContainsKey session) $"session {session} leaves and never came"

    member _.Tasks = tasks.Values
    member _.Task id = taskOf id
    member _.Requests = requests

    /// Cancelled because somebody said CANCEL.
    member _.Cancels = cancels

    /// The slots of a worker when it was given this attempt.
    member _.SlotsAt attempt = slotsAt[attempt]

    /// Held by running tasks, as their events say.
    member _.Running = tasks.Values |> Seq.filter _.IsRunning |> Seq.length

    /// An input is about to be taken.
    member _.Before input = before input

    /// What a step has decided, before anybody else hears of it.
    member _.Decided(input: Input, events: Event seq, effects: Effect seq) =
        // These free a slot that an event of the same step may have given away again.
        for effect in effects do
            match effect with
            | Effect.Revoke(_, attempt) when (taskOf attempt.task).Attempt = attempt.number ->
                free (taskOf attempt.task)
            | _ -> ()

        match input with
        | Input.Unreadable(attempt, _) when tasks.ContainsKey attempt.task ->
            if (taskOf attempt.task).Attempt = attempt.number then
                free (taskOf attempt.task)
        | _ -> ()

        for event in events do
            happened input event

        match input, Seq.tryHead events with
        | Input.Report(_, attempt, Failed(_, false), _), first when isCurrent ->
            must
                (match first with
                 | Some(Event.Quarantined _) -> true
                 | _ -> false)
                $"attempt {attempt.number} of task {attempt.task} asked not to be retried, and was"
        | Input.Report(_, attempt, _, _), first when isCurrent ->
            must first.IsSome $"the report of {attempt} counts, and nothing came of it"
        | _ -> ()
