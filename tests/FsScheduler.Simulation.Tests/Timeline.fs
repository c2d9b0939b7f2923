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

    /// Lets all happen that is to happen within a time.
    member timeline.Advance(span: Duration) =
        let until = now + span
        let mutable action = Unchecked.defaultof<unit -> unit>
        let mutable moment = struct (0L<ms>, 0L)

        let isDue () =
            queue.TryPeek(&action, &moment)
            && (let struct (at, _) = moment
                at <= until)

        while isDue () do
            timeline.Step() |> ignore

        now <- until

    /// Nothing is to happen any more.
    member _.Clear() = queue.Clear()

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
