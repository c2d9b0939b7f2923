namespace FsScheduler.Protocol.Tests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.TestKit

/// A stream whose every write waits for the test, and may fail.
type GatedStream() =
    inherit MemoryStream()
    let permits = new SemaphoreSlim(0)
    let waiting = new SemaphoreSlim(0)
    let mutable flushes = 0
    let mutable isOpen = false

    member val Failure: exn | null = null with get, set
    member _.Flushes = flushes
    member stream.Written = lock permits (fun () -> stream.ToArray())
    /// Ends when a write waits that has not been waited for before.
    member _.WaitingAsync() : Task = ended (waiting.WaitAsync())
    /// Lets one write happen.
    member _.Permit() = permits.Release() |> ignore

    /// Lets all writes happen from now on.
    member _.Open() =
        Volatile.Write(&isOpen, true)
        permits.Release 1_000 |> ignore

    override stream.WriteAsync(buffer: ReadOnlyMemory<byte>, _: CancellationToken) =
        ValueTask(
            task {
                if not (Volatile.Read &isOpen) then
                    waiting.Release() |> ignore
                    do! permits.WaitAsync()

                match stream.Failure with
                | null -> lock permits (fun () -> stream.Write buffer.Span)
                | failure -> raise failure
            }
            :> Task
        )

    override _.FlushAsync(_: CancellationToken) =
        Interlocked.Increment &flushes |> ignore
        Task.CompletedTask
