namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
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
        disk.NeedRoom()
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

    /// Another process appends.
    member _.Intrude(batch: Batch) =
        change (fun store -> store.Append [| batch |])
        flush ()

    /// The number that the next batch begins with.
    member _.Next = content().Size(System.Int64.MaxValue, System.Int64.MinValue).next

    interface IJournalStore with
        member store.Append batches =
            transact (fun content -> content.Append batches)

            if chance.Percent store.AnswersLost then
                coverage.Count "fault: answer lost"
                transact (fun content -> content.Append batches)

        member _.Read from = content().Read from
        member _.ReadPayload(first, at, bytes) = content().ReadPayload(first, at, bytes)

        member _.Drop(before, most) =
            transact (fun content -> content.Drop(before, most))

        member _.Size(keep, since) = content().Size(keep, since)
        member _.Dispose() = ()
