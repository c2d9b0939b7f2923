module FsScheduler.Core.Tests.FileTrackerTests

open System
open System.Collections.Generic
open Expecto
open Expecto.Flip
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.TestKit

let private at ms : Instant = { sinceStart = ms * 1L<ms> }

/// The wall clock of these tests shows this when the monotonic one shows 0.
let private wallStart = DateTime(2026, 1, 1).Ticks

let private wall ms = wallStart + ms * 10_000L

/// A version last written at `ms`.
let private version size ms : FileVersion = FileVersion.ofTime size (wall ms)

let private sight (tracker: FileTracker) text stamp how ms =
    tracker.Sight(name text, stamp, how, at ms, wall ms)

let private taken (tracker: FileTracker) = [
    for struct (name, stamp) in tracker.Take() -> string name, int stamp.size
]

let private examples = [
    test "a file seen while it is written is taken once it has settled" {
        let tracker = FileTracker 500L<ms>
        sight tracker "a" (version 1L<B> 0L) Written 0L
        sight tracker "a" (version 2L<B> 300L) Written 300L
        sight tracker "a" (version 2L<B> 300L) Written 799L
        Expect.isEmpty "499 ms after its last change" (taken tracker)
        Expect.isEmpty "not due" (tracker.Due(at 799L))
        Expect.equal "due" (ValueSome(at 800L)) tracker.NextDue
        Expect.equal "to look at" [| name "a" |] (tracker.Due(at 800L))
        Expect.isEmpty "not before somebody looked" (taken tracker)
        sight tracker "a" (version 2L<B> 300L) Listed 800L
        Expect.equal "settled" [ "a", 2 ] (taken tracker)
        Expect.equal "nothing left" (0, ValueNone) (tracker.Pending, tracker.NextDue)
    }

    test "a look that finds another version starts anew" {
        let tracker = FileTracker 500L<ms>
        sight tracker "a" (version 1L<B> 0L) Written 0L
        sight tracker "a" (version 2L<B> 450L) Listed 500L
        Expect.isEmpty "its event was lost" (taken tracker)
        Expect.equal "settles from the look" (ValueSome(at 1000L)) tracker.NextDue
    }

    test "a file renamed in is taken at once, whatever it was before" {
        let tracker = FileTracker 3_600_000L<ms>
        sight tracker "new" (version 1L<B> 0L) MovedIn 0L
        sight tracker "settling" (version 1L<B> 0L) Written 0L
        sight tracker "settling" (version 1L<B> 0L) MovedIn 1L
        sight tracker "replaced" (version 1L<B> 0L) MovedIn 0L
        sight tracker "replaced" (version 2L<B> 1L) MovedIn 1L
        let expected = [ "new", 1; "replaced", 2; "settling", 1 ]
        Expect.equal "all of them, by name" expected (taken tracker)
        sight tracker "new" (version 1L<B> 0L) MovedIn 2L
        Expect.isEmpty "the same version again" (taken tracker)
    }

    test
        "a version of which less was remembered is the one that is there, and all of it counts from then on" {
        let tracker = FileTracker 0L<ms>
        let found = { version 1L<B> 0L with changed = 1L; inode = 2L }
        tracker.Remember(name "a", FileVersion.ofTime 1L<B> found.modified)
        sight tracker "a" found Listed 0L
        Expect.isEmpty "taken before" (taken tracker)
        sight tracker "a" { found with changed = 3L } Listed 1L
        Expect.equal "another" [ "a", 1 ] (taken tracker)
        sight tracker "a" { found with changed = 3L; inode = 4L } Listed 2L
        Expect.equal "another" [ "a", 1 ] (taken tracker)
    }

    test "what is held back is due again, and has been waiting since its first version" {
        let tracker = FileTracker 500L<ms>
        let held = version 1L<B> 0L
        sight tracker "a" held Written 0L
        sight tracker "b" (version 1L<B> 0L) Written 100L
        sight tracker "a" held Listed 500L
        Expect.equal "whole" [ "a", 1 ] (taken tracker)
        tracker.HoldBack(name "a", held, at 500L)
        Expect.equal "pending" 2 tracker.Pending
        Expect.equal "since" (ValueSome(struct (name "a", at 0L))) tracker.LongestPending
        sight tracker "a" (version 2L<B> 700L) Written 700L
        Expect.equal "in any version" (ValueSome(struct (name "a", at 0L))) tracker.LongestPending
        sight tracker "a" (version 2L<B> 700L) Listed 1_200L
        Expect.equal "whole" [ "a", 2 ] (taken tracker)
        Expect.equal "then" (ValueSome(struct (name "b", at 100L))) tracker.LongestPending
        sight tracker "a" (version 3L<B> 1_300L) Written 1_300L
        sight tracker "b" (version 1L<B> 0L) MovedIn 1_300L
        Expect.equal "b" [ "b", 1 ] (taken tracker)
        Expect.equal "anew" (ValueSome(struct (name "a", at 1_300L))) tracker.LongestPending
    }

    test "a scan takes at once what has been old for long enough" {
        let tracker = FileTracker 500L<ms>
        sight tracker "old" (version 1L<B> -500L) Listed 0L
        sight tracker "recent" (version 1L<B> -499L) Listed 0L
        sight tracker "future" (version 1L<B> 60_000L) Listed 0L
        sight tracker "copied with its date" (version 1L<B> -9_000L) Written 0L
        Expect.equal "only what nobody can be writing" [ "old", 1 ] (taken tracker)
        Expect.equal "the others settle" 3 tracker.Pending
        sight tracker "old" (version 2L<B> -700L) Listed 1L
        Expect.isEmpty "a change settles however old its date is" (taken tracker)
    }

    test "each version is taken once" {
        let tracker = FileTracker 500L<ms>
        sight tracker "a" (version 1L<B> -1000L) Listed 0L
        Expect.equal "first" [ "a", 1 ] (taken tracker)
        sight tracker "a" (version 1L<B> -1000L) Listed 5_000L
        sight tracker "a" (version 1L<B> -1000L) Written 9_000L
        Expect.isEmpty "the same" (taken tracker)
        sight tracker "a" (version 1L<B> 9_500L) Written 9_500L
        sight tracker "a" (version 1L<B> 9_500L) Listed 10_000L
        Expect.equal "same size, other mtime" [ "a", 1 ] (taken tracker)
    }

    test "no settling time takes everything as it comes" {
        let tracker = FileTracker 0L<ms>
        sight tracker "b" (version 1L<B> 900L) Written 0L
        sight tracker "a" (version 1L<B> 900L) Listed 0L
        Expect.equal "both" [ "a", 1; "b", 1 ] (taken tracker)
        sight tracker "a" (version 2L<B> 900L) Written 0L
        Expect.equal "again" [ "a", 2 ] (taken tracker)
    }

    test "a file that goes is forgotten, and new when it comes back" {
        let tracker = FileTracker 500L<ms>
        sight tracker "a" (version 1L<B> 0L) MovedIn 0L
        Expect.isFalse "nobody had it yet" (tracker.Vanish(name "a"))
        Expect.isEmpty "gone before it was taken" (taken tracker)
        sight tracker "a" (version 1L<B> 0L) MovedIn 1L
        Expect.equal "taken" [ "a", 1 ] (taken tracker)
        Expect.isTrue "somebody has it" (tracker.Vanish(name "a"))
        Expect.isFalse "once" (tracker.Vanish(name "a"))
        Expect.equal "forgotten" 0 tracker.Count
        sight tracker "a" (version 1L<B> 0L) Written 2L
        Expect.equal "settles like any other" 1 tracker.Pending
        Expect.isFalse "never given out" (tracker.Vanish(name "a"))
        Expect.equal "and is gone" (0, ValueNone) (tracker.Pending, tracker.NextDue)
    }

    test "what a scan has not seen is missing" {
        let tracker = FileTracker 500L<ms>

        for file in [ "kept"; "lost"; "d/lost too" ] do
            sight tracker file (version 1L<B> 0L) Written 0L

        sight tracker "taken" (version 1L<B> 0L) MovedIn 0L
        Expect.hasLength "taken" 1 (tracker.Take())
        tracker.BeginScan()
        sight tracker "taken" (version 1L<B> 0L) Listed 1L
        sight tracker "kept" (version 1L<B> 0L) Listed 1L
        sight tracker "by event" (version 1L<B> 0L) Written 1L
        Expect.equal "by name" [| name "d/lost too"; name "lost" |] (tracker.Missing())
        Expect.equal "below a folder" [| name "d/lost too" |] (tracker.Below "d")
    }

    test "what was known before a scan, and is there in any version, remains" {
        let tracker = FileTracker 0L<ms>

        for file in [ "same"; "changed"; "gone" ] do
            sight tracker file (version 1L<B> 0L) Listed 0L

        tracker.BeginScan()
        sight tracker "same" (version 1L<B> 0L) Listed 1L
        sight tracker "changed" (version 2L<B> 1L) Listed 1L
        sight tracker "new" (version 1L<B> 0L) Listed 1L
        let remaining = [ for name in tracker.Remaining -> string name ]
        Expect.equal "neither gone nor new" [ "changed"; "same" ] (List.sort remaining)
    }

    test "a version that could not be used is taken again later" {
        let tracker = FileTracker 0L<ms>
        sight tracker "a" (version 1L<B> 0L) Written 0L
        Expect.equal "taken" [ "a", 1 ] (taken tracker)
        tracker.Reconsider(name "a", version 1L<B> 0L, at 10L)
        Expect.equal "not in a hot loop" (ValueSome(at 510L)) tracker.NextDue
        sight tracker "a" (version 1L<B> 0L) Listed 509L
        Expect.isEmpty "too early" (taken tracker)
        sight tracker "a" (version 1L<B> 0L) Listed 510L
        Expect.equal "again" [ "a", 1 ] (taken tracker)
    }

    test "a version that could not be used does not have a newer one taken twice" {
        let tracker = FileTracker 0L<ms>
        sight tracker "a" (version 1L<B> 0L) Written 0L
        sight tracker "a" (version 2L<B> 5L) Written 5L
        Expect.equal "the newer one" [ "a", 2 ] (taken tracker)
        tracker.Reconsider(name "a", version 1L<B> 0L, at 10L)
        sight tracker "a" (version 2L<B> 5L) Listed 2_000L
        Expect.isEmpty "once" (taken tracker)
        Expect.equal "nothing is pending" 0 tracker.Pending
    }

    test "a look that failed changes nothing about what was taken" {
        let tracker = FileTracker 500L<ms>
        sight tracker "taken" (version 1L<B> -1000L) Listed 0L
        sight tracker "settling" (version 1L<B> 0L) Written 0L
        Expect.equal "taken" [ "taken", 1 ] (taken tracker)
        tracker.Postpone(name "taken", at 500L)
        tracker.Postpone(name "settling", at 500L)
        tracker.Postpone(name "unknown", at 500L)

        Expect.equal
            "the other settles anew"
            (1, ValueSome(at 1000L))
            (tracker.Pending, tracker.NextDue)
    }
]

