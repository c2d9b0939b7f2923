namespace FsScheduler.Core

open System.Collections.Generic

/// Device and inode of a folder. On a system that has no such numbers all folders are equal.
[<Struct>]
type FolderIdentity = { device: uint64; inode: uint64 }

/// Why files that a scan did not find may still exist.
[<RequireQualifiedAccess>]
type Doubt =
    /// The path leads to a folder of another file system: a mount came or went.
    | OtherDevice of folder: string
    /// The path leads to another folder, or to none.
    | OtherFolder of folder: string
    /// No known file of the folder is left.
    | NothingKept of folder: string

/// What a scan of the whole folder of inputs has found, as far as deletions are concerned.
type ScanResult = {
    /// Files that were taken and are not found, without a deletion event for any.
    missing: TaskName[]
    /// Files that were known before the scan, and were found.
    remaining: TaskName seq
    /// The scanned folders, relative to the folder of inputs, whose own path is empty.
    folders: IReadOnlyDictionary<string, FolderIdentity>
}

type ScanOutcome = {
    /// Files that count as deleted.
    gone: TaskName[]
    /// How many files are newly in doubt, why, and for how long at most.
    doubted: struct (int * Doubt * Duration) voption
    /// How many files that were in doubt were found again.
    returned: int
}

/// <summary>Tells deleted files from files that are out of sight: another file system is mounted over their folder,
/// theirs is not mounted, the folder was replaced, or a file server shows none of them for a while. All of these lose
/// every file of a folder at once, without a deletion event. Such files are in doubt: they count as present until they
/// are found again, or were missing for `CertainAfter`. Deterministic, without disk and clock.</summary>
[<Sealed>]
type DeletionDetector() =
    /// The identity of each folder when no file in it was in doubt.
    let places = Dictionary<string, FolderIdentity>()

    /// The files in doubt, each with the time from which it counts as deleted.
    let doubted = Dictionary<TaskName, Instant>()
    let mutable isFirst = true

    /// How long a file stays in doubt.
    static member CertainAfter: Duration = 60_000L<ms>

    /// How long a file stays in doubt where a mount came or went: nobody deletes files that way.
    static member CertainOnOtherDeviceAfter: Duration = 600_000L<ms>

    /// A folder that loses this many files, and thus all, at once puts them in doubt; a single deletion empties folders
    /// often enough. At the first scan, before which no events came, one file is enough.
    static member AtOnceMin = 2

    /// The folders of a file from its own up to the folder of inputs.
    static member private FoldersOf(name: TaskName) = Route.foldersOf name @ [ "" ]

    /// Files in doubt.
    member _.Count = doubted.Count

    /// A file was found, or its deletion was told by an event: it is not in doubt any more.
    member _.Confirm(name: TaskName) : unit =
        if doubted.Count > 0 then
            doubted.Remove name |> ignore

    /// <summary>Decides which files that a scan has not found are deleted, and which are in doubt.</summary>
    /// <param name="scan">What the scan found.</param>
    /// <param name="now">The time of the scan; never before that of an earlier call.</param>
    member _.Evaluate(scan: ScanResult, now: Instant) : ScanOutcome =
        let count (names: TaskName seq) =
            let counts = Dictionary<string, int>()

            for name in names do
                for folder in DeletionDetector.FoldersOf name do
                    counts[folder] <- counts.GetValueOrDefault(folder, 0) + 1

            counts

        let isMissing = HashSet scan.missing

        let returned =
            [| for name in doubted.Keys -> name |]
            |> Array.filter (fun name -> not (isMissing.Contains name))

        for name in returned do
            doubted.Remove name |> ignore

        let remaining =
            if scan.missing.Length = 0 then
                Dictionary()
            else
                count scan.remaining

        let lost = count scan.missing
        let atOnceMin = if isFirst then 1 else DeletionDetector.AtOnceMin

        let doubtOf (folder: string) =
            match places.TryGetValue folder, scan.folders.TryGetValue folder with
            | (true, was), (true, is) when was.device <> is.device -> Some(Doubt.OtherDevice folder)
            | (true, was), (true, is) when was.inode <> is.inode -> Some(Doubt.OtherFolder folder)
            | (true, _), (false, _) -> Some(Doubt.OtherFolder folder)
            | _ when not (remaining.ContainsKey folder) && lost[folder] >= atOnceMin ->
                Some(Doubt.NothingKept folder)
            | _ -> None

        // The folder of inputs comes first: a change of it explains the loss of all files below.
        let doubts = Dictionary<string, Doubt option>()

        let doubtIn (folder: string) =
            match doubts.TryGetValue folder with
            | true, doubt -> doubt
            | _ ->
                let doubt = doubtOf folder
                doubts[folder] <- doubt
                doubt

        let gone = List<TaskName>()
        let mutable newly = 0
        let mutable reason = ValueNone

        for name in scan.missing do
            match doubted.TryGetValue name with
            | true, certain when now - certain >= 0L<ms> ->
                doubted.Remove name |> ignore
                gone.Add name
            | true, _ -> ()
            | _ ->
                match DeletionDetector.FoldersOf name |> List.rev |> List.tryPick doubtIn with
                | None -> gone.Add name
                | Some doubt ->
                    let patience =
                        match doubt with
                        | Doubt.OtherDevice _ -> DeletionDetector.CertainOnOtherDeviceAfter
                        | Doubt.OtherFolder _
                        | Doubt.NothingKept _ -> DeletionDetector.CertainAfter

                    doubted[name] <- now + patience
                    newly <- newly + 1

                    if reason.IsNone then
                        reason <- ValueSome(struct (doubt, patience))

        // The identity of a folder with a file in doubt stays the one from before the doubt.
        let expected = count doubted.Keys

        for folder in Seq.toArray places.Keys do
            if not (expected.ContainsKey folder) && not (scan.folders.ContainsKey folder) then
                places.Remove folder |> ignore

        for KeyValue(folder, identity) in scan.folders do
            if not (expected.ContainsKey folder) then
                places[folder] <- identity

        isFirst <- false

        {
            gone = gone.ToArray()
            doubted =
                reason
                |> ValueOption.map (fun (struct (doubt, patience)) ->
                    struct (newly, doubt, patience))
            returned = returned.Length
        }
