namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core

/// A worker process: it may crash, hang, stall, drain and come back, always as another session.
[<Sealed>]
type SimWorker
    (scene: SimulationContext, name: string, stages: string[], connect: unit -> Link, slotsAt) =
    let chance = scene.chance
    let climate = scene.climate
    let held = HashSet<Attempt>()
    let mutable link: Link | null = null
    let mutable slots = 0
    let mutable lastHeard = Instant.zero
    let mutable life = 0 // counts processes: what an earlier one has planned does not happen
    let mutable isDown = true
    let mutable reconnects = 0
    let mutable brokenUntil = Instant.zero // it fails all that it is given
    let mutable isUnable = false // and says that it is to blame

    let isCurrent (other: Link) = obj.ReferenceEquals(link, other)

    let up message content =
        match link with
        | null -> ()
        | link -> link.Up(message, content)

    let answer attempt outcome content =
        up (ToScheduler.Result(attempt, outcome)) content

        if scene.Fault(climate.duplicatePercent, "RESULT sent twice") then
            up (ToScheduler.Result(attempt, outcome)) content

    member private worker.Later(delay, action) =
        let then' = life

        scene.timeline.After(
            delay,
            fun () ->
                if then' = life then
                    action ()
        )

    member private worker.Crash() =
        life <- life + 1
        isDown <- true
        held.Clear()

        match link with
        | null -> ()
        | link -> link.Abandon(scene.Fault(30, "crash without a word"))

        link <- null
        let delay = chance.Time(100L<ms>, 5_000L<ms>)

        let start () =
            if isDown then
                worker.Start()

        scene.timeline.After(delay, start)

    member private worker.Reconnect() =
        if isNull link && not isDown then
            reconnects <- reconnects + 1

            if reconnects > 1 then
                scene.coverage.Count "seen: worker back as a new session"

            let mine = connect ()
            link <- mine
            lastHeard <- scene.Now

            mine.OnDown <-
                fun message content ->
                    if isCurrent mine then
                        lastHeard <- scene.Now
                        worker.Hear(message, content)

            mine.OnPeerClosed <-
                fun () ->
                    if isCurrent mine then
                        worker.LoseLink()

            up
                (ToScheduler.Hello {
                    protocol = 1
                    role = Role.Worker(Some stages)
                    name = name
                    token = None
                    holding = [||]
                    sharedFiles = false
                })
                ""

            slots <- chance.Between(1, climate.slotsMax)
            up (ToScheduler.Ready slots) ""

    /// The scheduler has queued what this worker holds; a careless one goes on with it and answers later.
    member private worker.LoseLink() =
        link <- null

        if not (scene.Fault(40, "work kept over a reconnect")) then
            life <- life + 1
            worker.Live()

        held.Clear()
        worker.Later(chance.Time(50L<ms>, 2_000L<ms>), worker.Reconnect)

    member private worker.Hear(message: FromScheduler, content: string) =
        match message with
        | FromScheduler.Process work -> worker.Take(work, content)
        | FromScheduler.Cancel attempt -> held.Remove attempt |> ignore
        | _ -> ()

    member private worker.Take(work: Process, content: string) =
        if not (held.Add work.attempt) then
            raise (Violation $"{name} is given {work.attempt} twice")

        let most: int = slotsAt work.attempt

        if held.Count > most then
            raise (Violation $"{name} holds {held.Count} tasks and said {most}")

        // What is poison kills whoever touches it, even when nothing else goes wrong any more.
        if content.Contains "poison" then
            scene.coverage.Count "fault: poison"
            worker.Later(chance.Time(0L<ms>, climate.workMax), worker.Crash)
        else
            let isHung = scene.Fault(climate.hangPercent, "hang")

            let isSlow = scene.Fault(climate.slowPercent, "slow")

            let isBroken = scene.faulty && scene.Now - brokenUntil < 0L<ms>

            let takes =
                if isBroken then
                    1L<ms>
                else
                    chance.Time(0L<ms>, climate.workMax)
                    + (if isHung then 2L * climate.taskTimeout else 0L<ms>)
                    + (if isSlow then
                           chance.Time(1_000L<ms>, 8_000L<ms>)
                       else
                           0L<ms>)

            let mine = link

            worker.Later(
                takes,
                fun () ->
                    // A hung worker, and one that kept its work over a reconnect, answers whatever it was told since.
                    let isHeld = held.Remove work.attempt

                    if isHeld || isHung || not (obj.ReferenceEquals(mine, link)) then
                        worker.Finish(work, content)
            )

    member private _.Finish(work: Process, content: string) =
        let isBroken = scene.faulty && scene.Now - brokenUntil < 0L<ms>

        if isBroken && isUnable then
            scene.coverage.Count "fault: broken worker says so"
            answer work.attempt (Unable "it cannot run anything") ""
        elif isBroken then
            scene.coverage.Count "fault: broken worker"
            answer work.attempt (Failed("it fails everything", true)) ""
        elif scene.Fault(climate.failPercent, "stage failed") then
            answer work.attempt (Failed("it failed", true)) ""
        elif scene.Fault(climate.refusePercent, "stage refused") then
            answer work.attempt (Failed("it cannot be", false)) ""
        else
            answer work.attempt Succeeded (Content.run work.stages work.attempt content)

    member private worker.Live() =
        let mine = life

        scene.timeline.Every(
            climate.beat,
            fun () ->
                if life = mine then
                    worker.Second()

                life = mine
        )

    /// What happens to it in a second.
    member private worker.Second() =
        match link with
        | null -> ()
        | mine ->
            up ToScheduler.Beat ""

            if scene.Now - lastHeard > climate.lostAfter then
                scene.coverage.Count "seen: worker finds its scheduler silent"
                mine.Abandon false
                worker.LoseLink()
            elif scene.Fate(climate.crashes, "worker crashed") then
                worker.Crash()
            elif scene.Fate(climate.breakages, "worker broken") then
                brokenUntil <- {
                    sinceStart = scene.Now.sinceStart + chance.Time(1_000L<ms>, 20_000L<ms>)
                }

                isUnable <- chance.Percent 50
            elif scene.Fate(climate.resets, "link reset") then
                mine.Break false
            elif scene.Fate(climate.silences, "link silent") then
                mine.Break true
            elif scene.Fate(climate.stalls, "link stalled") then
                let until = scene.Now.sinceStart + chance.Time(100L<ms>, 2L * climate.lostAfter)

                match chance.Below 3 with
                | 0 -> mine.StallUp until
                | 1 -> mine.StallDown until
                | _ ->
                    mine.StallUp until
                    mine.StallDown until
            elif slots > 0 && scene.Fate(climate.drains, "drain") then
                slots <- 0
                up (ToScheduler.Ready 0) ""
            elif slots > 0 && scene.Fate(climate.readies, "slots changed") then
                slots <- chance.Between(1, climate.slotsMax)
                up (ToScheduler.Ready slots) ""
            elif slots = 0 && held.Count = 0 then
                scene.coverage.Count "seen: drained and closed"
                mine.Finish()
                link <- null
                worker.Later(chance.Time(500L<ms>, 4_000L<ms>), worker.Reconnect)

    member worker.Start() =
        if isDown then
            isDown <- false
            life <- life + 1
            worker.Live()
            worker.Reconnect()
