/// What is true of the whole state after every step.
module FsScheduler.Machine.Invariants

open System.Collections.Generic
open FsScheduler.Core

/// Where each task was found, by walking the lists rather than by asking the tasks; and whether it says so too.
let private places (state: State) = [
    for task in state.Queues.ToSeq() do
        struct (task, task.State.IsQueued)
    for task in state.Queues.Suspects.ToSeq() do
        struct (task, task.State.IsSuspected)
    for task in state.Successors.Values do
        struct (task, task.State.IsSucceeding)
    for task in state.Splits.Values do
        struct (task, task.State.IsSplit)
    for worker in state.Workers.All do
        for task in worker.Held.ToSeq() do
            struct (task, obj.ReferenceEquals(task.State, worker.Running))
]

let private ofTasks (state: State) (tasks: Task[]) = [
    let found = Dictionary<TaskId, int>()

    let listsOf (task: Task) =
        match found.TryGetValue task.Id with
        | true, lists -> lists
        | _ -> 0

    for struct (task, isThere) in places state do
        found[task.Id] <- listsOf task + 1

        if not (obj.ReferenceEquals(state.Tasks.Find task.Id, task)) then
            $"task {task.Id} is in a list, and not in the table"

        if not isThere then
            $"task {task.Id} says {TaskView.stateName task.State}, and is found in another list"

    let alarms = HashSet<struct (TaskId * Duration)>()

    for struct (task, struct (at, _)) in state.Waiting.UnorderedItems do
        alarms.Add(struct (task.Id, at)) |> ignore

    for task in tasks do
        let lists = listsOf task

        let listsExpected =
            match task.State with
            | TaskState.Queued
            | TaskState.Suspected
            | TaskState.Succeeding _
            | TaskState.Split _
            | TaskState.Running _ -> 1
            | TaskState.Waiting _
            | TaskState.Publishing
            | TaskState.Quarantined -> 0
            | TaskState.Ended -> -1

        if lists <> listsExpected then
            $"task {task.Id} is {TaskView.stateName task.State} and stands in {lists} lists"

        if task.Stage >= task.Pipeline.stages.Length then
            $"task {task.Id} has no stage left and is not finished"

        match task.State with
        | TaskState.Waiting until when not (alarms.Contains(struct (task.Id, until.sinceStart))) ->
            $"task {task.Id} waits and nothing will wake it"
        | TaskState.Succeeding older when
            older.State <> TaskState.Publishing && not older.IsUnderWay
            ->
            $"task {task.Id} waits for task {older.Id}, which is {TaskView.stateName older.State}"
        | _ -> ()

    for KeyValue(name, task) in state.Files do
        if task.Submission.Name <> name || isNull (state.Tasks.Find task.Id) then
            $"the file {name} belongs to task {task.Id}, which is not there"

    for KeyValue(older, newer) in state.Successors do
        match newer.State with
        | TaskState.Succeeding task when
            task.Id = older && task.Submission.Name = newer.Submission.Name
            ->
            ()
        | _ -> $"task {newer.Id} is said to follow task {older}, and does not"

    if state.Overtaken.Count > SchedulerLimits.overtakenFilesMax then
        $"{state.Overtaken.Count} files are counted as overtaken"

    for queue in state.Queues.All do
        for priority, tasks in
            queue.ToSeq()
            |> Seq.filter (fun task -> not task.IsBegun)
            |> Seq.groupBy _.Submission.Priority do
            if
                tasks
                |> Seq.pairwise
                |> Seq.exists (fun (one, next) -> one.Since - next.Since > 0L<ms>)
            then
                let stages = String.concat " | " queue.Stages
                $"the queue for {stages} of priority {priority} is out of order"
]

/// What lies before each stage is what tasks have brought there.
let private ofBacklog (state: State) (tasks: Task[]) = [
    let counted = Backpressure state.Settings.spoolBytes

    for task in tasks do
        counted.Add task

    let sizes (backlog: Backpressure) =
        backlog.ToSeq() |> Seq.sort |> List.ofSeq

    if sizes counted <> sizes state.Backpressure then
        $"%A{sizes state.Backpressure} are counted, and it is %A{sizes counted}"
]

