namespace FsScheduler.Machine

open System
open FsScheduler.Core

/// Replies to clients: outcomes, refusals and the status.
module internal Replies =

    /// The result that goes with an outcome.
    [<Struct>]
    type SentResult =
        | NoResult
        /// Kept by nobody else.
        | Once of content: Content
        /// Kept for a key too.
        | Kept of result: KeptContent

    let private doneOf (task: Task) ref outcome error = {
        ref = ref
        task = task.Id
        attempts = task.Attempt
        outcome = outcome
        error = error
    }

    /// <summary>Tells a waiting request how its task ended.</summary>
    /// <param name="state">The scheduler's.</param>
    /// <param name="waiter">The request; it is sent the result if it wants that.</param>
    /// <param name="outcome">The outcome, with the reference of the request.</param>
    /// <param name="result">The result.</param>
    /// <param name="number">The event that has the reference, where only the journal has it.</param>
    let private tell (state: State) (waiter: Waiter) (outcome: Done) result number =
        let message = FromScheduler.Done outcome

        match waiter.want, result with
        | Result, Once content ->
            state.Ask(Effect.ToPeer(PeerEffect.ReplyResult(waiter.session, message, content)))
        | Result, Kept result ->
            state.Ask(Effect.ToPeer(PeerEffect.ReplyKept(waiter.session, message, result)))
        | _ when obj.ReferenceEquals(outcome.ref, Submission.JournaledRef) ->
            state.Ask(Effect.ToJournal(JournalEffect.ReplyLoaded(waiter.session, outcome, number)))
        | _ -> state.Reply(waiter.session, message)

    let private submitter (task: Task) =
        match task.Submission.Origin with
        | Folder
        | Piece _ -> ValueNone
        | Client(session, want, _) ->
            ValueSome { session = session; ref = task.Submission.Ref; want = want }

    /// The entry of the key of an unfinished task, if it has one.
    let entryOf (state: State) (task: Task) : KeyEntry voption =
        match task.Submission.Origin with
        | Client(_, _, Some key) -> state.Keys.Find key
        | Client(_, _, None)
        | Folder
        | Piece _ -> ValueNone

    /// Tells all requests that wait for a task, without forgetting them.
    let private tellAll state (task: Task) (entry: KeyEntry voption) outcome error result =
        match submitter task with
        | ValueSome waiter ->
            tell state waiter (doneOf task waiter.ref outcome error) result task.Number
        | ValueNone -> ()

        match entry with
        | ValueSome entry ->
            match entry.waiters with
            | null -> ()
            | waiters ->
                for waiter in waiters do
                    tell state waiter (doneOf task waiter.ref outcome error) result task.Number
        | ValueNone -> ()

    /// Tells the requests that wait for a task that it is in quarantine.
    let tellQuarantined (state: State) (task: Task) (entry: KeyEntry voption) error =
        tellAll state task entry TaskOutcome.Quarantined (Some error) NoResult

    /// Discards the oldest results that are kept for the keys of finished tasks, where there are too many.
    let evict (state: State) =
        for forgotten in state.Keys.Evict() do
            state.Discard(KeptContent.file forgotten)

    /// Sends the outcome of an ended task to the requests that wait for it. A result that no key or reply keeps is
    /// discarded.
    let private finish (state: State) (task: Task) (entry: KeyEntry voption) outcome error result =
        tellAll state task entry outcome error result

        match entry with
        | ValueSome waited ->
            state.Keys.ForgetWaiters waited
            evict state
        | ValueNone ->
            match submitter task, result with
            | ValueSome { want = Result }, _ -> ()
            | _, Once content -> state.Discard(Content.file content)
            | _ -> ()

    /// Sends the result of a task to the requests that wait for it.
    let complete (state: State) (task: Task) (entry: KeyEntry voption) result =
        finish state task entry TaskOutcome.Completed None result

    /// Tells the requests that wait for a task why it was cancelled.
    let cancel (state: State) (task: Task) (entry: KeyEntry voption) reason =
        finish state task entry TaskOutcome.Cancelled (Some reason) NoResult

    /// Attaches a later request with the key of a task, and tells it at once if the task ended or is in quarantine.
    let attach (state: State) (entry: KeyEntry) (waiter: Waiter) =
        match entry.outcome with
        | ValueSome(struct (outcome, result)) ->
            let reply = if outcome.error.IsNone then Kept result else NoResult
            tell state waiter { outcome with ref = waiter.ref } reply 0L
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
                tell state waiter outcome NoResult task.Number
            | _ -> ()

    let refuse (state: State) session (submission: Submission) code message =
        state.Discard(Payload.file submission.Payload)
        state.Reply(session, FromScheduler.Rejected(submission.Ref, code, message))

    let error (state: State) session message =
        state.Reply(session, FromScheduler.Error(ErrorCode.BadField, message))

    /// The held-back workers, for people.
    let private heldBack (state: State) : string[] =
        if state.CircuitBreakers.HeldBackCount = 0 then
            [||]
        else
            state.Workers.All
            |> Seq.sortBy _.Session
            |> Seq.collect state.CircuitBreakers.HoldsOf
            |> Seq.distinct
            |> Seq.truncate ProtocolLimits.heldBackMax
            |> Seq.map (fun breaker ->
                let stages = String.Join(" | ", breaker.Stages)
                $"{breaker.Worker} for '{stages}': {breaker.Error}")
            |> Seq.toArray

    let private reportOf (worker: Worker) = {
        session = worker.Session
        name = worker.Name
        slots = worker.Slots
        held = worker.Held.Count
        finished = worker.Finished
        failed = worker.Failed
    }

    /// Stages that tasks wait for and no worker offers, with the number of tasks.
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
        finished10s = state.Throughput.Last(10, state.Now)
        finished60s = state.Throughput.Last(60, state.Now)
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
