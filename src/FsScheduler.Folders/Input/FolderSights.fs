namespace FsScheduler.Folders

open System
open System.Collections.Generic
open System.Threading
open FsScheduler.Core
open Microsoft.Extensions.Logging

/// <summary>What is seen in the input folder, told to a <c>FileTracker</c>: by looks at single paths and by scans. Tells
/// in the log what cannot be taken, and what is out of sight. Has one owner; <c>Refused</c> may be read by anybody.</summary>
/// <param name="folder">The input folder.</param>
/// <param name="tracker">Is told of what is there, and of what is gone.</param>
/// <param name="now">The time for the tracker.</param>
/// <param name="clock">The clock that stamps files.</param>
/// <param name="log">Names what cannot be taken.</param>
[<Sealed>]
type FolderSights
    (
        folder: InputFolder,
        tracker: FileTracker,
        now: unit -> Instant,
        clock: TimeProvider,
        log: ILogger
    ) =
    let refusals = Refusals FolderSights.RefusedMax
    let doubts = DoubtedFiles()
    let vanished = List<TaskName>()
    let mutable refusedCount = 0
    let mutable isFirstScan = true
    /// Of the last scan, not told yet.
    let mutable untold: struct (Doubt * Duration) voption = ValueNone
    let mutable isDoubtTold = false

    let countRefused () =
        Volatile.Write(&refusedCount, refusals.Count)

    let refuse (path: string) (refusal: Refusal) =
        if refusals.Add path then
            countRefused ()
            log.LogWarning("{Path} is refused: {Reason}", path, refusal.Message)

            if refusals.Count = FolderSights.RefusedMax then
                log.LogWarning(
                    "{Count} files are refused; further ones are not named",
                    refusals.Count
                )

    let accept (path: string) =
        refusals.Remove path
        countRefused ()

    let vanish (name: TaskName) =
        doubts.Settle name

        if tracker.Vanish name then
            vanished.Add name

    let sight name stamp how =
        tracker.Sight(name, stamp, how, now (), clock.GetUtcNow().UtcTicks)

    /// <summary>Looks at one path, and tells the tracker.</summary>
    /// <param name="path">Relative to the folder.</param>
    /// <param name="how">How it came to be seen, if it is there.</param>
    /// <param name="isRemoved">Whether an event said that it is gone. Without one, a file that was taken and is not there
    /// may be out of sight: the next scan judges.</param>
    let lookAt (path: string) (how: Sighting) (isRemoved: bool) =
        if not (folder.Ignored.IsIgnored path) then
            match folder.Examine path, TaskName.parse path with
            | Absent, Ok name ->
                accept path

                if isRemoved || not (tracker.IsTaken name) then
                    vanish name
            | Absent, Error _ -> accept path
            | Present stamp, Ok name ->
                accept path
                sight name stamp how
            | (Present _ | Unknown _), Error reason -> refuse path (BadName reason)
            | Unknown reason, Ok name ->
                log.LogDebug("{Path} cannot be looked at now: {Reason}", path, reason)
                tracker.Postpone(name, now ())
            | Refused refusal, Ok name ->
                vanish name
                refuse path refusal
            | Refused refusal, Error _ -> refuse path refusal
            | FolderEntry.Folder, Ok name -> vanish name
            | FolderEntry.Folder, Error _ -> ()

    let lookAgain (name: TaskName) =
        lookAt (TaskName.toString name) Listed false

    /// What lies in one folder is one line of the log.
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
                // Not seen to be whole, and it cannot be: a later scan finds it anew.
                | Ok name when not (tracker.IsTaken name) -> vanish name
                | Ok _
                | Error _ -> ()

    let absorb (listing: Listing) (how: Sighting) =
        for struct (name, stamp) in listing.files do
            sight name stamp how

        for struct (path, refusal) in listing.refused do
            refuse path refusal

        refuseUnknown listing.unknown

    let tellDoubt (count: int) (doubt: Doubt) (patience: Duration) =
        let locate below =
            if below = "" then folder.Path else folder.Locate below

        let place, why =
            match doubt with
            | Doubt.OtherDevice below ->
                locate below, "another file system is there, or none any more"
            | Doubt.OtherFolder below -> locate below, "it is not the folder that it was"
            | Doubt.NothingKept below -> locate below, "nothing that was known is left in it"

        isDoubtTold <- true

        log.LogWarning(
            "{Folder}: {Count} files are gone all at once, and {Why}; none is taken for deleted before {Seconds} s. Mount it again, or put the files back",
            place,
            count,
            why,
            int64 patience / 1_000L
        )

    /// Files that were known and not listed: deleted, or out of sight.
    let judgeMissing (listing: Listing) =
        let isAbsent (name: TaskName) =
            match folder.Examine(TaskName.toString name) with
            | Absent when tracker.IsTaken name -> true
            | _ ->
                lookAgain name
                false

        let verdict =
            doubts.Judge(
                {
                    missing = tracker.Missing() |> Array.filter isAbsent
                    remaining = tracker.Remaining
                    folders = listing.folders
                },
                now ()
            )

        Array.iter vanish verdict.gone

        match untold with
        | ValueSome(struct (doubt, patience)) when doubts.Count > 0 ->
            tellDoubt doubts.Count doubt patience
        | ValueSome _
        | ValueNone -> ()

        untold <- ValueNone

        match verdict.doubted with
        // The events of deletions may be on their way, those of what was done and is deleted here among them.
        | ValueSome(struct (_, (Doubt.NothingKept _ as doubt), patience)) when not isFirstScan ->
            untold <- ValueSome(struct (doubt, patience))
        | ValueSome(struct (count, doubt, patience)) -> tellDoubt count doubt patience
        | ValueNone -> ()

        isFirstScan <- false

        if verdict.returned > 0 && isDoubtTold then
            log.LogInformation(
                "{Folder}: {Count} files that were gone are back",
                folder.Path,
                verdict.returned
            )

        isDoubtTold <- isDoubtTold && doubts.Count > 0

    /// Refused paths that are remembered, and named in the log, at most.
    static member RefusedMax = 10_000

    member _.Tracker = tracker

    /// How many paths are refused, as they stood when they were last looked at; up to `RefusedMax`.
    member _.Refused = Volatile.Read &refusedCount

    /// A version that was taken in an earlier run; of a name that is left alone by now nobody is to know any more.
    member _.Remember(name: TaskName, stamp: FileVersion) : unit =
        if folder.Ignored.IsIgnored(TaskName.toString name) then
            vanished.Add name
        else
            tracker.Remember(name, stamp)

    /// As `lookAt`.
    member _.LookAt(path: string, how: Sighting, isRemoved: bool) : unit = lookAt path how isRemoved

    /// Looks at a file that is known, which nobody said is gone.
    member _.LookAgain(name: TaskName) : unit = lookAgain name

    /// A folder has come: lists it and all below it.
    member _.ScanBelow(path: string, how: Sighting) : unit =
        if not (folder.Ignored.IsIgnored path) then
            match Scanner.scan folder path with
            | ValueSome listing -> absorb listing how
            | ValueNone -> ()

    /// A scan of the whole folder begins.
    member _.BeginScan() : unit =
        tracker.BeginScan()
        refusals.BeginScan()

    /// What it has found.
    member _.EndScan(listing: Listing) : unit =
        absorb listing Listed
        judgeMissing listing
        refusals.EndScan()
        countRefused ()

    /// Somebody could not find a file that was taken: if it is not known here any more, it has vanished.
    member _.Miss(name: TaskName) : unit =
        if not (tracker.Knows name) then
            vanished.Add name

    /// The files that were given out and are gone since the last call.
    member _.TakeVanished() : TaskName[] =
        let names = vanished.ToArray()
        vanished.Clear()
        names
