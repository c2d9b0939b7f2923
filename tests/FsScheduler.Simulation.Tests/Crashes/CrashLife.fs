namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Simulation.Tests
open FsScheduler.Simulation.Tests.Crashes

/// How a run is set.
type CrashSettings = {
    machine: Settings
    sync: Sync
    /// Inputs go when they are done.
    deletes: bool
    /// Percent of payloads and results that are files.
    large: int
    /// Results that are put together are files above this.
    smallMax: Size
    retention: Retention
    pace: MaintenancePace
}

/// What outlives the process.
type CrashWorld = {
    disk: SimDisk
    store: SimStore
    history: History
    state: SimState
    outside: SimEnvironment
    timeline: Timeline
    time: TimelineTime
    clock: Clock
    chance: Chance
    coverage: Coverage
    trace: Trace
}

/// <summary>One life of a scheduler's process: the host, with the journal's writer and the inbox, in one thread.</summary>
/// <param name="settings">Of this life.</param>
/// <param name="world">Where it lives.</param>
/// <param name="isCompared">Whether what it knows at the start is held against everything that was ever recorded.</param>
[<Sealed>]
type CrashLife(settings: CrashSettings, world: CrashWorld, isCompared: bool) =
    let disk, history, outside = world.disk, world.history, world.outside
    let chance, coverage = world.chance, world.coverage
    let runner = SimRunner chance
    let stop = new CancellationTokenSource()

    let note (kind: string) (case: obj) =
        coverage.Count $"{kind}: {TraceFormat.caseOf case}"
        world.trace.Add(world.clock.Now, kind, 0L, case)

    let fails what percent =
        let isSo = chance.Percent percent

        if isSo then
            coverage.Count $"fault: {what}"

        isSo

    let mutable piecesFail = 0

    let files: ISpool =
        SimSpool(disk, chance, (fun () -> fails "join failed" piecesFail))

    let mark (result: Content) : ResultMark =
        match result with
        | Bytes bytes -> Holding(ResultFile.hashOf bytes)
        | Spooled(path, size) ->
            match disk.Find path with
            | null -> Unmarked
            | file -> ResultMark.Written(size, file.Modified)

    let journalOptions = {
        SimHost.journalOptions with
            owner = Guid(disk.Passed, 1s, 0s, Array.zeroCreate 8)
            mark = mark
    }

    do
        world.store.Open()
        history.Trim()

    let journal = new Journal(world.store, journalOptions)
    let isSameBoot = world.state.IsSameBoot

    let scheduler =
        Restart.restore settings.machine journal files isSameBoot world.clock NullLogger.Instance

    let nameOf name =
        match TaskName.parse name with
        | Ok name -> name
        | Error error -> raise (Violation error)

    let pieces = CrashPieces()

    let isThere event =
        match event with
        | Event.Part(_, _, Held(Spooled(path, _)))
        | Event.Carried(Carried.Part(_, _, Held(Spooled(path, _)))) -> isSameBoot && files.Has path
        | _ -> true

    let countPart event =
        match event with
        | Event.Part(whole, _, Held(Spooled _))
        | Event.Carried(Carried.Part(whole, _, Held(Spooled _))) when (history.EndOf whole).IsNone ->
            if isThere event then "seen: part kept"
            elif isSameBoot then "seen: part gone"
            else "seen: part dropped"
            |> coverage.Count
        | _ -> ()

    let compare () =
        let whole = Scheduler settings.machine

        whole.Restore(
            seq {
                for recorded in history.All do
                    struct (recorded.number, recorded.at, recorded.event)
            },
            world.clock.Now,
            isThere
        )

        RestoreChecks.asIfWhole whole scheduler

    do
        for recorded in history.All do
            countPart recorded.event

            // Of the tasks that are done too, which may not be done again.
            if isThere recorded.event then
                pieces.Take(recorded.event, false)

        RestoreChecks.beside history scheduler

        if isCompared then
            compare ()

        for name in disk.Below "out/.tmp" do
            disk.Delete name

    let decided event =
        note "event" event
        pieces.Take(event, true)

        match event with
        | Event.Carried carried -> coverage.Count $"carried: {carried.GetType().Name}"
        | Event.Submitted(id, submission, _) ->
            match submission.Origin with
            | Origin.Piece(whole, _) ->
                must
                    (submission.Name = (history.Submission whole).Name)
                    $"the piece that is task {id} is called '{submission.Name}'"
            | Origin.Folder
            | Origin.Client _ -> ()
        | _ -> ()

    let watched: IJournal = WatchedJournal(journal, history, decided)

    /// Of the task whose result gets the name, which is its own or one with its number.
    let published (place: TaskName) content =
        let goesTo (task: TaskView) =
            ResultName.candidates (OfTask task.id) (nameOf task.name)
            |> Seq.truncate 4
            |> Seq.contains place

        let publishing =
            TaskView.all scheduler
            |> Array.filter (fun task -> task.state = "publishing" && goesTo task)

        match publishing with
        | [| task |] ->
            let attempt = { task = task.id; number = task.attempt }

            must
                (history.IsAccepted attempt)
                $"the result of {attempt} gets its name before it is durable"

            let submission = history.Submission task.id
            must (not submission.Origin.IsPiece) $"{attempt} is a piece, and is published"

            let what =
                match submission.Payload with
                | Payload.Input stamp -> Content.ofFile submission.Name stamp.modified
                | _ -> $"task {task.id}"

            must
                (outside.Published.TryAdd(
                    what,
                    { task = task.id; place = string place; content = content }
                ))
                $"{what} is published twice"
        | other -> raise (Violation $"{place} is published, and the machine has %A{other}")

    let results: IResultFolder = SimResults(disk, world.state.NewName, published)

    /// The versions that the inbox believes in.
    let taken = Dictionary<string, FileVersion>()

    let mutable mailbox: SimMailbox | null = null

    let post (input: Input) =
        (nonNull mailbox :> IMailbox).PostAsync([| input |], CancellationToken.None)
        |> ignore

    let peers = CrashPeers(disk, history, watched, outside, taken, post)
    let outage = StorageOutage NullLogger.Instance

    let host =
        SchedulerHost {
            settings = settings.machine
            scheduler = scheduler
            owner = journal.Owner
            journal = watched
            inputs = SimInputs(outside, settings.deletes)
            results = results
            files = files
            state = world.state
            merging = SimHost.merging
            smallMax = settings.smallMax
            find = FindPeer peers.Find
            onDone = (if settings.deletes then OnDone.Delete else OnDone.Keep)
            sync = settings.sync
            flush = (fun _ -> disk.FlushAll())
            again = false
            tick = 150L<ms>
            retention = settings.retention
            pace = settings.pace
            outage = outage
            activity = ActivityLog(world.clock, NullLogger.Instance)
            clock = world.clock
            log = NullLogger.Instance
        }

    do
        for path in scheduler.Spools do
            must (files.Has path) $"{path} is needed, and not there"

        for note in host.InitialState.notes do
            if note.IsDamaged then
                coverage.Count "seen: damaged result found"

        for struct (name, version) in host.Remembered do
            taken[string name] <- version

    let released (effects: List<Effect>) =
        for effect in effects do
            note "effect" effect

            match effect with
            | Effect.ToDisk(DiskEffect.ConfirmPublished _) ->
                coverage.Count "seen: result found after a crash"
            | _ -> ()

        host.Release effects

    let turns = BatchPipeline(host.InitialState, watched, Release released, world.clock)

    /// Its key may be forgotten: it ended before the time after which all are kept, and nobody waits for its result.
    let mayForget (cutoff: Cutoff) (job: Job) =
        match history.EndOf job.Task with
        | _ when cutoff.isTooMuch -> true
        | ValueSome(struct (at, isDone)) ->
            at - cutoff.keptSince < 0L<ms>
            && (job.Want <> Result || not isDone || job.HasResult)
        | ValueNone -> false

    let posted input =
        note "input" input
        SimHost.checkMissing scheduler input

        match input with
        | Input.Retain cutoff ->
            for job in outside.Jobs do
                if job.Key.IsSome && job.Task > 0L<taskId> && mayForget cutoff job then
                    job.IsForgotten <- true
        | _ -> ()

    let looked (seen: objnull) =
        match seen with
        | :? ResultTarget as destination when destination = ResultTarget.Nowhere ->
            coverage.Count "seen: result for nobody"
        | _ -> ()

    let mutable checkedAt = -1L

    let checkMachine () =
        if scheduler.LastEvent <> checkedAt then
            checkedAt <- scheduler.LastEvent

            match Invariants.violations scheduler with
            | [] -> ()
            | all -> raise (Violation(String.concat "; " all))

    /// As `PayloadSource` does.
    let cut (attempt: Attempt) (submission: Submission) payload pieceSize =
        let tell input =
            post input
            ValueNone

        let content =
            match payload with
            | Payload.Input stamp -> peers.OfFile submission.Name stamp
            | Kept(Held(Spooled(path, _))) ->
                match disk.Find path with
                | null -> ValueNone
                | file -> ValueSome file.Content
            | _ -> raise (Violation $"{attempt} is cut, and is no file")

        match content with
        | _ when fails "cut failed" piecesFail -> tell (Input.Unreadable(attempt, "I/O error"))
        | ValueSome content -> ValueSome(Content.cutsOf content pieceSize)
        | ValueNone when payload.IsInput -> tell (Input.FileChanged attempt)
        | ValueNone -> tell (Input.Unreadable(attempt, "not there"))

    let around = {
        maintenance = SimHost.upkeep (world.state :> IStateFolder).NoteBoot
        cut = Cut(fun attempt submission payload size -> cut attempt submission payload size)
        heard = fun () -> Seq.empty
        awaited = fun () -> null
        reconsider =
            fun name stamp ->
                match taken.TryGetValue(string name) with
                | true, known when known.modified = stamp.modified ->
                    taken.Remove(string name) |> ignore
                | _ -> ()
        unfinished = fun _ _ -> ()
    }

    let running =
        runner.Within(fun () ->
            let opened =
                SimMailbox(
                    turns,
                    {
                        posted = posted
                        looked = looked
                        begun = fun () -> Task.CompletedTask
                        most = fun () -> chance.Below 8
                        take = turns.Take
                        decided = checkMachine
                    }
                )

            mailbox <- opened

            [
                SimHost.write journal world.time (fun () -> 0L<ms>)
                turns.ReleaseAsync()
                yield! host.Start(opened, around, (fun part -> part ()), stop.Token)
                opened.RunAsync()
            ])

    let mailbox: SimMailbox = nonNull mailbox

    /// Inputs that peers have sent, which they have yet to store.
    let mutable arriving = 0

    let arrive (work: unit -> Task) =
        arriving <- arriving + 1

        let arrived: Task =
            runner.Within(fun () ->
                task {
                    try
                        do! work ()
                    finally
                        arriving <- arriving - 1
                }
                :> Task)

        arrived

    let arrivals = List<Task>()

    /// Whether a result is a file.
    let isLarge (attempt: Attempt) (content: string) =
        (content.Length * 37 + attempt.number * 11) % 100 < settings.large

    let fault (part: Task) =
        if part.IsFaulted then
            raise (nonNull (nonNull part.Exception).InnerException)

    let write path content =
        try
            disk.Write(path, content)

            if host.IsKept path then
                disk.Flush path

            Spooled(path, Content.sizeOf content)
        with :? IOException ->
            disk.Delete path
            reraise ()

    /// Whether something can go on.
    member _.CanRun = not runner.IsIdle

    member _.Scheduler = scheduler

    /// Where the result of a client's task is.
    member _.PlaceOf(task: TaskId, name: string) =
        string (host.Owners.Find(OfTask task, nameOf name))

    member _.Post input = runner.Within(fun () -> post input)

    member _.PiecesFail
        with set percent = piecesFail <- percent

    /// Something goes on, if anything can.
    member _.RunOne() =
        runner.RunOne()

        for part in running do
            fault part

        for index in arrivals.Count - 1 .. -1 .. 0 do
            fault arrivals[index]

            if arrivals[index].IsCompleted then
                arrivals.RemoveAt index

        if disk.IsDown then
            raise Crash

    /// Nothing can go on before time passes, and nothing waits for the disk.
    member _.IsIdle =
        runner.IsIdle
        && mailbox.IsEmpty
        && arriving = 0
        && history.IsWritten
        && isNull outage.Reason

    /// Why it is not idle.
    member _.Unrest =
        $"runner: {runner.IsIdle}, mailbox: {mailbox.IsEmpty}, arriving: {arriving}, written: {history.IsWritten}, holdup: {outage.Reason}"

    /// The process is gone.
    member _.End() =
        world.timeline.Clear()
        stop.Dispose()

    /// The folder is listed.
    member _.Scan() =
        for KeyValue(name, version) in Seq.toArray outside.Files do
            let size = Content.sizeOf (Content.ofFile name version)
            let stamp = FileVersion.ofTime size version

            let isTaken =
                match taken.TryGetValue name with
                | true, known -> known.modified = version
                | _ -> false

            if not isTaken then
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
                post (Input.FileDeleted name)

    member _.IsScanned =
        Seq.length outside.Files = taken.Count
        && outside.Files
           |> Seq.forall (fun (KeyValue(name, version)) ->
               match taken.TryGetValue name with
               | true, known -> known.modified = version
               | _ -> false)

    /// A client sends something.
    member _.Submit(session: SessionId, job: Job) =
        job.IsSent <- true

        let submit (payload: Content) =
            let key = job.Key |> Option.map (fun key -> { text = key; content = job.Name })
            let origin = Origin.Client(session, job.Want, key)

            post (
                Input.Submit(
                    Submission.Create(nameOf job.Name, job.Name, 0, origin, payload),
                    job.Pipeline
                )
            )

        if job.IsLarge then
            try
                submit (write (nonNull ((world.state :> IStateFolder).NewSpool true)) job.Content)
            with :? IOException ->
                job.IsSent <- false // busy
        else
            submit (Bytes(Content.toBytes job.Content))

    /// A worker sends the result of what it was given: one that is large goes where it belongs.
    member _.Report(session: SessionId, holding: Holding) =
        let attempt = holding.attempt
        let content = Content.run holding.stages attempt holding.input

        let report payload =
            post (Input.Report(session, attempt, Succeeded, payload))

        if isLarge attempt content then
            arrivals.Add(
                arrive (fun () ->
                    task {
                        let look = ResultTarget.ofResult attempt
                        let! destination = (mailbox :> IMailbox).QueryAsync(look, stop.Token)

                        try
                            match host.Place destination with
                            | null -> report Content.empty
                            | path -> report (write path content)
                        with :? IOException as error ->
                            post (Input.Unstored(session, attempt, error.Message))
                    })
            )
        else
            report (Bytes(Content.toBytes content))
