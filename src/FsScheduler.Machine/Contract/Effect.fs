namespace FsScheduler.Machine

open FsScheduler.Core

/// Messages to the peer of a session. A session that has ended is skipped.
[<RequireQualifiedAccess>]
type PeerEffect =
    | Assign of SessionId * Process * Submission * Payload
    | Revoke of SessionId * Attempt
    /// Welcome a worker, which may keep these of the attempts that it holds.
    | Welcome of SessionId * keep: Attempt[]
    /// Ask a worker to finish its tasks and leave.
    | Dismiss of SessionId
    | Reply of SessionId * FromScheduler
    /// Send a result, whose file is then deleted.
    | ReplyResult of SessionId * FromScheduler * Content
    /// Send a result that is kept. A later effect may discard its file: open the file before that effect.
    | ReplyKept of SessionId * FromScheduler * KeptContent
    | Disconnect of SessionId * reason: string

/// Work on results, and on payloads in files.
[<RequireQualifiedAccess>]
type DiskEffect =
    /// Rename the result to its final name. From here on the result is the publisher's.
    | Publish of Attempt * Submission * Content
    /// `Publish` although the file may have changed since: a file that changes often would never have a result.
    | PublishOlder of Attempt * Submission * Content
    /// The result has had its final name since before a restart: finish publishing, and answer `Published`.
    | ConfirmPublished of Attempt * Submission * ContentHash
    /// Write why there is no result, beside the results.
    | PublishError of TaskId * Submission * Failure list
    /// Delete the file of a payload or result that is not needed any more.
    | Discard of path: string

/// Work on payloads in pieces.
[<RequireQualifiedAccess>]
type PieceEffect =
    /// Find line ends in a payload, so that pieces of about this size end there; answered by `Input.Cut`.
    | Cut of Attempt * Submission * Payload * pieceSize: Size
    /// Merge the parts in order: concatenated, or by the merge of their stage; answered by `PartsMerged`. The machine
    /// keeps the parts.
    | MergeParts of Attempt * merge: Stage voption * parts: KeptContent[]
    /// The next part, counted from 0, of a later `MergeParts` without a merge stage: to append it to the parts before
    /// it now saves time then, but need not be done. The part stays the machine's.
    | PrefetchPart of Attempt * index: int * part: KeptContent
    /// The prefetched parts of this attempt will not be merged.
    | DropPrefetch of Attempt

/// Work of the journal.
[<RequireQualifiedAccess>]
type JournalEffect =
    /// Read the submission of this task from the event of this number; answered by `SubmissionLoaded`.
    | LoadSubmission of Attempt * number: int64
    /// Send the outcome with the reference that the task was submitted with, from the event of this number.
    | ReplyLoaded of SessionId * Done * number: int64
    /// Drop the events before this number: what is needed of them is carried, and no read of them is under way.
    | Drop of before: int64

/// Messages for the operator.
[<RequireQualifiedAccess>]
type LogEffect =
    /// So many tasks wait for a stage that no worker offers. Logged once, until a worker does.
    | StageUnavailable of stage: string * tasks: int
    /// The workers of this name fail these stages in a row, and get trials only. `TakenUp`: they succeed again.
    | HeldBack of worker: string * stages: string[] * error: string
    | TakenUp of worker: string * stages: string[]

/// What the shell is asked to do, by the part of the shell that does it.
[<RequireQualifiedAccess>]
type Effect =
    | ToPeer of PeerEffect
    | ToDisk of DiskEffect
    | ToPieces of PieceEffect
    | ToJournal of JournalEffect
    | ToLog of LogEffect

/// The output of `Step`: events to record, then effects to carry out. Cleared and used again.
[<Sealed>]
type StepOutput() =
    member val Events = ResizeArray<Event>()
    member val Effects = ResizeArray<Effect>()

    member output.Clear() =
        output.Events.Clear()
        output.Effects.Clear()
