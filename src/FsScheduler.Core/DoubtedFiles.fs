namespace FsScheduler.Core

open System.Collections.Generic

/// Which folder of which file system is at a path. Where the system does not tell, all are the same one.
[<Struct>]
type FolderIdentity = { device: uint64; inode: uint64 }

/// Why files that a scan did not find are not taken for deleted.
[<RequireQualifiedAccess>]
type Doubt =
    /// The path leads to a folder of another file system: a mount came or went.
    | OtherDevice of folder: string
    /// The path leads to another folder, or to none.
    | OtherFolder of folder: string
    /// Of what was known in the folder, nothing is left.
    | NothingKept of folder: string

/// What a scan of the whole folder has found, as far as deletions are concerned.
type ScanResult = {
    /// Files that were taken and are not there. Nobody was told that they were removed.
    missing: TaskName[]
    /// Files that were known before the scan, and are there.
    remaining: TaskName seq
    /// The folders that were scanned, relative to the folder of inputs, which is the empty one.
    folders: IReadOnlyDictionary<string, FolderIdentity>
}

/// What follows from a scan.
type ScanVerdict = {
    /// Deleted, as far as can be known.
    gone: TaskName[]
    /// How many files are in doubt since this scan, why, and for how long at most.
    doubted: struct (int * Doubt * Duration) voption
    /// How many were in doubt and are there again.
    returned: int
}

/// <summary>
/// Tells files that were deleted from those that are out of sight: another file system is mounted over their folder, or
/// theirs is not mounted, or the folder was replaced, or a server shows none of them for a while. All of these lose
/// all files of a folder at once, and without an event for any. Such files are doubted: they count as there until they
/// are back, or were away for so long that it is certain. A deterministic state machine, without disk and clock.
/// </summary>
[<Sealed>]
type DoubtedFiles() =
    /// Where each folder was when nothing in it was in doubt.
    let places = Dictionary<string, FolderIdentity>()

    /// When each will be certain to be gone.
    let doubted = Dictionary<TaskName, Instant>()
    let mutable isFirst = true

    /// How long files stay in doubt.
    static member CertainAfter: Duration = 60_000L<ms>

    /// How long where a mount came or went: nobody deletes files that way.
    static member CertainOnOtherDeviceAfter: Duration = 600_000L<ms>

    /// A single file that is gone leaves its folder empty often enough: so many are doubted. At the first scan, which
    /// no event can have come before, one is enough.
    static member AtOnceMin = 2

    /// The folders that a file is in, that of inputs last.
    static member private FoldersOf(name: TaskName) = Route.foldersOf name @ [ "" ]

    /// Files in doubt.
    member _.Count = doubted.Count

    /// A file is seen, or somebody was told that it was removed: there is no doubt about it.
    member _.Settle(name: TaskName) : unit =
        if doubted.Count > 0 then
            doubted.Remove name |> ignore

    /// <summary>Judges what a scan of the whole folder has not found.</summary>
    /// <param name="scan">What it has.</param>
    /// <param name="now">The time; never before that of an earlier call.</param>
    member _.Judge(scan: ScanResult, now: Instant) : ScanVerdict =
        let count (names: TaskName seq) =
            let counts = Dictionary<string, int>()

            for name in names do
                for folder in DoubtedFiles.FoldersOf name do
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
        let atOnceMin = if isFirst then 1 else DoubtedFiles.AtOnceMin

        let doubtOf (folder: string) =
            match places.TryGetValue folder, scan.folders.TryGetValue folder with
            | (true, was), (true, is) when was.device <> is.device -> Some(Doubt.OtherDevice folder)
            | (true, was), (true, is) when was.inode <> is.inode -> Some(Doubt.OtherFolder folder)
            | (true, _), (false, _) -> Some(Doubt.OtherFolder folder)
            | _ when not (remaining.ContainsKey folder) && lost[folder] >= atOnceMin ->
                Some(Doubt.NothingKept folder)
            | _ -> None

        // Of the folder of inputs first: it says most.
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
                match DoubtedFiles.FoldersOf name |> List.rev |> List.tryPick doubtIn with
                | None -> gone.Add name
                | Some doubt ->
                    let patience =
                        match doubt with
                        | Doubt.OtherDevice _ -> DoubtedFiles.CertainOnOtherDeviceAfter
                        | Doubt.OtherFolder _
                        | Doubt.NothingKept _ -> DoubtedFiles.CertainAfter

                    doubted[name] <- now + patience
                    newly <- newly + 1

                    if reason.IsNone then
                        reason <- ValueSome(struct (doubt, patience))

        // A folder of which something is in doubt is still expected where it was.
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
