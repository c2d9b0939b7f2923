namespace FsScheduler.Runtime.Files

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open Microsoft.Extensions.Logging

/// What an inbox does with what it finds. Called one at a time, from the inbox's own loop.
type InboxHandlers = {
    /// Files to process, at most `Inbox.TakeMax`, each with its version; a name may come again with a newer one.
    /// The inbox waits for the task to end before it does anything else: that is how it is slowed down.
    /// An exception ends the inbox.
    take: struct (TaskName * Stamp)[] -> Task
    /// Files that were taken and are no longer there: removed by somebody, or by `FinishedInput`.
    vanished: TaskName[] -> Task
}

/// Starts a watcher for a folder, or says why it cannot.
type StartWatcher = Func<string, Action<FolderEvent[]>, Result<IFolderWatcher, string>>

type InboxOptions = {
    /// How long a file must stay unchanged.
    settle: Duration
    /// How often all of the folder is scanned, whatever the events say. At least ten times as long as the
    /// last scan took is left between two. At least 1 ms.
    rescan: Duration
    /// Versions that were taken in an earlier run.
    remembered: struct (TaskName * Stamp) seq
    clock: TimeProvider
    log: ILogger
    watch: StartWatcher
}

module InboxOptions =

    /// inotify on Linux, FileSystemWatcher elsewhere.
    let watchBySystem (log: ILogger) : StartWatcher =
        StartWatcher(fun root deliver ->
            if OperatingSystem.IsLinux() then
                InotifyWatcher.TryStart(root, deliver, log)
            else
                try
                    Ok(new PortableWatcher(root, deliver))
                with
                | :? IOException
                | :? ArgumentException as e -> Error e.Message)

    /// Half a second to settle, a scan every two seconds, the system's clock and events.
    let defaults (log: ILogger) : InboxOptions = {
        settle = 500L<ms>
        rescan = 2_000L<ms>
        remembered = Seq.empty
        clock = TimeProvider.System
        log = log
        watch = watchBySystem log
    }

type private InboxMessage =
    | Events of FolderEvent[]
    | Reconsidered of TaskName * Stamp
    | SettleWanted of TaskCompletionSource

