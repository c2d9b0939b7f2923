namespace FsScheduler.Protocol

open FsScheduler.Core

/// How many connections a scheduler takes at once, and for whom.
[<Struct>]
type ConnectionLimits = {
    /// Of any peers.
    all: int
    /// Of clients: the rest is kept for workers, without which nothing that clients ask for is ever done.
    clients: int
}

/// Bounds of connections, from what the system lets a process open.
module ConnectionLimits =

    /// However many descriptors there are.
    let most = 4_096

    // Few, but some: who allows a process less than this has other troubles.
    let private least = 16L

    // The runtime keeps two descriptors for each library, and has not loaded all of them when a scheduler starts.
    let private libraries = 64L

    // For payloads and results on their way.
    let private filesMin = 64L
    let private filesMax = 1_024L

    /// <summary>The limits of a process.</summary>
    /// <param name="descriptors">How many files and sockets it may have open; none where the system does not tell.</param>
    /// <param name="isOpen">How many it has open.</param>
    let ofDescriptors (descriptors: int64 voption) (isOpen: int64) : ConnectionLimits =
        let all =
            match descriptors with
            | ValueNone -> most
            | ValueSome count ->
                let files = count / 8L |> max filesMin |> min filesMax
                count - isOpen - libraries - files |> max least |> min (int64 most) |> int

        { all = all; clients = all - max 4 (all / 8) }
