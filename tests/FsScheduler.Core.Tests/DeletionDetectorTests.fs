module FsScheduler.Core.Tests.DeletionDetectorTests

open System.Collections.Generic
open Expecto
open Expecto.Flip
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.TestKit

let private at ms : Instant = { sinceStart = ms * 1L<ms> }
let private here: FolderIdentity = { device = 1UL; inode = 10UL }
let private replaced: FolderIdentity = { device = 1UL; inode = 11UL }
let private mounted: FolderIdentity = { device = 2UL; inode = 10UL }

let private scan (missing: string list) (remaining: string list) folders : ScanResult = {
    missing = missing |> List.map name |> Array.ofList
    remaining = List.map name remaining
    folders =
        Dictionary(folders |> List.map (fun (folder, identity) -> KeyValuePair(folder, identity)))
}

/// A first scan that found these, so that the next one has something to miss.
let private started (files: string list) folders =
    let detector = DeletionDetector()
    detector.Evaluate(scan [] files folders, at 0L) |> ignore
    detector

let private gone (outcome: ScanOutcome) = [ for name in outcome.gone -> string name ]

let private reason (outcome: ScanOutcome) =
    match outcome.doubted with
    | ValueSome(struct (count, doubt, _)) -> Some(count, doubt)
    | ValueNone -> None

let private examples = [
    test "a few files of many are gone at once" {
        let detector = started [ "a"; "b"; "d/c"; "d/e" ] [ "", here; "d", here ]

        let outcome =
            detector.Evaluate(scan [ "a"; "d/c" ] [ "b"; "d/e" ] [ "", here; "d", here ], at 1L)

        Expect.equal "both" [ "a"; "d/c" ] (gone outcome)
        Expect.equal "no doubt" None (reason outcome)
    }

    test "a single file that leaves its folder empty is gone at once" {
        let detector = started [ "a" ] [ "", here ]
        let outcome = detector.Evaluate(scan [ "a" ] [] [ "", here ], at 1L)
        Expect.equal "gone" [ "a" ] (gone outcome)
    }

    test "all of a folder at once is doubted for a minute" {
        let detector =
            started [ "a"; "b"; "d/c"; "d/e"; "x/y" ] [ "", here; "d", here; "x", here ]

        let again now =
            detector.Evaluate(
                scan [ "d/c"; "d/e" ] [ "a"; "b"; "x/y" ] [ "", here; "d", here; "x", here ],
                at now
            )

        let first = again 1_000L

        Expect.equal "why" (Some(2, Doubt.NothingKept "d"), []) (reason first, gone first)

        Expect.equal "told once" (None, []) (let next = again 60_999L in reason next, gone next)
        Expect.equal "then it is certain" [ "d/c"; "d/e" ] (gone (again 61_000L))
        Expect.equal "no longer in doubt" 0 detector.Count
    }

    test "a folder that was replaced is doubted, however few files it had" {
        let detector = started [ "a" ] [ "", here ]
        let outcome = detector.Evaluate(scan [ "a" ] [] [ "", replaced ], at 1L)
        Expect.equal "why" (Some(1, Doubt.OtherFolder "")) (reason outcome)
        // There are new files in it by now, and it looks like any other folder.
        let next = detector.Evaluate(scan [ "a" ] [ "new" ] [ "", replaced ], at 2_000L)
        Expect.equal "still doubted" [] (gone next)
        let back = detector.Evaluate(scan [] [ "a" ] [ "", here ], at 4_000L)
        Expect.equal "back" (1, []) (back.returned, gone back)
        let deleted = detector.Evaluate(scan [ "a" ] [ "b" ] [ "", here ], at 6_000L)
        Expect.equal "now it is deleted" [ "a" ] (gone deleted)
    }

    test "a mount that came over a folder is doubted for longer" {
        let detector = started [ "a"; "b" ] [ "", here ]

        let judge now =
            detector.Evaluate(scan [ "a"; "b" ] [] [ "", mounted ], at now)

        Expect.equal "why" (Some(2, Doubt.OtherDevice "")) (reason (judge 0L))
        Expect.equal "not yet" [] (gone (judge 599_999L))
        Expect.equal "certain" [ "a"; "b" ] (gone (judge 600_000L))
    }

    test "a mount below the folder concerns only what is in it" {
        let detector = started [ "a"; "b"; "m/c" ] [ "", here; "m", mounted ]

        let outcome =
            detector.Evaluate(scan [ "a"; "m/c" ] [ "b" ] [ "", here; "m", here ], at 1L)

        Expect.equal "the other one is deleted" [ "a" ] (gone outcome)
        Expect.equal "why" (Some(1, Doubt.OtherDevice "m")) (reason outcome)
    }

    test "a mount over the folder is what concerns the folders in it, too" {
        let detector = started [ "a"; "d/c" ] [ "", here; "d", here ]

        let judge now =
            detector.Evaluate(scan [ "a"; "d/c" ] [] [ "", mounted ], at now)

        Expect.equal "why" (Some(2, Doubt.OtherDevice "")) (reason (judge 0L))
        Expect.equal "neither" [] (gone (judge 599_999L))
    }

    test "a folder that is there no more is doubted, however few files it had" {
        let detector = started [ "a"; "d/c" ] [ "", here; "d", here ]
        let outcome = detector.Evaluate(scan [ "d/c" ] [ "a" ] [ "", here ], at 1L)
        Expect.equal "why" (Some(1, Doubt.OtherFolder "d")) (reason outcome)
    }

    test "while a folder is another one, what is missed in it later is doubted as well" {
        let detector = started [ "a"; "b" ] [ "", here ]
        detector.Evaluate(scan [ "a" ] [ "b" ] [ "", replaced ], at 1L) |> ignore
        let outcome = detector.Evaluate(scan [ "a"; "b" ] [ "new" ] [ "", replaced ], at 2L)
        Expect.equal "why" (Some(1, Doubt.OtherFolder "")) (reason outcome)
    }

    test "at the first scan a single file is doubted: no event could tell of it" {
        let detector = DeletionDetector()
        let outcome = detector.Evaluate(scan [ "a" ] [] [ "", here ], at 1L)
        Expect.equal "why" (Some(1, Doubt.NothingKept "")) (reason outcome)
    }

    test "what an event tells is beyond doubt" {
        let detector = started [ "a"; "b" ] [ "", here ]
        detector.Evaluate(scan [ "a"; "b" ] [] [ "", mounted ], at 1L) |> ignore
        detector.Confirm(name "a")
        Expect.equal "one less" 1 detector.Count
    }
]

