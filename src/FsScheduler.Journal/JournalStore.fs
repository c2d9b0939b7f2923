namespace FsScheduler.Journal

open System
open System.Collections.Generic

/// The journal cannot be used: what is wrong with it, and what to do. (exit code 3)
exception JournalRefused of message: string with
    override error.Message = error.message

/// Another scheduler has written to this journal: the next number is taken. (exit code 70)
exception QueueLost of message: string with
    override error.Message = error.message

/// A write or a read failed. `passes`: the same may succeed later, as the disk is full or fails, or the file is locked.
exception StoreError of passes: bool * message: string with
    override error.Message = error.message

/// How much a journal holds.
[<Struct>]
type StoreSize = {
    /// Bytes in use: of batches, not of the file, which keeps the room of those that were dropped.
    bytes: int64
    /// The number of the first event that is there. Equal to `next`: the journal is empty.
    first: int64
    /// The number that the next batch begins with.
    next: int64
    /// Where the batches begin that are to stay; those before it may be dropped.
    cutoff: int64
}

/// The journal as a log of batches. It knows nothing of what the events say.
type IJournalStore =
    inherit IDisposable

    /// <summary>Appends batches as one transaction; all of it is durable when the call returns. One call at a time.</summary>
    /// <param name="batches">In order. Their buffers are free again when the call returns.</param>
    /// <exception cref="T:FsScheduler.Journal.QueueLost">The first is not the next number. An append whose answer was lost
    /// may be tried again: batches that are there exactly so, by the same owner, are as good as appended.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">None of it is there, or, if the answer was lost, all.</exception>
    abstract Append: batches: IReadOnlyList<Batch> -> unit

    /// <summary>Batches in order, read a few at a time, from any thread and while others are appended or dropped: what is
    /// appended meanwhile is read too.</summary>
    /// <param name="from">A number: begins with the batch that has it, or else the first later one.</param>
    /// <returns>Each batch as it was written; also lost ones (`Batch.isLost`), which have numbers without events. Its bytes are
    /// good until the next batch is asked for.</returns>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">While it is enumerated: a batch is not what was written, or
    /// one is missing.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">While it is enumerated: the file cannot be read.</exception>
    abstract Read: from: int64 -> seq<Batch>

    /// <summary>Drops whole batches, the oldest first. The last batch always stays, so that no number is given twice. Not
    /// while an append is under way.</summary>
    /// <param name="before">Only batches that end before this number.</param>
    /// <param name="most">At most so many of them.</param>
    /// <returns>Whether there are more to drop.</returns>
    /// <exception cref="T:FsScheduler.Journal.StoreError">Nothing was dropped.</exception>
    abstract Drop: before: int64 * most: int -> bool

    /// <summary>How much there is, and what of it is too much. From any thread.</summary>
    /// <param name="keep">Bytes: before the cutoff is whatever must go for the rest to fit in them.</param>
    /// <param name="since">Unix milliseconds: before the cutoff is also whatever is older.</param>
    /// <returns>The cutoff looks at some thousand batches; if it stops short of what could go, the next call after a drop
    /// goes on. (`Int64.MaxValue`, `Int64.MinValue`) gives no cutoff: it equals `first`. The last batch is never before
    /// it.</returns>
    /// <exception cref="T:FsScheduler.Journal.StoreError">The file cannot be read.</exception>
    abstract Size: keep: int64 * since: int64 -> StoreSize
