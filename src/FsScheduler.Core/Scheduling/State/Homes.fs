namespace FsScheduler.Core

open System.Collections.Generic

/// Where the journal has what is kept of many things: the event of each, in the order of the events. What has come to a later
/// event stands there too, and its older entry counts no more.
type internal Homes<'item>() =
    let entries = List<struct (int64 * 'item)>()
    let mutable start = 0
    let mutable dropped = 0L

    /// The next event, of a number that is higher than those before.
    member _.Add(number: int64, item: 'item) = entries.Add(struct (number, item))

    /// How many were taken: the position of the first one that is there.
    member _.Dropped = dropped

    /// <summary>The entry at a position, if its event comes before a number.</summary>
    /// <param name="position">From `Dropped` on.</param>
    /// <param name="before">The number.</param>
    member homes.TryGet(position: int64, before: int64) : struct (int64 * 'item) voption =
        let index = start + int (position - homes.Dropped)

        if index < entries.Count then
            let struct (number, _) = entries[index]

            if number < before then
                ValueSome entries[index]
            else
                ValueNone
        else
            ValueNone

    /// Takes the first entry, if its event comes before a number.
    member homes.TryTake(before: int64) : struct (int64 * 'item) voption =
        let first = homes.TryGet(homes.Dropped, before)

        if first.IsSome then
            entries[start] <- Unchecked.defaultof<_>
            start <- start + 1
            dropped <- dropped + 1L

            if start >= 1_024 && 2 * start >= entries.Count then
                entries.RemoveRange(0, start)
                start <- 0

        first