/// What happens in a folder, as far as one who can only look sees it.
type private Step =
    /// Writes the file, if `seen` with an event about it.
    | Write of file: int * seen: bool
    /// Renames a finished file over it.
    | MoveIn of file: int
    | Delete of file: int
    | Scan
    | Wait of ms: int

let private steps =
    Gen.frequency [
        4,
        Gen.map2
            (fun file seen -> Write(file, seen))
            (Gen.choose (0, 3))
            (Gen.elements [ true; false ])
        1, Gen.map MoveIn (Gen.choose (0, 3))
        1, Gen.map Delete (Gen.choose (0, 3))
        2, Gen.constant Scan
        4, Gen.map Wait (Gen.choose (1, 400))
    ]
    |> Gen.listOf

type private Take = { file: int; stamp: FileVersion; whole: bool }

/// A folder in virtual time, with its tracker and an owner that does what the tracker asks for.
type private Folder(settle: int64) =
    let tracker = FileTracker(settle * 1L<ms>)
    let files = SortedDictionary<int, FileVersion>()
    let movedIn = HashSet<int * FileVersion>()
    /// Every look at a file, newest first.
    let looks = Dictionary<int, (int64 * FileVersion option) list>()
    let mutable now = 0L
    let mutable size = 0L<B>
    let takes = ResizeArray<Take>()

    let fileName file = name $"f{file}"

    let look how file =
        let stamp = if files.ContainsKey file then Some files[file] else None
        let before = looks.GetValueOrDefault(file, [])
        looks[file] <- (now, stamp) :: before

        match stamp with
        | Some stamp -> tracker.Sight(fileName file, stamp, how, at now, wall now)
        | None -> tracker.Vanish(fileName file) |> ignore

    let fileOf (name: TaskName) = int ((string name).Substring 1)

    /// Whether what has been seen justifies taking this version now.
    let isWhole file stamp =
        let unchangedSince =
            looks[file]
            |> List.takeWhile (fun (_, seen) -> seen = Some stamp)
            |> List.map fst
            |> List.last

        movedIn.Contains((file, stamp))
        || stamp.modified <= wall (now - settle)
        || now - unchangedSince >= settle

    let collect () =
        for due in tracker.Due(at now) do
            look Listed (fileOf due)

        for struct (name, stamp) in tracker.Take() do
            let file = fileOf name
            takes.Add({ file = file; stamp = stamp; whole = isWhole file stamp })

    let scan () =
        tracker.BeginScan()

        for file in Seq.toArray files.Keys do
            look Listed file

        for missing in tracker.Missing() do
            look Listed (fileOf missing)

    let touch file =
        size <- size + 1L<B>
        files[file] <- FileVersion.ofTime size (wall now)

    member _.Run(step: Step) =
        match step with
        | Write(file, seen) ->
            touch file

            if seen then
                look Written file
        | MoveIn file ->
            touch file
            movedIn.Add((file, files[file])) |> ignore
            look MovedIn file
        | Delete file -> files.Remove file |> ignore
        | Scan -> scan ()
        | Wait ms -> now <- now + int64 ms

        collect ()

    /// Lets everything settle.
    member folder.Finish() =
        for _ in 1..2 do
            folder.Run Scan
            folder.Run(Wait(int settle + 1))

        tracker

    member _.Takes = List.ofSeq takes
    member _.Files = List.ofSeq files

