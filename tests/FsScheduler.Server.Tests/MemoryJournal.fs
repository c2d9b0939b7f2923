namespace FsScheduler.Server.Tests

open System
open System.Collections.Generic
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal

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
        member _.AppendAsync(at, _, appended) =
            lock events (fun () ->
                count <- count + int64 appended.Count

                for index in max 0 (appended.Count - capacity) .. appended.Count - 1 do
                    if events.Count = capacity then
                        events.Dequeue() |> ignore

                    events.Enqueue(struct (at, appended[index])))

            ValueTask.CompletedTask

        member _.ReadSubmission number =
            raise (IO.IOException $"event {number}: a journal in memory is not read")

        member _.ReadPayload number =
            raise (IO.IOException $"event {number}: a journal in memory is not read")

        member _.DropAsync _ = Task.CompletedTask
        member _.Size(_, _) = { bytes = 0L; first = 1L; next = count + 1L; cutoff = 1L }

    interface IAsyncDisposable with
        member _.DisposeAsync() = ValueTask.CompletedTask
