namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Folders

/// What a host works with. It has no sockets, threads or files of its own: those are behind these.
type HostOptions = {
    settings: Settings
    /// Restored, or new.
    scheduler: Scheduler
    /// Who writes the journal from now on.
    owner: Guid
    journal: IJournal
    inputs: IInputFolder
    results: IResultFolder
    /// Payloads that are files.
    files: ISpool
    state: IStateFolder
    merging: Merge
    /// Results that are put together are held in memory, and in the journal, up to this size.
    smallMax: Size
    /// Finds peers.
    find: FindPeer
    onDone: OnDone
    /// When results are flushed.
    sync: Sync
    /// Brings results to the device, by their paths; raises IOException where the disk says no.
    flush: string seq -> unit
    /// Whether files that were done before are done again.
    again: bool
    /// How often the machine is told the time.
    tick: Duration
    retention: Retention
    pace: UpkeepPace
    outage: StorageOutage
    activity: ActivityLog
    clock: Clock
    log: ILogger
}

/// What is done by others, and is known once there are a mailbox and an inbox.
type HostAround = {
    upkeep: UpkeepAround
    /// Where the pieces of a payload end.
    cut: Cut
    /// Signs of life since the last time.
    heard: unit -> Input seq
    /// The file that is waited for, as a sentence, or null.
    awaited: unit -> (string | null)
    /// Asks for another look at an input that cannot be used as it was.
    reconsider: TaskName -> FileVersion -> unit
    /// Told of inputs that are done, and could not be moved or deleted.
    unfinished: TaskName -> FileVersion -> unit
}

/// <summary>Everything between the machine and the world: what a restart finds, the effects that are let out, results that
/// are published and put together, payloads that are read back, and upkeep. `SchedulerServer` gives it sockets and threads; a
/// simulation runs it in one thread.</summary>
/// <exception cref="T:System.IO.IOException">A folder cannot be read or written.</exception>
[<Sealed>]
type SchedulerHost(options: HostOptions) =
    let scheduler = options.scheduler
    let state = options.state
    let clock = options.clock

    /// What the start finds, for the journal.
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

    do state.Sweep(HashSet scheduler.Spools)

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
                peer.Post {
                    message = FromScheduler.Done outcome
                    payload = Payload.empty
                    submission = ValueNone
                    isLast = false
                }

            if isSent then
                peer.Signal()

    // What fails of a drop ends the journal.
    let reads =
        PendingReads((fun before -> options.journal.DropAsync before |> ignore), clock)

    let submissions = SubmissionLoader(options.journal, reads, sendEnd)

    /// Results that were handed to somebody, for the journal. What comes while there are so many counts as not delivered: it is
    /// kept longer.
    let delivered = ConcurrentQueue<TaskId>()

    let deliveredMax = 100_000

    let noteDelivered task =
        if delivered.Count < deliveredMax then
            delivered.Enqueue task

    let mutable awaited: unit -> (string | null) = fun () -> null

    let delivery =
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

    let beginning = {
        scheduler = scheduler
        owner = options.owner
        found = Restart.published scheduler options.results owners notes state
        notes = notes.ToArray()
    }

    let takeDelivered () : Note[] =
        let taken = List<Note>()
        let mutable next = Unchecked.defaultof<TaskId>

        while delivered.TryDequeue &next do
            taken.Add(Note.Delivered next)

        taken.ToArray()

    /// Time for the machine: signs of life first, so that nobody is lost who has just spoken.
    let tick (mailbox: IMailbox) (heard: unit -> Input seq) (ct: CancellationToken) : Task =
        task {
            use timer =
                new PeriodicTimer(
                    TimeSpan.FromMilliseconds(float (int64 options.tick)),
                    clock.Provider
                )

            // While the mailbox takes nothing, peers are looked at all the same.
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
            // Whoever writes there meets the same, and waits for the disk.
            | Ok(Error failure) when failure.IsOfTheDisk -> options.results.TempFor submission.Name
            | Ok(Error _)
            | Error _ -> state.NewSpool false // publishing it will say what is wrong

    /// What the machine begins with.
    member _.Beginning: Beginning = beginning

    /// Whose results have which names.
    member _.Owners = owners

    /// What is about to be read of the journal.
    member _.Reads = reads

    /// Versions of files that are not taken again.
    member _.Remembered: struct (TaskName * FileVersion)[] = remembered

    /// Whether what is at a path has to outlive the scheduler.
    member _.IsKept(path: string) : bool = isKept path

    /// A path for a result of a destination; null: nobody wants it.
    member _.Place(destination: ResultTarget) : string | null = place destination

    /// A path for the result of an attempt; null: nobody wants it any more.
    member _.PlaceOfAsync
        (mailbox: IMailbox, attempt: Attempt, ct: CancellationToken)
        : Task<string | null> =
        task {
            let! destination = mailbox.QueryAsync(ResultTarget.ofResult attempt, ct)
            return place destination
        }

    /// Lets effects out, in order. By one thread at a time.
    member _.Release(effects: List<Effect>) = delivery.Release effects

    /// <summary>Begins all that is done beside the mailbox.</summary>
    /// <param name="mailbox">Has the machine.</param>
    /// <param name="around">What is done by others.</param>
    /// <param name="start">Starts each on a thread of its own, or where the caller runs.</param>
    /// <param name="ct">Ends it, in good order.</param>
    /// <returns>What runs; one that faults is one that a scheduler cannot live without.</returns>
    member host.Start
        (mailbox: IMailbox, around: HostAround, start: (unit -> Task) -> Task, ct: CancellationToken) : Task list =
        awaited <- around.awaited
        publishing.Finished.Reconsider <- around.reconsider
        publishing.Finished.Unfinished <- around.unfinished

        let spoolOf attempt = host.PlaceOfAsync(mailbox, attempt, ct)

        let upkeep =
            Maintenance(
                options.journal,
                options.retention,
                options.pace,
                mailbox,
                options.results,
                owners,
                (fun paths ->
                    if options.sync <> Sync.Off then
                        options.flush paths),
                around.upkeep,
                clock,
                options.log
            )

        let tell inputs = mailbox.PostAsync(inputs, ct)

        [
            start (fun () -> tick mailbox around.heard ct)
            start (fun () -> submissions.RunAsync(tell, ct))
            start (fun () -> pieces.RunAsync(around.cut, spoolOf, tell, ct))
            start (fun () -> upkeep.RetainAsync ct)
            start (fun () -> upkeep.TidyAsync ct)
            // What has its name is told to the end.
            start (fun () ->
                publishing.RunAsync(
                    (fun inputs -> mailbox.PostAsync(inputs, CancellationToken.None)),
                    ct
                ))
        ]
