/// What `submit` sends, stores and says, whatever its files are and whatever becomes of its scheduler.
module FsScheduler.System.Tests.SubmitTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

let private submitting =
    scenario
        "submit sends files and writes their results, whatever they are called and however large"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "2" ]
            use _ = scheduler
            let awkward = "çé [x] %41 ;$(touch nix).txt"
            File.WriteAllText(place.At awkward, "ÁGUA Fria")
            File.WriteAllBytes(place.At "empty", [||])
            let large = String.replicate 3_000_000 "ÁGUA FRIA\n"
            File.WriteAllText(place.At "large.txt", large)

            let! answer =
                ask place port [ "submit"; awkward; "empty"; "large.txt"; "--out"; "to" ]

            expectCode 0 answer
            Expect.equal (File.ReadAllText(place.At $"to/{awkward}.out")) "água fria" "awkward"
            Expect.equal (FileInfo(place.At "to/empty.out").Length) 0L "empty"

            Expect.isTrue
                (File.ReadAllText(place.At "to/large.txt.out") = large.ToLowerInvariant())
                "large"

            Expect.equal (Directory.GetFiles(place.At "to").Length) 3 "nothing else is left there"

            let! json =
                ask place port [ "submit"; awkward; "--pipeline"; "upper|words"; "--json" ]

            expectCode 0 json
            let object = List.exactlyOne json.Json
            Expect.equal (field "file" object) awkward "file"
            Expect.equal (field "error" object) "" "no error"
            Expect.equal (File.ReadAllText(place.At $"{awkward}.out")) "2\n" "result"
        }

let private piping =
    scenario "submit takes standard input and gives the result to standard output"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler

            use program = startCommand place port [ "submit"; "-" ]

            program.Feed "UMA Linha\nOutra"B
            let! answer = answerOf program
            Expect.equal answer { code = 0; lines = [ "uma linha"; "outra" ]; errors = [] } "result"
        }

let private refusing =
    scenario "submit says what is wrong with one file, and does the others"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, port) =
                startScheduler place [ "--workers"; "1"; "--max-payload"; "1MiB" ]

            use _ = scheduler
            File.WriteAllText(place.At "good", "BOM")
            File.WriteAllBytes(place.At "bad", [| 0xFFuy |])
            File.WriteAllBytes(place.At "huge", Array.zeroCreate 1_100_000)
            let! answer = ask place port [ "submit"; "huge"; "bad"; "good" ]
            expectCode 1 answer
            Expect.equal (File.ReadAllText(place.At "good.out")) "bom" "the good one"
            Expect.isFalse (File.Exists(place.At "bad.out")) "no result"
            Expect.stringContains answer.Text "bad: task 1 failed: invalid UTF-8 at byte 0" "bad"

            Expect.stringContains
                answer.Text
                "huge: refused: it has 1100000 bytes, and the scheduler takes at most 1048576"
                "huge"

            let! pipeline = ask place port [ "submit"; "good"; "--pipeline"; "nix" ]
            expectCode 1 pipeline
            Expect.stringContains pipeline.Text "unknown stage 'nix'" "pipeline"
        }

