namespace FsScheduler.Core

/// Where a carried task is: a `TaskState` without references.
[<RequireQualifiedAccess>]
type CarriedState =
    | Queued
    | Suspected
    | Running of SessionId
    | Split
    | Waiting of until: Instant
    | Publishing
    | Succeeding of older: TaskId
    | Quarantined

/// The pieces of a carried task. Their parts are carried one by one, behind it.
type CarriedPieces = {
    /// Where each piece ends, in bytes from the beginning.
    cuts: Size[]
    /// The stages that are run on pieces end before this index.
    last: int
    /// What is run on them.
    pipeline: Pipeline
}

/// How far a carried task has come; what was never given out has none.
type CarriedProgress = {
    attempt: int
    failures: int
    losses: int
    stage: int
    stageEnd: int
    /// The input of its next stage, where that is the result of a stage.
    result: Payload voption
    /// The latest first.
    pastFailures: Failure list
    pieces: CarriedPieces voption
}

/// All that is known of an unfinished task, as it is when it is carried.
type CarriedTask = {
    task: TaskId
    submission: Submission
    pipeline: Pipeline
    state: CarriedState
    /// When it came into its state.
    since: Instant
    /// The number of the event that brought it there; negative where it came to the front of its queue.
    place: int64
    progress: CarriedProgress voption
    /// The event that had the submission until now.
    home: int64
}

/// What is kept of a finished task for those who come with its key.
type CarriedKey = {
    key: Key
    task: TaskId
    attempts: int
    /// Why there is no result.
    error: string option
    result: Payload
    want: Want
    finished: Instant
    /// When the result was first handed to somebody.
    delivered: Instant voption
}

/// What is known of a file: the version that was taken last.
type CarriedFile = {
    name: string
    version: FileVersion
    /// The task of that version.
    task: TaskId
    /// What it was submitted for.
    pipeline: Pipeline
    /// Whether that task is done.
    isDone: bool
    /// The result, if it may not have reached the device, and the event that it came with.
    unflushed: struct (int64 * ContentHash) voption
}

/// What old batches have that is still needed, written again at the head of the journal, so that they can go. It changes
/// nothing: it says what is so.
[<RequireQualifiedAccess>]
type Carried =
    | Task of CarriedTask
    /// A part of the result of a task in pieces.
    | Part of whole: TaskId * index: int * Payload
    | Key of CarriedKey
    | File of CarriedFile
    /// Whose a name in the folder of results is.
    | Owner of TaskName * ResultSource
    | Worker of SessionId * name: string * stages: string[]

/// Numbers that hold for the whole history, also for what is dropped of it.
type Totals = {
    completed: int64
    cancelled: int64
    lastTask: TaskId
    lastSession: SessionId
    /// Stages that were ever offered.
    known: string[]
}

/// What the shell has done, and the journal is to remember.
[<RequireQualifiedAccess>]
type Note =
    /// Whose a name in the folder of results is from now on; none: nobody's.
    | Owner of TaskName * ResultSource voption
    /// The result that is kept of a task has reached somebody.
    | Delivered of TaskId
    /// The results of events up to this number have reached the device.
    | Flushed of number: int64
    /// The result of a file is not whole: the file is to be taken again.
    | Damaged of file: string
