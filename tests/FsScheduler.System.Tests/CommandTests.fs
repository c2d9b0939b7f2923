/// What people expect of a command line: help, hints, tokens, tables in a terminal, charsets; and what is wrong with it.
module FsScheduler.System.Tests.CommandTests

open System
open System.IO
open System.Net.Sockets
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

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

let private foreign =
    scenario "an argument that is not UTF-8 is refused, and no other folder is made"
    <| fun () ->
        task {
            if not (OperatingSystem.IsLinux()) then
                skiptest "only Linux tells what the bytes of an argument were"

            use place = new Workplace()

            let script = $"exec '{schedulerPath}' --resultados \"$(printf 'caf\\351')\" --once"
            use program = inShell place script
            let! answer = answerOf program
            expectCode 2 answer
            Expect.stringContains answer.Text "the argument 'caf\\xE9' is not UTF-8" "which"
            Expect.equal (Directory.GetDirectories place.Path) [| place.At "entrada" |] "no folder"
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
            need "python3"
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

            let speak variables args =
                task {
                    use command =
                        withVariables
                            variables
                            place.Path
                            schedulerPath
                            (args @ [ "--connect"; $"127.0.0.1:{port}" ])

                    return! answerOf command
                }

            for locale, verb in
                [
                    "pt_BR.ISO-8859-1", [ "tasks" ]
                    "pt_BR.ISO-8859-1", [ "explain"; "1" ]
                    "C", [ "tasks" ]
                    "POSIX", [ "explain"; "1" ]
                ] do
                let! json = speak [ $"LC_ALL={locale}" ] (verb @ [ "--json" ])
                expectCode 0 json
                Expect.stringContains json.Text "ação日.txt" locale

            let! text = speak [ "LC_ALL=pt_BR.ISO-8859-1"; "COLUMNS=40" ] [ "tasks" ]

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
    testList "commands" [ helping; help; wrong; foreign; secret; drawing; speaking; listening ]
