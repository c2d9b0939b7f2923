namespace FsScheduler.Server

open System
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal

/// How long finished tasks are remembered, until either limit is reached.
type Retention = {
    age: Duration
    /// Bytes of the journal, and of the results kept in files.
    bytes: Size
}

/// Storage used besides the journal.
type JournalUse = {
    /// Bytes of results kept in files.
    kept: Size
    /// The number of events that the last drop carried over.
    carried: int64
    /// Events after this number stay; none: all results are flushed.
    flushedUpTo: int64 voption
}

/// How much is done at a time.
type RetentionPace = {
    /// Events carried over in one batch of the mailbox, about.
    carriedMax: int
    /// The smallest number of events to drop, since each drop writes some too.
    droppedMin: int64
} with

    /// 1,000 events take a few milliseconds of the mailbox.
    static member Usual = { carriedMax = 1_000; droppedMin = 16L }

/// Decides how much of the journal is dropped.
module RetentionPolicy =

    /// Bytes of the carried events, which are needed and do not count against the limit.
    let private needed (size: StoreSize) (usage: JournalUse) =
        let events = size.next - size.first

        if events = 0L then
            0L
        else
            int64 (float size.bytes / float events * float usage.carried)

    /// <summary>The cutoff for a drop now, if any.</summary>
    /// <param name="retention">The limits.</param>
    /// <param name="pace">How much at a time.</param>
    /// <param name="usage">The storage used.</param>
    /// <param name="now">The time.</param>
    /// <param name="sizeFor">The size of the journal, and its cutoff by bytes and time to keep.</param>
    let choose
        (retention: Retention)
        (pace: RetentionPace)
        (usage: JournalUse)
        (now: Instant)
        (sizeFor: int64 -> Instant -> StoreSize)
        : Cutoff voption =
        let keptSince = now + (0L<ms> - retention.age)
        let size = sizeFor Int64.MaxValue keptSince
        let most = int64 retention.bytes + needed size usage - int64 usage.kept
        let isTooMuch = size.bytes > most

        let size =
            if isTooMuch then
                // An eighth more, so that drops are rare.
                sizeFor (max 0L (most - int64 retention.bytes / 8L)) keptSince
            else
                size

        let before =
            match usage.flushedUpTo with
            | ValueSome number -> min (number + 1L) size.cutoff
            | ValueNone -> size.cutoff

        // Carried events are dropped one day too: they must be fewer than those that go now.
        if before - size.first > pace.droppedMin + 2L * usage.carried then
            ValueSome {
                before = before
                keptSince = keptSince
                isTooMuch = isTooMuch
                most = pace.carriedMax
            }
        else
            ValueNone
