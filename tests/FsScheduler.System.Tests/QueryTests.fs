/// What is asked of tasks: of a running scheduler, of its events, and of the journal alone.
module FsScheduler.System.Tests.QueryTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

/// 1 and 3 are done, 2 is in quarantine.
let private threeTasks (place: Workplace) (port: int) =
    task {
        put place "d/a.txt" "UM"
        File.WriteAllBytes(place.At "d/bad ção.txt", [| 0xFFuy |])
        put place "d/sub/c.txt" "TRÊS"
        put place "d/.hidden/x" "X"
        put place "d/half.tmp" "X"
        let! answer = ask place port [ "submit"; "d"; "--no-wait" ]
        expectCode 0 answer
        Expect.equal answer.lines.Length 3 answer.Text
    }

let private listing =
    scenario "wait, tasks, cat, stages, status and retry --all, in a pipe"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler
            do! threeTasks place port

            let! waited = ask place port [ "wait"; "1"; "2"; "3" ]
            expectCode 1 waited

            Expect.equal
                waited.lines
                [ "task 1: done"; "task 2: quarantined"; "task 3: done" ]
                "wait"

            let! now = ask place port [ "wait"; "1"; "--timeout"; "0ms" ]
            Expect.equal (now.code, now.lines) (0, [ "task 1: done" ]) now.Text

            let! all = ask place port [ "wait"; "--timeout"; "0ms" ]
            expectCode 1 all
            Expect.stringContains all.Text "2 done, 0 cancelled, 1 in quarantine" "wait for all"

            let! tasks = ask place port [ "tasks" ]

            match tasks.Cells with
            | [ [ "2"; "quarantined"; "1"; _; "lower"; "-"; "bad ção.txt"; error ] ] ->
                Expect.stringContains error "invalid UTF-8 at byte 0" "why"
            | _ -> failtest tasks.Text

            let ids (args: string list) =
                task {
                    let! answer = ask place port ("tasks" :: args)
                    expectCode 0 answer
                    return answer.Cells |> List.map List.head
                }

            let! every = ids [ "--all" ]
            Expect.equal every [ "1"; "2"; "3" ] "all"
            let! done' = ids [ "--state"; "done"; "--name"; "c.*" ]
            Expect.equal done' [ "3" ] "done"
            let! limited = ask place port [ "tasks"; "--all"; "--limit"; "1" ]
            Expect.equal (limited.lines.Length, limited.errors.Length) (1, 1) limited.Text
            Expect.stringContains limited.Text "--after 1 lists the next" "how to go on"
            let! rest = ids [ "--all"; "--after"; "1"; "--stage"; "lower" ]
            Expect.equal rest [ "2" ] "at a stage"

            let! cat = ask place port [ "cat"; "1"; "3" ]
            Expect.equal (cat.code, cat.lines) (0, [ "umtrês" ]) cat.Text
            let! none = ask place port [ "cat"; "2"; "9" ]
            expectCode 1 none
            Expect.stringContains none.Text "it is in quarantine: " "why there is none"
            Expect.stringContains none.Text "task 9 is not known" "unknown"
            File.WriteAllText(place.At "resultados/a.txt.out", "other")
            let! other = ask place port [ "cat"; "1" ]
            expectCode 1 other
            Expect.stringContains other.Text "was replaced" "somebody else's"

            let! stages = ask place port [ "stages" ]
            let lower = stages.Cells |> List.find (fun cells -> cells[0] = "lower")
            Expect.equal lower[1] "1" "one worker"
            Expect.isTrue (stages.Cells |> List.forall (fun cells -> cells[4] <> "-")) "a line each"

            let! status = ask place port [ "status" ]

            Expect.contains
                status.Cells
                [
                    "in quarantine"
                    "1"
                    "'fs-scheduler tasks --state quarantined' lists them and says why"
                ]
                "how to list them"

            Expect.isFalse (status.Text.Contains '│') "no boxes"

            let! retried = ask place port [ "retry"; "--all" ]

            Expect.equal
                retried.lines
                [
                    "1 task is tried again: 2 'bad ção.txt', each with the pipeline that it was submitted with; for another: fs-scheduler retry --all --pipeline STAGES"
                ]
                "retry"

            let! _ = ask place port [ "cancel"; "2" ]
            let! nothing = ask place port [ "retry"; "--all" ]
            Expect.equal nothing.lines [ "no task is in quarantine" ] "nothing to do"
        }

