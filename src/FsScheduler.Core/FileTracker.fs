namespace FsScheduler.Core

open System
open System.Collections.Generic

/// How a file came to be seen.
type Sighting =
    /// A scan listed it, or somebody looked again.
    | Listed
    /// An event said that it was created or written to.
    | Written
    /// An event said that it was renamed into the folder: whoever did so had finished writing it.
    | MovedIn

/// What the tracker remembers of a file.
[<Struct>]
type private Known = {
    stamp: FileVersion
    /// When this stamp was first seen.
    since: Instant
    /// When the first version was seen that has not been taken.
    pending: Instant
    /// The last scan that had it.
    scan: int
    /// The scan after which it was first seen.
    first: int
    /// This version has been given out, or is about to be.
    taken: bool
}

/// <summary>
/// Decides which files of a folder are whole, and when to take each: a deterministic state machine
/// that sees no disk and no clock. Sightings and the time go in; files to look at and files to take come
/// out. A version (a stamp) of a file is taken once: when a look finds it as it was
/// <c>settle</c> ago, or at once when it was renamed in, or when the first scan to list it finds it
/// unchanged for that long by its own mtime. Not safe for concurrent use: it has one owner.
/// </summary>
/// <param name="settle">How long a stamp must stay the same, in ms; 0 takes every version at once.</param>
type FileTracker(settle: Duration) =
    do ArgumentOutOfRangeException.ThrowIfNegative(int64 settle)

    static let reconsiderMin: Duration = 500L<ms>

    let known = Dictionary<TaskName, Known>()

    /// Those not whole yet, longest unchanged first; exactly one entry for each.
    let waiting =
        SortedSet<struct (Instant * TaskName)>(
            {
                new IComparer<struct (Instant * TaskName)> with
                    member _.Compare(struct (since, name), struct (since', name')) =
                        match compare (since - since') 0L<ms> with
                        | 0 ->
                            String.CompareOrdinal(TaskName.toString name, TaskName.toString name')
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

    /// Whether its version was given out by `Take`.
    let isGiven (name: TaskName) (was: Known) = was.taken && not (ready.Contains name)

    let settleAnew (name: TaskName) (was: Known) (now: Instant) (pending: Instant) =
        forgetPlans name was
        let extra = max 0L<ms> (reconsiderMin - settle)

        plan name { was with since = now + extra; pending = pending; taken = false }

    /// 100 ns ticks in a millisecond.
    let ticksPerMs = 10_000L

    let isOld (stamp: FileVersion) (wallNow: int64) =
        stamp.modified <= wallNow - int64 settle * ticksPerMs

    /// The shortest wait before a file that could not be looked at or read is tried again.
    static member ReconsiderMin: Duration = reconsiderMin

    /// Files seen, of which the newest version has not been taken.
    member _.Pending = waiting.Count + ready.Count

    /// Files remembered.
    member _.Count = known.Count

    /// When the next file is due for a look.
    member _.NextDue: Instant voption =
        if waiting.Count = 0 then
            ValueNone
        else
            let struct (since, _) = Seq.head waiting
            ValueSome(since + settle)

    /// A version that was taken in an earlier run: it is not taken again, and missed if it is not there.
    member _.Remember(name: TaskName, stamp: FileVersion) : unit =
        known[name] <- {
            stamp = stamp
            since = Instant.zero
            pending = Instant.zero
            scan = scan
            first = scan
            taken = true
        }

    /// <summary>A file is there.</summary>
    /// <param name="name">Its name, not an ignored one.</param>
    /// <param name="stamp">Its version, as just read from the disk.</param>
    /// <param name="sighting">How it came to be seen.</param>
    /// <param name="now">The time of the look; never before that of an earlier call.</param>
    /// <param name="wallNow">The same moment on the clock that stamps files, in ticks of 100 ns, UTC.</param>
    member _.Sight
        (name: TaskName, stamp: FileVersion, sighting: Sighting, now: Instant, wallNow: int64)
        : unit =
        let since (pending: Instant) whole = {
            stamp = stamp
            since = now
            pending = pending
            scan = scan
            first = scan
            taken = whole
        }

        // What stands in a `pipeline.txt` is looked at whenever it is needed: the sooner its change is told, the better.
        let wholeAtOnce = sighting = MovedIn || settle = 0L<ms> || Route.isFolderFile name

        match known.TryGetValue name with
        | false, _ ->
            plan name (since now (wholeAtOnce || sighting = Listed && isOld stamp wallNow))
        | true, was when not (FileVersion.isSame was.stamp stamp) ->
            let pending = if isGiven name was then now else was.pending
            forgetPlans name was
            plan name { since pending wholeAtOnce with first = was.first }
        // What was remembered may say less of the version than the disk does now.
        | true, was when was.taken -> known[name] <- { was with stamp = stamp; scan = scan }
        | true, was when sighting = MovedIn || now - was.since >= settle ->
            forgetPlans name was
            plan name { was with scan = scan; taken = true }
        | true, was -> known[name] <- { was with scan = scan }

    /// Files that may be whole by now: look at each, and report what there is.
    /// Without such a report they stay due.
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
        names |> Array.map (fun name -> struct (name, known[name].stamp))

    /// <summary>A file is no longer there: it is forgotten, and taken again if it comes back.</summary>
    /// <returns>Whether a version of it was given out by <c>Take</c>.</returns>
    member _.Vanish(name: TaskName) : bool =
        match known.TryGetValue name with
        | false, _ -> false
        | true, was ->
            let given = isGiven name was
            forgetPlans name was
            known.Remove name |> ignore
            given

    /// A version that was taken turned out to be unusable: the file settles anew, for at least
    /// `ReconsiderMin`, and is then taken even if it is still the same. A newer version is known already: then nothing.
    member _.Reconsider(name: TaskName, version: FileVersion, now: Instant) : unit =
        match known.TryGetValue name with
        | true, was when FileVersion.isSame version was.stamp -> settleAnew name was now now
        | _ -> ()

    /// A version that was given out is not to be taken yet, and settles anew: it has been waiting all the while.
    member _.HoldBack(name: TaskName, version: FileVersion, now: Instant) : unit =
        match known.TryGetValue name with
        | true, was when was.stamp = version -> settleAnew name was now was.pending
        | _ -> ()

    /// Some of the files of which the newest version has not been taken.
    member _.PendingNames(most: int) : string[] =
        waiting
        |> Seq.map (fun struct (_, name) -> name)
        |> Seq.append ready
        |> Seq.truncate most
        |> Seq.map TaskName.toString
        |> Seq.toArray

    /// The file that has been waiting longest to be taken, in whatever versions, and since when.
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

    /// A look failed, and nobody knows what is there. A file that is not whole yet settles anew, as for
    /// `Reconsider`; one that was taken stays taken.
    member tracker.Postpone(name: TaskName, now: Instant) : unit =
        match known.TryGetValue name with
        | true, was when not was.taken -> tracker.Reconsider(name, was.stamp, now)
        | _ -> ()

    /// A scan of the whole folder begins.
    member _.BeginScan() : unit = scan <- scan + 1

    /// The files that nobody has seen since the scan began, ordered by name: once it has ended, they
    /// are probably gone.
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

    /// Whether a version of a file was given out by `Take`, or is about to be.
    member _.IsTaken(name: TaskName) =
        match known.TryGetValue name with
        | true, is -> is.taken
        | _ -> false

    /// The files known in a folder and below it.
    member _.Below(folder: string) : TaskName[] =
        let prefix = folder + "/"

        [|
            for name in known.Keys do
                if (TaskName.toString name).StartsWith(prefix, StringComparison.Ordinal) then
                    name
        |]
