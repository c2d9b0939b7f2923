namespace FsScheduler.Machine

open System
open System.Collections.Generic
open FsScheduler.Core

/// The scheduler as a state machine: which worker runs which task, when, and whose result counts. Deterministic: the
/// same inputs at the same times give the same decisions. It reads no clock and does no I/O; each `Effect` asks for
/// that, and each `Event` is to be recorded. Not thread-safe. Clients may have at most `tasksMax` unfinished tasks:
/// further ones are refused as `busy`.
[<Sealed>]
type Scheduler(settings: Settings, tasksMax: int) =
    let state = State(settings, tasksMax)

    // Workers.

    let join session name stages =
        if isNull (state.Workers.Find session) then
            state.Record(Event.Joined(session, name, stages))
            (nonNull (state.Workers.Find session)).Connect()

    let ready session slots =
        match state.Workers.Find session with
        | null -> ()
        | worker ->
            worker.Hear state.Now
            state.Workers.SetSlots(worker, (if worker.IsDismissed then 0 else max 0 slots))
            state.Offer worker

            if worker.Slots = 0 then
                HoldingBack.reopen state

    let claim session holding =
        match state.Workers.Find session with
        | null -> ()
        | worker -> WorkerLoss.claim state worker holding

    let heard session =
        match state.Workers.Find session with
        | null -> ()
        | worker -> worker.Hear state.Now

    let report session (attempt: Attempt) (outcome: Outcome) result =
        heard session

        match state.Current attempt with
        | null -> state.Discard(Content.file result)
        | task ->
            match task.State with
            | TaskState.Running worker when worker.Session = session ->
                worker.Count outcome.IsSucceeded

                match outcome with
                | Succeeded ->
                    HoldingBack.succeeded state worker task

                    if task.StageEnd < task.Pipeline.stages.Length then
                        Finish.advance state task task.StageEnd result
                    else
                        Finish.publish state task result
                | Failed(error, retry) ->
                    state.Discard(Content.file result)

                    Fail.fail
                        state
                        task
                        (state.NewFailure(task, TaskError, worker.Name, error))
                        retry
                | Unable error ->
                    state.Discard(Content.file result)

                    Fail.fail
                        state
                        task
                        (state.NewFailure(task, WorkerUnable, worker.Name, error))
                        true
            | _ -> state.Discard(Content.file result)

    let unstored session (attempt: Attempt) error =
        heard session

        match state.Current attempt with
        | null -> ()
        | task ->
            match task.State with
            | TaskState.Running worker when worker.Session = session ->
                Fail.fail state task (state.NewFailure(task, StorageError, worker.Name, error)) true
            | _ -> ()

    // Answers to effects.

    let submissionLoaded attempt (submission: Submission) =
        match state.Current attempt with
        | null -> ()
        | task ->
            match task.State with
            | TaskState.Running _
            | TaskState.Split _ when task.Submission.IsJournaled ->
                Assign.loaded state task submission
            | _ -> ()

    let cut attempt (cuts: Size[]) =
        match state.Current attempt with
        | null -> ()
        | task ->
            match task.State with
            | TaskState.Split Splitting.Cutting when isNull task.Pieces ->
                Split.cut state task cuts

                // The task is back in its queue, where a version that a newer one waits for has no place.
                if not task.IsUnderWay then
                    Finish.giveWay state task |> ignore
            | _ -> ()

    /// The task, if all parts of its result have come.
    let merging attempt : Task | null =
        match state.Current attempt with
        | null -> null
        | task ->
            match task.State with
            | TaskState.Split Splitting.Merging -> task
            | _ -> null

    let partsMerged attempt result =
        match merging attempt with
        | null -> state.Discard(Content.file result)
        | task -> Finish.merged state task result

    let mergeFailed attempt cause error =
        match merging attempt with
        | null -> ()
        | task -> Fail.fail state task (state.NewFailure(task, cause, "", error)) true

    let published attempt hash =
        match state.Current attempt with
        | null -> ()
        | task ->
            if task.State = TaskState.Publishing then
                Finish.complete state task Content.empty (ValueSome hash)

    let unpublished attempt error =
        match state.Current attempt with
        | null -> ()
        | task ->
            if task.State = TaskState.Publishing then
                if not (Finish.giveWay state task) then
                    Fail.fail state task (state.NewFailure(task, TaskError, "", error)) true

    let notRead cause attempt error =
        match state.Current attempt with
        | null -> ()
        | task ->
            match task.State with
            | TaskState.Running _
            | TaskState.Split _ ->
                Fail.fail state task (state.NewFailure(task, cause, "", error)) true
            | _ -> ()

    let take input =
        match input with
        | Input.Submit(submission, text) -> Submit.submit state submission text
        | Input.SubmitFile(submission, pipeline) -> Submit.submitFile state submission pipeline
        | Input.Cancel(id, by) -> Requests.cancel state id by
        | Input.Retry(id, by) -> Requests.retry state id by
        | Input.RetryWith(id, pipeline, by) -> Requests.retryWith state id pipeline by
        | Input.RetryAll by -> Requests.retryAll state by
        | Input.RetryAllWith(pipeline, by) -> Requests.retryAllWith state pipeline by
        | Input.Drain(worker, by) -> Requests.drain state worker by
        | Input.Note notes -> Array.iter (Event.Noted >> state.Record) notes
        | Input.Retain cutoff -> Retention.run state cutoff
        | Input.Ask by -> state.Reply(by, FromScheduler.Status(Replies.status state))
        | Input.Join(session, name, stages) -> join session name stages
        | Input.Claim(session, holding) -> claim session holding
        | Input.Ready(session, slots) -> ready session slots
        | Input.Heard session -> heard session
        | Input.Leave session ->
            match state.Workers.Find session with
            | null -> ()
            | worker -> WorkerLoss.lose state worker "its connection ended"
        | Input.Report(session, attempt, outcome, result) -> report session attempt outcome result
        | Input.Unstored(session, attempt, error) -> unstored session attempt error
        | Input.SubmissionLoaded(attempt, submission) -> submissionLoaded attempt submission
        | Input.Published(attempt, hash) -> published attempt hash
        | Input.Unpublished(attempt, error) -> unpublished attempt error
        | Input.FileChanged attempt -> FileChanges.changed state attempt
        | Input.Outdated attempt -> FileChanges.outdated state attempt
        | Input.FileDeleted name -> FileChanges.deleted state name
        | Input.Unreadable(attempt, error) -> notRead TaskError attempt error
        | Input.OutOfSight(attempt, error) -> notRead StorageError attempt error
        | Input.Cut(attempt, cuts) -> cut attempt cuts
        | Input.PartsMerged(attempt, result) -> partsMerged attempt result
        | Input.MergeFailed(attempt, error) -> mergeFailed attempt TaskError error
        | Input.NoRoom(attempt, error) -> mergeFailed attempt StorageError error
        | Input.Tick ->
            Timers.tick state
            Retention.tick state

    new(settings) = Scheduler(settings, SchedulerLimits.tasksMax)

    /// <summary>Takes one input. Total: any input, in any state, at any time.</summary>
    /// <param name="input">The input.</param>
    /// <param name="at">The time; never before that of the previous input.</param>
    /// <param name="into">The events and effects are appended here.</param>
    member _.Step(input: Input, at: Instant, into: StepOutput) =
        state.StepOutput <- into
        state.Now <- at

        if state.Started.IsNone then
            state.Started <- ValueSome at
            state.LastTick <- at

        take input

        if state.IsChanged then
            state.IsChanged <- false
            Dispatch.serve state

    /// <summary>Applies the events of earlier runs. Called before any step, and followed by `Resume`.</summary>
    /// <param name="events">In order, each with its number and its time. A time after `now`, or before an earlier
    /// event, comes from a clock that was set, and is moved: no delay becomes longer.</param>
    /// <param name="now">The present time.</param>
    member _.Restore(events: seq<struct (int64 * Instant * Event)>, now: Instant) =
        let mutable first = true

        for struct (number, at, event) in events do
            let at = if at - now > 0L<ms> then now else at
            let isLater = first || at - state.Now > 0L<ms>
            first <- false

            if isLater then
                state.Now <- at

            state.LastEvent <- max state.LastEvent number
            Apply.event state number event

        state.Sort()
        state.Released.Clear() // unused files are found at the start

    /// Sets the number of the next event, where the journal knows that later ones were lost.
    member _.Continue(next: int64) =
        state.LastEvent <- max state.LastEvent (next - 1L)

    /// <summary>Goes on after `Restore`.</summary>
    /// <param name="owner">The new owner of the journal: a value that no owner had before.</param>
    /// <param name="found">Hashes of results with their final names, of accepted attempts that did not
    /// complete.</param>
    /// <param name="lost">Parts, of `PartFiles`, whose files are gone: their pieces are run again.</param>
    /// <param name="at">The time; never before that of the restored events.</param>
    /// <param name="into">The events and effects of the restart are appended here.</param>
    member _.Resume
        (
            owner: Guid,
            found: IReadOnlyDictionary<Attempt, ContentHash>,
            lost: PartFile[],
            at: Instant,
            into: StepOutput
        ) =
        state.StepOutput <- into
        state.Now <- at
        state.Started <- ValueSome at
        state.LastTick <- at
        Resume.run state owner found lost

    /// Files of payloads that are still needed, by path.
    member _.Spools: string seq =
        let spools = ResizeArray<string>()

        let add (file: string voption) =
            if file.IsSome then
                spools.Add file.Value

        // A million of them may be unfinished.
        state.Tasks.Iter(fun task ->
            add (Payload.file task.Payload)

            match task.Pieces with
            | null -> ()
            | pieces -> Array.iter (KeptContent.file >> add) pieces.Parts)

        for struct (_, _, outcome) in state.Keys.ToSeq() do
            match outcome with
            | ValueSome(struct (_, result)) -> add (KeptContent.file result)
            | ValueNone -> ()

        spools

    /// The parts of results that are in files.
    member _.PartFiles: PartFile[] =
        let files = ResizeArray()

        state.Tasks.Iter(fun task ->
            match task.Pieces with
            | null -> ()
            | pieces ->
                for index in 0 .. pieces.Count - 1 do
                    match pieces.PartOf index |> ValueOption.bind KeptContent.file with
                    | ValueSome path -> files.Add { whole = task.Id; index = index; path = path }
                    | ValueNone -> ())

        files.ToArray()

    /// The files of `entrada/` by the journal, by name.
    member _.TakenFiles: IReadOnlyDictionary<string, TakenFile> = state.Taken.All

    /// Results that may not have reached the device, by the names of their input files.
    member _.Unflushed: struct (string * ContentHash)[] = state.Taken.Unflushed

    /// The results of events up to this number have reached the device, and later ones may not have; none: all have.
    member _.FlushedUpTo: int64 voption =
        if state.Taken.IsFlushed then
            ValueNone
        else
            ValueSome state.FlushedUpTo

    /// The owners of result names that differ from the name of their source.
    member _.Owners: struct (TaskName * ResultSource)[] = [|
        for KeyValue(name, struct (source, _)) in state.Owners do
            struct (name, source)
    |]

    /// After `Restore`: the attempts whose results are being published, with the marks of the results.
    member _.Accepted: struct (Attempt * Submission * ResultMark)[] = [|
        for task in state.Tasks.ToSeq() do
            if task.State.IsPublishing then
                let attempt = state.AttemptOf task

                match state.Marks.TryGetValue attempt with
                | true, mark -> struct (attempt, task.Submission, mark)
                | _ -> ()
    |]

    /// Whether `Input.Retain` is to be repeated: some needed state of the events before its number is not carried yet.
    member _.IsRetaining = state.Retention.Before <> 0L

    /// Whether carried events are not dropped yet, because a read of them may be under way. No more are carried then.
    member _.IsDropping = state.Retention.Dropping.IsSome

    /// How many events were carried for the last `Input.Retain`, over all of its steps.
    member _.Carried = state.Retention.Carried

    /// Bytes of results in files that are kept for idempotency keys.
    member _.KeptBytes: Size = state.Keys.SpooledBytes

    /// Files in quarantine, each with its version and its latest error.
    member _.QuarantinedInputs: struct (string * FileVersion * string)[] = [|
        for task in state.Tasks.ToSeq() do
            match task.Submission.Payload, task.Submission.Origin with
            | Input version, Folder when task.State = TaskState.Quarantined && task.IsBegun ->
                match task.PastFailures with
                | latest :: _ -> struct (task.Submission.Name, version, latest.error)
                | [] -> ()
            | _ -> ()
    |]

    /// The number of the latest task.
    member _.LastTask = state.LastId

    /// Files with a version that is not finished; one in quarantine is not.
    member _.UnfinishedFiles: string seq = state.Files.Keys

    /// The number of the latest event.
    member _.LastEvent = state.LastEvent

    /// The latest session in the journal.
    member _.LastSession = state.LastSession

    member _.Status = Replies.status state

    /// Whether no task can still succeed by itself: all unfinished tasks are in quarantine.
    member _.IsDone = state.Tasks.Count = state.Quarantined

    member _.Quarantined = state.Quarantined

    member internal _.State = state