let private waiting =
    scenario "wait gives up after --timeout, and says so; tasks lists more than a page"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, port) =
                startScheduler place [ "--lost-after"; "10m"; "--max-attempts"; "99" ]

            use _ = scheduler
            put place "a" "A"
            let! _ = ask place port [ "submit"; "a"; "--no-wait" ]
            let! answer = ask place port [ "wait"; "--timeout"; "200ms" ]
            Expect.equal (answer.code, answer.lines) (1, []) answer.Text
            Expect.stringContains answer.Text "not all tasks had ended" "why"

            // A task that waits for its next attempt has not ended.
            let! worker = Peer.worker port "\"lower\"" 1
            use worker = worker

            for _ in 1..5 do
                let! given = worker.Expect "PROCESS"
                do! Peer.fail worker given "no"

            let! answer = ask place port [ "wait"; "--timeout"; "100ms" ]
            Expect.equal (answer.code, answer.lines) (1, []) answer.Text

            // More than a page of them.
            for number in 1..1_001 do
                place.Put($"{number}.txt", "A")

            let count () =
                (ask place port [ "tasks"; "--limit"; "0" ]).GetAwaiter().GetResult().lines.Length

            do! eventually "all are listed" (fun () -> count () = 1_002)
        }

let private answerTooLarge =
    scenario "an answer that finds no room here is an error, and says where to make some"
    <| fun () ->
        task {
            if OperatingSystem.IsWindows() then
                skiptest "TMPDIR is Unix's"

            use place = new Workplace()
            use fake = new FakeScheduler()

            use tasks =
                withVariables [ "TMPDIR=none" ] place.Path schedulerPath [
                    "tasks"
                    "--connect"
                    fake.Address
                ]

            let! peer = fake.WelcomeAsync FakeScheduler.Welcome
            let! _ = peer.Expect "LIST"

            do!
                peer.Send(
                    """{"type":"LIST","after":1,"more":false,"bytes":2000000}""",
                    Array.create 2_000_000 (byte '\n')
                )

            let! answer = answerOf tasks
            Expect.equal (answer.code, answer.lines) (3, []) answer.Text
            Expect.stringContains answer.Text "the answer cannot be stored in 'none/': " "where"
            Expect.stringContains answer.Text "TMPDIR names another folder" "what to do"
        }

let private asking =
    scenario
        "status, explain and events tell where a task is and why; cancel, retry and drain change it"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, port) =
                startScheduler place [ "--expect"; "ocr"; "--lost-after"; "10m" ]

            use _ = scheduler
            let! worker = Peer.worker port "\"lower\"" 1
            use worker = worker
            File.WriteAllText(place.At "a", "A")

            let submit args =
                ask place port ([ "submit"; "a"; "--no-wait"; "--json" ] @ args)

            let! first = submit []
            Expect.equal (field "task" (List.exactlyOne first.Json)) "1" "task"
            let! given = worker.Expect "PROCESS"
            let! _ = submit [ "--pipeline"; "ocr" ]
            let! _ = submit []
            let! _ = submit []
            let! status = ask place port [ "status"; "--json" ]
            let status = List.exactlyOne status.Json

            Expect.equal
                (field "queued" status, field "running" status, field "busy" status)
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
                worker.Send
                    $"""{{"type":"RESULT","task":1,"attempt":{given.Number "attempt"},"ok":false,"error":"no\u001bink","retry":false}}"""

            let! _ = worker.Expect "PROCESS"
            do! explained 1 "It went into quarantine"
            do! explained 1 "after attempt 1: no?ink."
            let! json = ask place port [ "explain"; "1"; "--json" ]
            let json = List.exactlyOne json.Json
            Expect.equal (field "state" json) "quarantined" "state"

            let kinds =
                json.GetProperty("events").EnumerateArray()
                |> Seq.map (field "event")
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

            Expect.equal
                (events.Json |> List.map (field "event"))
                [ "submitted"; "cancelled" ]
                "two"

            let! none = ask place port [ "events"; "--task"; "99" ]
            expectCode 1 none
            Expect.stringContains none.Text "task 99 is not known" "which"
            let! all = ask place port [ "events" ]
            Expect.isGreaterThan all.lines.Length 8 "those of all tasks"
            let numbers = all.Json |> List.map (field "number" >> int64)
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
            let cancelled = DateTimeOffset.Parse(field "time" (List.last events.Json))
            let! running = run place [ "replay" ]
            expectCode 0 running
            Expect.stringContains running.Text "1 queued, 0 running" "beside a running scheduler"
            scheduler.Signal Signal.Term
            let! _ = scheduler.Exit

            let before =
                cancelled.AddMilliseconds(-1.0).UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ss.fffZ"

            let! now = run place [ "replay"; "--json" ]
            let now = List.exactlyOne now.Json
            Expect.equal (field "queued" now, field "cancelled" now) ("1", "1") $"{now}"
            let! then' = run place [ "replay"; "--json"; "--at"; before ]
            let then' = List.exactlyOne then'.Json
            Expect.equal (field "queued" then', field "cancelled" then') ("2", "0") $"{then'}"
            let! first = run place [ "replay"; "--task"; "1" ]
            Expect.stringContains first.Text "It was cancelled at" "now"
            let! first = run place [ "replay"; "--task"; "1"; "--at"; before ]
            Expect.stringContains first.Text "No worker is connected that runs 'ocr'" "then"
            let! unknown = run place [ "replay"; "--task"; "9" ]
            expectCode 1 unknown
        }

[<Tests>]
let tests =
    testList "commands" [ listing; waiting; answerTooLarge; asking; following; replaying ]
