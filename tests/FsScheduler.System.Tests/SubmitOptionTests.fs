/// Options of `submit`: names of results, the job log, the estimate, and when it stops early.
module FsScheduler.System.Tests.SubmitOptionTests

open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands

let private naming =
    scenario "submit names results, writes a job log, and tells how long it may take"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler
            put place "d/a.txt" "UM"
            put place "d/sub/b.txt" "DOIS"
            File.WriteAllBytes(place.At "d/z.txt", [| 0xFFuy |])

            let! answer =
                ask place port [
                    "submit"
                    "d"
                    "--out"
                    "to"
                    "--name-as"
                    "{//}/{n}-{/.}.res"
                    "--joblog"
                    "log"
                    "--eta"
                ]

            expectCode 1 answer

            Expect.equal
                (List.sort answer.lines)
                [
                    "d/a.txt: done by task 1, to/d/1-a.res"
                    "d/sub/b.txt: done by task 2, to/d/sub/2-b.res"
                ]
                "results on stdout"

            Expect.stringContains answer.Text "d/z.txt: task 3 failed: " "failures"
            Expect.exists answer.errors (fun line -> line.StartsWith "ETA: 0s Left: 0 AVG: ") "eta"
            Expect.equal (File.ReadAllText(place.At "to/d/sub/2-b.res")) "dois" "result"

            let log =
                File.ReadAllLines(place.At "log") |> List.ofArray |> List.map _.Split('\t')

            Expect.equal
                (List.head log)
                [|
                    "Seq"
                    "Host"
                    "Starttime"
                    "JobRuntime"
                    "Send"
                    "Receive"
                    "Exitval"
                    "Signal"
                    "Command"
                |]
                "header"

            Expect.equal
                (log |> List.tail |> List.sort |> List.map (fun cells -> cells[4..]))
                [
                    [| "2"; "2"; "0"; "0"; "d/a.txt" |]
                    [| "4"; "4"; "0"; "0"; "d/sub/b.txt" |]
                    [| "1"; "0"; "1"; "0"; "d/z.txt" |]
                ]
                "lines"

            let! quiet =
                ask place port [
                    "submit"
                    "d/a.txt"
                    "-q"
                    "--name-as"
                    "x/{/}"
                    "--joblog"
                    "+log"
                ]

            Expect.equal (quiet.code, quiet.Text) (0, "") "quiet"
            Expect.equal (File.ReadAllText(place.At "x/a.txt")) "um" "named"
            Expect.equal (File.ReadAllLines(place.At "log").Length) 5 "added"

            let script = $"exec '{schedulerPath}' submit - --connect 127.0.0.1:{port} <&-"
            use closed = inShell place script
            let! closed = answerOf closed
            expectCode 1 closed
            Expect.stringContains closed.Text "standard input is closed" "and not waited for"

            put place "e/\u001b[2J" "X"
            let! unnamed = ask place port [ "submit"; "e" ]
            expectCode 1 unnamed
            Expect.stringStarts unnamed.Text "e/?[2J: refused: " "no escape"

            for args, why in
                [
                    [ "d/a.txt"; "--joblog"; "d/../d/a.txt" ], "is one of the files"
                    [ "d/a.txt"; "--out"; "x/a.txt" ], "'x/a.txt' is a file; name a folder"
                    [ "d/a.txt"; "--name-as"; "../{/}" ], "could lead out of its folder"
                    [ "d"; "--name-as"; "same" ], "would have the name same"
                    [ "d/a.txt"; "--name-as"; "{x}" ], "'{x}' is not a replacement string"
                ] do
                let! answer = ask place port ("submit" :: args)
                expectCode 2 answer
                Expect.stringContains answer.Text why why
        }

let private halting =
    scenario "submit --halt stops early: soon lets what is on its way end, now cancels it"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--lost-after"; "10m" ]
            use _ = scheduler
            let! worker = Peer.worker port "\"lower\"" 2
            use worker = worker

            for name in [ "a"; "b"; "c"; "d"; "e"; "f" ] do
                put place name name

            let submit halt =
                startCommand place port [
                    "submit"
                    "a"
                    "b"
                    "c"
                    "d"
                    "e"
                    "f"
                    "--halt"
                    halt
                    "--joblog"
                    "log"
                ]

            let answer (given: Received) ok =
                worker.Send
                    $"""{{"type":"RESULT","task":{given.Number "task"},"attempt":{given.Number "attempt"},"ok":{ok},"error":"no","retry":false}}"""

            use soon = submit "soon,fail=1"
            let! first = worker.Expect "PROCESS"
            let! second = worker.Expect "PROCESS"
            do! answer first "false"
            let! _ = soon.Says "4 files are not sent, 1 on their way are waited for"
            do! answer second "true"
            let! soon = answerOf soon
            expectCode 1 soon
            Expect.equal soon.lines.Length 1 "the other one is done"
            Expect.equal (File.ReadAllLines(place.At "log").Length) 3 "no others"

            use now = submit "now,fail=1"
            let! third = worker.Expect "PROCESS"
            let! fourth = worker.Expect "PROCESS"
            do! answer third "false"
            let! _ = now.Says "4 files are not sent, 1 on their way are cancelled"
            let! cancel = worker.Expect "CANCEL"
            Expect.equal (cancel.Number "task") (fourth.Number "task") "the other one"
            let! now = answerOf now
            Expect.equal (now.code, now.lines) (1, []) now.Text

            Expect.equal
                [
                    for line in File.ReadAllLines(place.At "log") |> Array.skip 1 ->
                        line.Split('\t')[6..7]
                ]
                [ [| "1"; "0" |]; [| "1"; "15" |] ]
                "failed, and cancelled"
        }

[<Tests>]
let tests = testList "commands" [ naming; halting ]
