namespace FsScheduler.Server

open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol

/// The payload of a message of the scheduler.
[<Struct; RequireQualifiedAccess>]
type OutgoingPayload =
    /// Content of the message alone: its file, if it has one, is deleted once it was sent.
    | Own of content: Content
    | Kept of kept: KeptContent
    /// The payload of a task, with the submission of the task.
    | Task of submission: Submission * payload: Payload

module OutgoingPayload =

    let none = OutgoingPayload.Kept KeptContent.empty

/// A message of the scheduler, to be sent.
type SchedulerMessage = OutgoingMessage<FromScheduler, OutgoingPayload>

/// The peer of a connection, for senders of messages.
type IPeer =
    /// Whether messages are queued since the last `Signal`. Set while effects are released.
    abstract IsTouched: bool with get, set

    /// Queues a message; `Signal` sends the queue. False: the peer has gone.
    abstract Post: outgoing: SchedulerMessage -> bool
    abstract Signal: unit -> unit

    /// Welcomes a worker, which may go on with these of the attempts that it holds.
    abstract Welcome: keep: Attempt[] -> unit

    /// Tells the worker to finish its tasks and leave.
    abstract Dismiss: unit -> unit

    /// Ends the connection because of an error of the peer.
    abstract Close: reason: string -> unit

/// Finds the peer of a session; null once it has gone.
type FindPeer = delegate of SessionId -> (IPeer | null)
