namespace FsScheduler.Runtime

open System.Collections.Generic
open System.Threading.Tasks
open FsScheduler.Core

/// Where the history of the tasks is kept. Nothing that the scheduler decided shows before the events
/// that it rests on are durable here.
type IJournal =
    /// <summary>Writes what one turn of the mailbox decided, as one transaction.</summary>
    /// <param name="at">When it was decided.</param>
    /// <param name="events">In order. Not to be used once the returned task is complete.</param>
    /// <returns>Completes once all of it is durable; calls complete in the order in which they were made.</returns>
    abstract AppendAsync: at: Instant * events: IReadOnlyList<Event> -> ValueTask

/// The last events, in memory: durable as long as the process is.
[<Sealed>]
type MemoryJournal(capacity: int) =
    let events = Queue<struct (Instant * Event)>()
    let mutable count = 0L

    /// How many there have been.
    member _.Count = count

    /// The last of them, oldest first.
    member _.Recent = lock events (fun () -> events.ToArray())

    interface IJournal with
        member _.AppendAsync(at, appended) =
            lock events (fun () ->
                count <- count + int64 appended.Count

                for index in max 0 (appended.Count - capacity) .. appended.Count - 1 do
                    if events.Count = capacity then
                        events.Dequeue() |> ignore

                    events.Enqueue(struct (at, appended[index])))

            ValueTask.CompletedTask
