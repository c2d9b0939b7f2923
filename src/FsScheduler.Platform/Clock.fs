namespace FsScheduler.Platform

open System
open FsScheduler.Core

/// The one clock of a process: moments for the machine, and their dates for people.
[<Sealed>]
type Clock(time: TimeProvider) =
    let start = time.GetTimestamp()
    let startDate = time.GetUtcNow()

    member _.Provider = time

    /// Monotonic, from 0 at the clock's making.
    member _.Now: Instant = {
        sinceStart = int64 (time.GetElapsedTime start).TotalMilliseconds * 1L<ms>
    }

    member _.DateOf(instant: Instant) =
        startDate.AddMilliseconds(float (int64 instant.sinceStart))
