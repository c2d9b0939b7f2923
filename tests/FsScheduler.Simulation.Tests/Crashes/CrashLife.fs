namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.Collections.Generic
open System.IO
open FsScheduler.Core
open FsScheduler.Journal
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
type Decided = {
    at: Instant
    first: int64
    decisions: Decisions
} with

    member decided.Recorded: Recorded list = [
        for index in 0 .. decided.decisions.Events.Count - 1 do
            {
                number = decided.first + int64 index
                at = decided.at
                event = decided.decisions.Events[index]
            }
    ]

/// One life of a scheduler's process: what `SchedulerServer`, `SchedulerAgent`, `PublishQueue`, `PieceWork` and `Upkeep` do, in
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
        isCompared: bool,
        start: Instant
    ) =
    /// As `Restart` has it: the results of pieces are not flushed, and are not trusted when the power was cut. From then on
    /// they are not there.
    let isThere event =
        match event with
        | Event.Part(_, _, Spooled(path, _))
        | Event.Carried(Carried.Part(_, _, Spooled(path, _))) ->
            isSameBoot && not (isNull (disk.Find path))
        | _ -> true

    let restore (events: seq<struct (int64 * Instant * Event)>) =
        let scheduler = Scheduler settings.machine
        scheduler.Restore(events, start, isThere)
        scheduler

    let owner = Guid(int start.sinceStart, 1s, 0s, Array.zeroCreate 8)
    do journal.Open owner
    let scheduler = restore (journal.Recover())
    let mailbox = Queue<Input>()
    let batches = Queue<Decided>()
    let publishing = Queue<Effect>()
    /// What other threads read, cut and join.
    let loading = Queue<Effect>()
    let pieces = CrashPieces()
    let stored = List<struct (Attempt * Submission * Proof)>()
    let taken = Dictionary<string, Stamp>()
    let drops = Queue<int64>()

    /// What is being made durable: the same again, where that fails.
    let mutable together: Decided list = []

    /// What `Input.Retain` is said with until all of it is carried.
    let mutable cutoff: Cutoff voption = ValueNone

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

        if outside.Client = ValueSome session then
            match message with
            | FromScheduler.Done ended ->
                must
                    (not (obj.ReferenceEquals(ended.ref, Submission.FiledRef)))
                    $"the client is told of task {ended.task} without its reference"

                if kept && ended.error.IsNone then
                    post (Input.Note [| Note.Delivered ended.task |])
            | _ -> ()

            outside.Hear(message, content)

    let perform effect =
        note "effect" effect

        match effect with
        | Effect.Assign(session, work, submission, payload) ->
            assign session work submission payload
        | Effect.Revoke(session, attempt) ->
            outside.WorkerOf session
            |> Option.iter (fun worker -> worker.Drop(fun held -> held.attempt = attempt))
        | Effect.Drop before ->
            cutoff <- ValueNone
            drops.Enqueue before
        | Effect.Welcome(session, keep) ->
            outside.WorkerOf session
            |> Option.iter (fun worker ->
                worker.IsWelcome <- true
                worker.Drop(fun held -> not (Array.contains held.attempt keep)))
        | Effect.Disconnect(session, _) -> outside.WorkerOf session |> Option.iter _.Disconnect()
        | Effect.Reply(session, message, payload, kept) -> reply session message payload kept
        | Effect.Recall _
        | Effect.ReplyRecalled _
        | Effect.Cut _
        | Effect.Join _ -> loading.Enqueue effect
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
            try
                let contents =
                    parts
                    |> Array.map (fun part ->
                        files.ContentOf part (Unchecked.defaultof<Submission>))

                let content = Content.join merge.IsSome contents
                post (Input.Joined(attempt, store attempt content destination))
            with :? IOException as error ->
                coverage.Count "seen: dropped before it was joined"
                post (Input.Unjoined(attempt, error.Message))

    /// What a task was submitted with, for one that is given out or split.
    let recall (attempt: Attempt) number =
        try
            post (Input.Recalled(attempt, journal.ReadSubmission(attempt.task, number)))
        with :? IOException as error ->
            coverage.Count "seen: dropped before it was recalled"
            post (Input.Unreadable(attempt, error.Message))

    /// The reference that a task was submitted with, for the client. One that cannot be read is told by its task.
    let refer session (ended: Done) number =
        let ref =
            try
                journal.ReadSubmission(ended.task, number).Ref
            with :? IOException ->
                coverage.Count "seen: dropped before its reference was read"
                (journal.Submission ended.task).Ref

        if outside.Client = ValueSome session then
            outside.Hear(FromScheduler.Done { ended with ref = ref }, "")

    let countPart event =
        match event with
        | Event.Part(whole, _, Spooled _)
        | Event.Carried(Carried.Part(whole, _, Spooled _)) when (journal.EndOf whole).IsNone ->
            if isThere event then "seen: part kept"
            elif isSameBoot then "seen: part gone"
            else "seen: part dropped"
            |> coverage.Count
        | _ -> ()

    /// By what `Restart` knows a result that has its name.
    let find mark (file: SimFile | null) : Proof voption =
        match mark, file with
        | Unmarked, _
        | _, null -> ValueNone
        | Holding proof, file ->
            if Content.proofOf file.Content = proof then
                ValueSome proof
            else
                ValueNone
        | ResultMark.Written(size, modified), file ->
            if isSameBoot && file.Modified = modified && Content.sizeOf file.Content = size then
                ValueSome(Content.proofOf file.Content)
            else
                ValueNone

    let compare () =
        let whole =
            restore (
                seq {
                    for recorded in journal.All do
                        struct (recorded.number, recorded.at, recorded.event)
                }
            )

        RestoreChecks.asIfWhole whole scheduler

    do
        for recorded in journal.All do
            countPart recorded.event

            // Of the tasks that are done too, which may not be done again.
            if isThere recorded.event then
                pieces.Take(recorded.event, false)

        RestoreChecks.beside journal scheduler

        if isCompared then
            compare ()

        for name in disk.Below "out/.tmp" do
            disk.Delete name

        let needed = HashSet scheduler.Spools

        for name in disk.Below "spool/" do
            if not (needed.Contains name) then
                disk.Delete name

        for path in needed do
            must (not (isNull (disk.Find path))) $"{path} is needed, and not there"

        let notes = List<Note>()

        for KeyValue(name, file) in scheduler.TakenFiles do
            taken[name] <- file.version

        for struct (name, proof) in scheduler.Unflushed do
            let isWhole =
                match disk.Find(targetOf name) with
                | null -> isSameBoot
                | file -> Content.proofOf file.Content = proof

            if not isWhole then
                coverage.Count "seen: damaged result found"
                notes.Add(Note.Damaged name)
                taken.Remove name |> ignore

        let found = Dictionary<Attempt, Proof>()

        for struct (attempt, submission, mark) in scheduler.Accepted do
            match find mark (disk.Find(targetOf submission.Name)) with
            | ValueSome proof -> found[attempt] <- proof
            | ValueNone -> ()

        let decisions = Decisions()
        let first = scheduler.LastEvent + 1L
        scheduler.Resume(owner, found, start, decisions)
        scheduler.Step(Input.Note(notes.ToArray()), start, decisions)

        for event in decisions.Events do
            pieces.Take(event, true)

        batches.Enqueue { at = start; first = first; decisions = decisions }

    member _.Scheduler = scheduler
    member _.Post input = post input

    /// Whether what the start decided is durable.
    member val IsResumed = false with get, set

    /// What is carried is not all of it, or not dropped.
    member _.IsRetaining = scheduler.IsRetaining || drops.Count > 0

    /// Some of what is to be dropped is.
    member val IsDropping = false with get, set

    member _.IsIdle =
        mailbox.Count = 0
        && batches.Count = 0
        && publishing.Count = 0
        && loading.Count = 0
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

            batches.Enqueue { at = now; first = first; decisions = decisions }

    /// Makes the oldest batch durable, or all as one transaction, and lets the effects out.
    member life.Commit() =
        if batches.Count > 0 then
            if together.IsEmpty then
                together <- batches |> Seq.truncate (1 + chance.Below 2) |> Seq.toList

            for batch in together do
                for event in batch.decisions.Events do
                    match event with
                    | Event.Carried carried -> coverage.Count $"carried: {carried.GetType().Name}"
                    | Event.Submitted(id, submission, _) ->
                        match submission.Origin with
                        | Origin.Piece(whole, _) ->
                            must
                                (submission.Name = nameOfTask whole)
                                $"the piece that is task {id} is called '{submission.Name}'"
                        | Origin.Folder
                        | Origin.Client _ -> ()
                    | _ -> ()

                    note "event" event

            match together |> List.map _.Recorded |> List.filter (List.isEmpty >> not) with
            | [] -> ()
            | turns -> journal.Append(owner, turns)

            life.IsResumed <- true

            let durable = together
            together <- []

            for batch in durable do
                batches.Dequeue() |> ignore
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

    /// Reads a submission, cuts a payload, or puts parts together.
    member life.Load() =
        if loading.Count > 0 then
            // Another thread may be done with what came later.
            for _ in 1 .. chance.Below loading.Count do
                loading.Enqueue(loading.Dequeue())

            match loading.Peek() with
            | Effect.Recall(attempt, number) -> recall attempt number
            | Effect.ReplyRecalled(session, ended, number) -> refer session ended number
            | Effect.Cut(attempt, submission, payload, pieceSize) ->
                cut attempt submission payload pieceSize life.PiecesFail
            | Effect.Join(attempt, merge, parts) -> join attempt merge parts life.PiecesFail
            | other -> raise (Violation $"{other} is no matter of pieces")

            loading.Dequeue() |> ignore

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

                if submission.Origin <> Origin.Folder then
                    let source = ValueSome(OfTask attempt.task)
                    post (Input.Note [| Note.Owner(nameOf submission.Name, source) |])

                post (Input.Published(attempt, proof))

            stored.Clear()

    /// Only while nothing is undurable: it waits for that.
    member _.Checkpoint() =
        if batches.Count = 0 && scheduler.Unflushed.Length > 0 then
            let number = scheduler.LastEvent

            if settings.isFlushing then
                disk.FlushAll()

            post (Input.Note [| Note.Flushed number |])

    /// Somebody has taken a result away.
    member _.ForgetOwner() =
        match scheduler.Owners with
        | [||] -> ()
        | owners ->
            let struct (name, _) = chance.Pick owners
            post (Input.Note [| Note.Owner(name, ValueNone) |])

    /// <summary>As `Upkeep`: has the next part carried of what is needed of old events.</summary>
    /// <param name="choose">What is to go, if nothing is on its way.</param>
    /// <returns>What is to go; none: what was carried is to be dropped first.</returns>
    member _.Retain(choose: unit -> Cutoff) : Cutoff voption =
        if drops.Count > 0 then
            ValueNone
        else
            if cutoff.IsNone then
                cutoff <- ValueSome(choose ())

            post (Input.Retain cutoff.Value)
            cutoff

    /// What is decided and not durable was decided at this time, or later.
    member _.DurableUpTo(now: Instant) =
        if batches.Count = 0 then now else batches.Peek().at

    /// Drops some of what was carried.
    member life.Drop() =
        if drops.Count > 0 then
            life.IsDropping <- journal.Drop(drops.Peek(), 1 + chance.Below 4)

            if not life.IsDropping then
                coverage.Count "seen: dropped"
                drops.Dequeue() |> ignore

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
