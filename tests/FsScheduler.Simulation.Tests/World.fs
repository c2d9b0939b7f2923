namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core

/// A scheduler, its workers, its clients and its folders in one thread.
[<Sealed>]
type World(scene: Scene) =
    let chance = scene.chance
    let climate = scene.climate
    let spool = Spool()
    let observer = Observer(scene, spool)
    let answers = Answers(scene, spool, observer)
    let links = Dictionary<SessionId, Link>()
    let mutable sessions = 0L<sessionId>

    // The last stage becomes known when a worker offers it.
    let expected = climate.stages |> Array.take (max 1 (climate.stages.Length - 1))

    let scheduler =
        let pipeline =
            match Pipeline.parse (HashSet climate.stages) (String.concat " | " climate.stages) with
            | Ok pipeline -> pipeline
            | Error error -> invalidOp error.message

        Scheduler {
            Settings.defaults pipeline with
                expected = expected
                maxAttempts = climate.maxAttempts
                taskTimeout = climate.taskTimeout
                lostAfter = climate.lostAfter
                spoolBytes = climate.spoolBytes
                split = climate.split
                speculate = climate.speculate
                seed = chance.Next()
        }

    let host = Host(scene, observer, answers, scheduler)
    let folder = SimFolder(scene, host.Post)
    let publisher = Publisher(scene, spool, folder, host.Post)

    let toPayload (content: string) =
        if scene.faulty && chance.Percent climate.spooledPercent then
            spool.Write(content, climate.spooledSize)
        else
            Bytes(Content.toBytes content)

    let toSubmission session (submit: Submit) content =
        let key =
            submit.key
            |> Option.map (fun key -> {
                text = key
                content = $"{submit.name}\n{submit.pipeline}\n{content}"
            })

        match TaskName.parse submit.name with
        | Error error -> raise (Violation error)
        | Ok name ->
            let origin = Origin.Client(session, submit.want, key)
            Submission.Create(name, submit.ref, submit.priority, origin, toPayload content)

    let hear (link: Link) message content =
        let session = link.Session

        match message with
        | ToScheduler.Hello { role = Worker stages; name = name } ->
            host.Post(Input.Join(session, name, defaultArg stages [||]))
        | ToScheduler.Hello { role = Role.Client } -> ()
        | ToScheduler.Beat ->
            host.Post(Input.Heard session)
            link.Down(fun () -> ValueSome struct (FromScheduler.Beat, ""))
        | ToScheduler.Ready slots -> host.Post(Input.Ready(session, slots))
        | ToScheduler.Result(attempt, outcome) ->
            let payload =
                if outcome = Succeeded then
                    toPayload content
                else
                    Payload.empty

            host.Post(Input.Report(session, attempt, outcome, payload))
        | ToScheduler.Submit submit ->
            host.Post(Input.Submit(toSubmission session submit content, submit.pipeline))
        | ToScheduler.Status -> host.Post(Input.Ask session)
        | ToScheduler.Cancel id -> host.Post(Input.Cancel(id, session))
        | ToScheduler.Retry id -> host.Post(Input.Retry(id, session))
        | ToScheduler.Stored _
        | ToScheduler.Unshared _
        | ToScheduler.RetryAll
        | ToScheduler.RetryWith _
        | ToScheduler.RetryAllWith _
        | ToScheduler.Drain _
        | ToScheduler.Explain _
        | ToScheduler.Events _
        | ToScheduler.List _
        | ToScheduler.Stages
        | ToScheduler.Fetch _ -> raise (Violation "nobody says that here")

    let connect () =
        sessions <- sessions + 1L<sessionId>
        let link = Link(scene, sessions)
        links.Add(sessions, link)
        link.OnUp <- hear link
        link.OnSchedulerClosed <- fun () -> host.Post(Input.Leave link.Session)
        link

    /// <summary>A file is read while it is sent, so it may turn out then that there is nothing to send.</summary>
    /// <param name="work">What it is sent with.</param>
    /// <param name="stamp">The version.</param>
    /// <param name="range">What is sent of it.</param>
    let readFor (work: Process) stamp (range: string -> string) () =
        if scene.Fault(climate.unreadablePercent, "input unreadable") then
            host.Post(Input.Unreadable(work.attempt, "I/O error"))
            ValueNone
        else
            match folder.Read(work.name, stamp) with
            | ValueSome content -> ValueSome struct (FromScheduler.Process work, range content)
            | ValueNone when not (folder.Has work.name) ->
                host.Post(Input.OutOfSight(work.attempt, "not to be seen"))
                ValueNone
            | ValueNone ->
                folder.Forget(work.name, stamp)
                host.Post(Input.Withdraw work.attempt)
                ValueNone

    /// Away from the mailbox, and so of what may not be wanted any more, or not be there.
    let later work =
        scene.timeline.After(chance.Time(0L<ms>, climate.pieceMax), work)

    let isAwaited (attempt: Attempt) =
        Destination.ofResult attempt scheduler <> Destination.Nowhere

    let cut (attempt: Attempt) (submission: Submission) payload pieceSize () =
        let found content =
            host.Post(Input.Cut(attempt, Content.cutsOf content pieceSize))

        match payload with
        | _ when scene.Fault(climate.uncutPercent, "cut failed") ->
            host.Post(Input.Unreadable(attempt, "I/O error"))
        | Payload.Input stamp ->
            match folder.Read(submission.Name, stamp) with
            | ValueSome content -> found content
            | ValueNone when not (folder.Has submission.Name) ->
                host.Post(Input.OutOfSight(attempt, "not to be seen"))
            | ValueNone ->
                folder.Forget(submission.Name, stamp)
                host.Post(Input.Withdraw attempt)
        | Spooled(path, _) ->
            match spool.TryRead path with
            | ValueSome content -> found content
            | ValueNone ->
                if isAwaited attempt then
                    raise (Violation $"{path} is to be cut, and was deleted")

                scene.coverage.Count "seen: gone before it was cut"
                host.Post(Input.Unreadable(attempt, $"{path} is not there"))
        | Packed
        | Filed
        | Recorded _
        | Bytes _
        | Slice _ -> raise (Violation $"{attempt} is cut, and is no file")

    let join (attempt: Attempt) (merge: Stage voption) (parts: Payload[]) () =
        let read part =
            match part with
            | Spooled(path, _) -> spool.TryRead path
            | Bytes bytes -> ValueSome(Content.ofBytes bytes)
            | Packed
            | Filed
            | Recorded _
            | Payload.Input _
            | Slice _ -> raise (Violation $"a part for {attempt} is no result")

        let contents = Array.map read parts

        if scene.Fault(climate.unjoinedPercent, "join failed") then
            host.Post(Input.Unjoined(attempt, "I/O error"))
        elif contents |> Array.forall (fun (content: string voption) -> content.IsSome) then
            let content = Content.join merge.IsSome (Seq.map ValueOption.get contents)
            host.Post(Input.Joined(attempt, toPayload content))
        elif isAwaited attempt then
            raise (Violation $"parts for {attempt} are to be joined, and were deleted")
        else
            scene.coverage.Count "seen: gone before it was joined"
            host.Post(Input.Unjoined(attempt, "a part is not there"))

    let perform effect =
        match effect with
        | Effect.Assign(session, work, _, Payload.Input stamp) ->
            links[session].Down(readFor work stamp id)
        | Effect.Assign(session, work, _, Slice(Payload.Input stamp, start, size)) ->
            links[session]
                .Down(readFor work stamp (fun content -> Content.slice content start size))
        | Effect.Assign(session, work, submission, payload) ->
            let content = spool.Content(payload, submission)
            links[session].Down(fun () -> ValueSome struct (FromScheduler.Process work, content))
        | Effect.Revoke(session, attempt) ->
            links[session].Down(fun () -> ValueSome struct (FromScheduler.Cancel attempt, ""))
        | Effect.Reply(session, message, payload, kept) ->
            // Looked at even when nobody listens any more, since it has to be there.
            match payload with
            | Spooled(path, _) ->
                spool.Read path |> ignore

                if not kept then
                    spool.Delete path
            | Packed
            | Filed
            | Recorded _
            | Bytes _
            | Payload.Input _ -> ()
            | Slice _ -> raise (Violation "a piece of a payload is sent to a client")

            links[session].Down(fun () -> ValueSome struct (message, ""))
        | Effect.Publish(attempt, submission, payload) ->
            publisher.Publish(attempt, submission, payload)
        | Effect.PublishOlder(attempt, submission, payload) ->
            publisher.PublishOlder(attempt, submission, payload)
        | Effect.Cut(attempt, submission, payload, pieceSize) ->
            later (cut attempt submission payload pieceSize)
        | Effect.Join(attempt, merge, parts) -> later (join attempt merge parts)
        | Effect.Gather _ // saves time, and there is none to be saved here
        | Effect.Abandon _
        | Effect.Missing _
        | Effect.HeldBack _
        | Effect.TakenUp _
        | Effect.PublishError _ -> ()
        | Effect.Discard payload -> spool.Consume payload
        | Effect.Recall _
        | Effect.ReplyRecalled _
        | Effect.Drop _
        | Effect.Settle _
        | Effect.Welcome _
        | Effect.Dismiss _ -> raise (Violation "nobody asked for that")
        | Effect.Disconnect(session, _) -> links[session].Disconnect()

    let workers =
        let able =
            Array.init climate.workers (fun _ ->
                climate.stages
                |> Array.filter (fun _ -> chance.Percent climate.capablePercent)
                |> ResizeArray)

        // Somebody stays who can do it.
        for stage in climate.stages do
            if able |> Array.forall (fun stages -> not (stages.Contains stage)) then
                (chance.Pick able).Add stage

        for stages in able do
            for stage in stages.ToArray() do
                if chance.Percent 80 then
                    stages.AddRange(Content.formsOf stage)

        able
        |> Array.mapi (fun index stages ->
            SimWorker(scene, $"worker{index}", stages.ToArray(), connect, observer.SlotsAt))

    let clients =
        let pipelines = [|
            ""
            String.concat " | " climate.stages
            climate.stages[0]
            climate.stages[climate.stages.Length - 1]
            climate.stages |> Array.rev |> String.concat " | "
            if scene.climate.refusePercent > 0 then
                climate.stages[0] + " | nosuch"
        |]

        Array.init climate.clients (fun index ->
            SimClient(scene, $"client{index}", pipelines, connect))

    member _.Scheduler = scheduler
    member _.Observer = observer
    member _.Folder = folder
    member _.Publisher = publisher
    member _.Spool = spool
    member _.Clients = clients

    member _.IsSettled =
        scheduler.IsDone && folder.IsScanned && clients |> Array.forall _.IsContent

    member _.Start() =
        host.Perform <- perform

        for worker in workers do
            scene.timeline.After(chance.Time(0L<ms>, 3_000L<ms>), worker.Start)

        for client in clients do
            scene.timeline.After(chance.Time(0L<ms>, 2_000L<ms>), client.Start)

        folder.Start()

        scene.timeline.Every(
            climate.tick,
            fun () ->
                host.Post Input.Tick
                true
        )

        scene.timeline.Every(
            1_000L<ms>,
            fun () ->
                host.CountStates()

                if scene.Fate(climate.pauses, "scheduler asleep") then
                    host.SleepUntil(scene.Now.sinceStart + chance.Time(500L<ms>, 15_000L<ms>))

                scene.faulty
        )
