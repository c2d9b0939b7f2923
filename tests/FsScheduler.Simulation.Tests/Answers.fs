namespace FsScheduler.Simulation.Tests

open FsScheduler.Core
open FsScheduler.Machine

/// Holds every effect against what the observer knows: when it is decided, and again when it is let out.
[<Sealed>]
type Answers(scene: SimulationContext, spool: Spool, observer: Observer) =
    let request session ref =
        match observer.Requests.TryGetValue(struct (session, ref)) with
        | true, request -> request
        | _ -> raise (Violation $"'{ref}' of session {session} is answered and was not asked")

    let decidedDone session (outcome: Done) (result: Content voption) =
        let request = request session outcome.ref
        let task = observer.Task outcome.task

        must
            (request.Task = outcome.task)
            $"DONE of task {task.Id} for '{outcome.ref}', which is task {request.Task}"

        must (task.Ends > request.Told) $"'{outcome.ref}' is told twice of one end of {task.Id}"
        request.Told <- task.Ends

        let expected =
            match task.Ending with
            | ValueSome Ending.Completed -> TaskOutcome.Completed
            | ValueSome Ending.Cancelled -> TaskOutcome.Cancelled
            | ValueNone -> TaskOutcome.Quarantined

        must
            (outcome.outcome = expected && outcome.error.IsNone = outcome.outcome.IsCompleted)
            $"DONE of task {task.Id} says {outcome.outcome}, {outcome.error} and the task is {task.Ending}"

        must
            (task.IsQuarantined || task.Ending.IsSome)
            $"DONE of task {task.Id}, which has not ended"

        if outcome.error.IsNone && request.Want = Result then
            let content = spool.Result(ValueOption.defaultValue Content.empty result)

            must
                (content = task.Result)
                $"DONE of task {task.Id} brings '{content}', not '{task.Result}'"

    let decidedReply session message result =
        match message with
        | FromScheduler.Accepted(ref, id) ->
            let request = request session ref

            must
                (request.Task = 0L<taskId> && not request.IsRejected)
                $"'{ref}' of session {session} is answered twice"

            must
                ((observer.Task id).Origin = request.Content)
                $"'{ref}' is answered with the task of other content"

            request.Task <- id
        | FromScheduler.Rejected(ref, code, _) ->
            let request = request session ref

            must
                (request.Task = 0L<taskId> && not request.IsRejected)
                $"'{ref}' of session {session} is answered twice"

            request.IsRejected <- true
            scene.coverage.Count $"seen: rejected as {code}"
        | FromScheduler.Done outcome -> decidedDone session outcome result
        | FromScheduler.Status status ->
            must
                (status.running = int64 observer.Running)
                $"STATUS counts {status.running} running of {observer.Running}"
        | FromScheduler.Error _
        | FromScheduler.Welcome _
        | FromScheduler.Beat
        | FromScheduler.Process _
        | FromScheduler.Cancel _
        | FromScheduler.Drain
        | FromScheduler.Explanation _
        | FromScheduler.Events _
        | FromScheduler.List _
        | FromScheduler.Stages
        | FromScheduler.Fetch _ -> ()

    /// What a step asks for, after the observer has seen its events.
    member _.Decided effect =
        match effect with
        | Effect.ToPeer(PeerEffect.Assign(session, work, submission, payload)) ->
            let task = observer.Task work.attempt.task
            let struct (first, last) = task.Range

            must
                (task.IsRunning
                 && task.Session = session
                 && task.Attempt = work.attempt.number
                 && work.stages = task.Pipeline.wire[first .. last - 1]
                 && work.name = submission.Name
                 && work.piece = ValueOption.map (fun (struct (_, index)) -> index) task.Whole
                 && submission = task.Submission)
                $"PROCESS of task {task.Id} is not what was assigned"

            must
                (spool.Content(payload, submission) = task.Content)
                $"task {task.Id} is given out with the wrong input"
        | Effect.ToDisk(DiskEffect.Publish(attempt, submission, result))
        | Effect.ToDisk(DiskEffect.PublishOlder(attempt, submission, result)) ->
            let task = observer.Task attempt.task

            must
                (task.IsPublishing
                 && task.Attempt = attempt.number
                 && submission = task.Submission
                 && spool.Result result = task.Result)
                $"what is to be published of task {task.Id} was not accepted"
        | Effect.ToDisk(DiskEffect.PublishError(id, _, failures)) ->
            must
                ((observer.Task id).IsQuarantined && not failures.IsEmpty)
                $"task {id} is not in quarantine"
        | Effect.ToPeer(PeerEffect.Reply(session, message)) ->
            decidedReply session message ValueNone
        | Effect.ToPeer(PeerEffect.ReplyResult(session, message, result))
        | Effect.ToPeer(PeerEffect.ReplyKept(session, message, Held result)) ->
            decidedReply session message (ValueSome result)
        | Effect.ToPeer(PeerEffect.ReplyKept(_, _, Recorded _)) ->
            raise (Violation "nothing is left to the journal here")
        | Effect.ToPieces _ // the observer looks at these itself
        | Effect.ToPeer(PeerEffect.Revoke _ | PeerEffect.Welcome _ | PeerEffect.Dismiss _)
        | Effect.ToPeer(PeerEffect.Disconnect _)
        | Effect.ToDisk(DiskEffect.Discard _)
        | Effect.ToLog _ -> ()
        | Effect.ToDisk(DiskEffect.ConfirmPublished _)
        | Effect.ToJournal _ ->
            raise (Violation "only a restart, or a journal that drops, asks for that")

    /// An event cannot be forgotten any more.
    member _.Durable event =
        match event with
        | Event.Submitted(id, _, _) -> (observer.Task id).IsDurable <- true
        | Event.Assigned(attempt, _, _)
        | Event.Split(attempt, _, _, _) ->
            (observer.Task attempt.task).DurableAttempt <- attempt.number
        | Event.Part(whole, index, _) ->
            let task = observer.Task whole
            task.DurableParts.Add struct (task.DurableAttempt, index) |> ignore
        | Event.Accepted(attempt, _) ->
            (observer.Task attempt.task).DurableAccepted <- attempt.number
        | Event.Quarantined(id, _)
        | Event.Cancelled(id, _) ->
            let task = observer.Task id
            task.DurableEnds <- task.DurableEnds + 1
        | Event.Completed(attempt, _) ->
            let task = observer.Task attempt.task
            task.DurableEnds <- task.DurableEnds + 1
        | Event.Advanced(attempt, _, _) -> (observer.Task attempt.task).DurableParts.Clear()
        | Event.PartLost(whole, index) ->
            let task = observer.Task whole
            task.DurableParts.Remove struct (task.DurableAttempt, index) |> ignore
        | Event.Speculated _
        | Event.Delayed _
        | Event.Woken _
        | Event.Requeued _
        | Event.Claimed _
        | Event.Gone _
        | Event.Retried _
        | Event.Joined _
        | Event.Left _
        | Event.Opened _
        | Event.Noted _
        | Event.Carried _
        | Event.Dropped _ -> ()

    /// An effect becomes visible: what it shows must be durable by now.
    member _.Released effect =
        match effect with
        | Effect.ToPeer(PeerEffect.Assign(_, work, _, _)) ->
            must
                ((observer.Task work.attempt.task).DurableAttempt >= work.attempt.number)
                $"PROCESS of task {work.attempt.task} before it is durable"
        | Effect.ToPieces(PieceEffect.MergeParts(attempt, _, parts)) ->
            let task = observer.Task attempt.task

            let durable =
                task.DurableParts
                |> Seq.map (fun (struct (_, index)) -> index)
                |> Seq.distinct
                |> Seq.length

            must
                (task.DurableAttempt >= attempt.number && durable >= parts.Length)
                $"parts of task {attempt.task} are joined before they are durable"
        | Effect.ToDisk(DiskEffect.Publish(attempt, _, _))
        | Effect.ToDisk(DiskEffect.PublishOlder(attempt, _, _)) ->
            must
                ((observer.Task attempt.task).DurableAccepted >= attempt.number)
                $"the result of task {attempt.task} is published before it is durable"
        | Effect.ToDisk(DiskEffect.PublishError(id, _, _)) ->
            must
                ((observer.Task id).DurableEnds > 0)
                $"the error of task {id} is published before it is durable"
        | Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Accepted(_, id))) ->
            must (observer.Task id).IsDurable $"ACCEPTED of task {id} before it is durable"
        | Effect.ToPeer(PeerEffect.Reply(_, FromScheduler.Done outcome))
        | Effect.ToPeer(PeerEffect.ReplyResult(_, FromScheduler.Done outcome, _))
        | Effect.ToPeer(PeerEffect.ReplyKept(_, FromScheduler.Done outcome, _)) ->
            must
                ((observer.Task outcome.task).DurableEnds > 0)
                $"DONE of task {outcome.task} before it is durable"
        | Effect.ToPieces(PieceEffect.PrefetchPart(attempt, index, _)) ->
            let task = observer.Task attempt.task

            must
                (task.DurableAttempt >= attempt.number
                 && task.DurableParts |> Seq.exists (fun (struct (_, durable)) -> durable = index))
                $"part {index} of task {attempt.task} is gathered before it is durable"
        // What is cut is what it was submitted with, or what a durable event has.
        | Effect.ToPieces(PieceEffect.DropPrefetch _ | PieceEffect.Cut _)
        | Effect.ToPeer(PeerEffect.Reply _ | PeerEffect.ReplyResult _ | PeerEffect.ReplyKept _)
        | Effect.ToPeer(PeerEffect.Revoke _ | PeerEffect.Welcome _ | PeerEffect.Dismiss _)
        | Effect.ToPeer(PeerEffect.Disconnect _)
        | Effect.ToDisk(DiskEffect.ConfirmPublished _ | DiskEffect.Discard _)
        | Effect.ToJournal _
        | Effect.ToLog _ -> ()
