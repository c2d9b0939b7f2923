namespace FsScheduler.Core

open System

/// Who waits for a task, and what they are told.
module internal Replies =

    let private doneOf (task: Task) ref outcome error = {
        ref = ref
        task = task.Id
        attempts = task.Attempt
        outcome = outcome
        error = error
    }

    /// <summary>Tells one who waits how a task ended.</summary>
    /// <param name="state">The scheduler's.</param>
    /// <param name="waiter">Gets the payload if it wants the result, and there is one.</param>
    /// <param name="outcome">The end, with any reference.</param>
    /// <param name="payload">The result.</param>
    /// <param name="kept">Whether the result stays ours.</param>
    /// <param name="number">The event that has the reference, where that is left to the journal.</param>
    let private tell (state: State) (waiter: Waiter) (outcome: Done) payload kept number =
        let message = FromScheduler.Done outcome

        match waiter.want with
        | Result when outcome.error.IsNone ->
            state.Ask(Effect.ToPeer(PeerEffect.Reply(waiter.session, message, payload, kept)))
        | Result
        | File
        | Nothing when obj.ReferenceEquals(outcome.ref, Submission.FiledRef) ->
            state.Ask(Effect.ToJournal(JournalEffect.ReplyLoaded(waiter.session, outcome, number)))
        | Result
        | File
        | Nothing -> state.Reply(waiter.session, message)

    let private submitter (task: Task) =
        match task.Submission.Origin with
        | Folder
        | Piece _ -> ValueNone
        | Client(session, want, _) ->
            ValueSome { session = session; ref = task.Submission.Ref; want = want }

    /// What is known of the key of a task that has not ended, if it has one.
    let entryOf (state: State) (task: Task) : KeyEntry voption =
        match task.Submission.Origin with
        | Client(_, _, Some key) -> state.Keys.Find key
        | Client(_, _, None)
        | Folder
        | Piece _ -> ValueNone

    /// Tells all who wait for a task, without forgetting them.
    let private tellAll state (task: Task) (entry: KeyEntry voption) outcome error payload kept =
        match submitter task with
        | ValueSome waiter ->
            tell state waiter (doneOf task waiter.ref outcome error) payload kept task.Number
        | ValueNone -> ()

        match entry with
        | ValueSome entry ->
            match entry.waiters with
            | null -> ()
            | waiters ->
                for waiter in waiters do
                    tell
                        state
                        waiter
                        (doneOf task waiter.ref outcome error)
                        payload
                        kept
                        task.Number
        | ValueNone -> ()

    /// Tells all who wait for a task that it is in quarantine.
    let tellQuarantined (state: State) (task: Task) (entry: KeyEntry voption) error =
        tellAll state task entry TaskOutcome.Quarantined (Some error) Payload.empty false

    /// Where too much is kept for those who come with the keys of finished tasks, the oldest of that goes.
    let evict (state: State) =
        for forgotten in state.Keys.Evict() do
            state.Discard forgotten

    /// Puts the result of a task that has ended in the hands of those who wait for it. Whoever keeps it last, discards it.
    let private settle (state: State) (task: Task) (entry: KeyEntry voption) outcome error payload =
        match entry with
        | ValueSome waited ->
            tellAll state task entry outcome error payload true
            state.Keys.ForgetWaiters waited
            evict state
        | ValueNone ->
            tellAll state task entry outcome error payload false

            match submitter task with
            | ValueSome { want = Result } when Option.isNone error -> ()
            | ValueSome _
            | ValueNone -> state.Discard payload

    /// Gives the result of a task to those who wait for it.
    let complete (state: State) (task: Task) (entry: KeyEntry voption) result =
        settle state task entry TaskOutcome.Completed None result

    /// Tells those who wait for a task that it was cancelled, and why.
    let cancel (state: State) (task: Task) (entry: KeyEntry voption) reason =
        settle state task entry TaskOutcome.Cancelled (Some reason) Payload.empty

    /// Adds one who comes later, with the key of a task, and tells it at once what is known of the end.
    let join (state: State) (entry: KeyEntry) (waiter: Waiter) =
        match entry.outcome with
        | ValueSome(struct (outcome, payload)) ->
            tell state waiter { outcome with ref = waiter.ref } payload true 0L
        | ValueNone ->
            let waiters =
                match entry.waiters with
                | null ->
                    let made = ResizeArray()
                    entry.waiters <- made
                    made
                | waiters -> waiters

            waiters.Add waiter

            match state.Tasks.Find entry.task with
            | null -> ()
            | task when task.State = TaskState.Quarantined ->
                let error = task.PastFailures |> List.tryHead |> Option.map _.error
                let outcome = doneOf task waiter.ref TaskOutcome.Quarantined error
                tell state waiter outcome Payload.empty false task.Number
            | _ -> ()

    let refuse (state: State) session (submission: Submission) code message =
        state.Discard submission.Payload
        state.Reply(session, FromScheduler.Rejected(submission.Ref, code, message))

    let error (state: State) session message =
        state.Reply(session, FromScheduler.Error(ErrorCode.BadField, message))

    /// The connected workers that only fail, for people.
    let private heldBack (state: State) : string[] =
        if state.Probation.HeldBackCount = 0 then
            [||]
        else
            state.Workers.All
            |> Seq.sortBy _.Session
            |> Seq.collect state.Probation.HoldsOf
            |> Seq.distinct
            |> Seq.truncate ProtocolLimits.heldBackMax
            |> Seq.map (fun conduct ->
                let stages = String.Join(" | ", conduct.Stages)
                $"{conduct.Worker} for '{stages}': {conduct.Error}")
            |> Seq.toArray

    let private reportOf (worker: Worker) = {
        session = worker.Session
        name = worker.Name
        slots = worker.Slots
        held = worker.Held.Count
        finished = worker.Finished
        failed = worker.Failed
    }

    /// Stages that tasks wait for, and no worker offers, with how many wait.
    let missing (state: State) : struct (string * int)[] =
        state.Queues.Suspects.ToSeq()
        |> Seq.map (fun task -> struct (task.Demand, 1))
        |> Seq.append state.Queues.Stages
        |> Seq.filter (fun (struct (stage, _)) -> not (state.Workers.Offers stage))
        |> Seq.groupBy (fun (struct (stage, _)) -> stage)
        |> Seq.map (fun (stage, waiting) ->
            struct (stage, waiting |> Seq.sumBy (fun (struct (_, count)) -> count)))
        |> Seq.sort
        |> Seq.toArray

    let status (state: State) = {
        queued = int64 (state.Queues.Count + state.Queues.Suspects.Count + state.Successors.Count)
        running = int64 state.Running
        waiting = int64 state.WaitingCount
        publishing = int64 state.Publishing
        split = int64 state.Splits.Count
        quarantined = int64 state.Quarantined
        finished = state.Finished
        cancelled = state.Cancelled
        idle = state.Workers.Idle.Count
        busy = state.Workers.All.Count - state.Workers.Idle.Count
        uptime = state.Now - ValueOption.defaultValue state.Now state.Started
        oldest =
            match state.Queues.Oldest with
            | null -> 0L<ms>
            | task -> state.Now - task.Since
        finished10s = state.Rates.Last(10, state.Now)
        finished60s = state.Rates.Last(60, state.Now)
        trouble = None
        awaited = None
        missing =
            missing state
            |> Seq.truncate ProtocolLimits.missingMax
            |> Seq.map (fun (struct (stage, _)) -> stage)
            |> Seq.toArray
        heldBack = heldBack state
        workers =
            state.Workers.All
            |> Seq.sortBy _.Session
            |> Seq.truncate SchedulerLimits.workersListedMax
            |> Seq.map reportOf
            |> Seq.toArray
    }
