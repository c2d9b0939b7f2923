namespace FsScheduler.Journal

open System
open System.Collections.Generic

/// A step of a `MemoryStore`, before or after it.
[<RequireQualifiedAccess>]
type StoreStep =
    /// Before an append: an exception prevents it.
    | Appending of IReadOnlyList<Batch>
    /// After an append: an exception is a lost answer.
    | Appended of IReadOnlyList<Batch>
    | Dropping of before: int64
    | Dropped of before: int64
    /// Before a few batches are read.
    | Reading of from: int64

/// <summary>A journal in memory, for tests and the simulation.</summary>
/// <param name="content">The first batches.</param>
[<Sealed>]
type MemoryStore private (content: Batch seq) =
    let batches = List<Batch>(content)

    let next () =
        if batches.Count = 0 then
            1L
        else
            Batch.next batches[batches.Count - 1]

    /// The index of the batch that has a number, or else of the first later one.
    let indexOf (number: int64) =
        let mutable low = 0
        let mutable high = batches.Count

        while low < high do
            let middle = (low + high) / 2

            if Batch.next batches[middle] <= number then
                low <- middle + 1
            else
                high <- middle

        low

    let bytesOf (batch: Batch) = 64L + Batch.length batch

    let isSame (batch: Batch) =
        let index = indexOf batch.first
        index < batches.Count && Batch.sum batches[index] = Batch.sum batch

    let append (added: IReadOnlyList<Batch>) =
        if not (Seq.forall isSame added) then
            let mutable number = next ()

            for batch in added do
                if batch.first <> number then
                    raise (
                        QueueLost
                            $"the journal goes on at event {number}: another scheduler has written to it"
                    )

                number <- Batch.next batch

            batches.AddRange(Seq.map Batch.copy added)

    let read from most =
        lock batches (fun () ->
            let index = indexOf from
            batches.GetRange(index, min most (batches.Count - index)))

    let drop before most =
        let old = min (indexOf before) (batches.Count - 1)
        batches.RemoveRange(0, max 0 (min old most))
        old > most

    let size keep since =
        let mutable bytes = Seq.sumBy bytesOf batches
        let used = bytes
        let mutable kept = 0

        while kept < batches.Count - 1 && (bytes > keep || batches[kept].at < since) do
            bytes <- bytes - bytesOf batches[kept]
            kept <- kept + 1

        let firstAt index =
            if index < batches.Count then
                batches[index].first
            else
                next ()

        { bytes = used; first = firstAt 0; next = next (); cutoff = firstAt kept }

    new() = new MemoryStore(Seq.empty)

    /// Called at every step, without a lock; may raise an exception, which the caller of the store gets.
    member val OnStep: StoreStep -> unit = ignore with get, set

    /// A copy of the present batches, as a crash would leave them, with an `OnStep` that does nothing.
    member _.Fork() : MemoryStore =
        lock batches (fun () -> new MemoryStore(batches.ToArray()))

    interface IJournalStore with
        member store.Append added =
            store.OnStep(StoreStep.Appending added)
            lock batches (fun () -> append added)
            store.OnStep(StoreStep.Appended added)

        member store.Read from =
            seq {
                let mutable from = from
                let mutable goOn = true

                while goOn do
                    store.OnStep(StoreStep.Reading from)
                    let some = read from 64

                    if some.Count = 0 then
                        goOn <- false
                    else
                        yield! some
                        from <- Batch.next some[some.Count - 1]
            }

        member store.Drop(before, most) =
            store.OnStep(StoreStep.Dropping before)
            let hasMore = lock batches (fun () -> drop before most)
            store.OnStep(StoreStep.Dropped before)
            hasMore

        member _.Size(keep, since) =
            lock batches (fun () -> size keep since)

        member _.Dispose() = ()
