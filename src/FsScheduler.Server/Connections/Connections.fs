namespace FsScheduler.Server

open System.Collections.Concurrent
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine

/// The connections of a scheduler, by session. Safe for any thread.
[<Sealed>]
type Connections() =
    let connections = ConcurrentDictionary<SessionId, Connection>()
    let serving = ConcurrentDictionary<SessionId, Task>()

    let serve (connection: Connection) : Task =
        task {
            try
                do! connection.RunAsync()
            finally
                connections.TryRemove connection.Session |> ignore
                serving.TryRemove connection.Session |> ignore
        }

    member _.Count = connections.Count
    member _.Sessions = connections.Keys

    /// The loops of the open connections; each completes with its connection.
    member _.Serving = serving.Values

    /// The peer of a session; null once it has gone.
    member _.Find(session: SessionId) : IPeer | null =
        match connections.TryGetValue session with
        | true, connection -> connection
        | _ -> null

    /// Serves a connection until it ends.
    member _.Start(connection: Connection) =
        connections[connection.Session] <- connection
        // In `serving` before the connection runs: waiting for all connections includes this one.
        let start = new Task<Task>(fun () -> serve connection)
        serving[connection.Session] <- start.Unwrap()
        start.Start TaskScheduler.Default

    /// The connection that is the oldest of those without a HELLO.
    member _.OldestStranger: Connection option =
        connections.Values
        |> Seq.filter _.IsStranger
        |> Seq.sortBy _.Session
        |> Seq.tryHead

    /// Ends the connections of unresponsive peers; gives an input for each worker with a sign of life.
    member _.Sweep() : Input seq =
        seq {
            for KeyValue(session, connection) in connections do
                if connection.Sweep() then
                    Input.Heard session
        }

    /// Ends all connections in order.
    member _.End() =
        for connection in connections.Values do
            connection.End()
