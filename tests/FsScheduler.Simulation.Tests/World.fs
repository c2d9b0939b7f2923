namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Simulation.Tests

/// A scheduler, its workers, its clients and its folders in one thread.
[<Sealed>]
type World(scene: SimulationContext) =
    let chance = scene.chance
    let climate = scene.climate
    let spool = Spool()
    let observer = Observer(scene, spool)
    let answers = Answers(scene, spool, observer)
    let links = Dictionary<SessionId, Link>()
    let mutable sessions = 0L<sessionId>

    // The last stage becomes known when a worker offers it.
    let expected = climate.stages |> Array.take (max 1 (climate.stages.Length - 1))

    let settings =
        let pipeline =
            match Pipeline.parse (HashSet climate.stages) (String.concat " | " climate.stages) with
            | Ok pipeline -> pipeline
            | Error error -> invalidOp error.message

        {
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

    /// The host is made later.
    let mutable post: Input -> unit = ignore
    let folder = SimFolder(scene, fun input -> post input)
    let results = WorldResults(scene, spool)

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
        | ToScheduler.Hello { role = Role.Worker stages; name = name } ->
            post (Input.Join(session, name, defaultArg stages [||]))
        | ToScheduler.Hello { role = Role.Client } -> ()
        | ToScheduler.Beat ->
            post (Input.Heard session)
            link.Down(fun () -> ValueSome struct (FromScheduler.Beat, ""))
        | ToScheduler.Ready slots -> post (Input.Ready(session, slots))
        | ToScheduler.Result(attempt, outcome) ->
            let payload =
                if outcome = Succeeded then
                    toPayload content
                else
                    Content.empty

            post (Input.Report(session, attempt, outcome, payload))
        | ToScheduler.Submit submit ->
            post (Input.Submit(toSubmission session submit content, submit.pipeline))
        | ToScheduler.Status -> post (Input.Ask session)
        | ToScheduler.Cancel id -> post (Input.Cancel(id, session))
        | ToScheduler.Retry id -> post (Input.Retry(id, session))
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
        link.OnSchedulerClosed <- fun () -> post (Input.Leave link.Session)
        link

    /// <summary>A file is read while it is sent, so it may turn out then that there is nothing to send.</summary>
    /// <param name="work">What it is sent with.</param>
    /// <param name="stamp">The version.</param>
    /// <param name="range">What is sent of it.</param>
    let readFor (work: Process) stamp (range: string -> string) () =
        if scene.Fault(climate.unreadablePercent, "input unreadable") then
            post (Input.Unreadable(work.attempt, "I/O error"))
            ValueNone
        else
            match folder.Read(work.name, stamp) with
            | ValueSome content -> ValueSome struct (FromScheduler.Process work, range content)
            | ValueNone when not (folder.Has work.name) ->
                folder.Miss work.name
                post (Input.OutOfSight(work.attempt, "not to be seen"))
                ValueNone
            | ValueNone ->
                folder.Forget(work.name, stamp)
                post (Input.FileChanged work.attempt)
                ValueNone

    let cut (attempt: Attempt) (submission: Submission) payload pieceSize : Size[] voption =
        let tell input =
            post input
            ValueNone

        let found content =
            ValueSome(Content.cutsOf content pieceSize)

        match payload with
        | _ when scene.Fault(climate.uncutPercent, "cut failed") ->
            tell (Input.Unreadable(attempt, "I/O error"))
        | Payload.Input stamp ->
            match folder.Read(submission.Name, stamp) with
            | ValueSome content -> found content
            | ValueNone when not (folder.Has submission.Name) ->
                folder.Miss submission.Name
                tell (Input.OutOfSight(attempt, "not to be seen"))
            | ValueNone ->
                folder.Forget(submission.Name, stamp)
                tell (Input.FileChanged attempt)
        | Kept(Held(Spooled(path, _))) ->
            match spool.TryRead path with
            | ValueSome content -> found content
            | ValueNone ->
                scene.coverage.Count "seen: gone before it was cut"
                tell (Input.Unreadable(attempt, $"{path} is not there"))
        | Packed
        | Journaled
        | Kept _
        | Slice _ -> raise (Violation $"{attempt} is cut, and is no file")

    let inputs = {
        new IInputFolder with
            member _.IsInput name = folder.Has(string name)

            member _.StateOf(name, version) =
                match folder.Read(string name, version) with
                | ValueSome _ -> InputState.Current
                | ValueNone when folder.Has(string name) -> InputState.Replaced
                | ValueNone -> InputState.OutOfSight

            member _.Finish(_, _) = Ok()
    }

    let send (link: Link) (departure: SchedulerMessage) =
        match departure.message, departure.payload with
        | FromScheduler.Process work, OutgoingPayload.Task(_, Payload.Input stamp) ->
            link.Down(readFor work stamp id)
        | FromScheduler.Process work,
          OutgoingPayload.Task(_, Slice(Payload.Input stamp, start, size)) ->
            link.Down(readFor work stamp (fun content -> Content.slice content start size))
        | FromScheduler.Process work, OutgoingPayload.Task(submission, payload) ->
            let content = spool.Content(payload, submission)
            link.Down(fun () -> ValueSome struct (FromScheduler.Process work, content))
        | message, payload ->
            // Looked at even when nobody listens any more, since it has to be there.
            match payload with
            | OutgoingPayload.Own content ->
                spool.Result content |> ignore
                spool.Consume content
            | OutgoingPayload.Kept(Held content) -> spool.Result content |> ignore
            | OutgoingPayload.Kept(Recorded _) -> ()
            | OutgoingPayload.Task _ -> raise (Violation "a payload is sent to a client")

            link.Down(fun () -> ValueSome struct (message, ""))

    let peerOf (link: Link) =
        let uncalledFor _ =
            raise (Violation "nobody asked for that")

        SimPeer(send link, uncalledFor, uncalledFor, link.Disconnect)

    let host =
        Host(
            scene,
            observer,
            answers,
            {
                settings = settings
                inputs = inputs
                results = results
                files = WorldSpool(scene, spool)
                state = WorldState scene
                peers = fun session -> peerOf links[session]
                cut =
                    Cut(fun attempt submission payload size -> cut attempt submission payload size)
                reconsider = fun name stamp -> folder.Forget(string name, stamp)
                smallMax =
                    if climate.spooledPercent = 0 then
                        Settings.unlimited
                    else
                        chance.Pick [| 0L<B>; 40L<B> |]
            }
        )

    do post <- host.Post
    let scheduler = host.Scheduler

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
    member _.Results = results

    /// What has failed is raised.
    member _.Check() = host.Check()
    member _.Spool = spool
    member _.Clients = clients

    member _.IsSettled =
        scheduler.IsDone && folder.IsScanned && clients |> Array.forall _.IsContent

    member _.Start() =
        host.Start()

        for worker in workers do
            scene.timeline.After(chance.Time(0L<ms>, 3_000L<ms>), worker.Start)

        for client in clients do
            scene.timeline.After(chance.Time(0L<ms>, 2_000L<ms>), client.Start)

        folder.Start()

        scene.timeline.Every(
            1_000L<ms>,
            fun () ->
                host.CountStates()

                if scene.Fate(climate.pauses, "scheduler asleep") then
                    host.SleepUntil(scene.Now.sinceStart + chance.Time(500L<ms>, 15_000L<ms>))

                scene.faulty
        )
