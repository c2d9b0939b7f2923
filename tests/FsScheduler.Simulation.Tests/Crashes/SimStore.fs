namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
open System.IO
open FsScheduler.Journal
open FsScheduler.Simulation.Tests

/// <summary>The batches of a journal on a disk, of whose transactions the device has the first so many.</summary>
/// <param name="disk">Has its boundaries, and its room.</param>
/// <param name="chance">Tells how many those are.</param>
/// <param name="coverage">What was seen.</param>
/// <param name="isFlushing">Transactions are flushed; else the power is never cut.</param>
[<Sealed>]
type SimStore(disk: SimDisk, chance: Chance, coverage: Coverage, isFlushing: bool) =
    let mutable current = new MemoryStore()

    /// What the device may have: what it has for sure, and what came of each transaction since.
    let states = List [ current.Fork() ]

    let content () : IJournalStore = current

    let flush () =
        if isFlushing then
            states.RemoveRange(0, states.Count - 1)

    let change (action: IJournalStore -> 'result) : 'result =
        let result = action current

        if isFlushing then
            states.Add(current.Fork())

        result

    let transact (action: IJournalStore -> 'result) : 'result =
        disk.Boundary()

        try
            disk.NeedRoom()
        with :? IOException as error ->
            raise (StoreError(true, error.Message))

        disk.Boundary() // what is half written has no valid sums, and is not there
        let result = change action
        disk.Boundary()
        flush ()
        disk.Boundary()
        result

    /// How many of a hundred answers to an append are lost.
    member val AnswersLost = 0 with get, set

    /// With it everything before is flushed.
    member _.Open() =
        disk.Boundary()
        flush ()
        disk.Boundary()

    /// The power goes: what was not flushed ends somewhere.
    member _.Cut() =
        current <- states[chance.Below states.Count].Fork()
        states.Clear()
        states.Add(current.Fork())

    /// Whether some is dropped of what is to be dropped, and not all.
    member val IsDropping = false with get, set

    /// As another process on another machine sees it: this one's disk has nothing to do with that.
    member _.Elsewhere: IJournalStore = {
        new IJournalStore with
            member _.Append batches =
                change (fun store -> store.Append batches)
                flush ()

            member _.Read from = content().Read from
            member _.Drop(_, _) = raise (System.NotSupportedException())
            member _.Size(keep, since) = content().Size(keep, since)
            member _.Dispose() = ()
    }

    /// The number of the first event that is there.
    member _.First = content().Size(System.Int64.MaxValue, System.Int64.MinValue).first

    /// The number that the next batch begins with.
    member _.Next = content().Size(System.Int64.MaxValue, System.Int64.MinValue).next

    /// The number of the first event that the device may not have.
    member _.DurableUpTo =
        if isFlushing then
            (states[0] :> IJournalStore).Size(System.Int64.MaxValue, System.Int64.MinValue).next
        else
            content().Size(System.Int64.MaxValue, System.Int64.MinValue).next

    interface IJournalStore with
        member store.Append batches =
            transact (fun content -> content.Append batches)

            if chance.Percent store.AnswersLost then
                coverage.Count "fault: answer lost"
                raise (StoreError(true, "the answer was lost"))

        member _.Read from = content().Read from

        member store.Drop(before, most) =
            let some = min most (1 + chance.Below 4)
            store.IsDropping <- transact (fun content -> content.Drop(before, some))

            if not store.IsDropping then
                coverage.Count "seen: dropped"

            store.IsDropping

        member _.Size(keep, since) = content().Size(keep, since)
        member _.Dispose() = ()
