namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core

[<RequireQualifiedAccess>]
type Ending =
    | Completed
    | Cancelled

/// What the observer knows of a task, from events alone.
[<Sealed>]
type TaskRecord(id: TaskId, submission: Submission, pipeline: Pipeline, origin: string) =
    member _.Id = id
    member _.Submission = submission
    member _.Pipeline = pipeline

    /// What it was submitted with.
    member _.Origin = origin

    /// What the stages done so far must have made of it.
    member val Content = origin with get, set

    /// What its latest successful attempt has made of that.
    member val Result = "" with get, set

    /// The payload of its next stage, or its result where a client gets it.
    member val Payload = submission.Payload with get, set
    member val Attempt = 0 with get, set
    member val Range = struct (0, 0) with get, set
    member val Stage = 0 with get, set

    member val Session = 0L<sessionId> with get, set
    member val IsRunning = false with get, set
    member val IsPublishing = false with get, set
    member val IsQuarantined = false with get, set
    member val Ending: Ending voption = ValueNone with get, set
    member val Failures = 0 with get, set
    member val Losses = 0 with get, set
    member val NotBefore = Instant.zero with get, set
    member val QueuedSince = Instant.zero with get, set

    /// How often it came to an end, quarantine included; and how often that is durable.
    member val Ends = 0 with get, set
    member val DurableEnds = 0 with get, set
    member val DurableAttempt = 0 with get, set
    member val DurableAccepted = 0 with get, set
    member val IsDurable = false with get, set

    /// What it becomes when this attempt succeeds.
    member task.Expected =
        let struct (first, last) = task.Range
        Content.run task.Pipeline.wire[first .. last - 1] task.Attempt task.Content

/// What the observer knows of a worker's session.
[<Sealed>]
type SessionRecord(stages: string[]) =
    member _.Stages = stages
    member val Slots = 0 with get, set
    member val Held = HashSet<TaskId>()

/// One SUBMIT of a client, and the answers to it.
[<Sealed>]
type RequestRecord(content: string, want: Want, key: Key option) =
    member _.Content = content
    member _.Want = want
    member _.Key = key
    member val Task = 0L<taskId> with get, set
    member val IsRejected = false with get, set

    /// The end of its task that it was told last.
    member val Told = 0 with get, set
