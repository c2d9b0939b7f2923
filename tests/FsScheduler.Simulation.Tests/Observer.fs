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
    let touched = HashSet<TaskId>() // those worked on in pieces, of this step
    let dropped = List<TaskRecord>() // pieces that were cancelled in this step
    let failed = HashSet<TaskId>() // those of which a piece went into quarantine in this step
    let mutable speculated = ValueNone // a piece that is to have a second task, and who is slow with it
    let mutable helper = ValueNone // the second task, and who it is not for
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

    /// It is no longer cut, nor waiting for its parts. What there is of them it keeps.
    let unsplit (task: TaskRecord) =
        if task.IsSplit || task.IsCutting then
            touched.Add task.Id |> ignore

        task.IsSplit <- false
        task.IsCutting <- false

    /// A piece has come to its end.
    let leaveWhole (piece: TaskRecord) =
        match piece.Whole with
        | ValueSome(struct (whole, index)) ->
            touched.Add whole |> ignore

            match (taskOf whole).Pieces with
            | ValueSome pieces -> pieces.Tasks[index].Remove piece.Id |> ignore
            | ValueNone -> ()
        | ValueNone -> ()

    let isOf (whole: TaskId) (id: TaskId) =
        match tasks.TryGetValue id with
        | true, task ->
            match task.Whole with
            | ValueSome(struct (of', _)) -> of' = whole
            | ValueNone -> false
        | _ -> false

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
            | Origin.Piece _ -> violation "a piece is submitted from outside"
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

    /// What a piece is to be: a range of what its whole is at, for the stages that run on pieces.
    let submittedPiece id (submission: Submission) (pipeline: Pipeline) whole index =
        let task = taskOf whole
        touched.Add whole |> ignore

        must
            (task.IsSplit && not (isFinal task))
            $"task {id} is a piece of task {whole}, which is not split"

        match task.Pieces with
        | ValueNone -> violation $"task {id} is a piece of task {whole}, which has none"
        | ValueSome pieces ->
            let start = pieces.StartOf index

            must
                (submission.Payload = Slice(task.Payload, start, pieces.Cuts[index] - start)
                 && submission.Name = task.Submission.Name
                 && submission.Priority = task.Submission.Priority
                 && pipeline.wire = pieces.Stages)
                $"task {id} is not the piece {index} of task {whole}"

            must
                pieces.Parts[index].IsNone
                $"piece {index} of task {whole} is there, and is done again"

            match speculated, Seq.toList pieces.Tasks[index] with
            | ValueNone, [] -> ()
            | ValueSome(struct (of', slowIndex, slow)), [ one ] when
                of' = whole && slowIndex = index && slow = one
                ->
                speculated <- ValueNone
                helper <- ValueSome struct (id, (taskOf slow).Session)
            | _, others ->
                violation
                    $"piece {index} of task {whole} has {others.Length} tasks, and gets task {id}"

            pieces.Tasks[index].Add id |> ignore

    let submitted input id (submission: Submission) pipeline =
        match input, submission.Origin with
        | _, Origin.Piece(whole, index) -> submittedPiece id submission pipeline whole index
        | Input.Submit(given, _), (Origin.Folder | Origin.Client _) ->
            must (given = submission) $"task {id} is not what was submitted"
        | _ -> violation $"task {id} was made from nothing"

        let content = spool.Content(submission.Payload, submission)
        must (tasks.TryAdd(id, TaskRecord(id, submission, pipeline, content))) $"task {id} twice"
        requeued tasks[id]

        match submission.Origin with
        | Origin.Client(_, _, Some key) ->
            if scene.climate.spooledSize < 1_000_000L<B> then
                must (keys.TryAdd(key.text, id)) $"the key {key.text} made two tasks"
        | Origin.Client _
        | Origin.Piece _
        | Origin.Folder -> ()

    let assigned (attempt: Attempt) session struct (first, last) =
        let task = taskOf attempt.task
        let worker = sessionOf session
        must (not (isFinal task)) $"task {task.Id} is given out after its end"
        must (not task.IsRunning) $"task {task.Id} is given out while it runs"

        must
            (not task.IsPublishing && not task.IsQuarantined)
            $"task {task.Id} is given out while it is published or in quarantine"

        must
            (not task.IsSplit && not task.IsCutting)
            $"task {task.Id} is given out while its pieces are"

        task.Pieces <- ValueNone // left of a time when it was split

        match helper with
        | ValueSome(struct (id, slow)) when id = task.Id ->
            must (session <> slow) $"task {id} helps session {slow} and is given to it"
            helper <- ValueNone
        | _ -> ()

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
            | Input.Unjoined _ -> failedOut, "joined in vain too often"
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
        free task
        unsplit task

        match task.Whole with
        | ValueSome(struct (whole, index)) ->
            leaveWhole task

            match (taskOf whole).Pieces with
            | ValueSome pieces when pieces.Tasks[index].Count > 0 ->
                scene.coverage.Count "seen: a straggler's helper fails or is left alone"
            | _ -> failed.Add whole |> ignore
        | ValueNone -> ()

        task.IsPublishing <- false
        task.IsQuarantined <- true
        task.Ends <- task.Ends + 1

    let cancelled input id =
        let task = taskOf id
        must (not (isFinal task)) $"task {id} is cancelled after its end"

        let isDue =
            match input with
            | _ when task.Whole.IsSome -> true // looked at when the step is over
            | Input.Cancel(other, _) -> other = id || isOf id other
            | Input.Withdraw attempt -> attempt.task = id || isOf id attempt.task
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

        if task.Whole.IsSome then
            must
                (not task.IsRunning)
                $"the piece that is task {id} is cancelled, and its worker is not told"

            leaveWhole task
            dropped.Add task

        free task
        unsplit task
        task.Ending <- ValueSome Ending.Cancelled
        task.Ends <- task.Ends + 1

    let isMerged (task: TaskRecord) (pieces: PieceRecord) =
        Array.last pieces.Stages = task.Pipeline.wire[pieces.Last - 1]
        && task.Pipeline.stages[pieces.Last - 1].kind = Aggregating

    /// The parts that count, put together; and what the stages make of the whole, whoever runs them.
    let expectedOf (task: TaskRecord) (pieces: PieceRecord) =
        let stages = pieces.Stages
        let joined = Content.join (isMerged task pieces) pieces.Contents

        let whole =
            Content.run stages { task = task.Id; number = task.Attempt } task.Content

        must
            (Content.plain joined = Content.plain whole)
            $"the parts of task {task.Id} give '{joined}' where '{whole}' was due"

        joined

    /// What a result that counts holds.
    let accepted input (attempt: Attempt) payload =
        let task = taskOf attempt.task

        let expected, given =
            match input, task.Pieces with
            | Input.Report(session, reported, Succeeded, given), _ ->
                must
                    (reported = attempt && reported.number = task.Attempt && session = task.Session)
                    $"a result of attempt {reported.number} by session {session} counts for attempt {task.Attempt} of task {task.Id} by session {task.Session}"

                task.Expected, given
            | Input.Joined(joined, given), ValueSome pieces ->
                must
                    (joined = attempt
                     && joined.number = task.Attempt
                     && task.IsSplit
                     && pieces.IsWhole)
                    $"what was joined for {joined} counts for attempt {task.Attempt} of task {task.Id}"

                scene.coverage.Count(
                    if isMerged task pieces then
                        "seen: parts merged"
                    else
                        "seen: parts in a row"
                )

                let expected = expectedOf task pieces
                task.Range <- struct (task.Stage, pieces.Last)
                unsplit task
                task.Pieces <- ValueNone
                expected, given
            | _ -> violation $"task {task.Id} succeeded by {input}"

        must (obj.ReferenceEquals(given, payload)) "another payload than the reported one"
        let content = spool.Content(payload, task.Submission)
        must (content = expected) $"task {task.Id} became '{content}' where '{expected}' was due"
        content

    let completed input (attempt: Attempt) =
        let task = taskOf attempt.task
        must (not (isFinal task)) $"task {task.Id} is completed after its end"
        must (attempt.number = task.Attempt) $"an old attempt completes task {task.Id}"

        match input with
        | Input.Published(published, _) ->
            must (task.IsPublishing && published = attempt) $"task {task.Id} was not published"
        | Input.Report(_, _, Succeeded, payload)
        | Input.Joined(_, payload) ->
            task.Result <- accepted input attempt payload
            task.Payload <- payload
        | _ -> violation $"task {task.Id} completed by {input}"

        match task.Whole with
        | ValueSome(struct (whole, index)) ->
            match (taskOf whole).Pieces with
            | ValueSome pieces when pieces.Parts[index] = ValueSome task.Payload -> ()
            | _ -> violation $"task {task.Id} is completed, and is no part of task {whole}"

            leaveWhole task
        | ValueNone -> ()

        must (isLast task) $"task {task.Id} completed without all its stages"
        task.IsPublishing <- false
        task.Ending <- ValueSome Ending.Completed
        task.Ends <- task.Ends + 1

    /// Whether somebody is there for each stage of its pieces that is not its own.
    let isRunnable (task: TaskRecord) =
        match task.Pieces with
        | ValueNone -> true
        | ValueSome pieces ->
            let own = task.Pipeline.wire[task.Stage .. pieces.Last - 1]

            pieces.Stages
            |> Array.except own
            |> Array.forall (fun stage ->
                sessions.Values
                |> Seq.exists (fun worker ->
                    not worker.IsGone && worker.Slots > 0 && Array.contains stage worker.Stages))

    /// What is run on pieces in place of a task's own stages, as far as there are others.
    let checkOthers (task: TaskRecord) last (stages: string[]) =
        let own = task.Pipeline.wire[task.Stage .. last - 1]
        let attempt = { task = task.Id; number = task.Attempt }

        let run (stages: string[]) =
            Content.plain (Content.run stages attempt task.Content)

        let isPart = (Array.last stages).EndsWith Stage.partForm

        let whole =
            if isPart then
                Array.append stages [| Array.last own + Stage.mergeForm |]
            else
                stages

        must
            (stages.Length = own.Length && stages <> own && run whole = run own)
            $"%A{stages} is to be run on the pieces of task {task.Id}, in place of %A{own}"

        for stage in stages do
            must
                (Array.contains stage own
                 || sessions.Values
                    |> Seq.exists (fun worker ->
                        not worker.IsGone && Array.contains stage worker.Stages))
                $"nobody offers the stage {stage} for the pieces of task {task.Id}"

        scene.coverage.Count(
            if isPart then
                "seen: pieces of a stage that aggregates"
            else
                "seen: pieces by lines"
        )

    /// It is known where the pieces end, or they are gone about once more.
    let split input (attempt: Attempt) last (others: Pipeline voption) (cuts: Size[]) =
        let task = taskOf attempt.task

        let stages =
            match others with
            | ValueSome pipeline -> pipeline.wire
            | ValueNone -> task.Pipeline.wire[task.Stage .. last - 1]

        touched.Add task.Id |> ignore

        must
            (not (isFinal task) && not task.IsRunning && not task.IsSplit)
            $"task {task.Id} is split"

        must (attempt.number = task.Attempt + 1) $"attempt {attempt.number} of task {task.Id}"
        must task.Whole.IsNone $"task {task.Id} is a piece, and is split"

        match task.Pieces with
        | ValueSome pieces ->
            must
                (pieces.Cuts = cuts && pieces.Last = last && pieces.Stages = stages)
                $"task {task.Id} is split in another way"

            if pieces.Parts |> Array.exists _.IsSome then
                scene.coverage.Count "seen: goes on with the parts that are there"
        | ValueNone ->
            must
                (match input with
                 | Input.Cut(cut, given) ->
                     task.IsCutting
                     && cut.task = task.Id
                     && cut.number = task.Attempt
                     && given = cuts
                 | _ -> false)
                $"task {task.Id} is split by {input}"

            let kinds = [
                for own, stage in Array.zip task.Pipeline.stages[task.Stage .. last - 1] stages ->
                    if stage.EndsWith Stage.linesForm then PerLine
                    elif stage.EndsWith Stage.partForm then Aggregating
                    else own.kind
            ]

            must
                (last > task.Stage
                 && List.forall
                     (fun (kind: StageKind) -> kind = PerLine)
                     (List.take (kinds.Length - 1) kinds)
                 && List.last kinds <> WholeFile)
                $"stages {task.Stage} to {last - 1} of task {task.Id} do not run on pieces"

            if others.IsSome then
                checkOthers task last stages

            if task.Stage > 0 then
                scene.coverage.Count "seen: split at a later stage"

            task.Pieces <- ValueSome(PieceRecord(cuts, last, stages))

        task.IsCutting <- false
        task.IsSplit <- true
        task.Attempt <- attempt.number

    let part input whole index payload =
        let task = taskOf whole
        touched.Add whole |> ignore

        match input, task.Pieces with
        | Input.Report(session, reported, Succeeded, given), ValueSome pieces when task.IsSplit ->
            let piece = taskOf reported.task

            must
                (isCurrent && obj.ReferenceEquals(given, payload) && session = piece.Session)
                $"the part {index} of task {whole} is by {reported}, which does not count"

            must
                (piece.Whole = ValueSome struct (whole, index)
                 && pieces.Tasks[index].Contains piece.Id)
                $"the part {index} of task {whole} is by task {piece.Id}, which is to do another"

            must pieces.Parts[index].IsNone $"there are two parts {index} of task {whole}"
            pieces.Parts[index] <- ValueSome payload
            pieces.Contents[index] <- spool.Content(payload, piece.Submission)

            if pieces.Tasks[index].Count > 1 then
                scene.coverage.Count(
                    if piece.Id = Seq.max pieces.Tasks[index] then
                        "seen: the helper was faster"
                    else
                        "seen: the straggler was faster"
                )
        | _ -> violation $"part {index} of task {whole} by {input}"

    let speculate whole index slow =
        let task = taskOf whole
        let piece = taskOf slow
        must (scene.climate.speculate > 0.0) "nobody wants speculation"

        must
            (piece.IsRunning && piece.Whole = ValueSome struct (whole, index))
            $"task {slow} is helped and does not run"

        match task.Pieces with
        | ValueSome pieces ->
            let missing = pieces.Parts |> Seq.filter _.IsNone |> Seq.length

            must
                (2 * missing <= pieces.Cuts.Length)
                $"task {whole} is helped, and misses {missing} pieces"
        | ValueNone -> violation $"task {whole} is helped and has no pieces"

        speculated <- ValueSome struct (whole, index, slow)

    let happened input event =
        match event with
        | Event.Submitted(id, submission, pipeline) -> submitted input id submission pipeline
        | Event.Assigned(attempt, session, range) -> assigned attempt session range
        | Event.Advanced(attempt, stage, payload) ->
            let task = taskOf attempt.task
            let pieces = task.Pieces
            task.Content <- accepted input attempt payload

            match input, pieces with
            | Input.Joined _, ValueSome pieces when
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

            must (not (isLast task)) $"task {task.Id} goes on after its last stage"
            task.Payload <- payload
            let struct (_, last) = task.Range
            must (stage = last) $"task {task.Id} is said to be at stage {stage}"
            task.Stage <- last
            requeued task
        | Event.Split(attempt, last, others, cuts) -> split input attempt last others cuts
        | Event.Part(whole, index, payload) -> part input whole index payload
        | Event.Speculated(whole, index, slow) -> speculate whole index slow
        | Event.Delayed(id, _, delay) ->
            let task = taskOf id
            free task
            unsplit task
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
        | Event.Requeued(id, trouble) when (taskOf id).IsSplit ->
            let task = taskOf id

            must
                (input = Input.Tick && trouble.cause = Departure && not (isRunnable task))
                $"task {id} is given up in pieces by {input}, and somebody runs them"

            scene.coverage.Count "seen: pieces that nobody runs any more"
            unsplit task
            requeued task
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
            task.Result <- accepted input attempt payload
            must (isLast task) $"task {task.Id} is published before its last stage"
            task.IsPublishing <- true
        | Event.Completed(attempt, _) -> completed input attempt
        | Event.Cancelled(id, _) -> cancelled input id
        | Event.Retried id ->
            let task = taskOf id
            must task.IsQuarantined $"task {id} is retried and was not in quarantine"
            task.IsQuarantined <- false

            match task.Pieces with
            | ValueSome pieces when pieces.IsWhole -> task.Pieces <- ValueNone // none is trusted
            | ValueSome _ -> scene.coverage.Count "seen: retried after a piece failed"
            | ValueNone -> ()

            task.Failures <- 0
            task.Losses <- 0
            requeued task
        | Event.Joined(session, _, _) -> must (sessions.ContainsKey session) "who joined?"
        | Event.Left(session, _, _) ->
            // Its tasks were requeued, or quarantined, by the events before.
            must (sessions.ContainsKey session) $"session {session} leaves and never came"
            sessions[session].IsGone <- true

    /// Whether its next stage needs all of it, now that some workers may have left.
    let isWhole (task: TaskRecord) =
        let stage = task.Pipeline.stages[task.Stage]

        let isOffered form =
            sessions.Values
            |> Seq.exists (fun worker ->
                not worker.IsGone && worker.Slots > 0 && Array.contains form worker.Stages)

        let forms = Content.formsOf stage.name
        stage.kind = WholeFile && (forms.IsEmpty || not (List.forall isOffered forms))

    /// What the machine asks the host for.
    let asked effect =
        match effect with
        | Effect.Cut(attempt, submission, payload, pieceSize) ->
            let task = taskOf attempt.task
            must (not (isFinal task) && not task.IsRunning) $"task {task.Id} is cut"
            must (not task.IsPublishing && not task.IsQuarantined) $"task {task.Id} is cut"

            must
                (not task.IsSplit && (task.Pieces.IsNone || not (isRunnable task)))
                $"task {task.Id} is cut while it is split"

            task.Pieces <- ValueNone // parts that nobody can complete any more
            must task.Whole.IsNone $"task {task.Id} is a piece, and is cut"

            must
                (scene.Now.sinceStart >= task.NotBefore.sinceStart)
                $"task {task.Id} is cut too soon"

            must
                (attempt.number = task.Attempt
                 && submission = task.Submission
                 && payload = task.Payload
                 && pieceSize >= scene.climate.split
                 && Content.sizeOf task.Content > scene.climate.split)
                $"what is cut of task {task.Id} is not what it is at"

            task.IsCutting <- true
        | Effect.Join(attempt, merge, parts) ->
            let task = taskOf attempt.task
            must (attempt.number = task.Attempt && task.IsSplit) $"task {task.Id} is joined"

            match task.Pieces with
            | ValueSome pieces ->
                must
                    (pieces.IsWhole && Array.map ValueOption.get pieces.Parts = parts)
                    $"what is joined for task {task.Id} are not its parts"

                let last = task.Pipeline.stages[pieces.Last - 1]

                must
                    (merge = (if isMerged task pieces then ValueSome last else ValueNone))
                    $"the parts of task {task.Id} are merged wrongly"
            | ValueNone -> violation $"task {task.Id} is joined and has no pieces"

            task.Joining <- attempt.number
            task.Gathered <- 0
        | Effect.Gather(attempt, index, part) ->
            let task = taskOf attempt.task
            must (attempt.number = task.Attempt && task.IsSplit) $"task {task.Id} is gathered"
            must (index = task.Gathered) $"part {index} of task {task.Id} is not the next one"

            must
                (task.Pieces.Value.Parts[index] = ValueSome part)
                $"what is gathered for task {task.Id} is not its part {index}"

            task.Gathered <- index + 1
            scene.coverage.Count "seen: a part ahead of the last"
        | Effect.Abandon attempt ->
            let task = taskOf attempt.task

            // It may be given out again in the same step.
            must
                (attempt.number <= task.Attempt && task.Gathered > 0)
                $"task {task.Id} is abandoned, and nothing is gathered"

            task.Gathered <- 0
            scene.coverage.Count "seen: what was gathered is abandoned"
        | _ -> ()

    /// Every piece that is missing has who does it, and nobody else has a piece.
    let lookAtPieces () =
        for id in touched do
            let task = taskOf id

            match task.Pieces with
            | ValueSome pieces ->
                for index in 0 .. pieces.Cuts.Length - 1 do
                    let count = pieces.Tasks[index].Count
                    let isMissing = task.IsSplit && pieces.Parts[index].IsNone

                    must
                        (if isMissing then count = 1 || count = 2 else count = 0)
                        $"piece {index} of task {id} has {count} tasks"

                must
                    (not task.IsSplit || not pieces.IsWhole || task.Joining = task.Attempt)
                    $"the parts of task {id} are there, and are not joined"

                let isAhead = task.IsSplit && not pieces.IsWhole && not (isMerged task pieces)

                must
                    (task.Gathered =
                        (if isAhead then
                             pieces.Parts |> Seq.takeWhile _.IsSome |> Seq.length
                         else
                             0))
                    $"{task.Gathered} parts of task {id} are gathered"
            | ValueNone -> must (task.Gathered = 0) $"task {id} is gathered, and has no pieces"

        for piece in dropped do
            match piece.Whole with
            | ValueSome(struct (whole, index)) ->
                let task = taskOf whole

                match task.Pieces with
                | ValueSome pieces when task.IsSplit ->
                    must
                        (pieces.Parts[index].IsSome || piece.IsQuarantined)
                        $"task {piece.Id} is cancelled, and its piece is missing"
                | _ -> ()
            | ValueNone -> ()

        must speculated.IsNone "a piece was to have a second task"

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
        touched.Clear()
        dropped.Clear()
        failed.Clear()
        speculated <- ValueNone
        helper <- ValueNone

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

        let isAwaited =
            match input with
            | Input.Cut(attempt, _) ->
                match tasks.TryGetValue attempt.task with
                | true, task -> task.IsCutting && task.Attempt = attempt.number
                | _ -> false
            | Input.Joined(attempt, _)
            | Input.Unjoined(attempt, _) ->
                match tasks.TryGetValue attempt.task with
                | true, task ->
                    task.IsSplit && task.Joining = attempt.number && task.Attempt = attempt.number
                | _ -> false
            | _ -> false

        let isBack =
            match input with
            | Input.Cut(attempt, _) -> isAwaited && isWhole (taskOf attempt.task)
            | _ -> false

        match input with
        | Input.Cut(attempt, _) when isBack ->
            unsplit (taskOf attempt.task)
            scene.coverage.Count "seen: cut, and nobody does pieces any more"
        | _ -> ()

        for event in events do
            happened input event

        Seq.iter asked effects
        lookAtPieces ()

        must
            (not isAwaited || isBack || not (Seq.isEmpty events))
            $"{input} is awaited, and nothing came of it"

        match input with
        | Input.Cut _
        | Input.Joined _
        | Input.Unjoined _ when not isAwaited ->
            must (Seq.isEmpty events) $"{input} is not awaited, and counts"
            scene.coverage.Count "seen: cut or joined for nobody"
        | _ -> ()

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
