/// What a person says to a running scheduler, and to its journal, as a command line.
module FsScheduler.System.Tests.VerbTests

open System
open System.IO
open System.Text
open System.Text.Json
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

/// A verb that has ended.
type private Answer = {
    code: int
    lines: string list
    errors: string list
} with

    /// Its lines, each a JSON object.
    member answer.Json =
        answer.lines
        |> List.map (fun line ->
            use document = JsonDocument.Parse line
            document.RootElement.Clone())

    member answer.Text = String.concat "\n" (answer.lines @ answer.errors)

let private answerOf (program: Program) =
    task {
        let! code = program.Exit

        return { code = code; lines = program.Output.All; errors = program.Errors.All }
    }

let private run (place: Workplace) (args: string list) =
    task {
        use program = fsScheduler place.Path args
        return! answerOf program
    }

/// A verb that asks the scheduler on this port.
let private ask (place: Workplace) (port: int) (args: string list) =
    run place (args @ [ "--connect"; $"127.0.0.1:{port}" ])

let private expectCode code (answer: Answer) =
    Expect.equal answer.code code answer.Text

let private text (name: string) (json: JsonElement) = json.GetProperty(name).ToString()

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
            Expect.equal (text "file" object) awkward "file"
            Expect.equal (text "error" object) "" "no error"
            Expect.equal (File.ReadAllText(place.At $"{awkward}.out")) "2\n" "result"
        }

let private piping =
    scenario "submit takes standard input and gives the result to standard output"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler

            use program =
                fsScheduler place.Path [ "submit"; "-"; "--connect"; $"127.0.0.1:{port}" ]

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
                let blocked = answer.Json |> List.find (fun json -> text "file" json = name)
                Expect.stringContains (text "error" blocked) "its result cannot be stored" name

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

                use fifo = Diagnostics.Process.Start("mkfifo", [ place.At "fifo" ])
                fifo.WaitForExit()

                use client =
                    fsScheduler place.Path [ "submit"; "fifo"; "--connect"; $"127.0.0.1:{port}" ]

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
                use full = new Program("/bin/sh", [ "-c"; line ], place.Path)
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

            use client =
                fsScheduler place.Path [ "submit"; "-"; "--connect"; $"127.0.0.1:{port}" ]

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

let private wrong =
    scenario "what is wrong with a command line is said, with exit code 2; 3, when nobody is there"
    <| fun () ->
        task {
            use place = new Workplace()
            File.WriteAllText(place.At "one", "")
            Directory.CreateDirectory(place.At "d") |> ignore
            File.WriteAllText(place.At "d/one", "")

            for args, why in
                [
                    [ "submit" ], "name at least one file"
                    [ "submit"; "nix" ], "there is no file 'nix'"
                    [ "submit"; "one"; "d/one" ], "would have the name one.out"
                    [ "submit"; "one"; "--priority"; "5000000" ], "is not from -1000000 to 1000000"
                    [ "submit"; "one"; "--priority"; "-2147483648" ],
                    "is not from -1000000 to 1000000"
                    [ "submit"; "-"; "-" ], "standard input can be read once"
                    [ "submit"; "-"; "--json" ], "--json"
                    [ "retry"; "--all"; "5" ], "--all"
                    [ "cancel"; "--all" ], "--all"
                    [ "explain"; "9007199254740993" ], "is not the number of a task"
                    [ "events"; "--after"; "-5" ], "--after"
                    [ "submit"; "one"; "--connect"; "nowhere" ], "HOST:PORT"
                    [ "explain" ], "name at least one task"
                    [ "explain"; "x" ], "'x' is not the number of a task"
                    [ "cancel"; "0" ], "'0' is not the number of a task"
                    [ "retry" ], "name at least one task"
                    [ "drain" ], "name at least one worker"
                    [ "events"; "--task"; "x" ], "--task"
                    [ "status"; "--nix" ], "--nix"
                    [ "replay"; "--at"; "never" ], "'never' is not a time"
                    [ "status"; "--token-file"; "nix" ], "cannot read 'nix'"
                ] do
                let! answer = run place args
                Expect.equal (answer.code, answer.lines) (2, []) answer.Text
                Expect.stringContains answer.Text why (String.concat " " args)

            for args, why in
                [
                    [ "submit"; "one"; "--connect"; "127.0.0.1:1" ], "no scheduler at 127.0.0.1:1"
                    [ "status"; "--connect"; "127.0.0.1:1" ], "no scheduler at 127.0.0.1:1"
                    [ "replay" ], "there is no journal"
                    [ "check" ], "there is no journal"
                ] do
                let! answer = run place args
                Expect.equal (answer.code, answer.lines) (3, []) answer.Text
                Expect.stringContains answer.Text why (String.concat " " args)
        }

