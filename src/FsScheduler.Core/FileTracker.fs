namespace FsScheduler.Core

open System
open System.Collections.Generic

/// How the tracker heard of a file.
type Sighting =
    /// A scan listed the file, or its status was read again.
    | Listed
    /// A file system event: created or written to.
    | Written
    /// A file system event: renamed into the folder. A file is complete before it is renamed.
    | MovedIn

[<Struct>]
type private Known = {
    version: FileVersion
    /// When this version was first seen.
    since: Instant
    /// When the first version was seen of those that have not been taken.
    pending: Instant
    /// The last scan that listed the file.
    scan: int
    /// The scan during or after which the file was first seen.
    first: int
    /// Whether this version was given out by `Take`, or will be.
    taken: bool
}

/// <summary>Decides which files of a folder are complete, and when to take each: a deterministic state machine without
/// disk and clock. Sightings and times go in; files to look at and files to take come out. A version of a file is taken
/// once: when it was the same <c>settle</c> ago; at once when it was renamed in; or when the first scan that lists it
/// finds its modification time that old. Not thread-safe: it has one owner.</summary>
/// <param name="settle">How long a version must stay the same, in ms; 0 takes every version at once.</param>
type FileTracker(settle: Duration) =
    do ArgumentOutOfRangeException.ThrowIfNegative(int64 settle)

    // The shortest wait before a file that could not be read is tried again.
    static let reconsiderMin: Duration = 500L<ms>

    let known = Dictionary<TaskName, Known>()

    /// The files that are not complete yet, longest unchanged first; exactly one entry for each.
    let waiting =
        SortedSet<struct (Instant * TaskName)>(
            {
                new IComparer<struct (Instant * TaskName)> with
                    member _.Compare(struct (since, name), struct (other, otherName)) =
                        match compare (since - other) 0L<ms> with
                        | 0 ->
                            String.CompareOrdinal(
                                TaskName.toString name,
                                TaskName.toString otherName
                            )
                        | order -> order
            }
        )

    let ready = HashSet<TaskName>()
    let mutable scan = 0

    let forgetPlans (name: TaskName) (was: Known) =
        if was.taken then
            ready.Remove name |> ignore
        else
            waiting.Remove(struct (was.since, name)) |> ignore

    let plan (name: TaskName) (is: Known) =
        known[name] <- is

        if is.taken then
            ready.Add name |> ignore
        else
            waiting.Add(struct (is.since, name)) |> ignore

    /// Whether the present version was given out by `Take`.
    let isGiven (name: TaskName) (was: Known) = was.taken && not (ready.Contains name)

    let settleAnew (name: TaskName) (was: Known) (now: Instant) (pending: Instant) =
        forgetPlans name was
        let extra = max 0L<ms> (reconsiderMin - settle)

        plan name { was with since = now + extra; pending = pending; taken = false }

    /// 100 ns ticks in a millisecond.
    let ticksPerMs = 10_000L

    let isOld (version: FileVersion) (wallNow: int64) =
        version.modified <= wallNow - int64 settle * ticksPerMs

    /// How many files have a newest version that is not taken.
    member _.Pending = waiting.Count + ready.Count

    member _.Count = known.Count

    /// When `Due` next has a file; none: no file is waiting.
    member _.NextDue: Instant voption =
        if waiting.Count = 0 then
            ValueNone
        else
            let struct (since, _) = Seq.head waiting
            ValueSome(since + settle)

    /// Remembers a version that an earlier run took: it is not taken again, and `Missing` lists it if the file is gone.
    member _.Remember(name: TaskName, version: FileVersion) : unit =
        known[name] <- {
            version = version
            since = Instant.zero
            pending = Instant.zero
            scan = scan
            first = scan
            taken = true
        }

    /// <summary>Reports that a file is there.</summary>
    /// <param name="name">The name of the file; never an ignored name.</param>
    /// <param name="version">The version of the file, as just read from the disk.</param>
    /// <param name="sighting">How the tracker heard of the file.</param>
    /// <param name="now">The time of the look; never before that of an earlier call.</param>
    /// <param name="wallNow">The same moment by the clock of modification times, in ticks of 100 ns, UTC.</param>
    member _.Sight
        (name: TaskName, version: FileVersion, sighting: Sighting, now: Instant, wallNow: int64)
        : unit =
        let since (pending: Instant) whole = {
            version = version
            since = now
            pending = pending
            scan = scan
            first = scan
            taken = whole
        }

        // A `pipeline.txt` is read whenever a file needs it, so a change of it is reported at once.
        let wholeAtOnce = sighting = MovedIn || settle = 0L<ms> || Route.isFolderFile name

        match known.TryGetValue name with
        | false, _ ->
            plan name (since now (wholeAtOnce || sighting = Listed && isOld version wallNow))
        | true, was when not (FileVersion.isSame was.version version) ->
            let pending = if isGiven name was then now else was.pending
            forgetPlans name was
            plan name { since pending wholeAtOnce with first = was.first }
        // A remembered version may lack fields that the disk gives now.
        | true, was when was.taken -> known[name] <- { was with version = version; scan = scan }
        | true, was when sighting = MovedIn || now - was.since >= settle ->
            forgetPlans name was
            plan name { was with scan = scan; taken = true }
        | true, was -> known[name] <- { was with scan = scan }

    /// Files that may be complete by now. Each is to be reported by `Sight`, `Vanish` or `Postpone`; until then it
    /// stays due.
    member _.Due(now: Instant) : TaskName[] = [|
        for struct (since, name) in
            waiting |> Seq.takeWhile (fun struct (s, _) -> now - s >= settle) do
            name
    |]

    /// The files to take now, ordered by name, each with its version.
    member _.Take() : struct (TaskName * FileVersion)[] =
        let names = Seq.toArray ready
        ready.Clear()
        Array.Sort(names, Comparison(fun a b -> String.CompareOrdinal(string a, string b)))
        names |> Array.map (fun name -> struct (name, known[name].version))

    /// <summary>Forgets a deleted file: it is taken again if it comes back.</summary>
    /// <returns>Whether a version of the file was given out by <c>Take</c>.</returns>
    member _.Vanish(name: TaskName) : bool =
        match known.TryGetValue name with
        | false, _ -> false
        | true, was ->
            let given = isGiven name was
            forgetPlans name was
            known.Remove name |> ignore
            given

    /// Reports that a taken version could not be used: the file settles anew, for at least half a second, and is then
    /// taken even if unchanged. Does nothing where a newer version is known.
    member _.Reconsider(name: TaskName, version: FileVersion, now: Instant) : unit =
        match known.TryGetValue name with
        | true, was when FileVersion.isSame version was.version -> settleAnew name was now now
        | _ -> ()

    /// Takes back a version that was given out: the file settles anew, but has been waiting since it was first seen.
    member _.HoldBack(name: TaskName, version: FileVersion, now: Instant) : unit =
        match known.TryGetValue name with
        | true, was when was.version = version -> settleAnew name was now was.pending
        | _ -> ()

    /// Up to `most` names of files whose newest version is not taken.
    member _.PendingNames(most: int) : string[] =
        waiting
        |> Seq.map (fun struct (_, name) -> name)
        |> Seq.append ready
        |> Seq.truncate most
        |> Seq.map TaskName.toString
        |> Seq.toArray

    /// The file that has waited longest to be taken, in whatever versions, and since when.
    member _.LongestPending: struct (TaskName * Instant) voption =
        let mutable longest = ValueNone

        let consider name =
            let since = known[name].pending

            match longest with
            | ValueSome(struct (_, earliest: Instant)) when earliest - since <= 0L<ms> -> ()
            | _ -> longest <- ValueSome(struct (name, since))

        for struct (_, name) in waiting do
            consider name

        Seq.iter consider ready
        longest

    /// Reports that a file could not be looked at. A file that is not taken settles anew, as for `Reconsider`.
    member tracker.Postpone(name: TaskName, now: Instant) : unit =
        match known.TryGetValue name with
        | true, was when not was.taken -> tracker.Reconsider(name, was.version, now)
        | _ -> ()

    /// A scan of the whole folder begins.
    member _.BeginScan() : unit = scan <- scan + 1

    /// The files not seen since the scan began, ordered by name: after the scan they are probably deleted.
    member _.Missing() : TaskName[] =
        let names = [|
            for KeyValue(name, is) in known do
                if is.scan <> scan then
                    name
        |]

        Array.Sort(names, Comparison(fun a b -> String.CompareOrdinal(string a, string b)))
        names

    /// The files that were known before the scan began, and have been seen since.
    member _.Remaining: TaskName seq =
        seq {
            for KeyValue(name, is) in known do
                if is.scan = scan && is.first < scan then
                    name
        }

    /// Whether a file is remembered.
    member _.Knows(name: TaskName) = known.ContainsKey name

    /// Whether the newest version was given out by `Take`, or will be.
    member _.IsTaken(name: TaskName) =
        match known.TryGetValue name with
        | true, is -> is.taken
        | _ -> false

    member _.Below(folder: string) : TaskName[] =
        let prefix = folder + "/"

        [|
            for name in known.Keys do
                if (TaskName.toString name).StartsWith(prefix, StringComparison.Ordinal) then
                    name
        |]
