namespace FsScheduler.Simulation.Tests.Crashes

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Simulation.Tests

/// How a run is set.
type CrashSettings = {
    machine: Settings
    /// Results are flushed before they count as published.
    isFull: bool
    /// The journal is flushed at all.
    isFlushing: bool
    /// Inputs go when they are done.
    deletes: bool
    /// Percent of payloads and results that are files.
    large: int
}

/// A batch that is decided and not durable.
type Batch = {
    at: Instant
    first: int64
    decisions: Decisions
    /// How many inputs had been taken by then.
    taken: int
}

/// One life of a scheduler's process: what `SchedulerServer`, `SchedulerAgent` and `PublishQueue` do, in pieces
/// between which everything else may happen. `isSameBoot` says whether the machine has run on since the life before.
[<Sealed>]
type CrashLife
    (
        settings: CrashSettings,
        disk: SimDisk,
        journal: SimJournal,
        outside: Outside,
        coverage: Coverage,
        trace: Trace,
        isSameBoot: bool,
        start: Instant
    ) =
    let scheduler = Scheduler settings.machine
    let mailbox = Queue<Input>()
    let batches = Queue<Batch>()
    let publishing = Queue<Effect>()
    let stored = List<struct (Attempt * Submission * Proof)>()
    let taken = Dictionary<string, Stamp>()
    let mutable posted = 0
    let mutable released = 0

    let isTaken name version =
        match taken.TryGetValue name with
        | true, stamp -> stamp.modified = version
        | _ -> false

    let must isSo text =
        if not isSo then
            raise (Violation text)

    let targetOf name = "out/" + name

    let nameOf name =
        match TaskName.parse name with
        | Ok name -> name
        | Error error -> raise (Violation error)

    let files = CrashFiles(disk, journal, start, settings.isFlushing)
    let mutable latest = start

    let note (kind: string) (case: obj) =
        // A case without data is of the union's own type.
        let name = case.GetType().Name
        coverage.Count $"{kind}: {name}"
        trace.Add(latest, kind, 0L, case)

    let post (input: Input) =
        posted <- posted + 1
        note "input" input
        mailbox.Enqueue input

    let assign session (work: Process) (submission: Submission) payload =
        let give input =
            must (outside.Given.Add work.attempt) $"{work.attempt} is given out twice"

            match outside.WorkerOf session with
            | Some worker ->
                worker.Holding.Add { attempt = work.attempt; stages = work.stages; input = input }
            | None -> ()

        match payload with
        | Payload.Input stamp ->
            match outside.Files.TryGetValue work.name with
            | true, version when version = stamp.modified ->
                let content = Content.ofFile work.name version

                must
                    (not (outside.Published.ContainsKey content))
                    $"{content} is given out, though its result has its name"

                give content
            | _ ->
                // A newer version may have been taken already.
                if isTaken work.name stamp.modified then
                    taken.Remove work.name |> ignore

                post (Input.Withdraw work.attempt)
        | _ -> give (files.ContentOf payload submission)

    let reply session message payload kept =
        let content =
            match message, payload with
            | FromScheduler.Done { error = None }, Payload.Input _ -> ""
            | FromScheduler.Done { error = None }, _ ->
                let content = files.ContentOf payload (Unchecked.defaultof<Submission>)

                match payload with
                | Spooled(path, _) when not kept -> disk.Delete path
                | _ -> ()

                content
            | _ -> ""

        let refOf (ref: string) task =
            if obj.ReferenceEquals(ref, Submission.FiledRef) then
                (journal.Submission task).Ref
            else
                ref

        if outside.Client = ValueSome session then
            match message with
            | FromScheduler.Done ended ->
                let ref = refOf ended.ref ended.task
                outside.Hear(FromScheduler.Done { ended with ref = ref }, content)
            | _ -> outside.Hear(message, content)

    let perform effect =
        note "effect" effect

        match effect with
        | Effect.Assign(session, work, submission, payload) ->
            assign session work submission payload
        | Effect.Revoke(session, attempt) ->
            outside.WorkerOf session
            |> Option.iter (fun worker -> worker.Drop(fun held -> held.attempt = attempt))
        | Effect.Recall attempt -> post (Input.Recalled(attempt, journal.Submission attempt.task))
        | Effect.Welcome(session, keep) ->
            outside.WorkerOf session
            |> Option.iter (fun worker ->
                worker.IsWelcome <- true
                worker.Drop(fun held -> not (Array.contains held.attempt keep)))
        | Effect.Disconnect(session, _) -> outside.WorkerOf session |> Option.iter _.Disconnect()
        | Effect.Reply(session, message, payload, kept) -> reply session message payload kept
        | Effect.Missing _
        | Effect.Dismiss _ -> ()
        | Effect.Publish _
        | Effect.Settle _
        | Effect.PublishError _
        | Effect.Discard _ -> publishing.Enqueue effect

    let discard payload =
        match payload with
        | Spooled(path, _) -> disk.Delete path
        | _ -> ()

    let isCurrent (submission: Submission) =
        match submission.Payload with
        | Payload.Input stamp ->
            outside.Files.GetValueOrDefault(submission.Name, -1L) = stamp.modified
        | _ -> true

    /// One rename, with what is before it.
    let publish (attempt: Attempt) (submission: Submission) result =
        if not (isCurrent submission) then
            discard result
            post (Input.Outdated attempt)
        else
            let content = files.ContentOf result submission

            let temporary =
                match result with
                | Spooled(path, _) -> path
                | _ -> files.Write (files.NewName "out/.tmp") content

            if disk.Rename(temporary, targetOf submission.Name) then
                match
                    Invariants.view scheduler |> Array.tryFind (fun task -> task.id = attempt.task)
                with
                | Some { state = "publishing"; attempt = current } when current = attempt.number ->
                    ()
                | other ->
                    raise (Violation $"{attempt} is published, and the machine has %A{other}")

                let what =
                    match submission.Payload with
                    | Payload.Input stamp -> Content.ofFile submission.Name stamp.modified
                    | _ -> $"task {attempt.task}"

                must
                    (outside.Published.TryAdd(what, struct (attempt.task, content)))
                    $"{what} is published twice"

                disk.Boundary()

                stored.Add(struct (attempt, submission, Content.proofOf content))
            else
                disk.Delete temporary
                post (Input.Unpublished(attempt, "the rename failed"))

    do
        journal.Open()
        scheduler.Restore(journal.Recover(), start)
        let struct (task, event, session) = journal.Highest
        scheduler.Continue(task, event, session)
        let struct (finished, cancelled) = journal.Counts
        scheduler.Count(finished, cancelled)

        for name in disk.Below "out/.tmp" do
            disk.Delete name

        let needed = HashSet scheduler.Spools

        for name in disk.Below "spool/" do
            if not (needed.Contains name) then
                disk.Delete name

        for path in needed do
            must (not (isNull (disk.Find path))) $"{path} is needed, and not there"

        let damaged = HashSet<string>()

        for name, proof in journal.Unverified do
            let isWhole =
                match disk.Find(targetOf name) with
                | null -> isSameBoot
                | file -> Content.proofOf file.Content = proof

            if not isWhole && damaged.Add name then
                coverage.Count "seen: damaged result found"
                journal.Commit(TakeAgain name)

        for KeyValue(name, stamp) in journal.Files do
            taken[name] <- stamp

        let found = journal.Found(isSameBoot, targetOf)
        let decisions = Decisions()
        let first = scheduler.LastEvent + 1L
        scheduler.Resume(Dictionary found, start, decisions)
        batches.Enqueue { at = start; first = first; decisions = decisions; taken = 0 }

    member _.Scheduler = scheduler
    member _.Post input = post input

    /// Whether what the start decided is durable.
    member val IsResumed = false with get, set

    /// How many inputs there have been, and of how many all that follows has been let out.
    member _.Posted = posted
    member _.Released = released

    member _.IsIdle =
        mailbox.Count = 0
        && batches.Count = 0
        && publishing.Count = 0
        && stored.Count = 0

    /// Decides about so many of the inputs that have arrived.
    member _.Turn(now: Instant, most: int) =
        // One batch is decided while another is written.
        if mailbox.Count > 0 && batches.Count < 2 then
            let decisions = Decisions()
            let first = scheduler.LastEvent + 1L
            let mutable left = most
            latest <- now

            while left > 0 && mailbox.Count > 0 do
                left <- left - 1
                scheduler.Step(mailbox.Dequeue(), now, decisions)

            match Invariants.violations scheduler with
            | [] -> ()
            | all -> raise (Violation(String.concat "; " all))

            batches.Enqueue {
                at = now
                first = first
                decisions = decisions
                taken = posted - mailbox.Count
            }

    /// Makes the oldest batch durable, and lets its effects out.
    member life.Commit() =
        if batches.Count > 0 then
            let batch = batches.Peek()

            if batch.decisions.Events.Count > 0 then
                journal.Commit(
                    Append [
                        for index in 0 .. batch.decisions.Events.Count - 1 do
                            note "event" batch.decisions.Events[index]

                            {
                                number = batch.first + int64 index
                                at = batch.at
                                event = batch.decisions.Events[index]
                            }
                    ]
                )

            batches.Dequeue() |> ignore
            released <- batch.taken
            life.IsResumed <- true
            Seq.iter perform batch.decisions.Effects

    /// Does what the oldest effect wants of the disk.
    member _.Publish() =
        if publishing.Count > 0 then
            match publishing.Peek() with
            | Effect.Publish(attempt, submission, result) -> publish attempt submission result
            | Effect.Settle(attempt, submission, proof) ->
                coverage.Count "seen: result found after a crash"
                stored.Add(struct (attempt, submission, proof))
            | Effect.Discard payload -> discard payload
            | _ -> ()

            publishing.Dequeue() |> ignore

    /// What has been renamed counts as published.
    member _.Settle() =
        if stored.Count > 0 then
            let needsFlush struct (_, submission: Submission, _) =
                settings.isFlushing
                && (settings.isFull
                    || submission.Origin <> Origin.Folder
                    || (settings.deletes && submission.Origin = Origin.Folder))

            if Seq.exists needsFlush stored then
                disk.FlushAll()

            for struct (attempt, submission, proof) in stored do
                if
                    settings.deletes && isCurrent submission && submission.Origin = Origin.Folder
                then
                    outside.Files.Remove submission.Name |> ignore

                post (Input.Published(attempt, proof))

            stored.Clear()

    /// Only while nothing is undurable: it waits for that.
    member _.Checkpoint() =
        if batches.Count = 0 && settings.isFlushing then
            let number = scheduler.LastEvent
            disk.FlushAll()
            journal.Commit(Flushed number)

    /// The folder is listed.
    member _.Scan() =
        for KeyValue(name, version) in Seq.toArray outside.Files do
            let stamp: Stamp = { size = 1L<B>; modified = version }

            if not (isTaken name version) then
                taken[name] <- stamp

                post (
                    Input.Submit(
                        Submission.Create(nameOf name, "", 0, Origin.Folder, Payload.Input stamp),
                        ""
                    )
                )

        for name in Seq.toArray taken.Keys do
            if not (outside.Files.ContainsKey name) then
                taken.Remove name |> ignore
                post (Input.Vanish name)

    member _.IsScanned =
        Seq.length outside.Files = taken.Count
        && outside.Files
           |> Seq.forall (fun (KeyValue(name, version)) -> isTaken name version)

    /// A client sends something.
    member _.Submit(session: SessionId, job: Job) =
        try
            let payload =
                if job.IsLarge then
                    Spooled(
                        files.WriteKept (files.NewName "spool/s") job.Content,
                        int64 job.Content.Length * 1L<B>
                    )
                else
                    Bytes(Content.toBytes job.Content)

            let key = job.Key |> Option.map (fun key -> { text = key; content = job.Name })
            let origin = Origin.Client(session, job.Want, key)
            job.IsSent <- true

            post (
                Input.Submit(
                    Submission.Create(nameOf job.Name, job.Name, 0, origin, payload),
                    job.Pipeline
                )
            )
        with DiskFull ->
            () // busy

    /// A worker sends the result of what it was given.
    member _.Report(session: SessionId, holding: Holding) =
        let content = Content.run holding.stages holding.attempt.number holding.input

        let isLarge =
            (content.Length * 37 + holding.attempt.number * 11) % 100 < settings.large

        let spooled write (folder: string) =
            Spooled(write (files.NewName folder) content, int64 content.Length * 1L<B>)

        try
            let payload =
                match Destination.ofResult holding.attempt scheduler with
                | Destination.Nowhere -> Payload.empty
                | _ when not isLarge -> Bytes(Content.toBytes content)
                | Destination.Results _ -> spooled files.Write "out/.tmp"
                | Destination.Kept -> spooled files.WriteKept "spool/r"
                | Destination.Sent -> spooled files.Write "spool/p"

            post (Input.Report(session, holding.attempt, Succeeded, payload))
        with DiskFull ->
            post (Input.Unstored(session, holding.attempt, "disk full"))
