namespace FsScheduler.Journal

open System
open System.Buffers.Binary
open System.IO.Hashing

/// The events of one turn of the mailbox, with their payloads: the unit of the journal.
type Batch = {
    /// The number of the first event, from 1.
    first: int64
    /// How many events, at least 1: the next batch begins at `first + count`.
    count: int
    /// When the events were decided, in Unix milliseconds.
    at: int64
    /// The scheduler that wrote it.
    owner: Guid
    /// A JSON array in UTF-8 with an object for each event; an empty array in a lost batch.
    events: ReadOnlyMemory<byte>
    /// The bytes that the events refer to, concatenated.
    payloads: ReadOnlyMemory<byte>
}

module Batch =

    /// The number of the event that follows the batch.
    let next (batch: Batch) : int64 = batch.first + int64 batch.count

    /// The size of events and payloads, in bytes.
    let length (batch: Batch) : int64 =
        int64 batch.events.Length + int64 batch.payloads.Length

    /// <summary>A batch in place of lost events: it has their numbers, no events, and `Guid.Empty` as owner. A repair,
    /// or a start that accepts a loss, writes it so that numbers stay continuous and none is given twice.</summary>
    /// <param name="first">The first lost number.</param>
    /// <param name="count">How many events are lost.</param>
    /// <param name="at">The time of the batch before it, in Unix milliseconds.</param>
    let lost (first: int64) (count: int) (at: int64) : Batch = {
        first = first
        count = count
        at = at
        owner = Guid.Empty
        events = ReadOnlyMemory "[]"B
        payloads = ReadOnlyMemory.Empty
    }

    /// Whether the batch stands for lost events.
    let isLost (batch: Batch) : bool = batch.owner = Guid.Empty

    /// <summary>XXH3 over all fields: the numbers and both lengths in little-endian order, the owner in big-endian
    /// order, then events and payloads.</summary>
    let sum (batch: Batch) : int64 =
        let head = Span<byte>(Array.zeroCreate 44)
        BinaryPrimitives.WriteInt64LittleEndian(head, batch.first)
        BinaryPrimitives.WriteInt32LittleEndian(head.Slice 8, batch.count)
        BinaryPrimitives.WriteInt64LittleEndian(head.Slice 12, batch.at)
        batch.owner.TryWriteBytes(head.Slice 20, true) |> ignore
        BinaryPrimitives.WriteInt32LittleEndian(head.Slice 36, batch.events.Length)
        BinaryPrimitives.WriteInt32LittleEndian(head.Slice 40, batch.payloads.Length)
        let hash = XxHash3()
        hash.Append(Span.op_Implicit head: ReadOnlySpan<byte>)
        hash.Append batch.events.Span
        hash.Append batch.payloads.Span
        int64 (hash.GetCurrentHashAsUInt64())

    /// A copy whose bytes stay valid when the buffers of `batch` are reused.
    let copy (batch: Batch) : Batch = {
        batch with
            events = ReadOnlyMemory(batch.events.ToArray())
            payloads = ReadOnlyMemory(batch.payloads.ToArray())
    }
