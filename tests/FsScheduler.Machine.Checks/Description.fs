/// The whole state in words, but for what a restart does not keep: who is connected, who is served next, where the
/// random sequence is. Two schedulers that are described alike go on alike.
module FsScheduler.Machine.Description

open FsScheduler.Core

// `%A` would take most of the time of the tests that compare states.

let private version (stamp: FileVersion) =
    $"{stamp.size} bytes, {stamp.modified}, {stamp.changed}, {stamp.inode}"

let private cause cause =
    match cause with
    | TaskError -> "fault"
    | WorkerLost -> "loss"
    | WorkerLeft -> "departure"
    | StorageError -> "disk"
    | WorkerUnable -> "inability"

let private failure (failure: Failure) =
    $"{failure.attempt}: {cause failure.cause} of {failure.worker} at {failure.stages}, {failure.at.sinceStart}: {failure.error}"

let private want want =
    match want with
    | Result -> "result"
    | File -> "file"
    | Nothing -> "nothing"

/// Where the bytes are, when the journal holds those that were in memory.
let private kept (of': KeptContent) =
    match of' with
    | Held(Bytes bytes) -> $"{bytes.Length} bytes"
    | Held(Spooled(path, size)) -> $"{size} bytes in {path}"
    | Recorded(_, size) -> $"{size} bytes"

let rec private payload (of': Payload) =
    match of' with
    | Packed
    | Journaled -> "with the submission"
    | Kept content -> kept content
    | Input stamp -> $"input of {version stamp}"
    | Slice(whole, start, size) -> $"{size} bytes from {start} of {payload whole}"

let private place state =
    match state with
    | TaskState.Queued -> "queued"
    | TaskState.Suspected -> "suspected"
    | TaskState.Running worker -> $"running on {worker.Session}"
    | TaskState.Split Splitting.Cutting -> "being cut"
    | TaskState.Split Splitting.InPieces -> "in pieces"
    | TaskState.Split Splitting.Merging -> "being merged"
    | TaskState.Waiting until -> $"waiting until {until.sinceStart}"
    | TaskState.Publishing -> "publishing"
    | TaskState.Succeeding older -> $"after {older.Id}"
    | TaskState.Quarantined -> "in quarantine"
    | TaskState.Ended -> "ended"

let private pieces (pieces: Pieces | null) =
    match pieces with
    | null -> "whole"
    | pieces ->
        let parts = pieces.Parts |> Seq.map kept |> String.concat ", "

        let tasks =
            pieces.Tasks |> Seq.map (fun task -> string task.Id) |> String.concat " "

        let cuts = pieces.Cuts |> Seq.map string |> String.concat " "
        $"cut at {cuts} up to stage {pieces.Last}, parts {parts}, tasks {tasks}"

let private origin (downstream: string[] | null) =
    match downstream with
    | null -> "the result of a stage"
    | [||] -> "new"
    | stages -> String.concat " | " [ "new, then"; yield! stages ]

let private task (task: Task) =
    let progress =
        if task.IsBegun then
            let progress = task.Progress
            let pastFailures = progress.PastFailures |> Seq.map failure |> String.concat "; "

            $"attempt {progress.Attempt}, {progress.Failures} failures, {progress.Losses} losses, stage {progress.Stage} to {progress.StageEnd}, {pastFailures}, {pieces progress.Pieces}"
        else
            "not begun"

    let pipeline = Pipeline.print task.Pipeline

    // Who was not looking forgives workers the time meanwhile.
    let since =
        match task.State with
        | TaskState.Running _ -> ""
        | _ -> $" since {task.Since.sinceStart}"

    $"task {task.Id}, priority {task.Submission.Priority}, {pipeline}: {place task.State}{since}, {payload task.Payload}, {origin task.Downstream}, {progress}"

let private ids (tasks: Task seq) =
    tasks |> Seq.map (fun task -> string task.Id) |> String.concat " "

/// One line for each thing that there is to say.
let ofState (scheduler: Scheduler) : string list =
    let state = scheduler.State

    [
        for each in state.Tasks.ToSeq() do
            task each

        // Sorted: which queue was needed first is not kept where its tasks are finished.
        yield!
            [
                for queue in state.Queues.All do
                    if queue.Count > 0 then
                        let stages = String.concat " | " queue.Stages
                        let avoiding = String.concat " " queue.FailedBy

                        $"for {stages}, {origin queue.Downstream}, but {avoiding}: {ids (queue.ToSeq())}"
            ]
            |> List.sort

        for struct (stage, size) in Seq.sort (state.Backpressure.ToSeq()) do
            $"{size} bytes before {stage}"

        $"suspects: {ids (state.Queues.Suspects.ToSeq())}"

        for KeyValue(name, newest) in Seq.sortBy (fun (KeyValue(name, _)) -> name) state.Files do
            $"file {name}: {newest.Id}"

        for KeyValue(older, newer) in Seq.sortBy (fun (KeyValue(id, _)) -> id) state.Successors do
            $"after {older}: {newer.Id}"

        for struct (key, id, outcome) in
            state.Keys.ToSeq() |> Seq.sortBy (fun struct (key, _, _) -> key.text) do
            let ending =
                match outcome with
                | ValueSome(struct (ending, result)) ->
                    let error = Option.defaultValue "done" ending.error
                    $"{ending.attempts} attempts, {error}, {kept result}"
                | ValueNone -> "not ended"

            let kept =
                match state.Keys.Find key with
                | ValueSome entry ->
                    let delivered =
                        match entry.delivered with
                        | ValueSome at -> string at.sinceStart
                        | ValueNone -> "never"

                    $"{want entry.want}, {entry.finished.sinceStart}, {delivered}"
                | ValueNone -> "nowhere"

            $"key {key.text} for {key.content}: {id}, {ending}, {kept}"

        for KeyValue(name, file) in Seq.sortBy (fun (KeyValue(name, _)) -> name) state.Taken.All do
            $"taken {name}: {version file.version} by {file.task} for {Pipeline.print file.pipeline}, done: {file.isDone}"

        for struct (name, hash) in Seq.sort state.Taken.Unflushed do
            $"unflushed {name}: {hash.size} bytes, {hash.hash}"

        for KeyValue(name, struct (source, _)) in state.Owners do
            $"owner of {name}: {source}"

        for worker in state.Workers.All |> Seq.sortBy _.Session do
            let offers = worker.Offers |> Seq.sort |> String.concat " "

            let alone =
                match worker.Reserved with
                | null -> ""
                | task when task.State = worker.Running -> ", and nothing else"
                | _ -> ""

            $"worker {worker.Session}, {worker.Name}, {offers}: {ids (worker.Held.ToSeq())}{alone}"

        let known = state.Known |> Seq.sort |> String.concat " "
        $"known: {known}"

        $"{state.Running} run, {state.WaitingCount} wait, {state.Publishing} are published, {state.Quarantined} in quarantine, {state.Finished} done, {state.Cancelled} cancelled"

        $"task {state.LastId}, event {state.LastEvent}, session {state.LastSession}"
    ]

/// Whether something is being cut. That is not recorded: where all that is recorded is known, it is in its queue.
let isCutting (scheduler: Scheduler) : bool =
    scheduler.State.Splits.Values
    |> Seq.exists (fun task ->
        match task.State with
        | TaskState.Split splitting -> splitting = Splitting.Cutting
        | _ -> false)
