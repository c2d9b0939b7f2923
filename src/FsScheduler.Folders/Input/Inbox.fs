namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open FsScheduler.Core
open Microsoft.Extensions.Logging

type private InboxMessage =
    | Events of FolderEvent[]
    | Reconsidered of TaskName * FileVersion
    | Missed of TaskName
    /// If `afresh`, refused paths are examined again first.
    | SettleWanted of TaskCompletionSource * afresh: bool

/// <summary>
/// The flow of files out of the input folder: events and scans go into a <c>FileTracker</c>, complete files come out.
/// One loop owns all of it, and starts at once. Dispose it once `take` was made to end.
/// </summary>
/// <param name="folder">The input folder. It may disappear and come back.</param>
/// <param name="options">Times, clock, log and source of events.</param>
/// <param name="handlers">The receivers of the files.</param>
type Inbox(folder: InputFolder, options: InboxOptions, handlers: InboxHandlers) =
    do ArgumentOutOfRangeException.ThrowIfLessThan(int64 options.rescan, 1L)
    let log = options.log
    let clock = options.clock
    let stop = new CancellationTokenSource()
    let epoch = clock.GetTimestamp()

    let messagesMax = 256

    /// When full, the watcher waits; then the system loses events, and says so.
    let messages =
        Channel.CreateBounded<InboxMessage>(
            BoundedChannelOptions(
                messagesMax,
                SingleReader = true,
                FullMode = BoundedChannelFullMode.Wait
            )
        )

    let waitingForSettled = List<TaskCompletionSource>()
    let mutable watcher: IFolderWatcher voption = ValueNone
    /// The earliest time to which `WaitUntilSettled` may advance the next scan.
    let mutable earliestScan = { sinceStart = 0L<ms> }
    let mutable nextScan = { sinceStart = 0L<ms> }
    /// Whether no event came after the last scan of the whole folder.
    let mutable scanIsCurrent = false
    /// The input folder as the last scan found it.
    let mutable identity: FolderIdentity voption = ValueNone
    let mutable awaited = ""
    let mutable left: struct (int * string[]) = struct (0, [||])
    let mutable toldAwaited: struct (TaskName * Instant) voption = ValueNone
    let mutable toldMissing = false
    let mutable toldUnwatched = false
    /// Why there are no events, if there are none.
    let mutable unwatched: string voption = ValueNone

    let now () : Instant = {
        sinceStart = int64 (clock.GetElapsedTime epoch).TotalMilliseconds * 1L<ms>
    }

    let observer = FolderObserver(folder, FileTracker options.settle, now, clock, log)
    let tracker = observer.Tracker

    let onEvent (event: FolderEvent) =
        match event with
        | FileWritten path -> observer.LookAt(path, Written, false)
        | FileMovedIn path -> observer.LookAt(path, MovedIn, false)
        | FolderCreated path -> observer.ScanBelow(path, Written)
        | FolderMovedIn path -> observer.ScanBelow(path, MovedIn)
        | Removed path -> observer.LookAt(path, Written, true)
        | FolderRemoved path ->
            for name in tracker.Below path do
                observer.LookAt(TaskName.toString name, Listed, true)
        | EventsLost -> nextScan <- now ()

    let dropWatcher () =
        match watcher with
        | ValueSome old ->
            old.Dispose()
            watcher <- ValueNone
        | ValueNone -> ()

    /// The thread of the watcher waits here while the inbox is busy.
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
                unwatched <- ValueNone
                toldUnwatched <- false
            | Error reason -> unwatched <- ValueSome reason

    /// Only for a folder that can be listed: otherwise the log already has a line.
    let tellUnwatched () =
        match unwatched with
        | ValueSome reason when not toldUnwatched ->
            toldUnwatched <- true

            log.LogWarning(
                "{Folder} is only rescanned, every {Period} ms: no events, {Reason}",
                folder.Path,
                int64 options.rescan,
                reason
            )
        | _ -> ()

    /// Files may come back with their folder: none counts as vanished.
    let missing () =
        if not toldMissing then
            toldMissing <- true

            log.LogWarning(
                "{Folder} is not there, or cannot be listed; waiting for it",
                folder.Path
            )

    let overlaps (sentence: string) =
        if not toldMissing then
            toldMissing <- true
            log.LogWarning("{Overlap}. No file is taken until this is corrected", sentence)

    /// Watches before it lists, so that new files are seen by one or the other.
    let scanAll () =
        let started = clock.GetTimestamp()

        let before = folder.RealPath

        let isThere = folder.Refresh()
        let overlap = if isThere then options.overlap () else ValueNone

        match overlap with
        | ValueSome sentence ->
            dropWatcher ()
            overlaps sentence
        | ValueNone when isThere ->
            let found = folder.Identity ""

            // Events of the old folder go on, under a mount that lies over it.
            if folder.RealPath <> before || identity <> ValueSome found then
                dropWatcher ()

            identity <- ValueSome found
            watch ()
            observer.BeginScan()

            match Scanner.scan folder "" with
            | ValueSome listing ->
                if toldMissing then
                    toldMissing <- false
                    log.LogInformation("{Folder} is back", folder.Path)

                if listing.IsListed then
                    tellUnwatched ()

                observer.EndScan listing
                scanIsCurrent <- true
            | ValueNone -> missing ()
        | ValueNone ->
            dropWatcher ()
            missing ()

        let took = int64 (clock.GetElapsedTime started).TotalMilliseconds * 1L<ms>
        earliestScan <- now () + max 50L<ms> took
        nextScan <- now () + max options.rescan (10L * took)

    /// Why a file waits, as a sentence.
    let why (name: TaskName) (waited: Duration) =
        let seconds = int64 waited / 1_000L

        match options.heldBack name with
        | ValueSome _ ->
            let who = OpenWriters.describe (folder.Locate(TaskName.toString name))
            $"{name} has been waiting for {seconds} s: {who}"
        | ValueNone ->
            $"{name} has been waiting for {seconds} s: it changes again and again, and is taken when it has stayed the same for {int64 options.settle} ms (--settle)"

    /// Logs the file that has been waiting longest, once in a while.
    let noteAwaited () =
        left <-
            if tracker.Pending = 0 then
                struct (0, [||])
            else
                struct (tracker.Pending, tracker.PendingNames 10)

        match tracker.LongestPending with
        | ValueSome(struct (name, since)) when now () - since >= Inbox.AwaitedAfter ->
            let text = why name (now () - since)
            Volatile.Write(&awaited, text)

            let isTold =
                match toldAwaited with
                | ValueSome(struct (told, at)) -> told = name && now () - at < Inbox.AwaitedEvery
                | ValueNone -> false

            if not isTold then
                toldAwaited <- ValueSome(struct (name, now ()))
                log.LogWarning("{Awaited}", text)
        | _ -> Volatile.Write(&awaited, "")

    let mayTake (struct (name, version)) =
        match options.heldBack name with
        | ValueNone -> true
        | ValueSome reason ->
            log.LogDebug("{Name} is not taken yet: {Reason}", string name, reason)
            tracker.HoldBack(name, version, now ())
            false

    let handOver () =
        task {
            let vanished = observer.TakeVanished()

            if vanished.Length > 0 then
                do! handlers.vanished vanished

            for batch in Array.chunkBySize Inbox.TakeMax (tracker.Take()) do
                let free = Array.filter mayTake batch

                if free.Length > 0 then
                    do! handlers.take free
        }

    /// Whether nothing is pending, and nothing came since a scan of the whole folder.
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
        | Missed name -> observer.Miss name
        | SettleWanted(waiting, afresh) ->
            waitingForSettled.Add waiting

            if afresh && observer.Refused > 0 then
                scanIsCurrent <- false

    /// Handles at most what the channel holds: a flood of events does not keep files from being taken.
    let drain () =
        let mutable message = Unchecked.defaultof<InboxMessage>
        let mutable left = messagesMax

        while left > 0 && messages.Reader.TryRead &message do
            left <- left - 1
            onMessage message

    /// Waits for a message, a file that is due, or the time of a scan.
    let sleep () : Task =
        task {
            let wake =
                match tracker.NextDue with
                | ValueSome due when due.sinceStart < nextScan.sinceStart -> due
                | _ -> nextScan

            // At most a day, since a timer has a longest wait.
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
                for struct (name, version) in options.remembered do
                    observer.Remember(name, version)

                try
                    while not stop.IsCancellationRequested do
                        if now () - nextScan >= 0L<ms> then
                            scanAll ()
                            noteAwaited ()

                        drain ()

                        Array.iter observer.LookAgain (tracker.Due(now ()))
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

    /// A file that has been waiting for this long is named, in the log and in STATUS.
    static member AwaitedAfter: Duration = 10_000L<ms>

    /// The log names the file again after this.
    static member AwaitedEvery: Duration = 60_000L<ms>

    /// The file that has been waiting longest, and why, once it is overdue; otherwise null.
    member _.Awaited: string | null =
        match Volatile.Read &awaited with
        | "" -> null
        | text -> text

    /// The number and some names of the files that were not taken, as of the last scan.
    member _.Left = left

    /// Completes when the inbox is disposed; faults with what ended the inbox before.
    member _.Completion: Task = completion

    /// The number of refused paths, as of the last look at each; up to `FolderObserver.RefusedMax`.
    member _.Refused = observer.Refused

    /// Handles a version that was taken and could not be used, because it changed or could not be read: the file is
    /// examined after settling, and taken again even if it is the same.
    member _.Reconsider(name: TaskName, version: FileVersion) : ValueTask =
        messages.Writer.WriteAsync(Reconsidered(name, version), stop.Token)

    /// Handles a file that was taken and could not be found: unless the inbox knows it, it has vanished.
    member _.Miss(name: TaskName) : ValueTask =
        messages.Writer.WriteAsync(Missed name, stop.Token)

    /// <summary>Completes when a scan of the whole folder has found nothing new, nothing is pending, and every file
    /// that was taken has been handed over. More may come later.</summary>
    /// <exception cref="T:System.OperationCanceledException">The inbox was disposed.</exception>
    member inbox.WaitUntilSettled() : Task = inbox.WaitUntilSettled false

    /// <summary>As `WaitUntilSettled`.</summary>
    /// <param name="afresh">Whether refused paths are examined again first, since no event tells of a repair.</param>
    member _.WaitUntilSettled(afresh: bool) : Task =
        task {
            let waiting =
                TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

            use _ = stop.Token.Register(fun () -> waiting.TrySetCanceled() |> ignore)
            do! messages.Writer.WriteAsync(SettleWanted(waiting, afresh), stop.Token)
            do! waiting.Task
        }

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            task {
                stop.Cancel()

                try
                    do! completion
                with _ ->
                    () // `Completion` has it, for the owner of the inbox
            }
            |> ValueTask
