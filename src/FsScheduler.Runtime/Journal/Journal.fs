namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// Where the history of the tasks is kept. Nothing that the scheduler decided shows before the events
/// that it rests on are durable here.
type IJournal =
    inherit IAsyncDisposable

    /// <summary>Writes what one turn of the mailbox decided, as one transaction.</summary>
    /// <param name="at">When it was decided.</param>
    /// <param name="first">The number of the first event; the others follow it.</param>
    /// <param name="events">In order. Not to be used once the returned task is complete.</param>
    /// <returns>Completes once all of it is durable; calls complete in the order in which they were made. While the
    /// disk takes nothing it waits, and goes on by itself.</returns>
    abstract AppendAsync: at: Instant * first: int64 * events: IReadOnlyList<Event> -> ValueTask

    /// <summary>What a task was submitted with: all of it, for `Input.Recalled`. From any thread.</summary>
    /// <exception cref="T:System.IO.IOException">It is not there, or cannot be read.</exception>
    abstract ReadSubmission: TaskId -> Submission

    /// <summary>The bytes that an event was recorded with: of an `Advanced` or a `Completed`. From any thread.</summary>
    /// <exception cref="T:System.IO.IOException">They are not there, or cannot be read.</exception>
    abstract ReadPayload: number: int64 -> byte[]

/// When what was written is flushed to the device.
[<RequireQualifiedAccess>]
type Sync =
    /// Never: survives a process that is killed, not a machine that loses power.
    | Off
    /// The journal always, results only where they could not be computed again.
    | Normal
    /// The journal always, and results before they count as published.
    | Full

/// A result that the journal calls stored, and that may not have reached the device.
[<Struct>]
type Unverified = { name: string; proof: Proof }

/// A result that was accepted, and of which the journal does not know whether it got its final name.
[<Struct>]
type Accepted = {
    attempt: Attempt
    name: string
    /// Whether its task is of a file; else a client has submitted it.
    isOfFile: bool
    mark: ResultMark
}

/// Finished tasks that a journal is about to forget.
type Forgotten = {
    /// Their keys, free again from now on.
    keys: struct (string * TaskId)[]
    /// Files of results that were kept for those of the call before, which the journal has forgotten by now.
    spools: string[]
    /// Whether there are more of them to forget at once.
    more: bool
}

/// What a journal knows of earlier runs, and what is done with it from time to time.
type IRecovery =
    /// All that a scheduler needs to go on, in order, each event with its number and its time on this process's
    /// clock. What is finished is left out, but for tasks with keys.
    abstract Recover: unit -> seq<struct (int64 * Instant * Event)>

    /// The highest numbers that were ever given, of a task, an event and a session.
    abstract Highest: struct (TaskId * int64 * SessionId)

    /// How many tasks are done and how many were cancelled, ever.
    abstract Ended: struct (int64 * int64)

    /// The version of each file that was taken.
    abstract Files: unit -> struct (string * Stamp)[]

    /// The pipelines of the newest task of each file that is done, by the name of the file; of tasks up to this one. From
    /// any thread.
    abstract DonePipelines: upTo: TaskId -> struct (string * string)[]

    /// Results stored since the last `SetFlushed`.
    abstract Unverified: unit -> Unverified[]

    /// Results that were accepted, of tasks that are not finished.
    abstract Accepted: unit -> Accepted[]

    /// That version of a file is to be taken again.
    abstract ForgetFile: name: string -> Task

    /// All results of events up to this number have reached the device.
    abstract SetFlushed: number: int64 -> Task

    /// <summary>Looks for finished tasks that are to be forgotten, and deletes those of the call before.</summary>
    abstract RetireAsync: unit -> Task<Forgotten>

/// Remembers whose results have names that do not tell it.
type IResultOwners =
    /// Those that were remembered.
    abstract ResultOwners: unit -> struct (TaskName * ResultSource)[]

    /// Completes once it is durable.
    abstract RememberAsync: ResultOwner[] -> Task

/// Told what has reached somebody.
type IDelivered =
    /// The result that is kept of a task was handed to a connection that lives. Recorded with what is written next, or when
    /// the journal is closed; nobody waits for it. From any thread.
    abstract Delivered: TaskId -> unit

/// Answers questions about the past. From any thread.
type IHistory =
    /// The events of a task, oldest first; the first 10,000.
    abstract EventsOf: TaskId -> struct (int64 * DateTimeOffset * Event)[]

    /// <summary>The events that follow one.</summary>
    /// <param name="number">The event; 0 for the very first ones.</param>
    /// <param name="most">How many, at the most.</param>
    abstract EventsAfter: number: int64 * most: int -> struct (int64 * DateTimeOffset * Event)[]

    /// Finished tasks of a higher number, in order, this many at the most.
    abstract FinishedAfter: task: TaskId * most: int -> FinishedTask[]

    /// What the worker of a session was called.
    abstract WorkerName: SessionId -> string
