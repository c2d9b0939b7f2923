/// What people expect of a command line who know others: help, hints, lists, columns, and the ways of GNU parallel.
module FsScheduler.System.Tests.CommandTests

open System
open System.IO
open System.Net.Sockets
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

/// A command that has ended.
type private Answer = {
    code: int
    lines: string list
    errors: string list
} with

    member answer.Text = String.concat "\n" (answer.lines @ answer.errors)

    member answer.Cells =
        answer.lines |> List.map (fun line -> List.ofArray (line.Split '\t'))

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

/// With variables of the environment, as `NAME=VALUE`.
let private runWith (place: Workplace) (variables: string list) (args: string list) =
    task {
        use program =
            new Program("/usr/bin/env", variables @ [ schedulerPath ] @ args, place.Path)

        return! answerOf program
    }

let private ask (place: Workplace) (port: int) (args: string list) =
    run place (args @ [ "--connect"; $"127.0.0.1:{port}" ])

let private put (place: Workplace) (name: string) (text: string) =
    let path = place.At name
    Directory.CreateDirectory(nonNull (Path.GetDirectoryName path)) |> ignore
    File.WriteAllText(path, text)

let private expectCode code (answer: Answer) =
    Expect.equal answer.code code answer.Text

let private helping =
    scenario "help, --version and hints for what is misspelt"
    <| fun () ->
        task {
            use place = new Workplace()

            for args, text in
                [
                    [ "-h" ], "tasks "
                    [ "help"; "wait" ], "--timeout"
                    [ "help"; "help" ], "tasks "
                    [ "help"; "version" ], "fs-scheduler 0."
                    [ "--version" ], "fs-scheduler 0."
                    [ "status"; "--version" ], "fs-scheduler 0."
                ] do
                let! answer = run place args
                Expect.equal (answer.code, answer.errors) (0, []) answer.Text
                Expect.stringContains answer.Text text (String.concat " " args)

            for args, text in
                [
                    [ "submti"; "a" ], "there is no command 'submti'; did you mean 'submit'?"
                    [ "help"; "stauts" ], "did you mean 'status'?"
                    [ "status"; "--conect"; "x:1" ], "did you mean '--connect'?"
                    [ "submit"; "--prioritty"; "1"; "x" ], "did you mean '--priority'?"
                    [ "tasks"; "--state"; "quarantine" ], "did you mean 'quarantined'?"
                    [ "submit"; "x"; "--halt"; "now" ], "--halt: 'now' is not a rule"
                    [ "status"; "--token-file"; "" ], "--token-file: the value is empty"
                    [ "retry"; "--all"; "--pipeline"; "" ], "the pipeline is empty"
                    [ "cat"; "\u001b[2J" ], "'?[2J' is not the number of a task"
                ] do
                let! answer = run place args
                Expect.equal (answer.code, answer.lines) (2, []) answer.Text
                Expect.stringContains answer.Text text (String.concat " " args)

            for word in [ "--version"; "version" ] do
                use worker = fsWorker place.Path [ word ]
                let! answer = answerOf worker
                Expect.stringStarts (List.head answer.lines) "fs-worker 0." "the worker's"
        }

