namespace FsScheduler.Machine

open System.Collections.Generic
open FsScheduler.Core

/// The latest event that has each item, in the order of the events: it tells what dropping old events would lose. An
/// item that a later event has too is added again; its older entry is then skipped by its reader.
type internal EventIndex<'item>() =
    let entries = List<struct (int64 * 'item)>()
    let mutable start = 0
    let mutable dropped = 0L

    /// Adds an item at an event, whose number is higher than those before.
    member _.Add(number: int64, item: 'item) = entries.Add(struct (number, item))

    /// How many entries were taken: the position of the first one left.
    member _.Dropped = dropped

    /// <summary>The entry at a position, if its event comes before `before`.</summary>
    /// <param name="position">From `Dropped` on.</param>
    /// <param name="before">An event number.</param>
    member events.TryGet(position: int64, before: int64) : struct (int64 * 'item) voption =
        let index = start + int (position - events.Dropped)

        if index < entries.Count then
            let struct (number, _) = entries[index]

            if number < before then
                ValueSome entries[index]
            else
                ValueNone
        else
            ValueNone

    /// Takes the first entry, if its event comes before `before`.
    member events.TryTake(before: int64) : struct (int64 * 'item) voption =
        let first = events.TryGet(events.Dropped, before)

        if first.IsSome then
            entries[start] <- Unchecked.defaultof<_>
            start <- start + 1
            dropped <- dropped + 1L

            if start >= 1_024 && 2 * start >= entries.Count then
                entries.RemoveRange(0, start)
                start <- 0

        first
