namespace FsScheduler.Conformance

open System
open System.Collections.Generic
open System.Diagnostics
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core

/// <summary>A scheduler that says what a row wants it to, on a port of its own, and the worker that was started for
/// it.</summary>
/// <param name="examination">The command, and how long to wait for anything.</param>
/// <exception cref="T:FsScheduler.Conformance.Unstartable">The command cannot be started.</exception>
[<Sealed>]
type TestScheduler(examination: Examination) =
    static let startsFor = 3.0

    let listen (port: int) =
        let socket =
            new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

        try
            // Windows only: elsewhere, or else, two rows could share a port.
            socket.ExclusiveAddressUse <- OperatingSystem.IsWindows()
            // Of the sockets that it accepts: what is sent slowly should not pile up here.
            socket.ReceiveBufferSize <- 256 * 1024
            socket.Bind(IPEndPoint(IPAddress.Loopback, port))
            socket.Listen 16
            socket
        with _ ->
            socket.Dispose()
            reraise ()

    let mutable listener = listen 0
    let port = (nonNull listener.LocalEndPoint :?> IPEndPoint).Port
    let links = List<WorkerConnection>()
    let ledger = AssignmentLog()

    let child =
        try
            new Child(examination.command, string IPAddress.Loopback, port)
        with _ ->
            listener.Dispose()
            reraise ()

    member _.Examination = examination
    member _.Patience = examination.patience
    member _.AssignmentLog = ledger

    /// Completes when the worker has ended, with its exit code.
    member _.Ended = child.Ended

    /// What has become of the process, for people.
    member _.State = child.State

    /// <summary>The next connection, if one comes within this time and before the worker ends.</summary>
    member _.TryAccept(limit: TimeSpan) : Task<WorkerConnection option> =
        task {
            use source = new CancellationTokenSource()
            let accepting = listener.AcceptAsync(source.Token).AsTask()

            let! first =
                Task.WhenAny(accepting :> Task, child.Ended, Task.Delay(limit, source.Token))

            if not (obj.ReferenceEquals(first, accepting)) then
                source.Cancel()

            try
                let! socket = accepting
                socket.NoDelay <- true
                let link = new WorkerConnection(socket, ledger, examination.patience)
                links.Add link
                return Some link
            with
            | :? OperationCanceledException
            | :? SocketException -> return None
        }

    /// <summary>The next connection.</summary>
    /// <param name="expected">What it is for, for the sentence when none comes.</param>
    /// <exception cref="T:FsScheduler.Conformance.Unfit">None comes in time, or the worker ends.</exception>
    member rig.Accept(expected: string) : Task<WorkerConnection> =
        task {
            // The first one comes when the process has started, which is not what is examined.
            let limit =
                if links.Count = 0 then
                    startsFor * examination.patience
                else
                    examination.patience

            match! rig.TryAccept limit with
            | Some link -> return link
            | None ->
                let seen = $"none within {limit.TotalSeconds} s; {child.State}"
                return raise (Unfit(expected, seen))
        }

    /// Refuses connections from now on.
    member _.StopListening() = listener.Dispose()

    /// Listens where it did. Whoever has taken the port meanwhile is given time to leave it.
    member rig.ListenAgain() : Task<unit> =
        task {
            let started = Stopwatch.StartNew()
            let mutable isListening = false

            while not isListening do
                try
                    listener <- listen port
                    isListening <- true
                with :? SocketException when started.Elapsed < examination.patience ->
                    do! Task.Delay 20
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                do! (child :> IAsyncDisposable).DisposeAsync()
                listener.Dispose()

                for link in links do
                    do! (link :> IAsyncDisposable).DisposeAsync()
            }
            |> ValueTask
