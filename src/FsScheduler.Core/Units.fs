namespace FsScheduler.Core

/// Counts tasks, from 1. Below 2^53, so that every JSON reader holds it exactly.
[<Measure>]
type taskId

/// Counts connections of one run of a scheduler, from 1.
[<Measure>]
type sessionId

/// Milliseconds.
[<Measure>]
type ms

/// Bytes.
[<Measure>]
type B

/// A task. An int64 at run time and on the wire, a type of its own in the code.
type TaskId = int64<taskId>

/// A connection: a worker's or a client's.
type SessionId = int64<sessionId>

/// A length of time, in milliseconds.
type Duration = int64<ms>

/// A size in bytes, never negative.
type Size = int64<B>

/// A moment of a monotonic clock: only differences mean anything.
[<Struct>]
type Instant = {
    sinceStart: Duration
} with

    static member (+)(instant: Instant, span: Duration) = { sinceStart = instant.sinceStart + span }

    static member zero = { sinceStart = 0L<ms> }

    static member (-)(later: Instant, earlier: Instant) : Duration =
        later.sinceStart - earlier.sinceStart

/// One run of a task, or of some of its stages. The fence: no two runs of a task share a number.
[<Struct>]
type Attempt = { task: TaskId; number: int }