let private foreign =
    scenario "an argument that is not UTF-8 is refused, and no other folder is made"
    <| fun () ->
        task {
            if not (OperatingSystem.IsLinux()) then
                skiptest "only Linux tells what the bytes of an argument were"

            use place = new Workplace()

            let script = $"exec '{schedulerPath}' --resultados \"$(printf 'caf\\351')\" --once"
            use program = new Program("/bin/sh", [ "-c"; script ], place.Path)
            let! answer = answerOf program
            expectCode 2 answer
            Expect.stringContains answer.Text "the argument 'caf\\xE9' is not UTF-8" "which"
            Expect.equal (Directory.GetDirectories place.Path) [| place.At "entrada" |] "no folder"
        }

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
                startScheduler place [ "--lost-after"; "1m"; "--max-attempts"; "99" ]

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

                do!
                    worker.Write
                        $"""{{"type":"RESULT","task":{given.Number "task"},"attempt":{given.Number "attempt"},"ok":false,"error":"no","retry":true}}"""

                do! worker.Write "\n"

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
            use listener = new TcpListener(Net.IPAddress.Loopback, 0)
            listener.Start()
            let port = (listener.LocalEndpoint :?> Net.IPEndPoint).Port

            let listing =
                runWith place [ "TMPDIR=none" ] [ "tasks"; "--connect"; $"127.0.0.1:{port}" ]

            use! peer = awaited "a connection" (listener.AcceptTcpClientAsync())
            use stream = peer.GetStream()

            let say (line: string) =
                stream.WriteAsync(Text.Encoding.UTF8.GetBytes(line + "\n")).AsTask()

            do!
                say
                    """{"type":"WELCOME","protocol":1,"session":"s","beatMs":1000,"lostAfterMs":5000,"maxPayload":1,"maxResult":1}"""

            use asked = new StreamReader(stream, leaveOpen = true)
            let! hello = awaited "HELLO" (asked.ReadLineAsync())
            Expect.stringContains (nonNull hello) "HELLO" "who asks"
            let! question = awaited "LIST" (asked.ReadLineAsync())
            Expect.stringContains (nonNull question) "LIST" "what is asked"
            do! say """{"type":"LIST","after":1,"more":false,"bytes":2000000}"""
            do! stream.WriteAsync(ReadOnlyMemory(Array.create 2_000_000 (byte '\n')))
            let! answer = listing
            Expect.equal (answer.code, answer.lines) (3, []) answer.Text
            Expect.stringContains answer.Text "the answer cannot be stored in 'none/': " "where"
            Expect.stringContains answer.Text "TMPDIR names another folder" "what to do"
        }

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
            use closed = new Program("/bin/sh", [ "-c"; script ], place.Path)
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
            let! struct (scheduler, port) = startScheduler place [ "--lost-after"; "1m" ]
            use _ = scheduler
            let! worker = Peer.worker port "\"lower\"" 2
            use worker = worker

            for name in [ "a"; "b"; "c"; "d"; "e"; "f" ] do
                put place name name

            let submit halt =
                fsScheduler place.Path [
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
                    "--connect"
                    $"127.0.0.1:{port}"
                ]

            let answer (given: Received) ok =
                worker.Write
                    $"""{{"type":"RESULT","task":{given.Number "task"},"attempt":{given.Number "attempt"},"ok":{ok},"error":"no","retry":false}}"""

            use soon = submit "soon,fail=1"
            let! first = worker.Expect "PROCESS"
            let! second = worker.Expect "PROCESS"
            do! answer first "false"
            do! worker.Write "\n"
            let! _ = soon.Says "4 files are not sent, 1 on their way are waited for"
            do! answer second "true"
            do! worker.Write "\n"
            let! soon = answerOf soon
            expectCode 1 soon
            Expect.equal soon.lines.Length 1 "the other one is done"
            Expect.equal (File.ReadAllLines(place.At "log").Length) 3 "no others"

            use now = submit "now,fail=1"
            let! third = worker.Expect "PROCESS"
            let! fourth = worker.Expect "PROCESS"
            do! answer third "false"
            do! worker.Write "\n"
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

/// Runs a command with a terminal of 60 columns as its outputs, and prints what came there.
let private inTerminal =
    "import os, pty, sys\n"
    + "os.environ.update(COLUMNS='60', TERM='xterm')\n"
    + "code = pty.spawn(sys.argv[1:], lambda fd: os.read(fd, 65536))\n"
    + "sys.exit(os.waitstatus_to_exitcode(code))\n"

