/// Pipes that end, pipes that nobody reads, and full disks, where the executables print.
module FsScheduler.System.Tests.ReaderTests

open System
open System.Diagnostics
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

let private endsWhenAsked (child: Process) =
    task {
        signal child.Id Signal.Term
        do! awaited "it ends" (task { do! child.WaitForExitAsync() })
        Expect.equal child.ExitCode 130 "in order"
    }

let private codeOf (place: Workplace) =
    File.ReadAllText(place.At "code").Trim()

let private endingReaders =
    scenario "verbs end when the program behind their pipe does, as programs do"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler
            place.Put("a.txt", "A")
            do! eventually "something has happened" (fun () -> place.HasResult "a.txt.out")
            File.WriteAllText(place.At "large.txt", String.replicate 1_000_000 "LINE\n")

            for line, code in
                [
                    $"S events --follow --connect 127.0.0.1:{port}", "141"
                    $"S watch --connect 127.0.0.1:{port}", "141"
                    $"S watch --json --connect 127.0.0.1:{port}", "141"
                    $"S submit - --connect 127.0.0.1:{port} < large.txt", "141"
                ] do
                use reading = inShell place $"{{ {line}; echo $? > code; }} | head -c 1 > first"
                let! ended = reading.Exit
                Expect.equal ended 0 reading.Said
                Expect.equal (codeOf place) code line
                Expect.equal (FileInfo(place.At "first").Length) 1L "it got what it wanted"
                Expect.isEmpty reading.Errors.All "nothing is said of it"
        }

let private endlessInput =
    scenario "submit ends when nobody wants its result any more, though its input never ends"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler

            use reading =
                inShell
                    place
                    $"mkfifo endless; sleep 1000 > endless & {{ S submit - --connect 127.0.0.1:{port}; echo $? > code; }} < endless | head -c 0; kill $!"

            let! ended = reading.Exit
            Expect.equal ended 0 reading.Said
            Expect.equal (codeOf place) "141" "nothing is said of it"
        }

let private closedOutputs =
    scenario "verbs end with a sentence when their output is closed or full, and never by a signal"
    <| fun () ->
        task {
            if not (File.Exists "/dev/full") then
                skiptest "there is no /dev/full"

            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place [ "--workers"; "1" ]
            use _ = scheduler
            File.WriteAllText(place.At "b.txt", "B")
            place.Put("a.txt", "A") // without a file there would be nothing to plan, and to print
            let connect = $"--connect 127.0.0.1:{port}"

            // What each of them would print, it prints in a way of its own.
            let lines = [
                $"S status {connect}"
                $"S watch --json {connect}"
                $"S submit - {connect} < b.txt"
                "S plan"
                "W --help"
            ]

            let check (line: string) (sentence: string) =
                task {
                    use program = inShell place line
                    let! code = program.Exit
                    Expect.equal code 3 $"{line}: {program.Said}"
                    Expect.hasLength program.Errors.All 1 $"{line}: {program.Said}"
                    Expect.stringContains program.Errors.All[0] sentence line
                }

            for line in lines do
                do! check $"{line} >&-" "standard output is closed"

            do! check $"S events --follow {connect} > /dev/full" "standard output: No space"
            do! check "S --help > /dev/full" "standard output: No space"

            // Nobody can be told; what was asked is done all the same.
            use silent = inShell place $"S submit b.txt {connect} 2>&-"
            let! code = silent.Exit
            Expect.equal code 0 silent.Said
            Expect.equal (File.ReadAllText(place.At "b.txt.out")) "b" "its result"

            use wrong = inShell place "S --nonsense 2>&-"
            let! code = wrong.Exit
            Expect.equal code 2 "wrong arguments, which nobody hears of"
        }

let private closedScheduler =
    scenario "a scheduler and its workers do their work with all their streams closed"
    <| fun () ->
        task {
            use place = new Workplace()

            for number in 1..20 do
                place.Put($"{number}.txt", "CONTEÚDO")

            use scheduler =
                inShell
                    place
                    "S --listen 127.0.0.1:0 --workers 1 --once <&- >&- 2>&-; echo $? > code"

            let! _ = scheduler.Exit
            Expect.equal (codeOf place) "0" "all is done"

            for number in 1..20 do
                Expect.equal (place.Result $"{number}.txt.out") "conteúdo" "right"

            use checking = fsScheduler place.Path [ "check" ]
            let! code = checking.Exit

            Expect.equal
                code
                0
                $"nothing was written into the journal but what belongs there. {checking.Said}"
        }

