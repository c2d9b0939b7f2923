namespace FsScheduler.Core

/// The oldest events are dropped, once what is needed of them is carried to the head of the journal, a bounded part a turn, and
/// nobody reads them any more. A submission or a part that was asked for before it was carried is read at the old number, and
/// would be missed as if the disk had failed.
module internal Retention =

    /// Tasks that are looked at in one turn.
    let private examinedMax = 20_000

    let private carry (state: State) carried =
        state.Record(Event.Carried carried)
        state.Retaining.Carried <- state.Retaining.Carried + 1L

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

    /// Nothing, where no event tells that it was begun: where a place was looked for to cut it.
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
                    if progress.IsResult then
                        ValueSome progress.Payload
                    else
                        ValueNone
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

    /// A task, and behind it what is made on restart from it: its parts, its pieces, the version of its file that waits for it.
    /// Before it its file: the end of the task counts for both.
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
                home = task.Number
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

    /// By what its result is known is in the journal only: it is waited for.
    let private isBlocked before (task: Task) =
        task.State = TaskState.Publishing && abs task.Place < before

    /// <returns>Whether there are no more.</returns>
    let private carryTasks (state: State) before (isEnough: unit -> bool) : bool =
        let retaining = state.Retaining
        let mutable examined = 0
        let mutable goOn = true
        use tasks = (state.Tasks.After retaining.Task).GetEnumerator()
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
                retaining.Task <- task.Id
                goOn <- examined < examinedMax && not (isEnough ())
                more <- tasks.MoveNext()

        not more

    /// <summary>Looks at the entries of some homes.</summary>
    /// <returns>The position behind them, and whether there are no more.</returns>
    let private carryHomes
        (homes: Homes<'item>)
        position
        before
        (isEnough: unit -> bool)
        (carryItem: int64 -> 'item -> unit)
        : struct (int64 * bool) =
        let mutable position = max position homes.Dropped
        let mutable home = homes.TryGet(position, before)

        while home.IsSome && not (isEnough ()) do
            let struct (number, item) = home.Value
            carryItem number item
            position <- position + 1L
            home <- homes.TryGet(position, before)

        struct (position, home.IsNone)

    let private carryWorkers (state: State) before isEnough =
        let struct (position, isDone) =
            carryHomes
                state.WorkerHomes
                state.Retaining.Worker
                before
                isEnough
                (fun number session ->
                    match state.Workers.Find session with
                    | null -> ()
                    | worker ->
                        if worker.Number = number then
                            let stages = worker.Offers |> Seq.sort |> Seq.toArray
                            carry state (Carried.Worker(session, worker.Name, stages)))

        state.Retaining.Worker <- position
        isDone

    let private carryOwners (state: State) before isEnough =
        let struct (position, isDone) =
            carryHomes state.OwnerHomes state.Retaining.Owner before isEnough (fun number name ->
                match state.Owners.TryGetValue name with
                | true, struct (source, at) when at = number ->
                    carry state (Carried.Owner(name, source))
                | _ -> ())

        state.Retaining.Owner <- position
        isDone

    /// After the tasks. A file whose task has not ended has it behind it at any event.
    let private carryFiles (state: State) before isEnough =
        let taken = state.Taken

        let struct (position, isDone) =
            carryHomes taken.Homes state.Retaining.File before isEnough (fun number name ->
                match taken.Find name with
                | ValueSome file when file.number = number ->
                    match state.Tasks.Find file.task with
                    | null -> carryFile state name file
                    | task -> carryTask state task
                | _ -> ())

        state.Retaining.File <- position
        isDone

    let private carryKeys (state: State) (cutoff: Cutoff) isEnough =
        let keys = state.Keys

        let struct (position, isDone) =
            carryHomes keys.Homes state.Retaining.Key cutoff.before isEnough (fun number entry ->
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

        state.Retaining.Key <- position
        isDone

    let private start (state: State) before =
        let retaining = state.Retaining
        retaining.Before <- before
        retaining.Carried <- 0L
        retaining.Task <- 0L<taskId>
        retaining.Worker <- state.WorkerHomes.Dropped
        retaining.Owner <- state.OwnerHomes.Dropped
        retaining.File <- state.Taken.Homes.Dropped
        retaining.Key <- state.Keys.Homes.Dropped

    /// Whether the answer to `JournalEffect.LoadSubmission` or `PieceEffect.MergeParts` is awaited.
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

    /// All that is needed is carried. What is read from here on is read where it was carried to.
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
        state.Retaining.Before <- 0L

        state.Retaining.Dropping <-
            ValueSome {
                before = before
                at = state.Now + SchedulerLimits.readWithin
                reading = reading state
            }

    /// <summary>Carries the next part of what is needed of the events before a number. Where that is all, they go some time
    /// later, and before that no others.</summary>
    /// <param name="state">The scheduler's.</param>
    /// <param name="cutoff">Events whose results have not reached the device stay.</param>
    let run (state: State) (cutoff: Cutoff) =
        let before = min cutoff.before (state.LastEvent + 1L)
        let first = state.LastEvent

        let isEnough () =
            state.LastEvent - first >= int64 cutoff.most

        if state.Retaining.Dropping.IsNone then
            if state.Retaining.Before <> before then
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

    /// Looks at the time: lets events go that nobody reads any more.
    let tick (state: State) =
        match state.Retaining.Dropping with
        | ValueSome dropping when state.Now - dropping.at >= 0L<ms> ->
            dropping.reading <-
                dropping.reading
                |> List.filter (fun attempt ->
                    match state.Current attempt with
                    | null -> false
                    | task -> isRead task)

            if dropping.reading.IsEmpty then
                state.Retaining.Dropping <- ValueNone
                state.Ask(Effect.ToJournal(JournalEffect.Drop dropping.before))
        | _ -> ()