let private drawing =
    scenario "in a terminal, what became of a file and how far it is never share a line; tables fit"
    <| fun () ->
        task {
            let path = nonNull (Environment.GetEnvironmentVariable "PATH")

            if path.Split ':' |> Array.forall (fun at -> not (File.Exists $"{at}/python3")) then
                skiptest "there is no Python here, which makes terminals"

            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler

            for number in 1..9 do
                put place $"many/{number}.txt" "A"

            let terminal (args: string list) =
                task {
                    use program =
                        new Program(
                            "/usr/bin/env",
                            [ "python3"; "-c"; inTerminal; schedulerPath ]
                            @ args
                            @ [ "--connect"; $"127.0.0.1:{port}" ],
                            place.Path
                        )

                    let! answer = answerOf program
                    expectCode 0 answer
                    // The runtime says first what the keys of the terminal are to send.
                    return
                        answer.lines
                        |> List.map (fun line ->
                            line.Replace("\u001b[?1h\u001b=", "").TrimStart '\r')
                }

            // Each of these letters takes two columns.
            put place $"many/{String('日', 40)}.txt" "A"
            let! lines = terminal [ "submit"; "many"; "--out"; "to"; "--eta" ]
            let isTold (line: string) = line.Contains "done by task"
            Expect.equal (lines |> List.filter isTold |> List.length) 10 "a line each"

            // A return ends a line too, for whoever reads them here.
            for line in List.filter isTold lines do
                Expect.stringStarts line "many/" "a line of its own"

            Expect.exists lines (fun line -> line.Contains "ETA: " && line.Contains "[") "a bar"

            let! lines = terminal [ "submit"; "many/1.txt"; "--out"; "to"; "--quiet"; "--eta" ]
            Expect.exists lines (fun line -> line.StartsWith "ETA: ") "the estimate alone"

            let! _ =
                terminal [
                    "submit"
                    "many"
                    "--no-wait"
                    "--quiet"
                    "--pipeline"
                    "lower|lower|lower|lower"
                ]

            let! table = terminal [ "tasks"; "--all" ]
            Expect.stringStarts (List.head table) "task  state" "a header"

            for number, line in List.indexed (List.tail table) do
                Expect.stringStarts line $"{number + 1} " "a number, which is never cut"

            for line in table do
                let wide = line |> Seq.filter (fun letter -> letter = '日') |> Seq.length
                Expect.isLessThanOrEqual (line.Length + wide) 60 line
        }

let private speaking =
    scenario "text is of the charset of the locale, and JSON of UTF-8 in all of them"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler
            put place "ação日.txt" "A"
            let! _ = ask place port [ "submit"; "ação日.txt"; "--no-wait" ]
            let connect = [ "--connect"; $"127.0.0.1:{port}" ]

            for locale, verb in
                [
                    "pt_BR.ISO-8859-1", [ "tasks" ]
                    "pt_BR.ISO-8859-1", [ "explain"; "1" ]
                    "C", [ "tasks" ]
                    "POSIX", [ "explain"; "1" ]
                ] do
                let! json = runWith place [ $"LC_ALL={locale}" ] (verb @ [ "--json" ] @ connect)
                expectCode 0 json
                Expect.stringContains json.Text "ação日.txt" locale

            let! text =
                runWith place [ "LC_ALL=pt_BR.ISO-8859-1"; "COLUMNS=40" ] ("tasks" :: connect)

            // Read as UTF-8 here, where `ç` and `ã` of the other charset are no characters.
            Expect.stringContains text.Text "a\uFFFD\uFFFDo?.txt" "latin1"
        }

let private listening =
    scenario "[::] takes IPv4 too; --connect takes names and [::1]"
    <| fun () ->
        task {
            if not Socket.OSSupportsIPv6 then
                skiptest "there is no IPv6 here"

            use place = new Workplace()
            let token = String('t', 32)
            File.WriteAllText(place.At "tokens", $"worker {token}w\nclient {token}c\n")

            use scheduler =
                fsScheduler place.Path [ "--listen"; "[::]:0"; "--token-file"; "tokens" ]

            let! first = scheduler.Output.First(fun _ -> true) |> awaited "a scheduler"
            let port = first.Substring(first.LastIndexOf ':' + 1)

            for host in [ "127.0.0.1"; "[::1]"; "localhost" ] do
                let! answer =
                    run place [
                        "status"
                        $"--connect={host}:{port}"
                        "--token-file"
                        "tokens"
                        "--json"
                    ]

                expectCode 0 answer
        }

[<Tests>]
let tests =
    testList "commands" [
        helping
        foreign
        listing
        waiting
        answerTooLarge
        naming
        halting
        drawing
        speaking
        listening
    ]
