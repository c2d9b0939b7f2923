namespace FsScheduler.Platform

open System
open FsScheduler.Core

/// The clock of a process: instants for the machine, and their dates for people.
[<Sealed>]
type Clock(time: TimeProvider) =
    let start = time.GetTimestamp()
    let startDate = time.GetUtcNow()

    member _.Provider = time

    /// A monotonic instant, 0 when the clock was created.
    member _.Now: Instant = {
        sinceStart = int64 (time.GetElapsedTime start).TotalMilliseconds * 1L<ms>
    }

    member _.DateOf(instant: Instant) =
        startDate.AddMilliseconds(float (int64 instant.sinceStart))