/// <summary>
/// The flow of files out of the input folder: events and scans go into a <c>FileTracker</c>, whole files come
/// out. One loop owns all of it, and starts at once. To be disposed after `take` was made to end.
/// </summary>
/// <param name="folder">The input folder. It may disappear and come back.</param>
/// <param name="options">Times, clock, log and source of events.</param>
/// <param name="handlers">Who gets the files.</param>
type Inbox(folder: InputFolder, options: InboxOptions, handlers: InboxHandlers) =
    do ArgumentOutOfRangeException.ThrowIfLessThan(int64 options.rescan, 1L)
    let log = options.log
    let clock = options.clock
    let tracker = FileTracker options.settle
    let stop = new CancellationTokenSource()
    let epoch = clock.GetTimestamp()

    let messagesMax = 256

    /// Full: the watcher waits, and then the system loses events and says so.
    let messages =
        Channel.CreateBounded<InboxMessage>(
            BoundedChannelOptions(
                messagesMax,
                SingleReader = true,
                FullMode = BoundedChannelFullMode.Wait
            )
        )

    let refused = HashSet<string>(StringComparer.Ordinal)
    let waitingForSettled = List<TaskCompletionSource>()
    let vanished = List<TaskName>()
    let mutable refusedCount = 0
    let mutable watcher: IFolderWatcher voption = ValueNone
    /// When `WaitUntilSettled` may have the next scan brought forward to.
    let mutable earliestScan = { sinceStart = 0L<ms> }
    let mutable nextScan = { sinceStart = 0L<ms> }
    /// No event came after the last scan of the whole folder.
    let mutable scanIsCurrent = false
    let mutable toldMissing = false
    let mutable toldUnwatched = false

    let now () : Instant = {
        sinceStart = int64 (clock.GetElapsedTime epoch).TotalMilliseconds * 1L<ms>
    }

    let wallNow () = clock.GetUtcNow().UtcTicks

    let refuse (path: string) (refusal: Refusal) =
        if refused.Count < Inbox.RefusedMax && refused.Add path then
            Volatile.Write(&refusedCount, refused.Count)
            log.LogWarning("{Path} is refused: {Reason}", path, refusal.Message)

            if refused.Count = Inbox.RefusedMax then
                log.LogWarning(
                    "{Count} files are refused; further ones are not named",
                    refused.Count
                )

    let vanish (name: TaskName) =
        if tracker.Vanish name then
            vanished.Add name

    let sight name stamp how =
        tracker.Sight(name, stamp, how, now (), wallNow ())

    /// Looks at one path, and tells the tracker.
    let lookAt (path: string) (how: Sighting) =
        if not (FileTracker.isIgnored path) then
            match folder.Look path, TaskName.parse path with
            | Absent, Ok name -> vanish name
            | Absent, Error _ -> ()
            | Present stamp, Ok name -> sight name stamp how
            | (Present _ | Unknown _), Error reason -> refuse path (BadName reason)
            | Unknown reason, Ok name ->
                log.LogDebug("{Path} cannot be looked at now: {Reason}", path, reason)
                tracker.Postpone(name, now ())
            | Refused refusal, Ok name ->
                vanish name
                refuse path refusal
            | Refused refusal, Error _ -> refuse path refusal
            | Look.Folder, Ok name -> vanish name
            | Look.Folder, Error _ -> ()

    let lookAgain (name: TaskName) = lookAt (TaskName.toString name) Listed

    let absorb (listing: Listing) (how: Sighting) =
        for struct (name, stamp) in listing.files do
            sight name stamp how

        for struct (path, refusal) in listing.refused do
            refuse path refusal

        for struct (path, reason) in listing.unknown do
            log.LogDebug("{Path} cannot be looked at now: {Reason}", path, reason)

    let scanBelow (path: string) (how: Sighting) =
        if not (FileTracker.isHiddenPath path) then
            match Scanner.scan folder path with
            | ValueSome listing -> absorb listing how
            | ValueNone -> ()

    let onEvent (event: FolderEvent) =
        match event with
        | FileWritten path -> lookAt path Written
        | FileMovedIn path -> lookAt path MovedIn
        | FolderCreated path -> scanBelow path Written
        | FolderMovedIn path -> scanBelow path MovedIn
        | Removed path -> lookAt path Written
        | FolderRemoved path -> Array.iter lookAgain (tracker.Below path)
        | EventsLost -> nextScan <- now ()

    let dropWatcher () =
        match watcher with
        | ValueSome old ->
            old.Dispose()
            watcher <- ValueNone
        | ValueNone -> ()

    /// The watcher's own thread waits here while the inbox is busy.
    let deliver =
        Action<FolderEvent[]>(fun events ->
            if not (messages.Writer.TryWrite(Events events)) then
                try
                    messages.Writer.WriteAsync(Events events, stop.Token).AsTask().Wait()
                with :? AggregateException when stop.IsCancellationRequested ->
                    ())

    let watch () =
        match watcher with
        | ValueSome current when current.IsAlive -> ()
        | _ ->
            dropWatcher ()

            match options.watch.Invoke(folder.Path, deliver) with
            | Ok started ->
                watcher <- ValueSome started
                toldUnwatched <- false
            | Error reason ->
                if not toldUnwatched then
                    toldUnwatched <- true

                    log.LogWarning(
                        "{Folder} is only rescanned, every {Period} ms: no events, {Reason}",
                        folder.Path,
                        int64 options.rescan,
                        reason
                    )

    /// What was in the folder may come back with it: nothing is taken for vanished.
    let missing () =
        if not toldMissing then
            toldMissing <- true

            log.LogWarning(
                "{Folder} is not there, or cannot be listed; waiting for it",
                folder.Path
            )

    /// Watches before it lists: what comes meanwhile is seen by one or the other.
    let scanAll () =
        let started = clock.GetTimestamp()

        let before = folder.RealPath

        if folder.Refresh() then
            if folder.RealPath <> before then
                dropWatcher ()

            watch ()
            tracker.BeginScan()

            match Scanner.scan folder "" with
            | ValueSome listing ->
                if toldMissing then
                    toldMissing <- false
                    log.LogInformation("{Folder} is back", folder.Path)

                absorb listing Listed
                Array.iter lookAgain (tracker.Missing())
                scanIsCurrent <- true
            | ValueNone -> missing ()
        else
            dropWatcher ()
            missing ()

        let took = int64 (clock.GetElapsedTime started).TotalMilliseconds * 1L<ms>
        earliestScan <- now () + max 50L<ms> took
        nextScan <- now () + max options.rescan (10L * took)

    let handOver () =
        task {
            if vanished.Count > 0 then
                let names = vanished.ToArray()
                vanished.Clear()
                do! handlers.vanished names

            for batch in Array.chunkBySize Inbox.TakeMax (tracker.Take()) do
                do! handlers.take batch
        }

    /// Nothing is pending, and nothing came since a scan of the whole folder.
    let isSettled () =
        scanIsCurrent && tracker.Pending = 0 && messages.Reader.Count = 0

    let answerSettled () =
        if waitingForSettled.Count > 0 then
            if isSettled () then
                for waiting in waitingForSettled do
                    waiting.TrySetResult() |> ignore

                waitingForSettled.Clear()
            elif tracker.Pending = 0 && earliestScan.sinceStart < nextScan.sinceStart then
                nextScan <- earliestScan

    let onMessage (message: InboxMessage) =
        match message with
        | Events events ->
            scanIsCurrent <- false
            Array.iter onEvent events
        | Reconsidered(name, version) -> tracker.Reconsider(name, version, now ())
        | SettleWanted waiting -> waitingForSettled.Add waiting

    /// At most what the channel holds: a flood of events does not keep files from being taken.
    let drain () =
        let mutable message = Unchecked.defaultof<InboxMessage>
        let mutable left = messagesMax

        while left > 0 && messages.Reader.TryRead &message do
            left <- left - 1
            onMessage message

    /// Until a message, a file that is due, or the time of a scan.
    let sleep () : Task =
        task {
            let wake =
                match tracker.NextDue with
                | ValueSome due when due.sinceStart < nextScan.sinceStart -> due
                | _ -> nextScan

            // A day, because a timer has a longest wait.
            let wait = min (wake - now ()) 86_400_000L<ms>

            if wait > 0L<ms> then
                use timer = CancellationTokenSource.CreateLinkedTokenSource stop.Token
                let message = messages.Reader.WaitToReadAsync(timer.Token).AsTask()
                let time = Task.Delay(TimeSpan.FromMilliseconds(float wait), clock, timer.Token)
                let! _ = Task.WhenAny(message, time)
                timer.Cancel()
        }

    let run () : Task =
        task {
            try
                for struct (name, stamp) in options.remembered do
                    tracker.Remember(name, stamp)

                try
                    while not stop.IsCancellationRequested do
                        if now () - nextScan >= 0L<ms> then
                            scanAll ()

                        drain ()

                        Array.iter lookAgain (tracker.Due(now ()))
                        do! handOver ()
                        answerSettled ()
                        do! sleep ()
                with :? OperationCanceledException when stop.IsCancellationRequested ->
                    ()
            finally
                stop.Cancel()
                dropWatcher ()

                for waiting in waitingForSettled do
                    waiting.TrySetCanceled() |> ignore
        }

    let completion = Task.Run(run)

    /// Files in one call of `take`, at most.
    static member TakeMax = 256

    /// Refused paths that are remembered, and named in the log, at most.
    static member RefusedMax = 10_000

    /// Ends when the inbox is disposed; faults with whatever ended it before.
    member _.Completion: Task = completion

    /// How many paths were refused so far, up to `RefusedMax`.
    member _.Refused = Volatile.Read &refusedCount

    /// A version that was taken could not be used (it changed, or could not be read): it is looked at again
    /// after settling, and taken again if it is there, even if it is the same.
    member _.Reconsider(name: TaskName, version: Stamp) : ValueTask =
        messages.Writer.WriteAsync(Reconsidered(name, version), stop.Token)

    /// <summary>Ends when a scan of the whole folder has found nothing new, nothing is pending, and every file
    /// that was taken has been handed over. More may come after that.</summary>
    /// <exception cref="T:System.OperationCanceledException">The inbox was disposed.</exception>
    member _.WaitUntilSettled() : Task =
        task {
            let waiting =
                TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

            use _ = stop.Token.Register(fun () -> waiting.TrySetCanceled() |> ignore)
            do! messages.Writer.WriteAsync(SettleWanted waiting, stop.Token)
            do! waiting.Task
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                stop.Cancel()

                try
                    do! completion
                with _ ->
                    () // It is in `Completion`, for who owns the inbox.
            }
            |> ValueTask
