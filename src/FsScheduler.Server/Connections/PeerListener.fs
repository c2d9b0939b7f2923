namespace FsScheduler.Server

open System
open System.IO
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Protocol

/// <summary>Accepts peers, and refuses them where there are too many.</summary>
/// <param name="listener">Started; stopped at the end.</param>
/// <param name="connections">Serves the accepted peers.</param>
/// <param name="context">What the connections share.</param>
/// <param name="lastSession">The last session of earlier runs; not reused, since the journal has it.</param>
[<Sealed>]
type PeerListener
    (
        listener: TcpListener,
        connections: Connections,
        context: ConnectionContext,
        lastSession: SessionId
    ) =
    // Peers that leave room for others, at most; each has two seconds for its final message.
    static let leavingMax = 16
    let stop = new CancellationTokenSource()
    let slots = context.places
    let clock = context.clock
    let log = context.log
    let mutable sessions = int64 lastSession
    let mutable fullSince = ValueNone

    /// Ends the oldest connection without a HELLO to make room for a new one.
    let hasRoom () =
        connections.Count < slots.All
        || (connections.Count < slots.All + leavingMax
            && match connections.OldestStranger with
               | Some stranger ->
                   stranger.MakeRoom slots.Full
                   true
               | None -> false)

    /// Logs a refusal, once a minute at most.
    let sayFull () =
        let now = clock.Now

        match fullSince with
        | ValueSome at when now - at < 60_000L<ms> -> ()
        | ValueSome _
        | ValueNone ->
            fullSince <- ValueSome now
            log.LogWarning("peers are refused: {Reason}", slots.Full)

    let welcome (socket: Socket) =
        if not (hasRoom ()) then
            sayFull ()
            slots.RefuseAsync socket |> ignore
        else
            KeepAlive.enable socket
            socket.NoDelay <- true

            let session =
                LanguagePrimitives.Int64WithMeasure<sessionId>(Interlocked.Increment &sessions)

            connections.Start(Connection(session, socket, context))

    /// Accepts peers until `Stop`.
    member _.RunAsync() : Task =
        task {
            while not stop.IsCancellationRequested do
                try
                    let! socket = listener.AcceptSocketAsync stop.Token

                    try
                        welcome socket
                    with
                    | :? SocketException
                    | :? IOException as error ->
                        log.LogInformation(
                            "a peer left before it was served: {Reason}",
                            error.Message
                        )

                        socket.Dispose()
                with
                | :? OperationCanceledException
                | :? ObjectDisposedException -> stop.Cancel()
                | :? SocketException as error when not stop.IsCancellationRequested ->
                    // Too many open files, for example: connected peers go on, and new ones can connect later.
                    log.LogError("peers cannot connect: {Reason}; next try in 1 s", error.Message)

                    do!
                        Task
                            .Delay(TimeSpan.FromSeconds 1.0, clock.Provider, stop.Token)
                            .ContinueWith((fun (_: Task) -> ()), TaskScheduler.Default)
                | :? SocketException -> ()
        }

    /// Stops accepting peers.
    member _.Stop() =
        stop.Cancel()
        listener.Stop()
