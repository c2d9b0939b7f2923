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

/// One life of a scheduler's process: what `SchedulerServer`, `SchedulerAgent`, `PublishQueue` and `PieceWork` do, in
/// steps between which everything else may happen. `isSameBoot` says whether the machine has run on since the life before.
[<Sealed>]
type CrashLife
    (
        settings: CrashSettings,
        disk: SimDisk,
        journal: SimJournal,
        outside: Outside,
        chance: Chance,
        coverage: Coverage,
        trace: Trace,
        isSameBoot: bool,
        start: Instant
    ) =
    let scheduler = Scheduler settings.machine
    let mailbox = Queue<Input>()
    let batches = Queue<Batch>()
    let publishing = Queue<Effect>()
    let pieceWork = Queue<Effect>()
    let pieces = CrashPieces()
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

    /// What is in a file, if that is still this version; else it will be looked at again.
    let ofFile name (stamp: Stamp) =
        match outside.Files.TryGetValue name with
        | true, version when version = stamp.modified -> ValueSome(Content.ofFile name version)
        | _ ->
            // A newer version may have been taken already.
            if isTaken name stamp.modified then
                taken.Remove name |> ignore

            ValueNone

    let assign session (work: Process) (submission: Submission) payload =
        let give input =
            must (outside.Given.Add work.attempt) $"{work.attempt} is given out twice"

            match outside.WorkerOf session with
            | Some worker ->
                worker.Holding.Add { attempt = work.attempt; stages = work.stages; input = input }
            | None -> ()

        let giveFile stamp range =
            match ofFile work.name stamp with
            | ValueSome content ->
                must
                    (not (outside.Published.ContainsKey content))
                    $"{content} is given out, though its result has its name"

                give (range content)
            | ValueNone -> post (Input.Withdraw work.attempt)

        match payload with
        | Payload.Input stamp -> giveFile stamp id
        | Slice(Payload.Input stamp, start, size) ->
            giveFile stamp (fun content -> Content.slice content start size)
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
        | Effect.Cut _
        | Effect.Join _ -> pieceWork.Enqueue effect
        | Effect.Gather _
        | Effect.Abandon _
        | Effect.Missing _
        | Effect.HeldBack _
        | Effect.TakenUp _
        | Effect.Dismiss _ -> ()
        | Effect.Publish _
        | Effect.PublishOlder _
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
    let publish (attempt: Attempt) (submission: Submission) result isWanted =
        must (not submission.Origin.IsPiece) $"{attempt} is a piece, and is published"

        if not isWanted then
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
                    TaskView.all scheduler |> Array.tryFind (fun task -> task.id = attempt.task)
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

    let nameOfTask id = (journal.Submission id).Name

    /// Whether a result is a file.
    let isLarge (attempt: Attempt) (content: string) =
        (content.Length * 37 + attempt.number * 11) % 100 < settings.large

    /// A result, where it belongs as the machine stands now.
    let store (attempt: Attempt) content destination =
        let spooled write (name: string) =
            Spooled(write name content, Content.sizeOf content)

        match destination with
        | Destination.Nowhere -> Payload.empty
        | _ when not (isLarge attempt content) -> Bytes(Content.toBytes content)
        | Destination.Results _ -> spooled files.Write (files.NewName "out/.tmp")
        | Destination.Kept -> spooled files.WriteKept (files.NewName "spool/r")
        | Destination.Sent -> spooled files.Write (files.NewName "spool/p")
        | Destination.Part -> spooled files.Write (files.NewName "spool/part")

    let isAwaited attempt =
        Destination.ofResult attempt scheduler <> Destination.Nowhere

    let fails what percent =
        let isSo = chance.Percent percent

        if isSo then
            coverage.Count $"fault: {what}"

        isSo

    /// Where a payload is to be cut, as `LineCuts` finds it.
    let cut (attempt: Attempt) (submission: Submission) payload pieceSize percent =
        let content =
            match payload with
            | Payload.Input stamp -> ofFile submission.Name stamp
            | Spooled(path, _) ->
                match disk.Find path with
                | null ->
                    must (not (isAwaited attempt)) $"{path} is to be cut, and is not there"
                    ValueNone
                | file -> ValueSome file.Content
            | _ -> raise (Violation $"{attempt} is cut, and is no file")

        match content with
        | _ when fails "cut failed" percent -> post (Input.Unreadable(attempt, "I/O error"))
        | ValueSome content -> post (Input.Cut(attempt, Content.cutsOf content pieceSize))
        | ValueNone when payload.IsInput -> post (Input.Withdraw attempt)
        | ValueNone -> post (Input.Unreadable(attempt, "not there"))

    /// Parts are put together in a file of their own.
    let join (attempt: Attempt) (merge: Stage voption) (parts: Payload[]) percent =
        match Destination.ofResult attempt scheduler with
        | Destination.Nowhere -> coverage.Count "seen: joined for nobody"
        | _ when fails "join failed" percent -> post (Input.Unjoined(attempt, "I/O error"))
        | destination ->
            let contents =
                parts
                |> Array.map (fun part -> files.ContentOf part (Unchecked.defaultof<Submission>))

            let content = Content.join merge.IsSome contents
            post (Input.Joined(attempt, store attempt content destination))

    /// As `Restart` has it: the results of pieces are not flushed, and are not trusted when the power was cut. From then on
    /// they are not there.
    let isThere struct (_, _, event) =
        match event with
        | Event.Part(_, _, Spooled _) when not isSameBoot ->
            coverage.Count "seen: part dropped"
            false
        | Event.Part(_, _, Spooled(path, _)) when isNull (disk.Find path) ->
            coverage.Count "seen: part gone"
            false
        | Event.Part(_, _, Spooled _) ->
            coverage.Count "seen: part kept"
            true
        | _ -> true

    do
        journal.Open()
        let recovered = journal.Recover() |> Seq.filter isThere |> Seq.toArray

        for struct (_, _, event) in recovered do
            pieces.Take(event, false)

        scheduler.Restore(recovered, start)
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

        for event in decisions.Events do
            pieces.Take(event, true)

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
        && pieceWork.Count = 0
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

            for event in decisions.Events do
                pieces.Take(event, true)

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
                for event in batch.decisions.Events do
                    match event with
                    | Event.Submitted(id, submission, _) ->
                        match submission.Origin with
                        | Origin.Piece(whole, _) ->
                            must
                                (submission.Name = nameOfTask whole)
                                $"the piece that is task {id} is called '{submission.Name}'"
                        | Origin.Folder
                        | Origin.Client _ -> ()
                    | _ -> ()

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
            | Effect.Publish(attempt, submission, result) ->
                publish attempt submission result (isCurrent submission)
            | Effect.PublishOlder(attempt, submission, result) ->
                publish attempt submission result (outside.Files.ContainsKey submission.Name)
            | Effect.Settle(attempt, submission, proof) ->
                coverage.Count "seen: result found after a crash"
                stored.Add(struct (attempt, submission, proof))
            | Effect.Discard payload -> discard payload
            | _ -> ()

            publishing.Dequeue() |> ignore

    /// How many of a hundred cuts and joins fail.
    member val PiecesFail = 0 with get, set

    /// Cuts a payload, or puts parts together.
    member life.WorkOnPieces() =
        if pieceWork.Count > 0 then
            // Another thread may be done with what came later.
            for _ in 1 .. chance.Below pieceWork.Count do
                pieceWork.Enqueue(pieceWork.Dequeue())

            match pieceWork.Peek() with
            | Effect.Cut(attempt, submission, payload, pieceSize) ->
                cut attempt submission payload pieceSize life.PiecesFail
            | Effect.Join(attempt, merge, parts) -> join attempt merge parts life.PiecesFail
            | other -> raise (Violation $"{other} is no matter of pieces")

            pieceWork.Dequeue() |> ignore

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
            let size = Content.sizeOf (Content.ofFile name version)
            let stamp = Stamp.ofTime size version

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
                        Content.sizeOf job.Content
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
        let content = Content.run holding.stages holding.attempt holding.input

        try
            let payload =
                store holding.attempt content (Destination.ofResult holding.attempt scheduler)

            post (Input.Report(session, holding.attempt, Succeeded, payload))
        with DiskFull ->
            post (Input.Unstored(session, holding.attempt, "disk full"))
