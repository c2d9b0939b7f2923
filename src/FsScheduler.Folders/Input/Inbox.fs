namespace FsScheduler.Folders

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
    take: struct (TaskName * FileVersion)[] -> Task
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
    remembered: struct (TaskName * FileVersion) seq
    /// Why a file that is whole is not to be taken yet, as a sentence without its subject; it is asked again.
    heldBack: TaskName -> string voption
    /// Why nothing is taken until that is mended, as a sentence: other folders of the scheduler are in this one.
    overlap: unit -> string voption
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
        heldBack = fun _ -> ValueNone
        overlap = fun () -> ValueNone
        clock = TimeProvider.System
        log = log
        watch = watchBySystem log
    }

type private InboxMessage =
    | Events of FolderEvent[]
    | Reconsidered of TaskName * FileVersion
    | Missed of TaskName
    /// If `afresh`, what is refused is looked at once more before.
    | SettleWanted of TaskCompletionSource * afresh: bool

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

    let waitingForSettled = List<TaskCompletionSource>()
    let mutable watcher: IFolderWatcher voption = ValueNone
    /// When `WaitUntilSettled` may have the next scan brought forward to.
    let mutable earliestScan = { sinceStart = 0L<ms> }
    let mutable nextScan = { sinceStart = 0L<ms> }
    /// No event came after the last scan of the whole folder.
    let mutable scanIsCurrent = false
    /// The input folder as the last scan found it.
    let mutable identity: FolderIdentity voption = ValueNone
    let mutable awaited = ""
    let mutable left: struct (int * string[]) = struct (0, [||])
    let mutable toldAwaited: struct (TaskName * Instant) voption = ValueNone
    let mutable toldMissing = false
    let mutable toldUnwatched = false
    /// Why there are no events, where there are none.
    let mutable unwatched: string voption = ValueNone

    let now () : Instant = {
        sinceStart = int64 (clock.GetElapsedTime epoch).TotalMilliseconds * 1L<ms>
    }

    let sights = FolderSights(folder, FileTracker options.settle, now, clock, log)
    let tracker = sights.Tracker

    let onEvent (event: FolderEvent) =
        match event with
        | FileWritten path -> sights.LookAt(path, Written, false)
        | FileMovedIn path -> sights.LookAt(path, MovedIn, false)
        | FolderCreated path -> sights.ScanBelow(path, Written)
        | FolderMovedIn path -> sights.ScanBelow(path, MovedIn)
        | Removed path -> sights.LookAt(path, Written, true)
        | FolderRemoved path ->
            for name in tracker.Below path do
                sights.LookAt(TaskName.toString name, Listed, true)
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
                unwatched <- ValueNone
                toldUnwatched <- false
            | Error reason -> unwatched <- ValueSome reason

    /// Of a folder that can be listed at least: otherwise there is a line already.
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

    /// What was in the folder may come back with it: nothing is taken for vanished.
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
            log.LogWarning("{Overlap}. Nothing is taken for as long as that is so", sentence)

    /// Watches before it lists: what comes meanwhile is seen by one or the other.
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

            // Events of what it was go on, under a mount that lies over it.
            if folder.RealPath <> before || identity <> ValueSome found then
                dropWatcher ()

            identity <- ValueSome found
            watch ()
            sights.BeginScan()

            match Scanner.scan folder "" with
            | ValueSome listing ->
                if toldMissing then
                    toldMissing <- false
                    log.LogInformation("{Folder} is back", folder.Path)

                if listing.IsListed then
                    tellUnwatched ()

                sights.EndScan listing
                scanIsCurrent <- true
            | ValueNone -> missing ()
        | ValueNone ->
            dropWatcher ()
            missing ()

        let took = int64 (clock.GetElapsedTime started).TotalMilliseconds * 1L<ms>
        earliestScan <- now () + max 50L<ms> took
        nextScan <- now () + max options.rescan (10L * took)

    /// What a file is waited for, as a sentence.
    let why (name: TaskName) (waited: Duration) =
        let seconds = int64 waited / 1_000L

        match options.heldBack name with
        | ValueSome _ ->
            let who = OpenWriters.describe (folder.Locate(TaskName.toString name))
            $"{name} has been waiting for {seconds} s: {who}"
        | ValueNone ->
            $"{name} has been waiting for {seconds} s: it changes again and again, and is taken when it has stayed the same for {int64 options.settle} ms (--settle)"

    /// Says which file has been waiting longest, once in a while.
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

    let mayTake (struct (name, stamp)) =
        match options.heldBack name with
        | ValueNone -> true
        | ValueSome reason ->
            log.LogDebug("{Name} is not taken yet: {Reason}", string name, reason)
            tracker.HoldBack(name, stamp, now ())
            false

    let handOver () =
        task {
            let vanished = sights.TakeVanished()

            if vanished.Length > 0 then
                do! handlers.vanished vanished

            for batch in Array.chunkBySize Inbox.TakeMax (tracker.Take()) do
                let free = Array.filter mayTake batch

                if free.Length > 0 then
                    do! handlers.take free
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
        | Missed name -> sights.Miss name
        | SettleWanted(waiting, afresh) ->
            waitingForSettled.Add waiting

            if afresh && sights.Refused > 0 then
                scanIsCurrent <- false

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
                    sights.Remember(name, stamp)

                try
                    while not stop.IsCancellationRequested do
                        if now () - nextScan >= 0L<ms> then
                            scanAll ()
                            noteAwaited ()

                        drain ()

                        Array.iter sights.LookAgain (tracker.Due(now ()))
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

    /// After so long without being taken a file is named, in the log and in STATUS.
    static member AwaitedAfter: Duration = 10_000L<ms>

    /// The log names it again after this.
    static member AwaitedEvery: Duration = 60_000L<ms>

    /// The file that has been waiting longest, once that is long, and why; else null.
    member _.Awaited: string | null =
        match Volatile.Read &awaited with
        | "" -> null
        | text -> text

    /// As of the last scan: how many files are there that have not been taken, and some of them.
    member _.Left = left

    /// Ends when the inbox is disposed; faults with whatever ended it before.
    member _.Completion: Task = completion

    /// How many paths are refused, as they stood when they were last looked at; up to `FolderSights.RefusedMax`.
    member _.Refused = sights.Refused

    /// A version that was taken could not be used (it changed, or could not be read): it is looked at again
    /// after settling, and taken again if it is there, even if it is the same.
    member _.Reconsider(name: TaskName, version: FileVersion) : ValueTask =
        messages.Writer.WriteAsync(Reconsidered(name, version), stop.Token)

    /// A file that was taken is not to be seen. If nobody knows of it here any more, it is told to have vanished.
    member _.Miss(name: TaskName) : ValueTask =
        messages.Writer.WriteAsync(Missed name, stop.Token)

    /// <summary>Ends when a scan of the whole folder has found nothing new, nothing is pending, and every file
    /// that was taken has been handed over. More may come after that.</summary>
    /// <exception cref="T:System.OperationCanceledException">The inbox was disposed.</exception>
    member inbox.WaitUntilSettled() : Task = inbox.WaitUntilSettled false

    /// <summary>The same.</summary>
    /// <param name="afresh">Whether what is refused is to be looked at once more before: nobody tells when it is put right.</param>
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
                    () // It is in `Completion`, for who owns the inbox.
            }
            |> ValueTask
