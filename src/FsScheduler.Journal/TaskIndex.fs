namespace FsScheduler.Journal

open System.Collections.Generic
open FsScheduler.Core

/// A sparse index of the events that submitted tasks, whose numbers ascend with those of the events.
[<Sealed>]
type internal TaskIndex() =
    /// At most one entry for this many events.
    let spacing = 4_096L
    // The highest task before an event, and the event.
    let entries = List<struct (TaskId * int64)>()
    let mutable latest = 0L<taskId>

    /// A task was submitted or carried in the batch that begins at an event.
    member _.Add(task: TaskId, batch: int64) =
        if task > latest then
            let isDue =
                entries.Count = 0
                || (let struct (_, number) = entries[entries.Count - 1]
                    batch - number >= spacing)

            if isDue then
                // Before the first entry there may be events of tasks whose submissions are dropped.
                if entries.Count = 0 then
                    entries.Add(struct (task - 1L<taskId>, 0L))
                else
                    entries.Add(struct (latest, batch))

            latest <- task

    /// <summary>An event before which the journal has no event of a submitted task.</summary>
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

    /// The events before a number are dropped.
    member _.Drop(before: int64) =
        let kept = entries.FindIndex(fun (struct (_, number)) -> number >= before)
        let gone = if kept < 0 then entries.Count - 1 else kept - 1

        if gone > 0 then
            entries.RemoveRange(0, gone)

    /// The last task that was submitted before all events of the journal, which has carried events of such tasks only.
    member _.Before: TaskId =
        if entries.Count = 0 then
            0L<taskId>
        else
            let struct (before, _) = entries[0]
            before
