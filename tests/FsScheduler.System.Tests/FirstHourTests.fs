/// What a new user meets: the examples of the README over the shipped kind of texts, and what the log says meanwhile.
module FsScheduler.System.Tests.FirstHourTests

open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Requirements

/// A worker of `examples/`, or a skipped test where its language is missing.
let private startExample (place: Workplace) (language: string) (file: string) (address: string) =
    need language
    new Program(language, [ Path.Combine(Repository.root, "examples", file); address ], place.Path)

let private numbersLinesOver (language: string) (file: string) =
    scenario $"the worker in {language} runs the README's stage, on [::1]"
    <| fun () ->
        task {
            needIPv6 ()
            use place = new Workplace()
            place.Put("nota.txt", "OLÁ\nMUNDO\n")

            let! struct (scheduler, port) =
                startScheduler place [
                    "--once"
                    "--listen"
                    "[::1]:0"
                    "--pipeline"
                    "lower | number-lines"
                    "--expect"
                    "number-lines"
                ]

            use scheduler = scheduler
            use _ = startExample place language file $"[::1]:{port}"
            let! code = scheduler.Exit
            Expect.equal code 0 scheduler.Said
            Expect.equal (place.Result "nota.txt.out") "1: olá\n2: mundo\n" "numbered"
        }

[<Tests>]
let tests =
    testList "the first hour" [
        numbersLinesOver "python3" "python-worker/worker.py"
        numbersLinesOver "node" "node-worker/worker.mjs"

        scenario
            "Ctrl+C in a terminal reaches the workers of --workers too, and none is started again"
        <| fun () ->
            task {
                use place = new Workplace()
                let begun = place.At "begun"

                let! struct (scheduler, _) =
                    startScheduler place [
                        "--workers"
                        "2"
                        "--allow-exec"
                        "sh"
                        "--pipeline"
                        $"exec:sh -c 'touch {begun}; sleep 2'"
                    ]

                use scheduler = scheduler
                let! _ = scheduler.Says "local-1"
                let! _ = scheduler.Says "local-2"
                // One of them has something to finish, for longer than the other one takes to end.
                place.Put("a.txt", "A")
                do! eventually "one is busy" (fun () -> File.Exists begun)

                // The workers hear of it first.
                for worker in childrenOf scheduler.Id do
                    signal worker Signal.Interrupt

                scheduler.Signal Signal.Interrupt
                let! code = scheduler.Exit
                Expect.equal code 130 scheduler.Said

                Expect.equal
                    (scheduler.Errors.Count(fun line -> line.Contains "started again"))
                    0
                    scheduler.Said
            }

        scenario "the log tells that a file was taken and that it is done"
        <| fun () ->
            task {
                use place = new Workplace()
                place.Put("nota.txt", "OLÁ\n")
                place.Put("mal.txt", "x")
                let program = place.At "mal.sh"
                File.WriteAllText(program, "#!/bin/sh\nprintf 'ai \\033[2J' >&2\nexit 3\n")
                File.SetUnixFileMode(program, enum<UnixFileMode> 0o755)

                let! struct (scheduler, _) =
                    startScheduler place [
                        "--once"
                        "--workers"
                        "1"
                        "--pipeline"
                        "lower|trim"
                        "--allow-exec"
                        program
                        "--route"
                        $"mal.txt=exec:{program}"
                        "--max-attempts"
                        "1"
                    ]

                use scheduler = scheduler
                let! _ = scheduler.Says "nota.txt is taken: lower | trim"

                let! _ =
                    scheduler.Says $"""nota.txt is done: {place.At "resultados/nota.txt.out"}"""

                // What a program says is shown, and does nothing in a terminal.
                let! line = scheduler.Says "mal.txt is in quarantine: "
                Expect.stringEnds line "exit code 3: ai ?[2J" "no escape"
                let! code = scheduler.Exit
                Expect.equal code 1 scheduler.Said
            }
    ]
