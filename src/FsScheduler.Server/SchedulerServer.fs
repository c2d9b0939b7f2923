namespace FsScheduler.Server

open System
open System.Collections.Generic
open System.IO
open System.Net
open System.Net.Sockets
open System.Runtime.ExceptionServices
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// <summary>A running scheduler: the mailbox, its connections, and the flow of files.</summary>
[<Sealed>]
type SchedulerServer private (options: SchedulerOptions, listener: TcpListener, journal: Journal) =
    static let endWithin = TimeSpan.FromSeconds 5.0
    let log = options.log
    let clock = options.clock
    let stop = new CancellationTokenSource()
    let state = options.state
    let outage = options.outage

    let history: IHistory = journal
    let files = Spool()

    let scheduler = Restart.restore options.settings journal clock log

    // Read now: later the mailbox owns the scheduler.
    let quarantined = scheduler.QuarantinedInputs
    let takenBefore = Dictionary scheduler.TakenFiles
    let finishedBefore = scheduler.Status.finished
    let lastSession = scheduler.LastSession
    let unfinishedBefore = HashSet scheduler.UnfinishedFiles
    let inputs = InputFolder(options.entrada, options.ignored)
    let publisher = ResultStore options.resultados
    let results: IResultFolder = publisher
    let swept = publisher.Sweep()

    do
        if swept > 0 then
            log.LogInformation(
                "{Count} temporary files of an earlier run were removed from {Folder}",
                swept,
                publisher.Path
            )

    let activity = ActivityLog(clock, log)
    let connections = Connections()
    let mutable isDraining = false

    let host =
        SchedulerHost {
            settings = options.settings
            scheduler = scheduler
            owner = journal.Owner
            journal = journal
            inputs = Inputs(inputs, options.onDone)
            results = results
            files = files
            state = state
            merging = Merge.ofStages
            smallMax = Connection.MemoryMax
            find = FindPeer connections.Find
            onDone = options.onDone
            sync = options.sync
            flush = Flush.all publisher.Path
            again = options.again
            tick = max 10L<ms> (min 50L<ms> (options.settings.lostAfter / 8L))
            retention = options.retention
            pace = MaintenancePace.Usual
            outage = outage
            activity = activity
            clock = clock
            log = log
        }

    let remembered = host.Remembered
    let owners = host.Owners

    // Steps before this one may fail; from here on there are threads.
    do journal.Start()

    let agent = SchedulerAgent(host.InitialState, journal, Release host.Release, clock)

    let relay = InputRelay agent
    let report input = relay.Tell input

    let submitter =
        FolderSubmitter(
            FolderPipelines(inputs, options.routes, options.settings.pipeline),
            outage,
            clock,
            activity,
            log,
            (fun inputs ->
                if inputs.Length = 0 then
                    Task.CompletedTask
                else
                    agent.PostAsync(inputs, stop.Token)),
            stop.Token
        )

    let inbox =
        new Inbox(
            inputs,
            {
                InboxOptions.defaults log with
                    settle = options.settle
                    remembered = remembered
                    heldBack = WriterCheck(inputs, options.onDone, log).HeldBack
                    overlap =
                        FolderPlaces.watchOverlap options.entrada options.resultados state.Path
                    clock = clock.Provider
            },
            { take = submitter.TakeAsync; vanished = submitter.VanishAsync }
        )

    let reconsider name version =
        inbox.Reconsider(name, version) |> ignore

    let missed name = inbox.Miss name |> ignore

    let unread = UnreadInputs(inputs, reconsider)
    let unfinished = UnfinishedInputs(inputs, options.onDone, log)

    do
        for struct (file, version, error) in quarantined do
            match TaskName.parse file with
            | Ok name when UnreadInputs.IsUnread error -> unread.Note(name, version)
            | Ok _
            | Error _ -> ()

    let payloads =
        PayloadSource(inputs, journal, host.Reads, report, reconsider, missed, unread, log)

    let sharing =
        SharedFileTransfer(
            inputs,
            state,
            agent,
            host.Place,
            host.IsKept,
            reconsider,
            missed,
            outage,
            clock
        )

    let spool message =
        match message with
        | ToScheduler.Result(attempt, _) ->
            host.PlaceOfAsync(agent, attempt, CancellationToken.None)
        | _ -> Task.FromResult(state.NewSpool true)

    let targetOf source name =
        publisher.TargetOf(owners.Find(source, name))

    let answer (question: ToScheduler) : Task<struct (FromScheduler * KeptContent)> =
        HistoryQueries.answer journal history agent targetOf question

    let room = FreeSpaceWatch(outage, clock, stop.Token)

    let places =
        ConnectionSlots(
            ConnectionLimits.ofDescriptors (DescriptorLimit.current ()) (DescriptorLimit.isOpen ())
        )

    let context = {
        rules = options.rules
        beat = options.beat
        lostAfter = options.settings.lostAfter
        agent = agent
        payloads = payloads
        sharing = if options.sharesFiles then ValueSome sharing else ValueNone
        spool = spool
        isKept = host.IsKept
        outage = outage
        noRoom = fun folder reason -> room.Begin(folder, reason)
        answer = answer
        isDraining = fun () -> isDraining
        places = places
        clock = clock
        log = log
    }

    let peers = PeerListener(listener, connections, context, lastSession)

    let around = {
        maintenance = {
            started = state.NoteBoot
            sweep = sharing.SweepAsync
            trim = fun () -> GC.Collect(2, GCCollectionMode.Aggressive, true, true)
        }
        cut =
            Cut(fun attempt submission payload pieceSize ->
                payloads.Cut(attempt, submission, payload, pieceSize))
        heard = connections.Sweep
        awaited = fun () -> inbox.Awaited
        reconsider = reconsider
        unfinished = fun name version -> unfinished.Note(name, version)
    }

    let accepting: Task = Task.Run(fun () -> peers.RunAsync())
    let relaying: Task = Task.Run(fun () -> relay.RunAsync stop.Token)
    let rereading: Task = Task.Run(fun () -> unread.RunAsync(clock, stop.Token))
    let refinishing: Task = Task.Run(fun () -> unfinished.RunAsync(clock, stop.Token))

    let hosting = host.Start(agent, around, (fun part -> Task.Run part), stop.Token)

    /// In the background, since it takes long with many files.
    let before: Task<DoneBefore> =
        if remembered.Length = 0 then
            Task.FromResult DoneBefore.none
        else
            Task.Run<DoneBefore>(fun () ->
                Restart.doneBefore
                    takenBefore
                    remembered
                    unfinishedBefore
                    (FolderPipelines(inputs, options.routes, options.settings.pipeline))
                    (fun name -> results.HasResult(owners.Find(OfFile name, name)))
                    (InputFile.isCurrent inputs))

    let tellingBefore: Task =
        task {
            let! before = before

            for warning in DoneBefore.warnings before do
                log.LogWarning("{Warning}", warning)
        }

    let running =
        Loops.firstFailure [
            agent.Completion
            inbox.Completion
            accepting
            relaying
            rereading
            refinishing
            yield! hosting
            tellingBefore
        ]

    /// <summary>Binds the port, then opens the journal, then starts; undone if a step fails.</summary>
    /// <exception cref="T:System.Net.Sockets.SocketException">The address cannot be listened on.</exception>
    /// <exception cref="T:FsScheduler.Journal.JournalRefused">The journal is damaged.</exception>
    /// <exception cref="T:System.IO.IOException">A folder is missing or cannot be written.</exception>
    static member StartAsync(options: SchedulerOptions) : Task<SchedulerServer> =
        task {
            let listener = new TcpListener(options.listen)
            let mutable journal: Journal | null = null

            try
                // [::] is every address of this computer, those of IPv4 too.
                if options.listen.Address.Equals IPAddress.IPv6Any then
                    listener.Server.DualMode <- true

                listener.Start 512
                let opened = options.openJournal ()
                journal <- opened
                return new SchedulerServer(options, listener, opened)
            with error ->
                listener.Stop()

                match journal with
                | null -> ()
                | journal -> do! (journal :> IAsyncDisposable).DisposeAsync()

                ExceptionDispatchInfo.Throw error
                return Unchecked.defaultof<_>
        }

    /// The journal that is being written.
    member _.Journal = journal

    /// The bound address.
    member _.EndPoint = listener.LocalEndpoint :?> IPEndPoint

    /// Faults when a part has failed that the scheduler cannot do without.
    member _.Completion: Task = running

    member _.StatusAsync() : Task<StatusReport> = agent.QueryAsync _.Status

    /// The number of tasks finished by earlier runs.
    member _.FinishedBefore = finishedBefore

    /// What earlier runs have done with the files that are there, which this run leaves as they are. Logged by then.
    member _.DoneBeforeAsync() : Task<DoneBefore> =
        task {
            do! tellingBefore
            return! before
        }

    /// The number of files of `entrada/` that cannot be taken.
    member _.Refused = inbox.Refused + submitter.Held

    /// What is left until everything is done, as a sentence.
    member _.LeftAsync() : Task<string> =
        task {
            let! unfinished =
                agent.QueryAsync(fun scheduler ->
                    TaskView.all scheduler
                    |> Array.filter (fun task -> task.state <> "quarantined")
                    |> Array.map _.name)

            let struct (pending, names) = inbox.Left
            return UnfinishedWork.sentence unfinished pending names inbox.Awaited
        }

    /// <summary>Waits until everything in `entrada/` is done, or in quarantine.</summary>
    /// <returns>The number of tasks in quarantine.</returns>
    member _.WaitUntilDoneAsync(ct: CancellationToken) : Task<int> =
        task {
            let mutable quarantined = ValueNone
            use timer = new PeriodicTimer(TimeSpan.FromMilliseconds 20.0, clock.Provider)

            while quarantined.IsNone do
                do! inbox.WaitUntilSettled().WaitAsync ct

                // Between the two checks, a task could have gone back to the inbox.
                let! isDone = agent.QueryAsync(_.IsDone).WaitAsync ct
                do! inbox.WaitUntilSettled(afresh = isDone).WaitAsync ct

                match!
                    agent
                        .QueryAsync(fun scheduler ->
                            struct (scheduler.IsDone, scheduler.Quarantined))
                        .WaitAsync
                        ct
                with
                | struct (true, count) when isDone -> quarantined <- ValueSome count
                | _ ->
                    let! _ = timer.WaitForNextTickAsync ct
                    ()

            activity.Flush()
            return quarantined.Value
        }

    /// <summary>Gives no more tasks out, and waits until none runs.</summary>
    /// <param name="atMost">The longest wait; tasks that still run then are dropped.</param>
    member _.DrainAsync(atMost: TimeSpan) : Task =
        task {
            peers.Stop()
            isDraining <- true
            // Every worker is drained, as if it had asked for that.
            let drains = [| for session in connections.Sessions -> Input.Ready(session, 0) |]
            use patience = new CancellationTokenSource(atMost, clock.Provider)
            use timer = new PeriodicTimer(TimeSpan.FromMilliseconds 20.0, clock.Provider)

            try
                do! agent.PostAsync(drains, patience.Token)
                do! (inbox :> IAsyncDisposable).DisposeAsync().AsTask().WaitAsync patience.Token
                let mutable isBusy = true

                while isBusy do
                    let! status = agent.QueryAsync(_.Status).WaitAsync patience.Token
                    isBusy <- status.running + status.publishing > 0L

                    if isBusy then
                        let! _ = timer.WaitForNextTickAsync patience.Token
                        ()
            with :? OperationCanceledException ->
                log.LogWarning(
                    "{Count} tasks were still running after {Seconds} s: dropped",
                    agent.LatestStatus.running,
                    atMost.TotalSeconds
                )
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                peers.Stop()
                stop.Cancel()
                connections.End()

                let last =
                    Task.WhenAll [|
                        (inbox :> IAsyncDisposable).DisposeAsync().AsTask()
                        yield! connections.Serving
                        accepting
                        relaying
                        rereading
                        refinishing
                        yield! hosting
                    |]

                // A part that waits for the disk would wait for ever; the failure is in `Completion`.
                do! last.WaitAsync(endWithin).ConfigureAwait ConfigureAwaitOptions.SuppressThrowing
                do! (journal :> IAsyncDisposable).DisposeAsync()
            }
            |> ValueTask
