namespace FsScheduler.Protocol

open FsScheduler.Core

/// The most connections that a scheduler has at once.
[<Struct>]
type ConnectionLimits = {
    /// Connections of workers and clients together.
    all: int
    /// Connections of clients; the rest is reserved for workers, without which no task of a client is ever done.
    clients: int
}

/// The limits of connections, from the limit of open files.
module ConnectionLimits =

    /// The most connections of any process.
    let most = 4_096

    // The fewest connections, even where the limit of open files allows none.
    let private least = 16L

    // Descriptors for libraries, two for each: the runtime has not loaded all of them when a scheduler starts.
    let private libraries = 64L

    // Descriptors for payloads and results in transfer.
    let private filesMin = 64L
    let private filesMax = 1_024L

    /// <summary>The limits of a process.</summary>
    /// <param name="descriptors">The limit of open files and sockets; none where the system has no limit to
    /// tell.</param>
    /// <param name="isOpen">How many of them are open now.</param>
    let ofDescriptors (descriptors: int64 voption) (isOpen: int64) : ConnectionLimits =
        let all =
            match descriptors with
            | ValueNone -> most
            | ValueSome count ->
                let files = count / 8L |> max filesMin |> min filesMax
                count - isOpen - libraries - files |> max least |> min (int64 most) |> int

        { all = all; clients = all - max 4 (all / 8) }
