namespace FsScheduler.Journal

open System
open System.Collections.Generic

/// The journal cannot be used: why, and what to do. (exit code 3)
exception JournalRefused of message: string with
    override error.Message = error.message

/// Another scheduler has written to this journal: the next number is taken. (exit code 70)
exception QueueLost of message: string with
    override error.Message = error.message

/// A write or a read failed. `passes`: a retry may succeed, as the disk is full or fails, or the file is locked.
exception StoreError of passes: bool * message: string with
    override error.Message = error.message

/// How much a journal holds.
[<Struct>]
type StoreSize = {
    /// Bytes that the batches take. The file may be larger, since it keeps the space of dropped batches.
    bytes: int64
    /// The number of the first event. Equal to `next`: the journal is empty.
    first: int64
    /// The number that the next batch begins with.
    next: int64
    /// The number of the first batch to keep; batches before it may be dropped.
    cutoff: int64
}

/// A log of batches, which does not interpret the events.
type IJournalStore =
    inherit IDisposable

    /// <summary>Appends batches in one transaction, durable when the call returns. One call at a time.</summary>
    /// <param name="batches">In order. Their buffers may be reused when the call returns.</param>
    /// <exception cref="T:FsScheduler.Journal.QueueLost">The first batch does not have the next number. An append whose
    /// answer was lost may be retried: equal batches of the same owner that are there count as appended.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">None was appended, or all with a lost answer.</exception>
    abstract Append: batches: IReadOnlyList<Batch> -> unit

    /// <summary>Reads batches in order, a few at a time, from any thread and during appends and drops. Batches that are
    /// appended meanwhile are read too.</summary>
    /// <param name="from">An event number: reading begins with its batch, or else the first later one.</param>
    /// <returns>Each batch as it was written; also lost ones (`Batch.isLost`). The bytes of a batch are valid until the
    /// next one is read.</returns>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">While enumerating: a damaged batch, or a gap.</exception>
    /// <exception cref="T:FsScheduler.Journal.StoreError">While enumerating: the file cannot be read.</exception>
    abstract Read: from: int64 -> seq<Batch>

    /// <summary>Drops whole batches, the oldest first, but never the last one, so that no number is given twice. Not
    /// during an append.</summary>
    /// <param name="before">Batches that end before this number.</param>
    /// <param name="most">The most batches to drop.</param>
    /// <returns>Whether there are more to drop.</returns>
    /// <exception cref="T:FsScheduler.Journal.StoreError">Nothing was dropped.</exception>
    abstract Drop: before: int64 * most: int -> bool

    /// <summary>The size of the journal, and how much of it exceeds the limits. From any thread.</summary>
    /// <param name="keep">Bytes: the oldest batches are before the cutoff until the others fit into them.</param>
    /// <param name="since">Unix milliseconds: older batches are before the cutoff too.</param>
    /// <returns>The size. The cutoff is found among the first thousands of batches; a call after a drop moves it on.
    /// (`Int64.MaxValue`, `Int64.MinValue`) gives `first` as cutoff. The last batch is never before it.</returns>
    /// <exception cref="T:FsScheduler.Journal.StoreError">The file cannot be read.</exception>
    abstract Size: keep: int64 * since: int64 -> StoreSize
