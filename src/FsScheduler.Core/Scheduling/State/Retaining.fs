namespace FsScheduler.Core

/// Events that may go, once nobody reads them any more.
type internal Dropping = {
    /// Those before this number.
    before: int64
    /// No earlier than this.
    at: Instant
    /// Attempts for which something was still to be read of them.
    mutable reading: Attempt list
}

/// How far it has come to carry what is needed of the events before a number. No event tells of it: after a restart it begins
/// again, with what is not carried yet.
[<Sealed>]
type internal Retaining() =
    /// Of which events; 0: of none.
    member val Before = 0L with get, set

    /// How much was carried.
    member val Carried = 0L with get, set

    /// The last task that was looked at.
    member val Task = 0L<taskId> with get, set

    /// The next entry to look at, of the homes of files, owners, workers and keys.
    member val File = 0L with get, set
    member val Owner = 0L with get, set
    member val Worker = 0L with get, set
    member val Key = 0L with get, set

    /// What was carried last, and is not dropped yet.
    member val Dropping: Dropping voption = ValueNone with get, set
