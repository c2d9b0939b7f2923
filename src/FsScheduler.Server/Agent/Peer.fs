namespace FsScheduler.Server

open FsScheduler.Core
open FsScheduler.Protocol

/// Whoever is at the other end of a connection, as those see it who have something to say to it.
type IPeer =
    /// Set while effects are let out: it has something to send.
    abstract IsTouched: bool with get, set

    /// Queues a message; `Signal` sends what is queued. False: the peer is gone.
    abstract Post: departure: OutgoingMessage<FromScheduler> -> bool
    abstract Signal: unit -> unit

    /// The machine has taken a worker in, which may go on with these of what it holds.
    abstract Welcome: keep: Attempt[] -> unit

    /// The worker is to finish what it has and go.
    abstract Dismiss: unit -> unit

    /// Ends it, because of something that is wrong with it.
    abstract Close: reason: string -> unit

/// Finds the peer of a session; null: it is gone.
type FindPeer = delegate of SessionId -> (IPeer | null)
