namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine

/// The journal as the mailbox sees it. No decision of the scheduler becomes visible before its events are durable here.
type IJournal =
    inherit IAsyncDisposable

    /// <summary>Appends the events of one turn of the mailbox, as one batch.</summary>
    /// <param name="at">When the events were decided.</param>
    /// <param name="first">The number of the first event; the others follow it.</param>
    /// <param name="events">In order. Not to be changed before the returned task is complete.</param>
    /// <returns>Completes once all events are durable; calls complete in the order in which they were made. Waits while
    /// the disk takes nothing. Faults with `QueueLost` where another scheduler has the queue.</returns>
    abstract AppendAsync: at: Instant * first: int64 * events: IReadOnlyList<Event> -> ValueTask

    /// <summary>The whole submission of a task, for `Input.SubmissionLoaded`. From any thread.</summary>
    /// <param name="number">The event with the submission.</param>
    /// <exception cref="T:System.IO.IOException">The event is not there, or cannot be read.</exception>
    abstract ReadSubmission: number: int64 -> Submission

    /// <summary>The payload of an event. From any thread.</summary>
    /// <exception cref="T:System.IO.IOException">The payload is not there, or cannot be read.</exception>
    abstract ReadPayload: number: int64 -> byte[]

    /// <summary>Drops the events before a number, a bounded number of batches at a time.</summary>
    /// <param name="before">The number; what is needed of earlier events was carried.</param>
    abstract DropAsync: before: int64 -> Task

    /// <summary>The size of the journal, and how much of it exceeds the limits. From any thread.</summary>
    /// <param name="keep">Bytes to keep.</param>
    /// <param name="since">Older batches are before the cutoff too.</param>
    abstract Size: keep: int64 * since: Instant -> StoreSize

type FinishedTask = {
    task: TaskId
    name: string
    pipeline: string
    attempt: int
    /// Whether the task is done; else it was cancelled.
    isDone: bool
    /// Why the task was cancelled.
    reason: string
    at: DateTimeOffset
}

/// A recorded event: its number, its time and its JSON.
[<Struct>]
type RecordedEvent = { number: int64; at: DateTimeOffset; json: ReadOnlyMemory<byte> }

/// Queries on the history. From any thread.
type IHistory =
    /// The first 10,000 events of a task, oldest first. Dropped events are missing.
    abstract EventsOf: TaskId -> struct (PastEvent[] * RecordedEvent[])

    /// <summary>The events after an event.</summary>
    /// <param name="number">The number of that event; 0 for the beginning.</param>
    /// <param name="most">The most events to return.</param>
    abstract EventsAfter: number: int64 * most: int -> RecordedEvent[]

    /// <summary>Finished tasks, by their numbers.</summary>
    /// <param name="after">Only tasks of higher numbers than this.</param>
    /// <param name="upTo">Only tasks of numbers up to this.</param>
    /// <param name="isUnfinished">Whether a task is unfinished, by the machine.</param>
    abstract Finished:
        after: TaskId * upTo: TaskId * isUnfinished: (TaskId -> bool) -> FinishedTask[]

    /// The name of the worker of a session.
    abstract WorkerName: SessionId -> string
