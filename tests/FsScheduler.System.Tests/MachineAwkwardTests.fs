/// Workers on machines that are not as they should be: temporary folders, process 1, signals, missing executables.
module FsScheduler.System.Tests.MachineAwkwardTests

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

let private onLinux () =
    if not (OperatingSystem.IsLinux()) then
        skiptest "this is about Linux"

let private asRoot () =
    onLinux ()

    if not Environment.IsPrivilegedProcess then
        skiptest "only root may do this"

/// A program with these variables in its environment.
let private withVariables (variables: string list) (folder: string) (path: string) args =
    new Program("/usr/bin/env", variables @ [ path ] @ args, folder)

/// A worker with a folder for temporary files of its own, and its scheduler, which lets no task fail twice.
let private withTemporaryFolder (place: Workplace) (args: string list) =
    task {
        let temporary = place.At "tmp"
        Directory.CreateDirectory temporary |> ignore
        let! struct (scheduler, port) = startScheduler place [ "--max-attempts"; "1" ]
        let args = [ "--connect"; $"127.0.0.1:{port}" ] @ args
        let worker = withVariables [ $"TMPDIR={temporary}" ] place.Path workerPath args
        return struct (temporary, scheduler, port, worker)
    }

let private oneSentence (program: Program) =
    let said = program.Errors.All |> List.filter (fun line -> line.StartsWith "fs-")
    Expect.equal said.Length 1 $"one sentence. {program.Said}"

    Expect.isFalse
        (program.Errors.All |> List.exists _.StartsWith("   at "))
        $"no stack trace. {program.Said}"

    said[0]

let private temporaryFolders =
    testList "a folder for temporary files" [
        for what, prepare in
            [
                "that is missing", (fun (place: Workplace) -> place.At "nonexistent")
                "that is a file",
                fun place ->
                    File.WriteAllText(place.At "file", "")
                    place.At "file"
                "that is relative and missing", (fun _ -> "not/here")
            ] do
            scenario $"{what} ends a worker with a sentence and 3"
            <| fun () ->
                task {
                    onLinux ()
                    use place = new Workplace()

                    use worker =
                        withVariables [ $"TMPDIR={prepare place}" ] place.Path workerPath []

                    let! code = worker.Exit
                    Expect.equal code 3 $"it cannot start. {worker.Said}"
                    Expect.stringContains (oneSentence worker) "TMPDIR" "what to do"
                }

        scenario "that is full ends a worker with a sentence and 3"
        <| fun () ->
            task {
                asRoot ()
                use place = new Workplace()
                let full = place.At "full"
                Directory.CreateDirectory full |> ignore

                use mounting =
                    Process.Start("mount", [ "-t"; "tmpfs"; "-o"; "size=16k"; "none"; full ])

                do! mounting.WaitForExitAsync()

                if mounting.ExitCode <> 0 then
                    skiptest "this machine lets nobody mount"

                try
                    use worker = withVariables [ $"TMPDIR={full}" ] place.Path workerPath []
                    let! code = worker.Exit
                    Expect.equal code 3 $"it cannot start. {worker.Said}"
                    Expect.stringContains (oneSentence worker) "No space left" "why"

                    Expect.isEmpty
                        (Directory.GetDirectories(full, "fs-worker-*"))
                        "nothing is left there"
                finally
                    use unmounting = Process.Start("umount", [ full ])
                    unmounting.WaitForExit()
            }

        scenario "that none of its own workers can use ends a scheduler with --once"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()
                place.Put("a.txt", "A")

                let nowhere = place.At "nonexistent"

                use scheduler =
                    withVariables [ $"TMPDIR={nowhere}" ] place.Path schedulerPath [
                        "--listen"
                        "127.0.0.1:0"
                        "--workers"
                        "2"
                        "--once"
                    ]

                let! code = scheduler.Exit
                Expect.equal code 3 $"it can never do its job. {scheduler.Said}"

                let last =
                    scheduler.Errors.All |> List.filter _.StartsWith("fs-scheduler: ") |> List.last

                Expect.stringContains last "TMPDIR" "why, and what to do"
                Expect.isFalse (place.HasResult "a.txt.out") "nothing was done"
            }

        scenario "that was emptied under a worker costs no task an attempt"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()

                let! struct (temporary, scheduler, port, worker) =
                    withTemporaryFolder place [ "--allow-exec"; "sh" ]

                use _ = scheduler
                use worker = worker

                let large = String.replicate 300_000 "A line\n"
                place.Put("first.txt", large)
                do! eventually "the first" (fun () -> place.HasResult "first.txt.out")

                let folders () =
                    Directory.GetDirectories(temporary, "fs-worker-*")

                let before = folders ()
                Expect.equal before.Length 1 "its folder"
                Directory.Delete(before[0], true)
                place.Put("second.txt", large)
                do! eventually "the second" (fun () -> place.HasResult "second.txt.out")
                Expect.equal place.Results [ "first.txt.out"; "second.txt.out" ] worker.Said
                let after = folders ()
                Expect.equal after.Length 1 "another folder"

                Expect.equal
                    (File.GetUnixFileMode after[0])
                    (UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute)
                    "0700"

                // A program that fails because of that is not to blame either; this one sees to it itself.
                File.WriteAllText(place.At "third.txt", "THIRD")
                let marker = place.At "marker"

                let once =
                    $"if [ -e {marker} ]; then cat; else touch {marker}; rm -rf {temporary}/fs-worker-*; exit 1; fi"

                use submit =
                    fsScheduler place.Path [
                        "submit"
                        "third.txt"
                        "--pipeline"
                        $"exec:sh -c '{once}'"
                        "--connect"
                        $"127.0.0.1:{port}"
                    ]

                let! code = submit.Exit
                Expect.equal code 0 submit.Said

                worker.Signal Signal.Term
                let! _ = worker.Exit
                Expect.isEmpty (folders ()) "it goes with the worker"
            }

        scenario
            "that nothing can be made in any more has its worker leave, and costs no task an attempt"
        <| fun () ->
            task {
                onLinux ()
                use place = new Workplace()
                let! struct (temporary, scheduler, port, worker) = withTemporaryFolder place []
                use _ = scheduler
                use worker = worker

                place.Put("small.txt", "A")
                do! eventually "the first" (fun () -> place.HasResult "small.txt.out")
                Directory.Delete(temporary, true)
                place.Put("large.txt", String.replicate 300_000 "A line\n")
                let! code = worker.Exit
                Expect.equal code 3 $"it leaves. {worker.Said}"
                Expect.stringContains (oneSentence worker) "TMPDIR" "why"
                use another = startWorker place port []
                do! eventually "the other one does it" (fun () -> place.HasResult "large.txt.out")
                Expect.equal place.Results [ "large.txt.out"; "small.txt.out" ] another.Said
            }
    ]

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
let tests =
    testList "awkward machines" [ temporaryFolders; parents; openFiles; executables ]
