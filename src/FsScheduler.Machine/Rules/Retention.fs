namespace FsScheduler.Machine

open FsScheduler.Core

/// Drops the oldest events, once the state that is needed of them is carried to the head of the journal, a bounded part
/// a step, and no read of them is under way: a submission or a part asked for before it was carried is read at its old
/// event, and would be missed as if the disk had failed.
module internal Retention =

    /// Tasks that are examined in one step.
    let private examinedMax = 20_000

    let private carry (state: State) carried =
        state.Record(Event.Carried carried)
        state.Retention.Carried <- state.Retention.Carried + 1L

    let private carryFile (state: State) name (file: TakenFile) =
        carry
            state
            (Carried.File {
                name = name
                version = file.version
                task = file.task
                pipeline = file.pipeline
                isDone = file.isDone
                unflushed = state.Taken.UnflushedOf name
            })

    /// None, where no event tells that the task was begun: the places to cut it are being found.
    let private progressOf (task: Task) : CarriedProgress voption =
        if task.Attempt = 0 && task.PastFailures.IsEmpty then
            ValueNone
        else
            let progress = task.Progress

            ValueSome {
                attempt = progress.Attempt
                failures = progress.Failures
                losses = int progress.Losses
                stage = int progress.Stage
                stageEnd = int progress.StageEnd
                result =
                    match progress.Payload with
                    | Kept result when progress.IsResult -> ValueSome result
                    | _ -> ValueNone
                pastFailures = progress.PastFailures
                pieces =
                    match progress.Pieces with
                    | null -> ValueNone
                    | pieces ->
                        ValueSome {
                            cuts = pieces.Cuts
                            last = pieces.Last
                            pipeline = pieces.Pipeline
                        }
            }

    /// Carries a task, and after it what a restart builds on it: parts, pieces, and the version of its file that waits
    /// for it. Its file goes before it, since the end of the task changes both.
    let rec private carryTask (state: State) (task: Task) =
        if task.Submission.Origin.IsFolder then
            let name = task.Submission.Name

            match state.Taken.Find name with
            | ValueSome file when file.task = task.Id -> carryFile state name file
            | _ -> ()

        carry
            state
            (Carried.Task {
                task = task.Id
                submission = task.Submission
                pipeline = task.Pipeline
                state = Transition.stateOf task
                since = task.Since
                place = task.Place
                progress = progressOf task
                submissionEvent = task.Number
            })

        match task.Pieces with
        | null -> ()
        | pieces ->
            for index in 0 .. pieces.Count - 1 do
                match pieces.PartOf index with
                | ValueSome part -> carry state (Carried.Part(task.Id, index, part))
                | ValueNone -> ()

            for piece in pieces.Tasks |> Array.sortBy _.Id do
                carryTask state piece

        match state.Successors.TryGetValue task.Id with
        | true, successor -> carryTask state successor
        | _ -> ()

    /// Whether the mark of a result being published is in these events only: then retention waits for its end.
    let private isBlocked before (task: Task) =
        task.State = TaskState.Publishing && abs task.Place < before

    /// <returns>Whether all tasks are carried.</returns>
    let private carryTasks (state: State) before (isEnough: unit -> bool) : bool =
        let progress = state.Retention
        let mutable examined = 0
        let mutable goOn = true
        use tasks = (state.Tasks.After progress.Task).GetEnumerator()
        let mutable more = tasks.MoveNext()

        while more && goOn do
            let task = tasks.Current
            examined <- examined + 1

            if task.Number < before then
                if isBlocked before task then
                    goOn <- false
                else
                    carryTask state task

            if goOn then
                progress.Task <- task.Id
                goOn <- examined < examinedMax && not (isEnough ())
                more <- tasks.MoveNext()

        not more

    /// <summary>Carries the items of an index before a number.</summary>
    /// <returns>The position of the next item, and whether all are carried.</returns>
    let private carryIndexed
        (index: EventIndex<'item>)
        position
        before
        (isEnough: unit -> bool)
        (carryItem: int64 -> 'item -> unit)
        : struct (int64 * bool) =
        let mutable position = max position index.Dropped
        let mutable next = index.TryGet(position, before)

        while next.IsSome && not (isEnough ()) do
            let struct (number, item) = next.Value
            carryItem number item
            position <- position + 1L
            next <- index.TryGet(position, before)

        struct (position, next.IsNone)

    let private carryWorkers (state: State) before isEnough =
        let struct (position, isDone) =
            carryIndexed
                state.WorkerIndex
                state.Retention.Worker
                before
                isEnough
                (fun number session ->
                    match state.Workers.Find session with
                    | null -> ()
                    | worker ->
                        if worker.Number = number then
                            let stages = worker.Offers |> Seq.sort |> Seq.toArray
                            carry state (Carried.Worker(session, worker.Name, stages)))

        state.Retention.Worker <- position
        isDone

    let private carryOwners (state: State) before isEnough =
        let struct (position, isDone) =
            carryIndexed state.OwnerIndex state.Retention.Owner before isEnough (fun number name ->
                match state.Owners.TryGetValue name with
                | true, struct (source, at) when at = number ->
                    carry state (Carried.Owner(name, source))
                | _ -> ())

        state.Retention.Owner <- position
        isDone

    /// Runs after `carryTasks`. The file of an unfinished task is carried together with its task.
    let private carryFiles (state: State) before isEnough =
        let taken = state.Taken

        let struct (position, isDone) =
            carryIndexed taken.Index state.Retention.File before isEnough (fun number name ->
                match taken.Find name with
                | ValueSome file when file.number = number ->
                    match state.Tasks.Find file.task with
                    | null -> carryFile state name file
                    | task -> carryTask state task
                | _ -> ())

        state.Retention.File <- position
        isDone

    let private carryKeys (state: State) (cutoff: Cutoff) isEnough =
        let keys = state.Keys

        let struct (position, isDone) =
            carryIndexed keys.Index state.Retention.Key cutoff.before isEnough (fun number entry ->
                match entry.outcome with
                | ValueSome(struct (outcome, result)) when
                    keys.IsAt(entry, number)
                    && not cutoff.isTooMuch
                    && keys.IsKept(entry, cutoff.keptSince)
                    ->
                    carry
                        state
                        (Carried.Key {
                            key = entry.key
                            task = entry.task
                            attempts = outcome.attempts
                            error = outcome.error
                            result = result
                            want = entry.want
                            finished = entry.finished
                            delivered = entry.delivered
                        })
                | _ -> ())

        state.Retention.Key <- position
        isDone

    let private start (state: State) before =
        let progress = state.Retention
        progress.Before <- before
        progress.Carried <- 0L
        progress.Task <- 0L<taskId>
        progress.Worker <- state.WorkerIndex.Dropped
        progress.Owner <- state.OwnerIndex.Dropped
        progress.File <- state.Taken.Index.Dropped
        progress.Key <- state.Keys.Index.Dropped

    /// Whether a task awaits an answer to `LoadSubmission` or `MergeParts`.
    let private isRead (task: Task) =
        match task.State with
        | TaskState.Running _ -> task.Submission.IsJournaled
        | TaskState.Split Splitting.Merging -> true
        | TaskState.Split Splitting.Cutting -> task.Submission.IsJournaled
        | TaskState.Split Splitting.InPieces -> task.Submission.IsJournaled && Split.isAnyIdle task
        | TaskState.Queued
        | TaskState.Suspected
        | TaskState.Waiting _
        | TaskState.Publishing
        | TaskState.Succeeding _
        | TaskState.Quarantined
        | TaskState.Ended -> false

    let private reading (state: State) : Attempt list = [
        for worker in state.Workers.All do
            for task in worker.Held.ToSeq() do
                if isRead task then
                    state.AttemptOf task

        for task in state.Splits.Values do
            if isRead task then
                state.AttemptOf task
    ]

    /// All needed state is carried: reads from here on go to the new events.
    let private release (state: State) before =
        let totals = {
            completed = state.Finished
            cancelled = state.Cancelled
            lastTask = state.LastId
            lastSession = state.LastSession
            known = state.Known |> Seq.sort |> Seq.toArray
        }

        state.Record(Event.Dropped(before, totals))
        state.DiscardReleased()
        state.Retention.Before <- 0L

        state.Retention.Dropping <-
            ValueSome {
                before = before
                at = state.Now + SchedulerLimits.readWithin
                reading = reading state
            }

    /// <summary>Carries the next part of the state that is needed of the events before a number. Once all is carried,
    /// the events are dropped some time later; until then no others are carried.</summary>
    /// <param name="state">The scheduler's.</param>
    /// <param name="cutoff">The cutoff; events whose results have not reached the device stay.</param>
    let run (state: State) (cutoff: Cutoff) =
        let before = min cutoff.before (state.LastEvent + 1L)
        let first = state.LastEvent

        let isEnough () =
            state.LastEvent - first >= int64 cutoff.most

        if state.Retention.Dropping.IsNone then
            if state.Retention.Before <> before then
                start state before

            if
                not (state.Taken.IsUnflushed before)
                && carryWorkers state before isEnough
                && carryOwners state before isEnough
                && carryTasks state before isEnough
                && carryFiles state before isEnough
                && carryKeys state { cutoff with before = before } isEnough
            then
                release state before

    /// At a tick: drops carried events that no read needs any more.
    let tick (state: State) =
        match state.Retention.Dropping with
        | ValueSome dropping when state.Now - dropping.at >= 0L<ms> ->
            dropping.reading <-
                dropping.reading
                |> List.filter (fun attempt ->
                    match state.Current attempt with
                    | null -> false
                    | task -> isRead task)

            if dropping.reading.IsEmpty then
                state.Retention.Dropping <- ValueNone
                state.Ask(Effect.ToJournal(JournalEffect.Drop dropping.before))
        | _ -> ()
