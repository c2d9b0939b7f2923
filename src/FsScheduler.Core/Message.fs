namespace FsScheduler.Core

open System

[<RequireQualifiedAccess>]
type Role =
    /// Runs stages; None: every built-in stage.
    | Worker of stages: string[] option
    /// Submits tasks, and asks about tasks, events and workers.
    | Client

type Hello = {
    protocol: int
    role: Role
    name: string
    token: string option
    /// Attempts that a worker still holds, of a connection that was lost; at most `ProtocolLimits.holdingMax`.
    holding: Attempt[]
    /// Whether a worker sees the files of its scheduler, and may be sent paths in place of payloads.
    sharedFiles: bool
}

type EventQuery = {
    /// None: the events of all tasks.
    task: TaskId option
    /// The number of the last event that the client has; 0 for the beginning.
    after: int64
    /// From 1 to `ProtocolLimits.eventsMax`.
    most: int
}

/// The state of a task, in one word.
[<RequireQualifiedAccess>]
type Phase =
    | Queued
    /// Queued, to be run alone: lost twice with its worker.
    | Suspected
    | Running
    /// Its pieces are tasks of their own.
    | Split
    /// Failed; waits for its next attempt.
    | Waiting
    | Publishing
    /// Waits for an older version of its file.
    | Succeeding
    | Quarantined
    | Done
    | Cancelled

type TaskQuery = {
    /// Only tasks of a higher number.
    after: TaskId
    /// From 1 to `ProtocolLimits.listedMax`.
    most: int
    /// Empty: all unfinished tasks.
    phases: Phase[]
    /// A pattern with `*` and `?`.
    name: string option
    /// Tasks that are at this stage, or wait for it.
    stage: string option
}

/// Where the result of a submission goes.
type Want =
    /// Sent to the client.
    | Result
    /// Stored in `resultados/`, as for a file of `entrada/`.
    | File
    /// Nowhere: the client is told only how the task ended.
    | Nothing

/// How an attempt ended, by its worker.
type Outcome =
    /// The payload of the message is the result.
    | Succeeded
    | Failed of error: string * retry: bool
    /// The worker could not run the attempt: no room on its machine, or no such program. Does not count against the
    /// task.
    | Unable of error: string

type Submit = {
    /// The client's name for this request, given back in every answer.
    ref: string
    name: string
    /// Empty: the pipeline of the scheduler.
    pipeline: string
    /// Higher first.
    priority: int
    key: string option
    want: Want
}

/// From a worker or a client to the scheduler.
[<RequireQualifiedAccess>]
type ToScheduler =
    | Hello of Hello
    | Beat
    /// How many tasks this worker takes at once, from now on.
    | Ready of slots: int
    | Result of Attempt * Outcome
    /// The attempt succeeded, and its result of this size is in the file that PROCESS named.
    | Stored of Attempt * Size
    /// The worker cannot use the files that PROCESS named: nothing was run.
    | Unshared of Attempt * error: string
    | Submit of Submit
    | Status
    | Cancel of TaskId
    | Retry of TaskId
    /// Retries the task of a file with another pipeline.
    | RetryWith of TaskId * pipeline: string
    /// Retries every task in quarantine.
    | RetryAll
    | RetryAllWith of pipeline: string
    /// The workers of this name, or the one of this session, get no new tasks.
    | Drain of worker: string
    /// Asks why a task is in its state.
    | Explain of TaskId
    | Events of EventQuery
    | List of TaskQuery
    /// Asks for the stages that workers offer, or tasks wait for.
    | Stages
    /// Asks for the result of a finished task.
    | Fetch of TaskId

type Welcome = {
    protocol: int
    session: string
    beat: Duration
    lostAfter: Duration
    maxPayload: Size
    maxResult: Size
    /// The attempts of the worker's `holding` that it may go on with; it drops the others.
    keep: Attempt[]
}

/// A version of a shared file, as another machine can tell it.
[<Struct>]
type SharedFileVersion = {
    length: Size
    /// Last write, in microseconds since 1970, UTC: JavaScript holds no finer unit exactly.
    modified: int64
}

