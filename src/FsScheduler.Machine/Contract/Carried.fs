namespace FsScheduler.Machine

open FsScheduler.Core

/// The state of a carried task: a `TaskState` without references.
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

/// The pieces of a carried task. `Carried.Part` events with their parts follow.
type CarriedPieces = {
    /// Where each piece ends, in bytes from the beginning.
    cuts: Size[]
    /// The stages that run on pieces end before this index.
    last: int
    /// The stages that run on each piece.
    pipeline: Pipeline
}

/// The progress of a carried task; a task that was never assigned has none.
type CarriedProgress = {
    attempt: int
    failures: int
    losses: int
    stage: int
    stageEnd: int
    /// The input of the next stage, where that is the result of a stage.
    result: KeptContent voption
    /// The latest first.
    pastFailures: Failure list
    pieces: CarriedPieces voption
}

/// An unfinished task as of the moment when it is carried.
type CarriedTask = {
    task: TaskId
    submission: Submission
    pipeline: Pipeline
    state: CarriedState
    /// When the task came into its state.
    since: Instant
    /// The number of the event that brought the task there; negative where the task came to the front of its queue.
    place: int64
    progress: CarriedProgress voption
    /// The number of the event that had the submission until now.
    submissionEvent: int64
}

/// The outcome of a finished task, kept for submissions with the same key.
type CarriedKey = {
    key: Key
    task: TaskId
    attempts: int
    error: string option
    result: KeptContent
    want: Want
    finished: Instant
    /// When the result was first sent to a client.
    delivered: Instant voption
}

/// A file of `entrada/` and the version that was taken last.
type CarriedFile = {
    name: string
    version: FileVersion
    /// The task of that version.
    task: TaskId
    /// The pipeline that the version was submitted with.
    pipeline: Pipeline
    isDone: bool
    /// The hash of a result that may not have reached the device, with the number of its event.
    unflushed: struct (int64 * ContentHash) voption
}

/// State from old batches that is still needed, written again at the head of the journal so that the old batches can be
/// dropped. While the machine runs, such an event changes no state but where the journal has it.
[<RequireQualifiedAccess>]
type Carried =
    | Task of CarriedTask
    /// A part of the result of a task in pieces.
    | Part of whole: TaskId * index: int * KeptContent
    | Key of CarriedKey
    | File of CarriedFile
    /// The owner of a name in the folder of results.
    | Owner of TaskName * ResultSource
    | Worker of SessionId * name: string * stages: string[]

/// Totals over the whole history, dropped events included.
type Totals = {
    completed: int64
    cancelled: int64
    lastTask: TaskId
    lastSession: SessionId
    known: string[]
}

/// An action of the shell that the journal is to remember.
[<RequireQualifiedAccess>]
type Note =
    /// The new owner of a name in the folder of results; none: nobody.
    | Owner of TaskName * ResultSource voption
    /// The kept result of a task has reached a client.
    | Delivered of TaskId
    /// The results of events up to this number have reached the device.
    | Flushed of number: int64
    /// The result of a file is damaged: the file is to be taken again.
    | Damaged of file: string
