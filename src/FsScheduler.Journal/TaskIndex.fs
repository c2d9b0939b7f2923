namespace FsScheduler.Journal

open System.Collections.Generic
open FsScheduler.Core

/// About where tasks came into the journal: they come in the order of their numbers.
[<Sealed>]
type internal TaskIndex() =
    /// An entry for so many events, at the most.
    let spacing = 4_096L
    // The highest task that came before an event, and the event.
    let entries = List<struct (TaskId * int64)>()
    let mutable latest = 0L<taskId>

    /// A task came, or was carried, in the batch that begins at an event.
    member _.Add(task: TaskId, batch: int64) =
        if task > latest then
            let isDue =
                entries.Count = 0
                || (let struct (_, number) = entries[entries.Count - 1]
                    batch - number >= spacing)

            if isDue then
                // Before the first there may be events of tasks whose submissions are dropped.
                if entries.Count = 0 then
                    entries.Add(struct (task - 1L<taskId>, 0L))
                else
                    entries.Add(struct (latest, batch))

            latest <- task

    /// <summary>An event before which the journal has nothing of a task that was submitted, or nothing any more.</summary>
    /// <param name="task">The task.</param>
    member _.StartOf(task: TaskId) : int64 =
        let mutable low = 0
        let mutable high = entries.Count

        while low < high do
            let middle = (low + high) >>> 1
            let struct (before, _) = entries[middle]

            if before < task then low <- middle + 1 else high <- middle

        if low = 0 then
            0L
        else
            let struct (_, number) = entries[low - 1]
            number

    /// Events before a number are dropped: tasks of lower numbers than this were submitted there.
    member _.Drop(before: int64) =
        let kept = entries.FindIndex(fun (struct (_, number)) -> number >= before)
        let gone = if kept < 0 then entries.Count - 1 else kept - 1

        if gone > 0 then
            entries.RemoveRange(0, gone)

    /// Tasks up to this one were submitted before all that the journal has: what it has of them was carried.
    member _.Before: TaskId =
        if entries.Count = 0 then
            0L<taskId>
        else
            let struct (before, _) = entries[0]
            before