module SharedFileVersion =

    /// <returns>None: the last write was before 1970, or after 2255.</returns>
    let ofVersion (version: FileVersion) : SharedFileVersion voption =
        let micros =
            (version.modified - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond

        if micros >= 0L && micros <= ProtocolLimits.integerMax then
            ValueSome { length = version.size; modified = micros }
        else
            ValueNone

/// Files in place of a payload and its result, for a worker that sees the scheduler's files. Paths are absolute, and
/// have at most `ProtocolLimits.sharedPathBytesMax` bytes.
type SharedFiles = {
    source: string
    /// Offset of the payload in the source.
    start: Size
    size: Size
    /// Where the worker may store the result; no file is there yet.
    target: string
    /// The version of the source; none for a file that never changes.
    version: SharedFileVersion voption
}

type Process = {
    attempt: Attempt
    name: string
    /// The stages to run, in order, each `name` or `name:argument`.
    stages: string[]
    timeout: Duration
    /// The index of the piece, from 0; none: the payload is whole.
    piece: int voption
    /// The files that have the payload; none: the payload comes with the message.
    files: SharedFiles voption
}

/// How a task ended.
[<RequireQualifiedAccess>]
type TaskOutcome =
    | Completed
    /// It failed for good. A RETRY gives the task another end, with a DONE of its own.
    | Quarantined
    | Cancelled

/// The end of a task. An error stands with every outcome but `Completed`, and with that one where the result is lost.
type Done = {
    ref: string
    task: TaskId
    attempts: int
    outcome: TaskOutcome
    error: string option
}

module Done =

    /// The end of a finished task, for whoever comes later with its key. An error says that the task was cancelled: one in
    /// quarantine is not finished.
    let kept (task: TaskId) (attempts: int) (error: string option) : Done = {
        ref = ""
        task = task
        attempts = attempts
        outcome =
            match error with
            | None -> TaskOutcome.Completed
            | Some _ -> TaskOutcome.Cancelled
        error = error
    }

[<RequireQualifiedAccess>]
type RejectionCode =
    | BadPipeline
    | BadName
    /// The key was used with other content.
    | BadKey
    /// The scheduler is full: the client may try again later.
    | Busy

[<RequireQualifiedAccess>]
type ErrorCode =
    | BadFrame
    | BadField
    | UnknownType
    | TooLarge
    | BadVersion
    | Unauthorized
    | NotWelcome
    | Timeout

type WorkerReport = {
    session: SessionId
    name: string
    slots: int
    held: int
    /// Attempts that succeeded.
    finished: int64
    failed: int64
}

/// The state of the scheduler.
type StatusReport = {
    queued: int64
    running: int64
    /// Tasks that wait for a retry.
    waiting: int64
    publishing: int64
    /// Tasks worked on in pieces, which are tasks of their own.
    split: int64
    quarantined: int64
    finished: int64
    cancelled: int64
    idle: int
    busy: int
    /// Since the scheduler started.
    uptime: Duration
    /// The wait of the task that has been queued longest.
    oldest: Duration
    /// Tasks that finished in the last 10 and 60 seconds.
    finished10s: int64
    finished60s: int64
    /// Why the scheduler accepts no new work; none: it does.
    trouble: string option
    /// The file that has waited long to be taken, since when and for what; none: no file has.
    awaited: string option
    /// Stages that tasks wait for and no worker offers, at most `ProtocolLimits.missingMax`.
    missing: string[]
    /// Held-back workers, each with its stages and latest error; at most `ProtocolLimits.heldBackMax`.
    heldBack: string[]
    /// The first 200 workers by session; `idle + busy` counts them all.
    workers: WorkerReport[]
}

/// From the scheduler to a worker or a client.
[<RequireQualifiedAccess>]
type FromScheduler =
    | Welcome of Welcome
    | Beat
    | Process of Process
    | Cancel of Attempt
    | Accepted of ref: string * TaskId
    | Done of Done
    | Rejected of ref: string * RejectionCode * message: string
    | Status of StatusReport
    /// The worker is to finish its tasks and leave.
    | Drain
    /// The payload is a JSON object.
    | Explanation of TaskId
    /// The payload is JSON lines, one for each event; `last` is the number of the last one, or the one asked for.
    | Events of last: int64
    /// The payload is JSON lines, one for each task; `last` is the last task that was examined.
    | List of last: TaskId * more: bool
    /// The payload is JSON lines, one for each stage.
    | Stages
    /// The payload is the result of the task.
    | Fetch of TaskId * name: string
    | Error of ErrorCode * message: string
