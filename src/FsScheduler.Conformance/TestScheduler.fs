namespace FsScheduler.Conformance

open System
open System.Collections.Generic
open System.Diagnostics
open System.Net
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core

/// <summary>A scripted scheduler for one check, on a port of its own, and the process of the worker.</summary>
/// <param name="examination">The command, and the time limits.</param>
/// <exception cref="T:FsScheduler.Conformance.WorkerNotStarted">The command cannot be started.</exception>
[<Sealed>]
type TestScheduler(examination: Examination) =
    /// A process needs time to start: the first connection is waited for this many times as long.
    static let startFactor = 3.0

    let listen (port: int) =
        let socket =
            new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)

        try
            // Windows only: there two sockets could share a port otherwise.
            socket.ExclusiveAddressUse <- OperatingSystem.IsWindows()
            // Inherited by accepted sockets: small, so that a slow connection fills up soon.
            socket.ReceiveBufferSize <- 256 * 1024
            socket.Bind(IPEndPoint(IPAddress.Loopback, port))
            socket.Listen 16
            socket
        with _ ->
            socket.Dispose()
            reraise ()

    let mutable listener = listen 0
    let port = (nonNull listener.LocalEndPoint :?> IPEndPoint).Port
    let connections = List<WorkerConnection>()
    let assignments = AssignmentLog()

    let worker =
        try
            new WorkerProcess(examination.command, string IPAddress.Loopback, port)
        with _ ->
            listener.Dispose()
            reraise ()

    member _.Examination = examination
    member _.Patience = examination.patience
    member _.Assignments = assignments

    /// Completes when the worker has ended, with its exit code.
    member _.Ended = worker.Ended

    member _.State = worker.State

    /// <summary>The next connection; None: no connection has come within the limit, or the worker has ended.</summary>
    member _.TryAccept(limit: TimeSpan) : Task<WorkerConnection option> =
        task {
            use source = new CancellationTokenSource()
            let accepting = listener.AcceptAsync(source.Token).AsTask()

            let! first =
                Task.WhenAny(accepting :> Task, worker.Ended, Task.Delay(limit, source.Token))

            if not (obj.ReferenceEquals(first, accepting)) then
                source.Cancel()

            try
                let! socket = accepting
                socket.NoDelay <- true
                let connection = new WorkerConnection(socket, assignments, examination.patience)
                connections.Add connection
                return Some connection
            with
            | :? OperationCanceledException
            | :? SocketException -> return None
        }

    /// <summary>The next connection.</summary>
    /// <param name="expected">The purpose of the connection, for the error.</param>
    /// <exception cref="T:FsScheduler.Conformance.CheckFailed">No connection comes in time, or the worker ends.</exception>
    member scheduler.Accept(expected: string) : Task<WorkerConnection> =
        task {
            let limit =
                if connections.Count = 0 then
                    startFactor * examination.patience
                else
                    examination.patience

            match! scheduler.TryAccept limit with
            | Some connection -> return connection
            | None ->
                let seen = $"none within {limit.TotalSeconds} s; {worker.State}"
                return failCheck expected seen
        }

    /// Refuses connections from now on.
    member _.StopListening() = listener.Dispose()

    /// Listens on the same port again, and waits while another process has taken the port.
    member scheduler.ListenAgain() : Task<unit> =
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
                do! (worker :> IAsyncDisposable).DisposeAsync()
                listener.Dispose()

                for connection in connections do
                    do! (connection :> IAsyncDisposable).DisposeAsync()
            }
            |> ValueTask
