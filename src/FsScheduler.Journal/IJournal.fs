namespace FsScheduler.Journal

open System
open System.Collections.Generic
open System.Threading.Tasks
open FsScheduler.Core

/// Where the history of the tasks is kept, as the mailbox sees it. Nothing that the scheduler decided shows before the events
/// that it rests on are durable here.
type IJournal =
    inherit IAsyncDisposable

    /// <summary>Writes what one turn of the mailbox decided, as one batch.</summary>
    /// <param name="at">When it was decided.</param>
    /// <param name="first">The number of the first event; the others follow it.</param>
    /// <param name="events">In order. Not to be used once the returned task is complete.</param>
    /// <returns>Completes once all of it is durable; calls complete in the order in which they were made. While the disk takes
    /// nothing it waits, and goes on by itself. Faults with `QueueLost` where another scheduler has the queue.</returns>
    abstract AppendAsync: at: Instant * first: int64 * events: IReadOnlyList<Event> -> ValueTask

    /// <summary>What a task was submitted with: all of it, for `Input.SubmissionLoaded`. From any thread.</summary>
    /// <param name="number">The event that has it.</param>
    /// <exception cref="T:System.IO.IOException">It is not there, or cannot be read.</exception>
    abstract ReadSubmission: number: int64 -> Submission

    /// <summary>The bytes that an event was recorded with. From any thread.</summary>
    /// <exception cref="T:System.IO.IOException">They are not there, or cannot be read.</exception>
    abstract ReadPayload: number: int64 -> byte[]

    /// <summary>Drops the events before a number, a bounded number of them at a time.</summary>
    /// <param name="before">What is needed of them was carried.</param>
    abstract DropAsync: before: int64 -> Task

    /// <summary>How much there is, and what of it is too much. From any thread.</summary>
    /// <param name="keep">Bytes that are to be left.</param>
    /// <param name="since">What is older is to go too.</param>
    abstract Size: keep: int64 * since: Instant -> StoreSize

/// A task that is finished, for those who look from outside.
type FinishedTask = {
    task: TaskId
    name: string
    pipeline: string
    attempt: int
    /// Whether it is done; else it was cancelled.
    isDone: bool
    /// Why it was cancelled.
    reason: string
    at: DateTimeOffset
}

/// An event as it was recorded: its number, when it was, and its JSON.
[<Struct>]
type RecordedEvent = { number: int64; at: DateTimeOffset; json: ReadOnlyMemory<byte> }

/// Answers questions about the past. From any thread.
type IHistory =
    /// The events of a task, oldest first; the first 10,000. What is dropped of them is missing.
    abstract EventsOf: TaskId -> struct (PastEvent[] * RecordedEvent[])

    /// <summary>The events that follow one.</summary>
    /// <param name="number">The event; 0 for the very first ones.</param>
    /// <param name="most">How many, at the most.</param>
    abstract EventsAfter: number: int64 * most: int -> RecordedEvent[]

    /// <summary>Finished tasks, by their numbers.</summary>
    /// <param name="after">Tasks of higher numbers than this.</param>
    /// <param name="upTo">And no higher than this.</param>
    /// <param name="isUnfinished">Whether a task is not finished, as the machine knows it.</param>
    abstract Finished:
        after: TaskId * upTo: TaskId * isUnfinished: (TaskId -> bool) -> FinishedTask[]

    /// What the worker of a session was called.
    abstract WorkerName: SessionId -> string
