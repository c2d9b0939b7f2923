namespace FsScheduler.Protocol.Tests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.TestKit

/// A stream whose every write waits for the test, and may fail.
type GatedStream() =
    inherit Stream()
    let permits = new SemaphoreSlim(0)
    let waiting = new SemaphoreSlim(0)
    let written = new MemoryStream()
    let mutable flushes = 0
    let mutable isOpen = false

    member val Failure: exn | null = null with get, set
    member _.Flushes = flushes
    member _.Written = lock written (fun () -> written.ToArray())
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
                | null -> lock written (fun () -> written.Write buffer.Span)
                | failure -> raise failure
            }
            :> Task
        )

    override _.FlushAsync(_: CancellationToken) =
        Interlocked.Increment &flushes |> ignore
        Task.CompletedTask

    override _.CanRead = false
    override _.CanSeek = false
    override _.CanWrite = true
    override _.Length = raise (NotSupportedException())

    override _.Position
        with get () = raise (NotSupportedException())
        and set _ = raise (NotSupportedException())

    override _.Flush() = ()
    override _.Read(_: byte[], _: int, _: int) : int = raise (NotSupportedException())
    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())
    override _.Write(_: byte[], _: int, _: int) : unit = raise (NotSupportedException())
