namespace FsScheduler.Server

open FsScheduler.Core
open FsScheduler.Protocol

/// The peer of a connection, for senders of messages.
type IPeer =
    /// Whether messages are queued since the last `Signal`. Set while effects are released.
    abstract IsTouched: bool with get, set

    /// Queues a message; `Signal` sends the queue. False: the peer has gone.
    abstract Post: outgoing: OutgoingMessage<FromScheduler> -> bool
    abstract Signal: unit -> unit

    /// Welcomes a worker, which may go on with these of the attempts that it holds.
    abstract Welcome: keep: Attempt[] -> unit

    /// Tells the worker to finish its tasks and leave.
    abstract Dismiss: unit -> unit

    /// Ends the connection because of an error of the peer.
    abstract Close: reason: string -> unit

/// Finds the peer of a session; null once it has gone.
type FindPeer = delegate of SessionId -> (IPeer | null)
