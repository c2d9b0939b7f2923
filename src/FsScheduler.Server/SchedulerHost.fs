namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// The parts of a host, which has no sockets, threads or files of its own.
type HostOptions = {
    settings: Settings
    /// Restored, or new.
    scheduler: Scheduler
    /// Identifies this run as the writer of the journal.
    owner: Guid
    journal: IJournal
    inputs: IInputFolder
    results: IResultFolder
    /// Payloads in files.
    files: ISpool
    state: IStateFolder
    merging: Merge
    /// Merged results up to this size are held in memory, and in the journal.
    smallMax: Size
    /// Finds peers.
    find: FindPeer
    onDone: OnDone
    /// When results are flushed.
    sync: Sync
    /// Flushes results, by their paths; raises IOException where the disk fails.
    flush: string seq -> unit
    /// Whether finished files are processed again.
    again: bool
    /// How often the machine is told the time.
    tick: Duration
    retention: Retention
    pace: MaintenancePace
    outage: StorageOutage
    activity: ActivityLog
    clock: Clock
    log: ILogger
}

/// Parts that need a mailbox and an inbox.
type HostHooks = {
    maintenance: MaintenanceHooks
    /// Finds the ends of the pieces of a payload.
    cut: Cut
    /// An input for each worker with a sign of life since the last call.
    heard: unit -> Input seq
    /// The file that is waited for, as a sentence, or null.
    awaited: unit -> (string | null)
    /// Has an input examined again that cannot be used as it was.
    reconsider: TaskName -> FileVersion -> unit
    /// Told of inputs that are done, and could not be moved or deleted.
    unfinished: TaskName -> FileVersion -> unit
}