let private asking =
    scenario
        "status, explain and events tell where a task is and why; cancel, retry and drain change it"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, port) =
                startScheduler place [ "--expect"; "ocr"; "--lost-after"; "1m" ]

            use _ = scheduler
            let! worker = Peer.worker port "\"lower\"" 1
            use worker = worker
            File.WriteAllText(place.At "a", "A")

            let submit args =
                ask place port ([ "submit"; "a"; "--no-wait"; "--json" ] @ args)

            let! first = submit []
            Expect.equal (text "task" (List.exactlyOne first.Json)) "1" "task"
            let! given = worker.Expect "PROCESS"
            let! _ = submit [ "--pipeline"; "ocr" ]
            let! _ = submit []
            let! _ = submit []
            let! status = ask place port [ "status"; "--json" ]
            let status = List.exactlyOne status.Json

            Expect.equal
                (text "queued" status, text "running" status, text "busy" status)
                ("3", "1", "1")
                $"{status}"

            let! tables = ask place port [ "status" ]
            Expect.stringContains tables.Text "in quarantine" "a table"

            let explained (id: int) (sentence: string) =
                task {
                    let! answer = ask place port [ "explain"; string id ]
                    expectCode 0 answer
                    Expect.stringContains answer.Text sentence $"task {id}"
                }

            do! explained 1 "peer has been at it for"
            do! explained 2 "No worker is connected that runs 'ocr'"
            do! explained 3 "It is the next one for 'lower'"
            do! explained 4 "1 task is before it."

            do!
                worker.Write
                    $"""{{"type":"RESULT","task":1,"attempt":{given.Number "attempt"},"ok":false,"error":"no\u001bink","retry":false}}"""

            do! worker.Write "\n"
            let! _ = worker.Expect "PROCESS"
            do! explained 1 "It went into quarantine"
            do! explained 1 "after attempt 1: no?ink."
            let! json = ask place port [ "explain"; "1"; "--json" ]
            let json = List.exactlyOne json.Json
            Expect.equal (text "state" json) "quarantined" "state"

            let kinds =
                json.GetProperty("events").EnumerateArray()
                |> Seq.map (text "event")
                |> List.ofSeq

            Expect.equal kinds [ "submitted"; "assigned"; "quarantined" ] "events"
            let! retried = ask place port [ "retry"; "--all" ]
            expectCode 0 retried
            do! explained 1 "Somebody had it tried again"
            let! cancelled = ask place port [ "cancel"; "1"; "2"; "77" ]
            expectCode 1 cancelled
            Expect.stringContains cancelled.Text "77" "which one"
            do! explained 2 "It was cancelled at"
            let! drained = ask place port [ "drain"; "peer" ]
            expectCode 0 drained
            let! _ = worker.Expect "DRAIN"
            let! unknown = ask place port [ "drain"; "nix" ]
            expectCode 1 unknown
            let! unknown = ask place port [ "explain"; "99" ]
            expectCode 1 unknown
            let! events = ask place port [ "events"; "--task"; "2" ]
            expectCode 0 events
            Expect.equal (events.Json |> List.map (text "event")) [ "submitted"; "cancelled" ] "two"
            let! none = ask place port [ "events"; "--task"; "99" ]
            expectCode 1 none
            Expect.stringContains none.Text "task 99 is not known" "which"
            let! all = ask place port [ "events" ]
            Expect.isGreaterThan all.lines.Length 8 "those of all tasks"
            let numbers = all.Json |> List.map (text "number" >> int64)
            Expect.equal numbers (List.sort numbers) "in order"
            let! rest = ask place port [ "events"; "--after"; string (List.last numbers - 1L) ]
            Expect.equal rest.lines.Length 1 "the last one"
        }

let private following =
    scenario "events --follow and watch go on until they are interrupted"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler
            let connect = [ "--connect"; $"127.0.0.1:{port}" ]
            use events = fsScheduler place.Path ([ "events"; "--follow" ] @ connect)
            use watch = fsScheduler place.Path ([ "watch" ] @ connect)
            let! _ = watch.Output.First(fun line -> line.Contains "0 done") |> awaited "watch"
            File.WriteAllText(place.At "a", "A")
            let! answer = ask place port [ "submit"; "a" ]
            expectCode 0 answer

            let! _ =
                events.Output.First(fun line -> line.Contains "\"completed\"")
                |> awaited "event"

            let! _ = watch.Output.First(fun line -> line.Contains "1 done") |> awaited "watch"
            events.Signal Signal.Interrupt
            watch.Signal Signal.Interrupt
            let! code = events.Exit
            Expect.equal code 130 "events"
            let! code = watch.Exit
            Expect.equal code 130 "watch"
        }