/// Each piece without a result has a task that will give it, and no other piece has.
let private ofPieces (state: State) (tasks: Task[]) = [
    for whole in tasks do
        match whole.Pieces with
        | null -> ()
        | pieces ->
            let missing = seq { 0 .. pieces.Count - 1 } |> Seq.filter pieces.IsMissing

            match whole.State with
            | TaskState.Split splitting when
                splitting <> Splitting.Cutting && splitting <> pieces.Splitting
                ->
                $"task {whole.Id} is %A{splitting}, and {pieces.Missing} parts are missing"
            | _ -> ()

            if pieces.Missing <> Seq.length missing then
                $"task {whole.Id} counts {pieces.Missing} missing pieces of {Seq.length missing}"

            // Else what it was submitted with is on its way, and its pieces are submitted then.
            let isAtHand = not whole.Submission.IsJournaled

            for index in 0 .. pieces.Count - 1 do
                let tasks = pieces.TasksOf index
                let isWanted = whole.State.IsSplit && pieces.IsMissing index

                if tasks.IsEmpty = isWanted && (isAtHand || not isWanted) then
                    $"piece {index} of task {whole.Id}, which is {TaskView.stateName whole.State}, has {tasks.Length} tasks"

                for task in tasks do
                    if task.Submission.Origin <> Origin.Piece(whole.Id, index) then
                        $"task {task.Id} is no piece {index} of task {whole.Id}"

    for task in tasks do
        match task.Submission.Origin with
        | Origin.Piece(whole, index) ->
            match state.Tasks.Find whole with
            | null -> $"task {task.Id} is a piece of task {whole}, which is not there"
            | whole ->
                match whole.Pieces with
                | null -> $"task {task.Id} is a piece of task {whole.Id}, which has none"
                | pieces ->
                    if not (List.contains task (pieces.TasksOf index)) then
                        $"task {task.Id} is a piece that task {whole.Id} does not know"
        | Origin.Folder
        | Origin.Client _ -> ()
]

let private ofCounts (state: State) (tasks: Task[]) = [
    let status = Replies.status state

    let inStates =
        tasks |> Seq.countBy (fun task -> TaskView.stateName task.State) |> Map.ofSeq

    let count name =
        inStates |> Map.tryFind name |> Option.defaultValue 0 |> int64

    for name, counted, is in
        [
            "queued", status.queued, count "queued" + count "suspected" + count "succeeding"
            "running", status.running, count "running"
            "waiting", status.waiting, count "waiting"
            "publishing", status.publishing, count "publishing"
            "split", status.split, count "split"
            "quarantined", status.quarantined, count "quarantined"
            "idle",
            int64 status.idle,
            state.Workers.All |> Seq.filter _.IsIdle |> Seq.length |> int64
        ] do
        if counted <> is then
            $"{counted} are counted as {name} and {is} are"
]

let private ofWorkers (state: State) = [
    for worker in state.Workers.All do
        let held = worker.Held.Count

        if held > worker.Ceiling then
            $"worker {worker.Session} holds {held} tasks and may hold {worker.Ceiling}"

        if worker.IsIdle <> (held < worker.Slots) then
            $"worker {worker.Session} holds {held} of {worker.Slots} and is idle: {worker.IsIdle}"

        for task in worker.Held.ToSeq() do
            if task.Losses >= SchedulerLimits.lossesMax - 1 && held > 1 then
                $"the suspected task {task.Id} is not alone on worker {worker.Session}"

        match worker.Reserved with
        | null ->
            if worker.IsIdle && state.Queues.MayServe worker then
                $"worker {worker.Session} is idle while a task waits for it"

            if worker.Slots > 0 then
                for task in state.Queues.Suspects.ToSeq() do
                    if worker.Can task.Demand && not (state.Workers.IsReservedFor task) then
                        $"no worker is kept for the suspected task {task.Id}"
        | task ->
            if task.State = TaskState.Suspected && held = 0 then
                $"worker {worker.Session} is kept for task {task.Id} and does not run it"

            if task.State <> TaskState.Suspected && task.State <> worker.Running then
                $"worker {worker.Session} is kept for task {task.Id}, which does not come"
]

/// What a rule has no use for any more it says so of.
let private ofReleased (state: State) = [
    if state.Released.Count > 0 then
        $"{state.Released.Count} files are of no use, and nobody is told"
]

/// What is wrong, as sentences; empty when all is well.
let violations (scheduler: Scheduler) : string list =
    let state = scheduler.State
    let tasks = ResizeArray<Task>() // looked at again and again: a walk through the table is slower
    state.Tasks.Iter tasks.Add
    let tasks = tasks.ToArray()

    ofTasks state tasks
    @ ofBacklog state tasks
    @ ofPieces state tasks
    @ ofCounts state tasks
    @ ofWorkers state
    @ ofReleased state