/// <summary>Everything between the machine and the outside: restart, effects, results, reads of payloads, and
/// maintenance. `SchedulerServer` adds sockets and threads; a simulation runs it in one thread.</summary>
/// <exception cref="T:System.IO.IOException">A folder cannot be read or written.</exception>
[<Sealed>]
type SchedulerHost(options: HostOptions) =
    let scheduler = options.scheduler
    let state = options.state
    let clock = options.clock

    /// Notes of the start, for the journal.
    let notes = List<Note>()

    let owners = Restart.owners scheduler options.results options.inputs notes

    let publishing =
        ResultPublisher(
            options.inputs,
            options.results,
            options.files,
            owners,
            options.onDone,
            options.sync,
            options.flush,
            clock,
            options.outage,
            options.activity,
            options.log
        )

    let lost = Restart.lostParts scheduler options.files state.IsSameBoot

    do
        // Lost parts are deleted before `NoteBoot`, so that no later start takes one for whole.
        let needed = HashSet scheduler.Spools
        needed.ExceptWith(lost |> Seq.map _.path)
        state.Sweep needed

    let remembered =
        if options.again then
            [||]
        else
            Restart.files scheduler options.results owners notes state options.log

    let isKept path =
        options.sync <> Sync.Off && state.IsKept path

    let pieces =
        PieceMerger(
            options.journal,
            options.files,
            options.merging,
            options.smallMax,
            isKept,
            (fun path hash -> publishing.Note(path, hash)),
            state.Temporary,
            options.outage,
            clock
        )

    let sendEnd session outcome =
        match options.find.Invoke session with
        | null -> ()
        | peer ->
            let isSent =
                peer.Post { message = FromScheduler.Done outcome; payload = OutgoingPayload.none }

            if isSent then
                peer.Signal()

    // A failed drop ends the journal.
    let reads =
        PendingReads((fun before -> options.journal.DropAsync before |> ignore), clock)

    let submissions = SubmissionLoader(options.journal, reads, sendEnd)

    /// Tasks whose kept results were delivered, for the journal; beyond the bound, results are kept longer.
    let delivered = ConcurrentQueue<TaskId>()

    let deliveredMax = 100_000

    let noteDelivered task =
        if delivered.Count < deliveredMax then
            delivered.Enqueue task

    let mutable awaited: unit -> (string | null) = fun () -> null

    let dispatcher =
        EffectDispatcher(
            options.find,
            publishing,
            submissions,
            pieces,
            reads,
            noteDelivered,
            options.outage,
            (fun () -> awaited ()),
            options.log
        )

    let initial = {
        scheduler = scheduler
        owner = options.owner
        found = Restart.published scheduler options.results owners notes state
        lost = lost
        notes = notes.ToArray()
    }

    let takeDelivered () : Note[] =
        let taken = List<Note>()
        let mutable next = Unchecked.defaultof<TaskId>

        while delivered.TryDequeue &next do
            taken.Add(Note.Delivered next)

        taken.ToArray()

    /// Tells the machine the time; signs of life first, so that no worker is lost that has just sent one.
    let tick (mailbox: IMailbox) (heard: unit -> Input seq) (ct: CancellationToken) : Task =
        task {
            use timer =
                new PeriodicTimer(
                    TimeSpan.FromMilliseconds(float (int64 options.tick)),
                    clock.Provider
                )

            // Peers are checked even while the mailbox takes nothing.
            let mutable posting = Task.CompletedTask

            try
                while not ct.IsCancellationRequested do
                    let! _ = timer.WaitForNextTickAsync ct
                    options.activity.Sweep()
                    reads.Check()
                    let heard = Seq.toArray (heard ())

                    if posting.IsCompleted then
                        do! posting

                        posting <-
                            mailbox.PostAsync(
                                [|
                                    match takeDelivered () with
                                    | [||] -> ()
                                    | notes -> Input.Note notes

                                    yield! heard
                                    Input.Tick
                                |],
                                ct
                            )
            with :? OperationCanceledException ->
                ()
        }

    let place destination : string | null =
        match destination with
        | ResultTarget.Nowhere -> null
        | ResultTarget.Kept -> state.NewSpool true
        | ResultTarget.Part -> state.NewPart()
        | ResultTarget.Sent -> state.NewSpool false
        | ResultTarget.Results submission ->
            match TaskName.parse submission.Name |> Result.map options.results.CreateTemp with
            | Ok(Ok path) -> path
            // The writer of the file meets the same failure, and waits for the disk.
            | Ok(Error failure) when failure.IsOfTheDisk -> options.results.TempFor submission.Name
            | Ok(Error _)
            | Error _ -> state.NewSpool false // publishing will report the failure

    /// What the mailbox starts from.
    member _.InitialState: InitialState = initial

    /// The owners of the names of results.
    member _.Owners = owners

    /// Counts the reads of the journal.
    member _.Reads = reads

    /// Versions of files not to be taken again.
    member _.Remembered: struct (TaskName * FileVersion)[] = remembered

    /// Whether the file at a path has to outlive the scheduler.
    member _.IsKept(path: string) : bool = isKept path

    /// A path for a result of a target; null if nobody wants it.
    member _.Place(destination: ResultTarget) : string | null = place destination

    /// A path for the result of an attempt; null if nobody wants it any more.
    member _.PlaceOfAsync
        (mailbox: IMailbox, attempt: Attempt, ct: CancellationToken)
        : Task<string | null> =
        task {
            let! destination = mailbox.QueryAsync(ResultTarget.ofResult attempt, ct)
            return place destination
        }

    /// Hands effects on, in order. By one thread at a time.
    member _.Release(effects: List<Effect>) = dispatcher.Release effects

    /// <summary>Starts all loops beside the mailbox.</summary>
    /// <param name="mailbox">Owns the machine.</param>
    /// <param name="around">Parts that need the mailbox.</param>
    /// <param name="start">Starts a loop on a thread of its own, or on that of the caller.</param>
    /// <param name="ct">Ends the loops, in good order.</param>
    /// <returns>The loops; a fault of one ends the scheduler.</returns>
    member host.Start
        (mailbox: IMailbox, around: HostHooks, start: (unit -> Task) -> Task, ct: CancellationToken)
        : Task list =
        awaited <- around.awaited
        publishing.Finished.Reconsider <- around.reconsider
        publishing.Finished.Unfinished <- around.unfinished

        let spoolOf attempt = host.PlaceOfAsync(mailbox, attempt, ct)

        let report inputs = mailbox.PostAsync(inputs, ct)

        let rememberOwner (owner: ResultOwner) : Task =
            Mailbox.noteDurably mailbox (Note.Owner(owner.name, owner.owner)) ct

        let maintenance =
            Maintenance(
                options.journal,
                options.retention,
                options.pace,
                mailbox,
                options.results,
                owners,
                rememberOwner,
                (fun paths ->
                    if options.sync <> Sync.Off then
                        options.flush paths),
                around.maintenance,
                clock,
                options.log
            )

        [
            start (fun () -> tick mailbox around.heard ct)
            start (fun () -> submissions.RunAsync(report, ct))
            start (fun () -> pieces.RunAsync(around.cut, spoolOf, report, ct))
            start (fun () -> maintenance.RetainAsync ct)
            start (fun () -> maintenance.TidyAsync ct)
            // The outcome of a published result is reported to the end.
            start (fun () ->
                publishing.RunAsync(
                    (fun inputs -> mailbox.PostAsync(inputs, CancellationToken.None)),
                    rememberOwner,
                    ct
                ))
        ]