/// What a scan finds, of some files: which are missing, and whether their folder is the one it was.
type private Look = { missing: Set<string>; isReplaced: bool; wait: int }

let private files = [ "a"; "b"; "c"; "d/e"; "d/f"; "g/h" ]

let private looks =
    Gen.map3
        (fun (missing: string list) isReplaced wait -> {
            missing = set missing
            isReplaced = isReplaced
            wait = wait
        })
        (Gen.frequency [
            2, Gen.subListOf files
            1, Gen.constant files
            1, Gen.constant [ "d/e"; "d/f" ]
        ])
        (Gen.frequency [ 3, Gen.constant false; 1, Gen.constant true ])
        (Gen.choose (1, 40_000))
    |> Gen.listOf
    |> Gen.resize 30

/// Runs looks; what was judged to be gone is not known any more until it is seen again.
let private run (looks: Look list) (check: Look -> Set<string> -> int64 -> ScanOutcome -> bool) =
    let folders isReplaced = [ "", (if isReplaced then replaced else here); "d", here; "g", here ]

    let detector = started files (folders false)
    let known = HashSet files
    let mutable now = 0L

    looks
    |> List.forall (fun look ->
        now <- now + int64 look.wait

        let missing = [
            for file in files do
                if look.missing.Contains file && known.Contains file then
                    file
        ]

        let remaining = [
            for file in files do
                if not (look.missing.Contains file) && known.Contains file then
                    file
        ]

        let outcome =
            detector.Evaluate(scan missing remaining (folders look.isReplaced), at now)

        let holds = check look (set known) now outcome

        for file in gone outcome do
            known.Remove file |> ignore

        for file in files do
            if not (look.missing.Contains file) then
                known.Add file |> ignore

        holds)

let private property label (check: Look list -> bool) =
    testPropertyWithConfig
        { FsCheckConfig.defaultConfig with maxTest = 500 }
        label
        (Prop.forAll (Arb.fromGen looks) check)

let private properties = [
    property "only what is missing is gone" (fun looks ->
        run looks (fun look _ _ outcome -> Set.isSubset (set (gone outcome)) look.missing))

    property "nothing of a folder that lost all it had is gone before a minute" (fun looks ->
        let seen = Dictionary<string, int64>()

        for file in files do
            seen[file] <- 0L

        run looks (fun look known now outcome ->
            let isLost (folder: string list) =
                folder |> List.forall look.missing.Contains
                && List.length (List.filter known.Contains folder) >= 2

            let lost = [
                if isLost files then
                    yield! files

                    if isLost [ "d/e"; "d/f" ] then
                        yield! [ "d/e"; "d/f" ]
            ]

            for file in files do
                if not (look.missing.Contains file) then
                    seen[file] <- now

            gone outcome
            |> List.forall (fun file ->
                not (List.contains file lost)
                || now - seen[file] >= int64 DeletionDetector.CertainAfter)))

    property "what stays away is gone in the end, once" (fun looks ->
        let away = { missing = set files; isReplaced = true; wait = 40_000 }
        let mutable left = set files
        let mutable isOnce = true

        run (looks @ List.replicate 20 away) (fun look known _ outcome ->
            isOnce <- isOnce && Set.isSubset (set (gone outcome)) known
            left <- known - set (gone outcome)
            true)
        && isOnce
        && Set.isEmpty left)

    property
        "when some are missing and every folder keeps one, those are gone at once"
        (fun looks ->
            let few =
                looks
                |> List.map (fun look -> {
                    look with
                        missing = look.missing - set [ "a"; "d/f"; "g/h" ]
                        isReplaced = false
                })

            run few (fun look known _ outcome ->
                set (gone outcome) = Set.intersect look.missing known))
]

let private refusals = [
    test "what is refused counts until it is put right, removed, or not found by a scan" {
        let refusals = Refusals 3
        refusals.BeginScan()

        Expect.equal "told once" [ true; true; false ] [
            for path in [ "a"; "b"; "a" ] -> refusals.Add path
        ]

        refusals.EndScan()
        Expect.equal "two" 2 refusals.Count
        refusals.Remove "a"
        Expect.equal "one is right" 1 refusals.Count
        Expect.isTrue "told anew" (refusals.Add "a")
        refusals.BeginScan()
        Expect.isFalse "still" (refusals.Add "b")
        refusals.EndScan()
        Expect.equal "the other one is not there" 1 refusals.Count
    }

    test "no more than the most are remembered" {
        let refusals = Refusals 2

        Expect.equal "added" [ true; true; false ] [
            for path in [ "a"; "b"; "c" ] -> refusals.Add path
        ]

        Expect.equal "counted" 2 refusals.Count
    }
]

[<Tests>]
let tests = testList "DeletionDetectorTests" (examples @ properties @ refusals)
