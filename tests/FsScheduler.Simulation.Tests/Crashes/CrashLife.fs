namespace FsScheduler.Simulation.Tests.Crashes

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging.Abstractions
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders
open FsScheduler.Server
open FsScheduler.Simulation.Tests
open FsScheduler.Simulation.Tests.Crashes
open FsScheduler.TestKit

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
        | Bytes bytes -> ResultMark.Holding(ResultFile.hashOf bytes)
        | Spooled(path, size) ->
            match disk.Find path with
            | null -> ResultMark.Unmarked
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
        Restart.restore settings.machine journal world.clock NullLogger.Instance

    let audit = CrashAudit(settings.machine, world, files, scheduler, isCompared)

    do
        for name in disk.Below "out/.tmp" do
            disk.Delete name

    let watched: IJournal = WatchedJournal(journal, history, audit.Decided)

    let results: IResultFolder = SimResults(disk, world.state.NewName, audit.Published)

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
        let lost = host.InitialState.lost |> Array.map _.path

        for path in scheduler.Spools do
            must (files.Has path <> Array.contains path lost) $"{path} is needed, and not there"

        for note in host.InitialState.notes do
            if note.IsDamaged then
                coverage.Count "seen: damaged result found"

        for struct (name, version) in host.Remembered do
            taken[string name] <- version

    let released (effects: List<Effect>) =
        Seq.iter audit.Released effects
        host.Release effects

    let turns = BatchPipeline(host.InitialState, watched, Release released, world.clock)

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
                        posted = audit.Posted
                        looked = audit.Looked
                        begun = fun () -> Task.CompletedTask
                        most = fun () -> chance.Below 8
                        take = turns.Take
                        decided = audit.CheckMachine
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
        string (host.Owners.Find(OfTask task, Texts.name name))

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
                        Submission.Create(
                            Texts.name name,
                            "",
                            0,
                            Origin.Folder,
                            Payload.Input stamp
                        ),
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
                    Submission.Create(Texts.name job.Name, job.Name, 0, origin, payload),
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
