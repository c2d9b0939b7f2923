/// Workers on machines that are not as they should be: process 1, signals, open files, missing executables.
module FsScheduler.System.Tests.MachineAwkwardTests

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

/// Runs programs that end with 0 and 7 in turn, and looks what is told of them.
let private codes (start: Workplace -> int -> Program) (check: Program -> Task<unit>) =
    task {
        use place = new Workplace()

        for index in 1..20 do
            place.Put($"{index}.txt", string (index % 2 * 7))

        let! struct (scheduler, port) =
            startScheduler place [
                "--max-attempts"
                "1"
                "--pipeline"
                "exec:sh -c 'sleep 0 & read code; exit $code'"
                "--expect"
                "exec:sh"
            ]

        use scheduler = scheduler
        use worker = start place port
        do! eventuallyOf worker patience "all of them" (fun () -> place.Results.Length = 20)

        for index in 1..20 do
            if index % 2 = 0 then
                Expect.isTrue (place.HasResult $"{index}.txt.out") $"{index}. {worker.Said}"
            else
                Expect.stringContains
                    (place.Result $"{index}.txt.err")
                    "exit code 7"
                    $"{index}. {worker.Said}"

        do! check worker
    }

/// Whether a process has ended, and nobody has asked how.
let private isZombie (pid: int) =
    try
        File.ReadAllText($"/proc/{pid}/stat").Contains ") Z "
    with :? IOException ->
        false

let private parents =
    testList "a worker" [
        scenario
            "whose starter ignores SIGCHLD tells how programs end, and ends when it is asked to"
        <| fun () ->
            task {
                onLinux ()

                do!
                    codes
                        (fun place port ->
                            new Program(
                                "/bin/sh",
                                [
                                    "-c"
                                    $"trap '' CHLD; exec env --block-signal=TERM '{workerPath}' --connect 127.0.0.1:{port} --allow-exec sh"
                                ],
                                place.Path
                            ))
                        (fun worker ->
                            task {
                                worker.Signal Signal.Term
                                let! code = worker.Exit
                                Expect.equal code 130 "in order, though its starter blocks SIGTERM"
                            })
            }

        scenario "that is process 1 tells how programs end, and takes in what has lost its parent"
        <| fun () ->
            task {
                asRoot ()

                use unshared =
                    Process.Start("unshare", [ "-pf"; "--mount-proc"; "--kill-child"; "true" ])

                do! unshared.WaitForExitAsync()

                if unshared.ExitCode <> 0 then
                    skiptest "this machine lets nobody have processes of his own"

                do!
                    codes
                        (fun place port ->
                            new Program(
                                "unshare",
                                [
                                    "-pf"
                                    "--mount-proc"
                                    "--kill-child"
                                    workerPath
                                    "--connect"
                                    $"127.0.0.1:{port}"
                                    "--allow-exec"
                                    "sh"
                                ],
                                place.Path
                            ))
                        (fun worker ->
                            let orphans () =
                                childrenOf worker.Id
                                |> List.collect childrenOf
                                |> List.filter isZombie

                            eventually "nobody is left who has ended" (fun () ->
                                (orphans ()).IsEmpty))
            }

        scenario "gives programs the limit of open files that it was started with"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()
                place.Put("a.txt", "")

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--pipeline"
                        "exec:sh -c 'ulimit -Sn'"
                        "--expect"
                        "exec:sh"
                    ]

                use scheduler = scheduler

                // Not exec: the shell is the worker's parent, whose limit it is.
                use worker =
                    new Program(
                        "/bin/sh",
                        [
                            "-c"
                            $"ulimit -Sn 700; '{workerPath}' --connect 127.0.0.1:{port} --allow-exec sh; exit $?"
                        ],
                        place.Path
                    )

                do! eventuallyOf worker patience "it" (fun () -> place.HasResult "a.txt.out")

                Expect.equal
                    (place.Result "a.txt.out")
                    "700\n"
                    "not what the runtime has made of it"
            }
    ]

let private openFiles =
    testList "where few files may be open" [
        for what, path in [ "a scheduler", schedulerPath; "a worker", workerPath ] do
            scenario $"{what} says so and ends with 3"
            <| fun () ->
                task {
                    onLinux ()
                    use place = new Workplace()

                    use program =
                        new Program(
                            "/bin/sh",
                            [ "-c"; $"ulimit -n 100; exec '{path}'" ],
                            place.Path
                        )

                    let! code = program.Exit
                    Expect.equal code 3 $"it cannot start. {program.Said}"
                    Expect.stringContains (oneSentence program) "ulimit -n" "what to do"
                }
    ]

/// What was built, but for some files.
let private copyWithout (names: string list) (target: string) =
    let rec copy (from: string) (target: string) =
        Directory.CreateDirectory target |> ignore

        for file in Directory.EnumerateFiles from do
            if not (List.contains (nonNull (Path.GetFileName file)) names) then
                File.Copy(file, Path.Combine(target, nonNull (Path.GetFileName file)))

        for folder in Directory.EnumerateDirectories from do
            copy folder (Path.Combine(target, nonNull (Path.GetFileName folder)))

    copy (nonNull (Path.GetDirectoryName schedulerPath)) target

let private executables =
    testList "a scheduler with --workers" [
        for what, spoil in
            [
                "is missing", (fun (path: string) -> File.Delete path)
                "is a link that leads nowhere",
                fun path ->
                    File.Delete path
                    File.CreateSymbolicLink(path, "nowhere") |> ignore
                "is not executable",
                fun path ->
                    File.SetUnixFileMode(path, UnixFileMode.UserRead ||| UnixFileMode.UserWrite)
            ] do
            scenario $"whose fs-worker {what} says so, and ends with 3"
            <| fun () ->
                task {
                    onLinux ()
                    use place = new Workplace()
                    place.Put("a.txt", "A")
                    copyWithout [] (place.At "bin")
                    spoil (place.At "bin/fs-worker")

                    use scheduler =
                        new Program(
                            place.At "bin/fs-scheduler",
                            [ "--listen"; "127.0.0.1:0"; "--workers"; "1"; "--once" ],
                            place.Path
                        )

                    let! code = scheduler.Exit
                    Expect.equal code 3 $"it cannot start. {scheduler.Said}"
                    Expect.stringContains (oneSentence scheduler) "fs-worker" "which file"
                }

        scenario "that dotnet runs has its workers run by the same"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()
                place.Put("a.txt", "A")
                copyWithout [ "fs-worker"; "fs-scheduler" ] (place.At "bin")

                let dotnet =
                    Path.GetFullPath(
                        Path.Combine(
                            Runtime.InteropServices.RuntimeEnvironment.GetRuntimeDirectory(),
                            "../../../dotnet"
                        )
                    )

                use scheduler =
                    new Program(
                        "/usr/bin/env",
                        [
                            "-u"
                            "DOTNET_ROOT"
                            dotnet
                            place.At "bin/fs-scheduler.dll"
                            "--listen"
                            "127.0.0.1:0"
                            "--workers"
                            "1"
                            "--once"
                        ],
                        place.Path
                    )

                let! code = scheduler.Exit
                Expect.equal code 0 scheduler.Said
                Expect.equal (place.Result "a.txt.out") "a" "done"
            }
    ]

[<Tests>]
let tests = testList "awkward machines" [ parents; openFiles; executables ]
