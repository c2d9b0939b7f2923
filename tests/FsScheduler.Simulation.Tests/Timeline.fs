namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core

/// Virtual time: what is to happen, in order of its moment; at the same moment, in order of its planning.
[<Sealed>]
type Timeline() =
    let queue = PriorityQueue<unit -> unit, struct (Duration * int64)>()
    let mutable now = 0L<ms>
    let mutable planned = 0L

    member _.Now: Instant = { sinceStart = now }

    member _.At(moment: Duration, action: unit -> unit) =
        planned <- planned + 1L
        queue.Enqueue(action, struct (max moment now, planned))

    member timeline.After(delay: Duration, action: unit -> unit) = timeline.At(now + delay, action)

    /// At once and then again and again, as long as it says so.
    member timeline.Every(period: Duration, action: unit -> bool) =
        let rec turn () =
            if action () then
                timeline.After(period, turn)

        timeline.After(period, turn)

    /// Lets the next thing happen. False: nothing is left.
    member _.Step() =
        let mutable action = Unchecked.defaultof<unit -> unit>
        let mutable moment = struct (0L<ms>, 0L)

        if queue.TryDequeue(&action, &moment) then
            let struct (at, _) = moment
            now <- at
            action ()
            true
        else
            false