let private restarted =
    scenario "submit waits for a scheduler that is started again, and gets every result once"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (first, port) = startScheduler place []
            File.WriteAllText(place.At "a", "A")
            File.WriteAllText(place.At "b", "B")

            use client =
                fsScheduler place.Path [ "submit"; "a"; "b"; "--connect"; $"127.0.0.1:{port}" ]

            let accepted () =
                task {
                    let! status = ask place port [ "status"; "--json" ]
                    return text "queued" (List.exactlyOne status.Json) = "2"
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
                 |> List.filter (fun json -> text "event" json = "submitted")
                 |> _.Length)
                2
                "two tasks, not four"
        }

let private replaying =
    scenario "replay says from the journal alone what was known at a moment"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--expect"; "ocr" ]
            File.WriteAllText(place.At "a", "A")
            let! _ = ask place port [ "submit"; "a"; "--no-wait"; "--pipeline"; "ocr" ]
            let! _ = ask place port [ "submit"; "a"; "--no-wait"; "--pipeline"; "ocr" ]
            let! _ = ask place port [ "cancel"; "1" ]
            let! events = ask place port [ "events"; "--task"; "1" ]
            let cancelled = DateTimeOffset.Parse(text "time" (List.last events.Json))
            let! running = run place [ "replay" ]
            expectCode 0 running
            Expect.stringContains running.Text "1 queued, 0 running" "beside a running scheduler"
            scheduler.Signal Signal.Term
            let! _ = scheduler.Exit

            let before =
                cancelled.AddMilliseconds(-1.0).UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ss.fffZ"

            let! now = run place [ "replay"; "--json" ]
            let now = List.exactlyOne now.Json
            Expect.equal (text "queued" now, text "cancelled" now) ("1", "1") $"{now}"
            let! then' = run place [ "replay"; "--json"; "--at"; before ]
            let then' = List.exactlyOne then'.Json
            Expect.equal (text "queued" then', text "cancelled" then') ("2", "0") $"{then'}"
            let! first = run place [ "replay"; "--task"; "1" ]
            Expect.stringContains first.Text "It was cancelled at" "now"
            let! first = run place [ "replay"; "--task"; "1"; "--at"; before ]
            Expect.stringContains first.Text "No worker is connected that runs 'ocr'" "then"
            let! unknown = run place [ "replay"; "--task"; "9" ]
            expectCode 1 unknown
        }

let private secret =
    scenario "a verb needs a client's token where tokens are asked for"
    <| fun () ->
        task {
            use place = new Workplace()

            File.WriteAllText(
                place.At "tokens",
                "worker w-secret-0123456789\nclient c-secret-0123456789\n"
            )

            File.WriteAllText(place.At "worker", "worker w-secret-0123456789\n")
            let! struct (scheduler, port) = startScheduler place [ "--token-file"; "tokens" ]
            use _ = scheduler
            let! without = ask place port [ "status" ]
            expectCode 3 without
            Expect.stringContains without.Text "--token-file" "what to do"
            let! right = ask place port [ "status"; "--token-file"; "tokens"; "--json" ]
            expectCode 0 right
            let! other = ask place port [ "status"; "--token-file"; "worker" ]
            expectCode 2 other
            File.WriteAllText(place.At "old", "client c-secret-of-yesterday\n")
            let! old = ask place port [ "status"; "--token-file"; "old" ]
            expectCode 3 old
            Expect.stringContains old.Text "does not know this client's token" "why"
        }

let private help =
    scenario "every verb has help"
    <| fun () ->
        task {
            use place = new Workplace()
            let! all = run place [ "--help" ]
            expectCode 0 all

            for verb in
                [
                    "submit"
                    "status"
                    "watch"
                    "events"
                    "cancel"
                    "retry"
                    "drain"
                    "explain"
                    "replay"
                    "check"
                ] do
                Expect.stringContains all.Text verb "named in the help"
                let! one = run place [ verb; "--help" ]
                expectCode 0 one
                Expect.stringContains one.Text $"fs-scheduler {verb}" "its own"
                Expect.stringContains one.Text "--json" "for programs"
        }

[<Tests>]
let tests =
    testList "verbs" [
        submitting
        piping
        refusing
        awkward
        interrupted
        hopeless
        wrong
        asking
        following
        restarted
        replaying
        secret
        help
    ]