let private run settle steps =
    let folder = Folder settle
    List.iter folder.Run steps
    let tracker = folder.Finish()
    folder, tracker

let private scenario =
    let withoutOne (steps: Step list) =
        Seq.init steps.Length (fun i -> List.removeAt i steps)

    Arb.fromGenShrink (steps, withoutOne)

/// Settling times: none, one below every wait, and one above.
let private property label check =
    testPropertyWithConfig
        { FsCheckConfig.defaultConfig with maxTest = 300; endSize = 150 }
        label
        (Prop.forAll scenario (fun steps -> List.forall (check steps) [ 0L; 50L; 500L ]))

let private properties = [
    property "nothing is taken before it is whole" (fun steps settle ->
        let folder, _ = run settle steps
        folder.Takes |> List.forall _.whole)

    property "every version that stays is taken, and none twice" (fun steps settle ->
        let folder, tracker = run settle steps
        let versions = [ for take in folder.Takes -> take.file, take.stamp ]

        List.distinct versions = versions
        && tracker.Pending = 0
        && tracker.Count = folder.Files.Length
        && folder.Files
           |> List.forall (fun (KeyValue(file, stamp)) -> List.contains (file, stamp) versions))

    property "the newest version of a file is taken last" (fun steps settle ->
        let folder, _ = run settle steps

        folder.Files
        |> List.forall (fun (KeyValue(file, stamp)) ->
            (folder.Takes |> List.findBack (fun take -> take.file = file)).stamp = stamp))

    property "the same history gives the same decisions" (fun steps settle ->
        (fst (run settle steps)).Takes = (fst (run settle steps)).Takes)
]

[<Tests>]
let tests = testList "FileTrackerTests" (examples @ properties)
