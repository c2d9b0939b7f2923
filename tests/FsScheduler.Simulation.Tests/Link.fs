namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Protocol

/// What goes over a link: a message with its payload; or its end, after all that was sent before.
type private Frame<'T> =
    /// Made when it leaves, because a file is read while it is sent; nothing, if it could not be read.
    | Frame of (unit -> 'T voption)
    | Fin

/// One direction of a connection: first in, first out, with delays; what is in it can be lost.
[<Sealed>]
type private Pipe<'T>(scene: SimulationContext) =
    let queue = Queue<Frame<'T>>()
    let mutable latest = 0L<ms>
    let mutable stalledUntil = 0L<ms>
    let mutable cut = false

    member val OnFrame: 'T -> unit = ignore with get, set
    member val OnFin: unit -> unit = ignore with get, set

    // Each arrival takes what is first in line, so that however arrivals are put off, order is kept.
    member private pipe.Arrive() =
        let now = scene.Now.sinceStart

        if now < stalledUntil then
            scene.timeline.At(stalledUntil, pipe.Arrive)
        elif not cut && queue.Count > 0 then
            match queue.Dequeue() with
            | Fin -> pipe.OnFin()
            | Frame make ->
                match make () with
                | ValueSome message -> pipe.OnFrame message
                | ValueNone -> ()

    member pipe.Send frame =
        if not cut then
            let delay = scene.chance.Time(0L<ms>, scene.climate.delayMax)
            latest <- max latest (scene.Now.sinceStart + delay)
            queue.Enqueue frame
            scene.timeline.At(latest, pipe.Arrive)

    member _.StallUntil moment = stalledUntil <- max stalledUntil moment

    /// Nothing gets through any more; what is under way is lost.
    member _.Cut() =
        if queue.Count > 0 then
            scene.coverage.Count("fault: frames lost in flight", int64 queue.Count)

        cut <- true
        queue.Clear()

/// A connection between a worker or a client and the scheduler. Its session is its number.
[<Sealed>]
type Link(scene: SimulationContext, session: SessionId) =
    let up = Pipe<struct (ToScheduler * string)> scene
    let down = Pipe<struct (FromScheduler * string)> scene
    let mutable peerTold = false
    let mutable schedulerTold = false
    let mutable dead = false

    member _.Session = session

    member _.OnUp
        with set handler = up.OnFrame <- fun (struct (message, content)) -> handler message content

    member _.OnDown
        with set handler =
            down.OnFrame <- fun (struct (message, content)) -> handler message content

    member val OnPeerClosed: unit -> unit = ignore with get, set
    member val OnSchedulerClosed: unit -> unit = ignore with get, set

    member private link.TellPeer() =
        if not peerTold then
            peerTold <- true
            link.OnPeerClosed()

    member private link.TellScheduler() =
        if not schedulerTold then
            schedulerTold <- true
            link.OnSchedulerClosed()

    member _.Up(message: ToScheduler, content: string) =
        up.Send(Frame(fun () -> ValueSome struct (message, content)))

    member _.Down(make: unit -> struct (FromScheduler * string) voption) = down.Send(Frame make)

    /// The peer closes it after what it has sent.
    member link.Finish() =
        peerTold <- true

        up.OnFin <-
            fun () ->
                dead <- true
                down.Cut()
                link.TellScheduler()

        up.Send Fin

    /// Lost at this moment; each end hears of it later, unless it is silent.
    member link.Break(silent: bool) =
        if not dead then
            dead <- true
            up.Cut()
            down.Cut()

            if not silent then
                let later () =
                    scene.chance.Time(0L<ms>, scene.climate.delayMax + 50L<ms>)

                scene.timeline.After(later (), link.TellPeer)

                // The scheduler may not hear of it: then the peer is back while it still seems to be there.
                if not (scene.Fault(25, "link half open")) then
                    scene.timeline.After(later (), link.TellScheduler)

    /// The peer gives it up: it is gone for the peer now, and for the scheduler when it hears of it.
    member link.Abandon(silent: bool) =
        peerTold <- true
        link.Break silent

    /// The scheduler closes it after what it has sent. What it has read by then it still takes.
    member link.Disconnect() =
        schedulerTold <- true

        down.OnFin <-
            fun () ->
                dead <- true
                up.Cut()
                link.TellPeer()

        down.Send Fin

    member _.StallUp(until: Duration) = up.StallUntil until
    member _.StallDown(until: Duration) = down.StallUntil until