/// Starts a line for the shell whose standard error is full before it begins, and never read.
let private startBlocked (place: Workplace) (line: string) =
    if not (OperatingSystem.IsLinux()) then
        skiptest "the size of a pipe is Linux's"

    let start =
        ProcessStartInfo(
            "/bin/sh",
            [ "-c"; $"head -c 65536 /dev/zero >&2; exec {line}" ],
            WorkingDirectory = place.Path,
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    nonNull (Process.Start start)

let private unreadErrors =
    scenario "a scheduler whose standard error nobody reads goes on working, answers, and ends"
    <| fun () ->
        task {
            use place = new Workplace()

            use scheduler =
                startBlocked
                    place
                    $"'{schedulerPath}' --listen 127.0.0.1:0 --log-level trace --lost-after 1s --max-attempts 9"

            try
                let! listening = awaited "it listens" (scheduler.StandardOutput.ReadLineAsync())
                let listening = nonNull listening
                let port = int (listening.Substring(listening.LastIndexOf ':' + 1))
                let connect = [ "--connect"; $"127.0.0.1:{port}" ]
                place.Put("1.txt", "UM")

                do!
                    task {
                        use worker = startWorker place port []
                        do! eventually "a result" (fun () -> place.HasResult "1.txt.out")
                        worker.Signal Signal.Kill
                        let! _ = worker.Exit
                        ()
                    }

                place.Put("2.txt", "DOIS")
                use _ = startWorker place port []

                do!
                    eventually "another one, by another worker" (fun () ->
                        place.HasResult "2.txt.out")

                use status = fsScheduler place.Path ([ "status"; "--json" ] @ connect)
                let! code = status.Exit
                Expect.equal code 0 status.Said
                File.WriteAllText(place.At "c.txt", "TRÊS")
                use submit = fsScheduler place.Path ([ "submit"; "c.txt" ] @ connect)
                let! code = submit.Exit
                Expect.equal code 0 submit.Said

                do! endsWhenAsked scheduler
            finally
                scheduler.Kill true
        }

let private unreadWorker =
    scenario "a worker whose standard error nobody reads goes on working, and ends"
    <| fun () ->
        task {
            use place = new Workplace()
            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler

            use worker =
                startBlocked place $"'{workerPath}' --connect 127.0.0.1:{port} --log-level trace"

            try
                place.Put("1.txt", "UM")
                do! eventually "a result" (fun () -> place.HasResult "1.txt.out")
                do! endsWhenAsked worker
            finally
                worker.Kill true
        }

let private blockedVerb =
    scenario "a verb whose output nobody reads ends when it is asked to"
    <| fun () ->
        task {
            if not (OperatingSystem.IsLinux()) then
                skiptest "the size of a pipe is Linux's"

            use place = new Workplace()

            // More of them than a pipe takes.
            for number in 1..400 do
                place.Put($"{String('x', 150)}{number}.txt", "A")

            let! struct (scheduler, port) = startScheduler place []
            use _ = scheduler
            let arguments = [ "tasks"; "--json"; "--connect"; $"127.0.0.1:{port}" ]

            let areTaken () =
                use tasks = fsScheduler place.Path arguments
                tasks.Exit.GetAwaiter().GetResult() = 0 && tasks.Output.All.Length = 400

            do! eventually "all are listed" areTaken

            let start =
                ProcessStartInfo(
                    schedulerPath,
                    arguments,
                    WorkingDirectory = place.Path,
                    RedirectStandardOutput = true // and never read
                )

            use tasks = nonNull (Process.Start start)

            let written () =
                File.ReadLines $"/proc/{tasks.Id}/io"
                |> Seq.find _.StartsWith("wchar: ")
                |> fun line -> int64 (line.Substring 7)

            try
                do! eventually "it writes" (fun () -> written () > 50_000L)
                do! endsWhenAsked tasks
            finally
                tasks.Kill true
        }

[<Tests>]
let tests =
    testList "readers" [
        endingReaders
        endlessInput
        closedOutputs
        closedScheduler
        unreadErrors
        unreadWorker
        blockedVerb
    ]
