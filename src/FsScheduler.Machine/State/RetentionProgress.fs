namespace FsScheduler.Machine

open FsScheduler.Core

/// Events whose needed state is carried: they are dropped once no read of them is under way.
type internal Dropping = {
    /// The events before this number.
    before: int64
    /// Not dropped before this time.
    at: Instant
    /// Attempts that may still read these events.
    mutable reading: Attempt list
}

/// Progress in carrying the state that is needed of the events before a number. No event records it: after a restart
/// carrying begins again, with what is not carried yet.
[<Sealed>]
type internal RetentionProgress() =
    /// The number of which earlier events are being carried; 0: none are.
    member val Before = 0L with get, set

    /// How many events were carried.
    member val Carried = 0L with get, set

    /// The last task that was examined.
    member val Task = 0L<taskId> with get, set

    /// The positions of the next entries in the indexes of files, owners, workers and keys.
    member val File = 0L with get, set
    member val Owner = 0L with get, set
    member val Worker = 0L with get, set
    member val Key = 0L with get, set

    /// The carried events that are not dropped yet.
    member val Dropping: Dropping voption = ValueNone with get, set
