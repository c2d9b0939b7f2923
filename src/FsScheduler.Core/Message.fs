namespace FsScheduler.Core

open System

/// What a connection is for.
type Role =
    /// Runs stages. None: it runs every built-in stage.
    | Worker of stages: string[] option
    /// Submits tasks and asks.
    | Client

type Hello = {
    protocol: int
    role: Role
    name: string
    token: string option
    /// What a worker still holds, of a scheduler that it has lost; at most `ProtocolLimits.holdingMax`.
    holding: Attempt[]
    /// Whether a worker sees files of its scheduler, and may be told a path instead of a payload.
    sharedFiles: bool
}

/// Which events are asked for.
type EventQuery = {
    /// None: those of all tasks.
    task: TaskId option
    /// The number of the last event that is known; 0 for the very first ones.
    after: int64
    /// From 1 to `ProtocolLimits.eventsMax`.
    most: int
}

/// Where a task is, in one word.
[<RequireQualifiedAccess>]
type Phase =
    | Queued
    /// Queued, to be run alone: twice lost with its worker.
    | Suspected
    | Running
    /// Worked on in pieces.
    | Split
    /// Failed, and waiting for another try.
    | Waiting
    | Publishing
    /// Behind an older version of its file.
    | Succeeding
    | Quarantined
    | Done
    | Cancelled

/// Which tasks are asked for.
type TaskQuery = {
    /// Only those of a higher number.
    after: TaskId
    /// From 1 to `ProtocolLimits.listedMax`.
    most: int
    /// None: those that are not finished.
    phases: Phase[]
    /// A pattern with `*` and `?`.
    name: string option
    /// At this stage, or waiting for it.
    stage: string option
}

/// What a client wants to have of a result.
type Want =
    /// Sent to it.
    | Result
    /// Stored in `resultados/`, as for a file of `entrada/`.
    | File
    /// Only word that it is done.
    | Nothing

/// How an attempt ended, as its worker tells it.
type Outcome =
    /// The payload of the message is the result.
    | Succeeded
    | Failed of error: string * retry: bool
    /// The worker could not run it, whatever it is: its machine has no room, or no such program. It says nothing of the task.
    | Unable of error: string

type Submit = {
    /// The client's own name for this request, given back in every answer to it.
    ref: string
    name: string
    /// Empty: the scheduler's own pipeline.
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
    /// How many tasks this worker holds at once, from now on.
    | Ready of slots: int
    | Result of Attempt * Outcome
    /// It succeeded, and the result, of so many bytes, is in the file that its PROCESS named.
    | Stored of Attempt * Size
    /// The files that its PROCESS named cannot be used here: nothing was done.
    | Unshared of Attempt * error: string
    | Submit of Submit
    | Status
    | Cancel of TaskId
    | Retry of TaskId
    /// The same with another pipeline, for a file.
    | RetryWith of TaskId * pipeline: string
    /// Every task in quarantine.
    | RetryAll
    | RetryAllWith of pipeline: string
    /// The workers of that name, or the one of that session, are to get nothing new.
    | Drain of worker: string
    /// Why a task is where it is.
    | Explain of TaskId
    | Events of EventQuery
    /// Tasks, by number.
    | List of TaskQuery
    /// The stages that workers offer, or tasks wait for.
    | Stages
    /// The result of a task that is done.
    | Fetch of TaskId

type Welcome = {
    protocol: int
    session: string
    beat: Duration
    lostAfter: Duration
    maxPayload: Size
    maxResult: Size
    /// What a worker may go on with, of what it said that it holds. The rest it is to drop.
    keep: Attempt[]
}

/// A version of a file, as another machine may see it too.
[<Struct>]
type SharedFileVersion = {
    length: Size
    /// Microseconds since 1970, UTC: JavaScript could not hold finer ones.
    modified: int64
}

module SharedFileVersion =

    /// <returns>None: it was last changed before 1970, or after 2255.</returns>
    let ofVersion (version: FileVersion) : SharedFileVersion voption =
        let micros =
            (version.modified - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond

        if micros >= 0L && micros <= ProtocolLimits.integerMax then
            ValueSome { length = version.size; modified = micros }
        else
            ValueNone

/// Files in place of a payload and its result, for a worker that sees them too. Paths are absolute, and at most
/// `ProtocolLimits.sharedPathBytesMax` long.
type SharedFiles = {
    source: string
    /// Where in the source the payload begins.
    start: Size
    size: Size
    /// Where the result may be put. There is no such file yet.
    target: string
    /// What the source is, if it is one that may change.
    version: SharedFileVersion voption
}

type Process = {
    attempt: Attempt
    name: string
    /// Run in order, each `name` or `name:argument`.
    stages: string[]
    timeout: Duration
    /// Which piece of the payload of that name this is, from 0; none: it is all of it.
    piece: int voption
    /// Where the payload is, if it does not come with the message.
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

module internal Done =

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
    /// The same key with other content.
    | BadKey
    /// Try again later.
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
    /// Tasks, or groups of stages, that it has finished.
    finished: int64
    failed: int64
}

/// What the scheduler is doing, now.
type StatusReport = {
    queued: int64
    running: int64
    /// Waiting for a retry.
    waiting: int64
    publishing: int64
    /// Worked on in pieces, which are tasks of their own.
    split: int64
    quarantined: int64
    finished: int64
    cancelled: int64
    idle: int
    busy: int
    /// Since the scheduler started.
    uptime: Duration
    /// How long the task that has been queued longest has been waiting.
    oldest: Duration
    /// Tasks that were done in the last ten seconds, and in the last sixty.
    finished10s: int64
    finished60s: int64
    /// Why no new work is taken, if it is not.
    trouble: string option
    /// The file that has been waiting for a while to be taken, since when and for what, if there is one.
    awaited: string option
    /// Stages that tasks wait for and no worker offers, at most `ProtocolLimits.missingMax`.
    missing: string[]
    /// Workers that only fail what they are given of these stages, and are given it now and then only, each with what went
    /// wrong last; at most `ProtocolLimits.heldBackMax`.
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
    /// Finish what you hold, and go.
    | Drain
    /// The payload is a JSON object.
    | Explanation of TaskId
    /// The payload is JSON lines, one for each event; the number is that of the last, or the one asked for.
    | Events of last: int64
    /// The payload is JSON lines, one for each task; the number is that of the last that was looked at.
    | List of last: TaskId * more: bool
    /// The payload is JSON lines, one for each stage.
    | Stages
    /// The payload is the result of the task.
    | Fetch of TaskId * name: string
    | Error of ErrorCode * message: string
