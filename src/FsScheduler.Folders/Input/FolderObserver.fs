namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.Threading
open FsScheduler.Core
open Microsoft.Extensions.Logging

/// <summary>Tells a <c>FileTracker</c> what is in the input folder, by looks at single paths and by scans. Logs files
/// that cannot be taken or are out of sight. Has one owner; any thread may read <c>Refused</c>.</summary>
/// <param name="folder">The input folder.</param>
/// <param name="tracker">Told of present and missing files.</param>
/// <param name="now">The time of the tracker.</param>
/// <param name="clock">The clock that file times are compared with.</param>
/// <param name="log">Told of files that cannot be taken.</param>
[<Sealed>]
type FolderObserver
    (
        folder: InputFolder,
        tracker: FileTracker,
        now: unit -> Instant,
        clock: TimeProvider,
        log: ILogger
    ) =
    let refusals = Refusals FolderObserver.RefusedMax
    let doubts = DeletionDetector()
    let vanished = List<TaskName>()
    let mutable refusedCount = 0
    let mutable isFirstScan = true
    /// The doubt of the last scan, not logged yet.
    let mutable untold: struct (Doubt * Duration) voption = ValueNone
    let mutable isDoubtTold = false

    let countRefused () =
        Volatile.Write(&refusedCount, refusals.Count)

    let refuse (path: string) (refusal: Refusal) =
        if refusals.Add path then
            countRefused ()
            log.LogWarning("{Path} is refused: {Reason}", path, refusal.Message)

            if refusals.Count = FolderObserver.RefusedMax then
                log.LogWarning(
                    "{Count} paths are refused; further ones are not logged",
                    refusals.Count
                )

    let accept (path: string) =
        refusals.Remove path
        countRefused ()

    let vanish (name: TaskName) =
        doubts.Confirm name

        if tracker.Vanish name then
            vanished.Add name

    let sight name version how =
        tracker.Sight(name, version, how, now (), clock.GetUtcNow().UtcTicks)

    /// <summary>Examines one path, and tells the tracker.</summary>
    /// <param name="path">Relative to the folder.</param>
    /// <param name="how">How an existing file was noticed.</param>
    /// <param name="isRemoved">Whether an event said that the file is gone. Without one, a missing file that was taken
    /// may be out of sight: the next scan decides.</param>
    let lookAt (path: string) (how: Sighting) (isRemoved: bool) =
        if not (folder.Ignored.IsIgnored path) then
            match folder.Examine path, TaskName.parse path with
            | Absent, Ok name ->
                accept path

                if isRemoved || not (tracker.IsTaken name) then
                    vanish name
            | Absent, Error _ -> accept path
            | Present version, Ok name ->
                accept path
                sight name version how
            | (Present _ | Unknown _), Error reason -> refuse path (BadName reason)
            | Unknown reason, Ok name ->
                log.LogDebug("{Path} cannot be examined now: {Reason}", path, reason)
                tracker.Postpone(name, now ())
            | Refused refusal, Ok name ->
                vanish name
                refuse path refusal
            | Refused refusal, Error _ -> refuse path refusal
            | FolderEntry.Folder, Ok name -> vanish name
            | FolderEntry.Folder, Error _ -> ()

    let lookAgain (name: TaskName) =
        lookAt (TaskName.toString name) Listed false

    /// One line of the log for each folder.
    let refuseUnknown (unknown: struct (string * string) seq) =
        let folderOf (path: string) =
            match path.LastIndexOf '/' with
            | -1 -> folder.Path
            | slash -> path.Substring(0, slash)

        for parent, inIt in Seq.groupBy (fun (struct (path, _)) -> folderOf path) unknown do
            let struct (first, reason) = Seq.head inIt
            let name = first.Substring(first.LastIndexOf '/' + 1)
            refuse parent (Unsearchable(Seq.length inIt, name, reason))

            for struct (path, _) in inIt do
                match TaskName.parse path with
                // Never seen complete, and out of reach: a later scan finds the file anew.
                | Ok name when not (tracker.IsTaken name) -> vanish name
                | Ok _
                | Error _ -> ()

    let absorb (listing: Listing) (how: Sighting) =
        for struct (name, version) in listing.files do
            sight name version how

        for struct (path, refusal) in listing.refused do
            refuse path refusal

        refuseUnknown listing.unknown

    let tellDoubt (count: int) (doubt: Doubt) (patience: Duration) =
        let locate below =
            if below = "" then folder.Path else folder.Locate below

        let place, why =
            match doubt with
            | Doubt.OtherDevice below ->
                locate below, "another file system is mounted there, or none"
            | Doubt.OtherFolder below -> locate below, "it is another folder than before"
            | Doubt.NothingKept below -> locate below, "nothing that was known is left in it"

        isDoubtTold <- true

        log.LogWarning(
            "{Folder}: {Count} files are gone all at once, and {Why}; none is taken for deleted before {Seconds} s. Mount it again, or put the files back",
            place,
            count,
            why,
            int64 patience / 1_000L
        )

    /// Decides whether known files that were not listed are deleted or out of sight.
    let judgeMissing (listing: Listing) =
        let isAbsent (name: TaskName) =
            match folder.Examine(TaskName.toString name) with
            | Absent when tracker.IsTaken name -> true
            | _ ->
                lookAgain name
                false

        let outcome =
            doubts.Evaluate(
                {
                    missing = tracker.Missing() |> Array.filter isAbsent
                    remaining = tracker.Remaining
                    folders = listing.folders
                },
                now ()
            )

        Array.iter vanish outcome.gone

        match untold with
        | ValueSome(struct (doubt, patience)) when doubts.Count > 0 ->
            tellDoubt doubts.Count doubt patience
        | ValueSome _
        | ValueNone -> ()

        untold <- ValueNone

        match outcome.doubted with
        // The events of deletions may be on their way, those of what was done and is deleted here among them.
        | ValueSome(struct (_, (Doubt.NothingKept _ as doubt), patience)) when not isFirstScan ->
            untold <- ValueSome(struct (doubt, patience))
        | ValueSome(struct (count, doubt, patience)) -> tellDoubt count doubt patience
        | ValueNone -> ()

        isFirstScan <- false

        if outcome.returned > 0 && isDoubtTold then
            log.LogInformation(
                "{Folder}: {Count} missing files are back",
                folder.Path,
                outcome.returned
            )

        isDoubtTold <- isDoubtTold && doubts.Count > 0

    /// Refused paths that are remembered and logged, at most.
    static member RefusedMax = 10_000

    member _.Tracker = tracker

    /// The number of refused paths, as of the last look at each; up to `RefusedMax`.
    member _.Refused = Volatile.Read &refusedCount

    /// Restores a version that an earlier run took, unless its name is left alone by now.
    member _.Remember(name: TaskName, version: FileVersion) : unit =
        if folder.Ignored.IsIgnored(TaskName.toString name) then
            vanished.Add name
        else
            tracker.Remember(name, version)

    member _.LookAt(path: string, how: Sighting, isRemoved: bool) : unit = lookAt path how isRemoved

    /// Examines a known file without an event.
    member _.LookAgain(name: TaskName) : unit = lookAgain name

    /// Lists a new folder and all below it.
    member _.ScanBelow(path: string, how: Sighting) : unit =
        if not (folder.Ignored.IsIgnored path) then
            match Scanner.scan folder path with
            | ValueSome listing -> absorb listing how
            | ValueNone -> ()

    /// Begins a scan of the whole folder.
    member _.BeginScan() : unit =
        tracker.BeginScan()
        refusals.BeginScan()

    /// Ends a scan of the whole folder.
    member _.EndScan(listing: Listing) : unit =
        absorb listing Listed
        judgeMissing listing
        refusals.EndScan()
        countRefused ()

    /// Handles a file that was taken and could not be found: unless the tracker knows it, it has vanished.
    member _.Miss(name: TaskName) : unit =
        if not (tracker.Knows name) then
            vanished.Add name

    /// The files that were taken and have vanished since the last call.
    member _.TakeVanished() : TaskName[] =
        let names = vanished.ToArray()
        vanished.Clear()
        names