let private awkward =
    scenario
        "submit sends the bytes of what is no plain file, and says what cannot be sent or stored"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler
            File.WriteAllText(place.At "target", "ALVO DE UMA LIGAÇÃO")
            File.CreateSymbolicLink(place.At "link", place.At "target") |> ignore
            Directory.CreateDirectory(place.At "to/blocked.out") |> ignore
            File.WriteAllText(place.At "blocked", "A")
            Directory.CreateDirectory(place.At "to/large.out") |> ignore
            File.WriteAllText(place.At "large", String('A', 2_000_000))
            let sent = [ "link"; "blocked"; "large"; "target" ]
            let! answer = ask place port ([ "submit" ] @ sent @ [ "--out"; "to"; "--json" ])
            expectCode 1 answer
            Expect.equal (File.ReadAllText(place.At "to/link.out")) "alvo de uma ligação" "link"
            Expect.isTrue (File.Exists(place.At "to/target.out")) "the others are kept"

            for name in [ "blocked"; "large" ] do
                let blocked = answer.Json |> List.find (fun json -> field "file" json = name)
                Expect.stringContains (field "error" blocked) "its result cannot be stored" name

            Expect.equal
                (Directory.GetFileSystemEntries(place.At "to").Length)
                4
                "and nothing else is left there"

            if OperatingSystem.IsLinux() then
                let! proc = ask place port [ "submit"; "/proc/version"; "--out"; "to" ]
                expectCode 0 proc

                Expect.equal
                    (File.ReadAllText(place.At "to/version.out"))
                    ((File.ReadAllText "/proc/version").ToLowerInvariant())
                    "a file that has no length"

                shell place.Path "mkfifo fifo"
                use client = startCommand place port [ "submit"; "fifo" ]

                do! File.WriteAllTextAsync(place.At "fifo", "CANO")
                let! piped = answerOf client
                expectCode 0 piped
                Expect.equal (File.ReadAllText(place.At "fifo.out")) "cano" "a pipe"

                if Environment.UserName <> "root" then
                    File.SetUnixFileMode(place.At "blocked", UnixFileMode.None)
                    let! unreadable = ask place port [ "submit"; "blocked"; "target" ]
                    expectCode 1 unreadable
                    Expect.stringContains unreadable.Text "it cannot be read" "why"

                let line = $"'{schedulerPath}' events --connect 127.0.0.1:{port} > /dev/full"
                use full = inShell place line
                let! answer = answerOf full
                expectCode 3 answer
                Expect.hasLength answer.errors 1 "a sentence"
        }

let private interrupted =
    scenario "submit is interrupted while it waits for its input"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler

            use client = startCommand place port [ "submit"; "-" ]

            let spooled () =
                Directory.EnumerateDirectories(Path.GetTempPath(), "fs-submit-*")
                |> Seq.exists (fun folder ->
                    File.Exists(Path.Combine(folder, "stdin"))
                    && Directory.GetCreationTimeUtc folder > DateTime.UtcNow.AddMinutes -1.0)

            do! eventually "it reads" spooled
            client.Signal Signal.Interrupt
            let! code = client.Exit
            Expect.equal code 130 client.Said
        }

let private hopeless =
    scenario "submit does not repeat what would be wrong again"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler
            File.WriteAllText(place.At "a", "A")
            let! answer = ask place port [ "submit"; "a"; "--pipeline"; String('x', 9_000) ]
            expectCode 3 answer
            Expect.stringContains answer.Text "at most 8000 bytes" "what is wrong"
        }

let private restarted =
    scenario "submit waits for a scheduler that is started again, and gets every result once"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (first, port) = startScheduler place []
            File.WriteAllText(place.At "a", "A")
            File.WriteAllText(place.At "b", "B")

            use client = startCommand place port [ "submit"; "a"; "b" ]

            let accepted () =
                task {
                    let! status = ask place port [ "status"; "--json" ]
                    return field "queued" (List.exactlyOne status.Json) = "2"
                }

            let mutable goOn = true

            while goOn do
                let! isSo = accepted ()
                goOn <- not isSo

            first.Signal Signal.Kill
            let! _ = client.Says "waiting for the scheduler"

            let! struct (second, _) =
                startScheduler place [ "--workers"; "1"; "--listen"; $"127.0.0.1:{port}" ]

            use _ = second
            let! answer = answerOf client
            expectCode 0 answer
            Expect.equal (File.ReadAllText(place.At "a.out")) "a" "a"
            Expect.equal (File.ReadAllText(place.At "b.out")) "b" "b"
            let! status = ask place port [ "events" ]

            Expect.equal
                (status.Json
                 |> List.filter (fun json -> field "event" json = "submitted")
                 |> _.Length)
                2
                "two tasks, not four"
        }

[<Tests>]
let tests =
    testList "commands" [ submitting; piping; refusing; awkward; interrupted; hopeless; restarted ]
