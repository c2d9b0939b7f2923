/// Results of different sources that would have one name: none is lost without a word.
module FsScheduler.System.Tests.ResultAwkwardTests

open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

/// A client that submits a file, or its input, and ends.
let private submit (place: Workplace) port (args: string list) (input: string) =
    task {
        use client = startCommand place port ("submit" :: args)

        client.Feed(System.Text.Encoding.UTF8.GetBytes input)
        let! code = client.Exit
        Expect.equal code 0 client.Said
    }

/// Until so many tasks are in the queue.
let private queued (place: Workplace) port (count: int) =
    task {
        let started = System.Diagnostics.Stopwatch.StartNew()
        let mutable goOn = true

        while goOn do
            use status = startCommand place port [ "status"; "--json" ]

            let! _ = status.Exit
            goOn <- not (status.Said.Contains $"\"queued\":{count},")

            if goOn && started.Elapsed > patience then
                failtest status.Said
    }

let private hasAll (place: Workplace) (expected: string list) =
    eventually $"""results are {String.concat ", " expected}""" (fun () ->
        place.Results = List.sort expected)

[<Tests>]
let tests =
    testList "awkward results" [
        scenario "of two submissions of one name are both there"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
                use scheduler = scheduler
                put place "a/c.txt" "FIRST"
                put place "b/c.txt" "SECOND"
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

        scenario "of files of one name are all in --out, and only the same file's are replaced"
        <| fun () ->
            task {
                use place = new Workplace()

                let! struct (scheduler, port) =
                    startScheduler place [ "--pipeline"; "lower"; "--expect"; "slow" ]

                use _ = scheduler
                use _ = startWorker place port []
                put place "a/c.txt" "FIRST"
                put place "b/c.txt" "SECOND"
                let out = [ "--out"; "feitas" ]

                let read file =
                    File.ReadAllText(place.At $"feitas/{file}")

                // The first waits for a stage that nobody runs yet, and comes after the others.
                use first =
                    startCommand
                        place
                        port
                        ([ "submit"; "a/c.txt" ] @ out @ [ "--pipeline"; "slow" ])

                do! queued place port 1
                do! submit place port ([ "a/c.txt" ] @ out) ""
                do! submit place port ([ "b/c.txt" ] @ out) ""
                Expect.equal (read "c.txt.out", read "c.1.txt.out") ("first", "second") "both"
                put place "a/c.txt" "FIRST AGAIN"
                put place "b/c.txt" "SECOND AGAIN"
                do! submit place port ([ "b/c.txt" ] @ out) ""
                do! submit place port ([ "a/c.txt" ] @ out) ""

                Expect.equal
                    (read "c.txt.out", read "c.1.txt.out")
                    ("first again", "second again")
                    "each replaces its own"

                put place "feitas/c.1.txt.out" "SOMEBODY'S"
                do! submit place port ([ "b/c.txt" ] @ out) ""

                Expect.equal
                    (read "c.1.txt.out", read "c.2.txt.out")
                    ("SOMEBODY'S", "second again")
                    "what was changed since stays"

                use worker = new Peer(port)

                do!
                    worker.Write(
                        """{"type":"HELLO","protocol":1,"role":"worker","name":"s","stages":["slow"]}"""
                        + "\n"
                    )

                let! _ = worker.Expect "WELCOME"
                do! worker.Write "{\"type\":\"READY\",\"slots\":1}\n"
                let! work = worker.Expect "PROCESS"

                do!
                    worker.Write
                        $"""{{"type":"RESULT","task":1,"attempt":{work.Number "attempt"},"ok":true,"bytes":3}}
OLD"""

                let! code = first.Exit
                Expect.equal code 0 first.Said
                Expect.equal (read "c.txt.out") "first again" "the newer one stays"
                Expect.equal (read "c.3.txt.out") "OLD" "the older one is told apart"
            }

        scenario "of a submission and of an input of one name are both there, also after a restart"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]

                do!
                    task {
                        use scheduler = scheduler
                        put place "a/c.txt" "SUBMITTED"
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
                use scheduler = scheduler
                place.Rename("c.txt", "NEWER INPUT")

                do!
                    eventually "the newer version" (fun () ->
                        place.Result "c.1.txt.out" = "newer input")

                do! submit place port [ "a/c.txt"; "--no-wait" ] ""
                do! eventually "a third" (fun () -> place.Results.Length = 3)
                Expect.equal (place.Result "c.txt.out") "submitted" "the first one's"
                Expect.isFalse (scheduler.Said.Contains "is damaged") "found under its name"
            }

        scenario "an error is its task's: no other one's success removes it"
        <| fun () ->
            task {
                use place = new Workplace()
                let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
                use scheduler = scheduler
                place.Put("e.txt", [| 0xFFuy; 0xFEuy; 0x41uy |])
                do! hasAll place [ "e.txt.err" ]
                put place "a/e.txt" "GOOD"
                do! submit place port [ "a/e.txt"; "--no-wait" ] ""
                do! hasAll place [ "e.txt.err"; "e.2.txt.out" ]
                Expect.equal (place.Result "e.2.txt.out") "good" "the other one"
                place.Rename("e.txt", "PUT RIGHT")
                do! hasAll place [ "e.txt.out"; "e.2.txt.out" ]
                Expect.equal (place.Result "e.txt.out") "put right" "its own success removes it"
            }

        scenario "of an earlier run are counted apart, and made again by --again"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", "Ab")
                place.Put("b.txt", "Cd")

                let once args =
                    task {
                        use scheduler =
                            fsScheduler
                                place.Path
                                ([ "--once"; "--workers"; "1"; "--listen"; "127.0.0.1:0" ] @ args)

                        let! code = scheduler.Exit
                        return code, scheduler.Said
                    }

                let expectCode wanted (code, said: string) (parts: string list) =
                    Expect.equal code wanted said

                    for part in parts do
                        Expect.stringContains said part "said"

                let! first = once []
                expectCode 0 first [ "2 done, 0 in quarantine, 0 refused" ]
                let! second = once []
                expectCode 0 second [ "0 done now, 2 done before with 'lower', 0 in quarantine" ]
                place.Put("b.txt", "Ef")
                place.Put("c.txt", [| 0xE9uy; 0x41uy |])
                let! changed = once []
                let expect = expectCode 1
                expect changed [ "1 done now, 1 done before with 'lower', 1 in quarantine" ]
                let! third = once [ "--pipeline"; "upper" ]

                expect third [
                    "0 done now, 2 done before with 'lower'"
                    "2 files were done before with another pipeline"
                    "--again"
                ]

                Directory.Delete(place.At "resultados", true)
                let! fourth = once []
                expect fourth [ "the results of 2 files"; "--again"; "0 done now, 2 done before" ]
                let! fifth = once [ "--pipeline"; "upper"; "--again" ]
                expect fifth [ "2 done, 1 in quarantine" ]
                Expect.equal (place.Result "a.txt.out") "AB" "all again, with the other pipeline"
            }

        scenario "that failed are tried again with another pipeline, and it is said with which"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("a.txt", [| 0xE9uy; 0x41uy |])
                place.Put("b.txt", [| 0xE9uy; 0x42uy |])

                let! struct (scheduler, port) =
                    startScheduler place [ "--workers"; "1"; "--max-attempts"; "1" ]

                use scheduler = scheduler
                do! hasAll place [ "a.txt.err"; "b.txt.err" ]

                let retry args =
                    task {
                        let! retried = ask place port ("retry" :: args)
                        expectCode 0 retried
                        return retried.Text
                    }

                let! plain = retry [ "1" ]
                Expect.stringContains plain "tried again with 'lower', as it was submitted" "which"
                Expect.stringContains plain "retry 1 --pipeline STAGES" "the way"

                do!
                    eventually "again in quarantine" (fun () ->
                        scheduler.Errors.Count(fun line -> line.Contains "a.txt is in quarantine") =
                            2)

                let! one = retry [ "1"; "--pipeline"; "latin1 | lower" ]
                Expect.stringContains one "with 'latin1 | lower', as a new task" "said"
                do! eventually "it is done" (fun () -> place.HasResult "a.txt.out")
                let! other = retry [ "--all"; "--pipeline"; "latin1 | lower" ]
                Expect.stringContains other "with 'latin1 | lower'" "said"
                do! eventually "both are done" (fun () -> place.HasResult "b.txt.out")
                Expect.equal (place.Result "b.txt.out") "éb" "by the other pipeline"
                do! hasAll place [ "a.txt.out"; "b.txt.out" ]

                // Of a client's task and a file's, only the latter gets another pipeline.
                File.WriteAllBytes(place.At "mine.txt", [| 0xE9uy |])
                do! submit place port [ "mine.txt"; "--no-wait" ] ""
                place.Put("c.txt", [| 0xE9uy; 0x43uy |])
                do! hasAll place [ "a.txt.out"; "b.txt.out"; "c.txt.err"; "mine.txt.err" ]

                use client =
                    startCommand place port [ "retry"; "--all"; "--pipeline"; "latin1 | lower" ]

                let! code = client.Exit
                Expect.equal code 1 client.Said
                Expect.stringContains client.Said "1 of 2 tasks are tried again" "how many"
                Expect.stringContains client.Said "was submitted by a client" "why"
                do! eventually "the file is done" (fun () -> place.HasResult "c.txt.out")
            }
    ]
