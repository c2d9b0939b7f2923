namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine

/// One thing that a client wants done.
type Wish = { submit: Submit; content: string }

/// A client that submits, asks, cancels, retries, loses its connection and comes back with its keys.
[<Sealed>]
type SimClient(scene: SimulationContext, name: string, pipelines: string[], connect: unit -> Link) =
    let chance = scene.chance
    let climate = scene.climate
    let open' = Dictionary<string, Wish>() // by ref, on this link
    let tasks = List<TaskId>()
    let again = Queue<Wish>() // lost with a link, and worth sending again
    let mutable link: Link | null = null
    let mutable left = climate.submissions
    let mutable refs = 0
    let mutable wishes = 0

    let up message content =
        match link with
        | null -> ()
        | link -> link.Up(message, content)

    let send wish =
        refs <- refs + 1
        let ref = $"r{refs}"
        open'[ref] <- wish
        up (ToScheduler.Submit { wish.submit with ref = ref }) wish.content

    let make () =
        wishes <- wishes + 1
        let label = $"{name}.{wishes}"
        let isPoison = chance.Percent climate.poisonPercent

        {
            content =
                Content.make
                    (if isPoison then label + "-poison" else label)
                    (chance.Pick [| 1; 1; 4; 9 |])
            submit = {
                ref = ""
                name = label
                pipeline = chance.Pick pipelines
                priority = chance.Between(-1, 1)
                key =
                    if chance.Percent climate.keyPercent then
                        Some label
                    else
                        None
                want = chance.Pick [| Result; File; Nothing |]
            }
        }

    member private client.Connect() =
        if isNull link then
            let mine = connect ()
            link <- mine

            mine.OnDown <-
                fun message _ ->
                    if obj.ReferenceEquals(link, mine) then
                        client.Hear message

            mine.OnPeerClosed <-
                fun () ->
                    if obj.ReferenceEquals(link, mine) then
                        client.LoseLink()

            up
                (ToScheduler.Hello {
                    protocol = 1
                    role = Role.Client
                    name = name
                    token = None
                    holding = [||]
                    sharedFiles = false
                })
                ""

            while again.Count > 0 do
                scene.coverage.Count "seen: key sent again after a reconnect"
                send (again.Dequeue())

    member private client.LoseLink() =
        link <- null

        for wish in open'.Values do
            if wish.submit.key.IsSome then
                again.Enqueue wish

        open'.Clear()
        scene.timeline.After(chance.Time(10L<ms>, 3_000L<ms>), client.Connect)

    member private _.Hear(message: FromScheduler) =
        match message with
        | FromScheduler.Accepted(_, id) -> tasks.Add id
        | FromScheduler.Done outcome ->
            open'.Remove outcome.ref |> ignore

            if outcome.error.IsSome && scene.Fault(climate.retryPercent, "RETRY") then
                up (ToScheduler.Retry outcome.task) ""
        | FromScheduler.Rejected(ref, _, _) -> open'.Remove ref |> ignore
        | _ -> ()

    member private client.Second() =
        match link with
        | null -> ()
        | mine ->
            if left > 0 && (not scene.faulty || chance.Percent 60) then
                for _ in 1 .. min left (chance.Between(1, 8)) do
                    left <- left - 1
                    let wish = make ()
                    send wish

                    if wish.submit.key.IsSome && scene.Fault(25, "key sent twice") then
                        let isOther = chance.Percent 30

                        send (
                            if isOther then
                                { wish with content = "other-" + wish.content }
                            else
                                wish
                        )

            if tasks.Count > 0 && scene.Fault(climate.cancelPercent, "CANCEL") then
                up (ToScheduler.Cancel(tasks[chance.Below tasks.Count])) ""

            if tasks.Count > 0 && scene.Fault(climate.retryPercent / 4, "RETRY of anything") then
                up (ToScheduler.Retry(tasks[chance.Below tasks.Count] + 1L<taskId>)) ""

            if scene.Fault(10, "STATUS") then
                up ToScheduler.Status ""

            if scene.Fate(climate.resets, "client's link reset") then
                mine.Break false

    /// Whether it has sent all it wanted, and all that it sent on this link was answered.
    member _.IsContent =
        not (isNull link) && left = 0 && open'.Count = 0 && again.Count = 0

    member _.Unanswered = open'.Keys |> Seq.toList

    member client.Start() =
        client.Connect()

        scene.timeline.Every(
            1_000L<ms>,
            fun () ->
                client.Second()
                true
        )
