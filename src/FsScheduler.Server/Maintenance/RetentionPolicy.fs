namespace FsScheduler.Server

open System
open FsScheduler.Core
open FsScheduler.Journal

/// How long the past is remembered: whichever of the two is reached first.
type Retention = {
    age: Duration
    /// What the journal takes, and the results that are kept in files.
    bytes: Size
}

/// What there is beside what the journal takes.
type JournalUse = {
    /// What results take that are kept in files.
    kept: Size
    /// How many events the last time carried.
    carried: int64
    /// Events after this one stay; none: all results have reached the device.
    flushedUpTo: int64 voption
}

/// How much is done at a time.
type RetentionPace = {
    /// How many events are carried in one turn of the mailbox, about.
    carriedMax: int
    /// Fewer events than this are not dropped: each time writes something too.
    droppedMin: int64
} with

    /// 1,000 are a few milliseconds of the mailbox.
    static member Usual = { carriedMax = 1_000; droppedMin = 16L }

/// How much of the past is dropped.
module RetentionPolicy =

    /// What is carried is needed, and does not count against the bytes that may be kept.
    let private needed (size: StoreSize) (usage: JournalUse) =
        let events = size.next - size.first

        if events = 0L then
            0L
        else
            int64 (float size.bytes / float events * float usage.carried)

    /// <summary>What is to be dropped now.</summary>
    /// <param name="retention">What is kept.</param>
    /// <param name="pace">How much at a time.</param>
    /// <param name="usage">What there is.</param>
    /// <param name="now">The time.</param>
    /// <param name="sizeFor">What the journal takes, and its cutoff for so many bytes that are left and for what is older than
    /// a time.</param>
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
                // An eighth more, so that it is not done all the time.
                sizeFor (max 0L (most - int64 retention.bytes / 8L)) keptSince
            else
                size

        let before =
            match usage.flushedUpTo with
            | ValueSome number -> min (number + 1L) size.cutoff
            | ValueNone -> size.cutoff

        // What is written for it is dropped one day too: it must be less than what goes.
        if before - size.first > pace.droppedMin + 2L * usage.carried then
            ValueSome {
                before = before
                keptSince = keptSince
                isTooMuch = isTooMuch
                most = pace.carriedMax
            }
        else
            ValueNone
