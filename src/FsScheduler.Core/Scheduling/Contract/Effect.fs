namespace FsScheduler.Core

/// What is said to the peer of a session. One that is gone is passed over.
[<RequireQualifiedAccess>]
type PeerEffect =
    | Assign of SessionId * Process * Submission * Payload
    | Revoke of SessionId * Attempt
    /// Welcome a worker, which may keep these of what it holds.
    | Welcome of SessionId * keep: Attempt[]
    /// Ask a worker to finish what it has and go.
    | Dismiss of SessionId
    /// The payload, if it is a file, is the receiver's to delete, unless it is kept.
    /// A later effect may discard one that is kept: open it before.
    | Reply of SessionId * FromScheduler * Payload * kept: bool
    | Disconnect of SessionId * reason: string

/// What is done with results, and with payloads that are files.
[<RequireQualifiedAccess>]
type DiskEffect =
    /// Give the result its final name. From here on the payload is the publisher's.
    | Publish of Attempt * Submission * Payload
    /// The same, of a version of a file that would otherwise never have a result: it counts although the file has changed
    /// since.
    | PublishOlder of Attempt * Submission * Payload
    /// Its result has its final name already, since before a restart: do the rest, and say `Published`.
    | ConfirmPublished of Attempt * Submission * ContentHash
    /// Tell, beside the results, why there is none.
    | PublishError of TaskId * Submission * Failure list
    /// A payload that nobody needs any more.
    | Discard of Payload

/// What is done with payloads that are split.
[<RequireQualifiedAccess>]
type PieceEffect =
    /// Look for line ends in a payload, so that pieces of about this size end there, for `Cut`.
    | Cut of Attempt * Submission * Payload * pieceSize: Size
    /// Put the results of pieces together, in order: one behind the other, or by the merge of the stage that gave them,
    /// for `PartsMerged`. The parts stay the machine's.
    | MergeParts of Attempt * merge: Stage voption * parts: Payload[]
    /// The next part, counted from 0, of what `MergeParts` will ask for without a merge: to put it behind those before it saves
    /// time then, and need not be done. The part stays the machine's.
    | PrefetchPart of Attempt * index: int * part: Payload
    /// What was gathered for this attempt is not joined any more.
    | DropPrefetch of Attempt

/// What the journal has to give, or to let go.
[<RequireQualifiedAccess>]
type JournalEffect =
    /// Read what this task was submitted with, for `SubmissionLoaded`: the journal has it at the event of this number.
    | LoadSubmission of Attempt * number: int64
    /// Tell how a task ended, with the reference that it was submitted with: the journal has that at the event of this number.
    | ReplyLoaded of SessionId * Done * number: int64
    /// What is needed of the events before this number is carried, and nobody reads them any more: the journal may drop them.
    | Drop of before: int64

/// What is told to whoever looks after the workers.
[<RequireQualifiedAccess>]
type LogEffect =
    /// So many tasks wait for a stage that no worker offers. Once, until one does.
    | StageUnavailable of stage: string * tasks: int
    /// The workers of this name only fail these stages, and are given them now and then only; and that they do them again.
    | HeldBack of worker: string * stages: string[] * error: string
    | TakenUp of worker: string * stages: string[]

/// What the world outside is asked to do, by who is asked.
[<RequireQualifiedAccess>]
type Effect =
    | ToPeer of PeerEffect
    | ToDisk of DiskEffect
    | ToPieces of PieceEffect
    | ToJournal of JournalEffect
    | ToLog of LogEffect

/// What follows from inputs: events to record, then effects to let out. Cleared and used again.
[<Sealed>]
type StepOutput() =
    member val Events = ResizeArray<Event>()
    member val Effects = ResizeArray<Effect>()

    member decisions.Clear() =
        decisions.Events.Clear()
        decisions.Effects.Clear()
