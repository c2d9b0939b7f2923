namespace FsScheduler.Core

/// Task numbers, from 1 and below 2^53, which every JSON reader holds exactly.
[<Measure>]
type taskId

/// Connection numbers of one run of a scheduler, from 1.
[<Measure>]
type sessionId

[<Measure>]
type ms

[<Measure>]
type B

/// The number of a task: an int64 at run time and on the wire.
type TaskId = int64<taskId>

/// The number of a connection of a worker or a client.
type SessionId = int64<sessionId>

type Duration = int64<ms>

/// A size in bytes, never negative.
type Size = int64<B>

/// A moment of a monotonic clock: only differences between two instants mean anything.
[<Struct>]
type Instant = {
    sinceStart: Duration
} with

    static member (+)(instant: Instant, span: Duration) = { sinceStart = instant.sinceStart + span }

    static member zero = { sinceStart = 0L<ms> }

    static member (-)(later: Instant, earlier: Instant) : Duration =
        later.sinceStart - earlier.sinceStart

/// One run of a task, or of some of its stages. The number fences stale results: no two runs of a task share one.
[<Struct>]
type Attempt = { task: TaskId; number: int }
