/// Results of different sources that would have one name: none is lost without a word.
module FsScheduler.System.Tests.ResultAwkwardTests

open System.IO
open Expecto
open FsScheduler.System.Tests.Farm

/// A client that submits a file, or its input, and ends.
let private submit (place: Workplace) port (args: string list) (input: string) =
    task {
        use client =
            fsScheduler place.Path ([ "submit"; "--connect"; $"127.0.0.1:{port}" ] @ args)

        client.Feed(System.Text.Encoding.UTF8.GetBytes input)
        let! code = client.Exit
        Expect.equal code 0 client.Said
    }

let private write (place: Workplace) (file: string) (text: string) =
    Directory.CreateDirectory(nonNull (Path.GetDirectoryName(place.At file)))
    |> ignore

    File.WriteAllText(place.At file, text)

let private hasAll (place: Workplace) (expected: string list) =
    eventually $"""results are {String.concat ", " expected}""" (fun () ->
        place.Results = List.sort expected)

let tests =
    testList "awkward results" [
        scenario "of two submissions of one name are both there"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
                use scheduler = scheduler
                write place "a/c.txt" "FIRST"
                write place "b/c.txt" "SECOND"
                do! submit place port [ "a/c.txt"; "--no-wait" ] ""
                do! hasAll place [ "c.txt.out" ]
                do! submit place port [ "b/c.txt"; "--no-wait" ] ""
                do! hasAll place [ "c.txt.out"; "c.2.txt.out" ]
                Expect.equal (place.Result "c.txt.out") "first" "the first"
                Expect.equal (place.Result "c.2.txt.out") "second" "the second, by its task"
                let! said = scheduler.Says "c.2.txt.out"
                Expect.stringContains said "another source" "not without a word"
                do! submit place port [ "-"; "--no-wait" ] "THIRD"
                do! submit place port [ "-"; "--no-wait" ] "FOURTH"
                do! hasAll place [ "c.txt.out"; "c.2.txt.out"; "stdin.out"; "stdin.4.out" ]
                Expect.equal (place.Result "stdin.out") "third" "standard input"
                Expect.equal (place.Result "stdin.4.out") "fourth" "and another"
            }

        scenario "of a submission and of an input of one name are both there, also after a restart"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]

                do!
                    task {
                        use scheduler = scheduler
                        write place "a/c.txt" "SUBMITTED"
                        do! submit place port [ "a/c.txt"; "--no-wait" ] ""
                        do! hasAll place [ "c.txt.out" ]
                        place.Rename("c.txt", "INPUT")
                        do! hasAll place [ "c.txt.out"; "c.1.txt.out" ]
                        Expect.equal (place.Result "c.1.txt.out") "input" "the input's"
                        scheduler.Signal Signal.Kill
                        let! _ = scheduler.Exit
                        ()
                    }

                let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
                use _ = scheduler
                place.Rename("c.txt", "NEWER INPUT")

                do!
                    eventually "the newer version" (fun () ->
                        place.Result "c.1.txt.out" = "newer input")

                do! submit place port [ "a/c.txt"; "--no-wait" ] ""
                do! eventually "a third" (fun () -> place.Results.Length = 3)
                Expect.equal (place.Result "c.txt.out") "submitted" "the first one's"
            }

        scenario "an error is its task's: no other one's success removes it"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
                use scheduler = scheduler
                place.Put("e.txt", [| 0xFFuy; 0xFEuy; 0x41uy |])
                do! hasAll place [ "e.txt.err" ]
                write place "a/e.txt" "GOOD"
                do! submit place port [ "a/e.txt"; "--no-wait" ] ""
                do! hasAll place [ "e.txt.err"; "e.2.txt.out" ]
                Expect.equal (place.Result "e.2.txt.out") "good" "the other one"
                place.Rename("e.txt", "PUT RIGHT")
                do! hasAll place [ "e.txt.out"; "e.2.txt.out" ]
                Expect.equal (place.Result "e.txt.out") "put right" "its own success removes it"
            }
    ]
