module FsScheduler.Core.Tests.ResultNameTests

open System.Collections.Generic
open System.Text
open Expecto
open FsCheck.FSharp
open FsScheduler.Core

let private name text =
    match TaskName.parse text with
    | Ok name -> name
    | Error reason -> failtest $"'{text}': {reason}"

let private apart text mark =
    ResultName.apart (name text) mark |> ValueOption.map string

let private task number = OfTask(number * 1L<taskId>)

/// What happens in a folder of results.
type private Happening =
    /// A result of a source comes, under its own name.
    | Comes of source: ResultSource * name: TaskName
    /// Somebody takes away what stands under a name.
    | Taken of index: int
    /// A file is put among the inputs, or removed.
    | Appears of TaskName
    | Disappears of TaskName

let private names =
    [ "c.txt"; "c.1.txt"; "c.7.txt"; "c.7-2.txt"; "d/c.txt"; "c" ] |> List.map name

let private happening =
    Gen.oneof [
        Gen.elements names |> Gen.map (fun name -> Comes(OfFile name, name))
        Gen.map2
            (fun number name -> Comes(task (int64 number), name))
            (Gen.choose (1, 9))
            (Gen.elements names)
        Gen.choose (0, 20) |> Gen.map Taken
        Gen.elements names |> Gen.map Appears
        Gen.elements names |> Gen.map Disappears
    ]

/// What the shell keeps, and what stands there: source and number of the result, by name.
type private Folder() =
    let location = Dictionary<TaskName, struct (ResultSource * int)>()
    let recorded = Dictionary<TaskName, ResultSource>()
    let inputs = HashSet<TaskName>()
    let mutable count = 0

    member _.PeerRole = location

    member _.Do(happening: Happening) : unit =
        match happening with
        | Appears name -> inputs.Add name |> ignore
        | Disappears name -> inputs.Remove name |> ignore
        | Taken index ->
            if location.Count > 0 then
                location.Remove(Seq.item (index % location.Count) location.Keys) |> ignore
        | Comes(source, own) ->
            count <- count + 1

            let recordedOf candidate =
                match recorded.TryGetValue candidate with
                | true, owner -> ValueSome owner
                | _ -> ValueNone

            let holder candidate =
                ResultName.holder
                    source
                    candidate
                    (recordedOf candidate)
                    (fun () -> location.ContainsKey candidate)
                    (fun () -> inputs.Contains candidate)

            match ResultName.choose holder (ResultName.candidates source own) with
            | ValueNone -> failtest "no name is left"
            | ValueSome(struct (place, mayReplace)) ->
                match location.TryGetValue place with
                | true, struct (before, _) ->
                    Expect.equal before source "a result replaces one of its own source only"
                    Expect.isTrue mayReplace "and says so"
                | _ -> ()

                location[place] <- struct (source, count)

                if source = OfFile place then
                    recorded.Remove place |> ignore
                else
                    recorded[place] <- source

[<Tests>]
let tests =
    testList "the name of a result" [
        test "is told apart before its ending" {
            Expect.equal (apart "c.txt" "17") (ValueSome "c.17.txt") "a file"
            Expect.equal (apart "d/e/c.tar.gz" "1") (ValueSome "d/e/c.tar.1.gz") "the last ending"
            Expect.equal (apart "c" "17") (ValueSome "c.17") "none"
            Expect.equal (apart ".c" "17") (ValueSome ".c.17") "what is hidden stays so"
            Expect.equal (apart "v1.d/c" "17") (ValueSome "v1.d/c.17") "the ending of a folder"
        }

        test "stays within what a name may have" {
            let long = String.replicate 66 "語" + ".x"
            let found = apart long "1234567"
            Expect.isTrue found.IsSome "with a shorter beginning"
            Expect.stringEnds found.Value ".1234567.x" "the mark is there"

            Expect.isLessThanOrEqual
                (Encoding.UTF8.GetByteCount found.Value)
                TaskName.partBytesMax
                "not too long"

            let folders = String.replicate 9 (String.replicate 200 "d" + "/")
            let below = apart (folders + String.replicate 190 "x") "17"

            Expect.equal
                (ValueOption.map String.length below)
                (ValueSome TaskName.bytesMax)
                "in all"

            let deep = String.replicate 999 "a/" + "bc"
            Expect.equal (apart deep "17") ValueNone "where there is no room at all"
        }

        test "of a file that is an input is its own, of a second task has its number" {
            let taken = HashSet [ name "c.txt" ]

            let choose source isInput =
                ResultName.choose
                    (fun candidate ->
                        ResultName.holder
                            source
                            candidate
                            ValueNone
                            (fun () -> taken.Contains candidate)
                            (fun () -> isInput))
                    (ResultName.candidates source (name "c.txt"))
                |> ValueOption.map (fun struct (place, mayReplace) -> string place, mayReplace)

            Expect.equal (choose (OfFile(name "c.txt")) true) (ValueSome("c.txt", true)) "the file"
            Expect.equal (choose (task 17L) false) (ValueSome("c.17.txt", false)) "the task"
            taken.Clear()
            Expect.equal (choose (task 17L) false) (ValueSome("c.txt", false)) "if it is free"
        }

        test "is nobody's where no result stands under it and no input will have it" {
            let file = OfFile(name "c.txt")

            let holder source recorded isThere isInput =
                ResultName.holder source (name "c.txt") recorded (fun () -> isThere) (fun () ->
                    isInput)

            let ofTask = ValueSome(task 1L)
            Expect.equal (holder (task 2L) ValueNone false false) NameHolder.Nobody "free"
            Expect.equal (holder (task 2L) ValueNone false true) NameHolder.Other "an input's"
            Expect.equal (holder (task 2L) ofTask false true) NameHolder.Other "still an input's"
            Expect.equal (holder file ofTask true true) NameHolder.Other "a task's"
            Expect.equal (holder file ofTask false true) NameHolder.Nobody "what was fetched"
        }

        testProperty "never replaces a result of another source"
        <| Prop.forAll (Arb.fromGen (Gen.listOfLength 60 happening)) (fun happenings ->
            let folder = Folder()
            List.iter folder.Do happenings)

        testProperty "leaves the results of all others as they are"
        <| Prop.forAll (Arb.fromGen (Gen.listOfLength 60 happening)) (fun happenings ->
            let folder = Folder()

            for happening in happenings do
                let before = Dictionary folder.PeerRole
                folder.Do happening

                match happening with
                | Comes(source, _) ->
                    for KeyValue(place, location) in before do
                        let struct (owner, _) = location

                        if owner <> source then
                            Expect.equal folder.PeerRole[place] location "the others stay"
                | Taken _
                | Appears _
                | Disappears _ -> ())
    ]
