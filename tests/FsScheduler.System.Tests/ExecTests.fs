/// Programs as stages, with real workers: who may run what, and that nothing outlives its worker.
module FsScheduler.System.Tests.ExecTests

open System
open System.Diagnostics
open System.IO
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

let private onUnix () =
    if OperatingSystem.IsWindows() then
        skiptest "the programs that it runs are those of Unix"

let private needs (program: string) =
    onUnix ()

    let folders = (string (Environment.GetEnvironmentVariable "PATH")).Split ':'

    if folders |> Array.forall (fun folder -> not (File.Exists $"{folder}/{program}")) then
        skiptest $"there is no {program} here"

/// Processes that have this text in their command line, and are no zombies.
let private running (text: string) = [
    for folder in Directory.EnumerateDirectories "/proc" do
        match Int32.TryParse(Path.GetFileName folder) with
        | true, pid ->
            let line =
                try
                    File.ReadAllText($"{folder}/cmdline").Replace('\000', ' ')
                with
                | :? IOException
                | :? UnauthorizedAccessException -> ""

            // The scheduler has the whole pipeline in its own.
            if line.Contains text && not (line.Contains "fs-scheduler") && isAlive pid then
                pid
        | _ -> ()
]

let private refusals: ((string -> string list -> Program) * string list * string) list = [
    fsWorker,
    [ "--allow-exec"; "no-such-program-here" ],
    "there is no program 'no-such-program-here'"
    fsWorker, [ "--allow-exec"; "./cat" ], "--allow-exec: './cat' is a relative path"
    fsWorker, [ "--allow-exec"; "/etc/passwd" ], "'/etc/passwd' is not executable"
    fsScheduler, [ "--workers"; "1"; "--allow-exec"; "bin/cat" ], "is a relative path"
    fsScheduler,
    [ "--allow-exec"; "cat" ],
    "--allow-exec: it is for the workers that --workers starts"
    fsScheduler, [ "--pipeline"; "exec:cat" ], "no worker may run 'exec:cat'; start one with"
    fsScheduler,
    [ "--expect"; "exec:cat"; "--pipeline"; "exec:tac" ],
    "no worker may run 'exec:tac'"
    fsScheduler, [ "--expect"; "exec:cat"; "--pipeline"; "exec:cat 'a" ], "exec, at character 5"
]

let private commands =
    testList "command lines" [
        for start, args, part in refusals do
            let line = String.concat " " args

            scenario $"are refused: {line}"
            <| fun () ->
                task {
                    onUnix ()
                    use place = new Workplace()
                    use program = start place.Path args
                    let! code = program.Exit
                    Expect.equal code 2 program.Said
                    Expect.stringContains program.Said part ""
                }

        scenario "a scheduler passes programs on to its workers"
        <| fun () ->
            task {
                needs "tr"
                use place = new Workplace()
                place.Put("a.txt", "olá mundo")
                place.Put("b.txt", "")

                use scheduler =
                    fsScheduler place.Path [
                        "--listen"
                        "127.0.0.1:0"
                        "--once"
                        "--workers"
                        "2"
                        "--allow-exec"
                        "tr"
                        "--allow-exec"
                        "cat"
                        "--pipeline"
                        "exec:tr a-z A-Z | exec-file:cat {in} | lower | exec-lines:cat"
                    ]

                let! code = scheduler.Exit
                Expect.equal code 0 scheduler.Said
                Expect.equal (place.Result "a.txt.out") "olá mundo" ""
                Expect.equal (place.Result "b.txt.out") "" "nothing"
            }

        scenario "a program that fails is tried again, and its words are in NAME.err"
        <| fun () ->
            task {
                needs "sh"
                use place = new Workplace()
                place.Put("a.txt", "x")

                use scheduler =
                    fsScheduler place.Path [
                        "--listen"
                        "127.0.0.1:0"
                        "--once"
                        "--workers"
                        "1"
                        "--max-attempts"
                        "2"
                        "--allow-exec"
                        "sh"
                        "--pipeline"
                        "exec:sh -c 'echo \"$FS_NAME, $FS_ATTEMPT\" >&2; exit 9'"
                    ]

                let! code = scheduler.Exit
                Expect.equal code 1 scheduler.Said
                let report = place.Result "a.txt.err"
                Expect.stringContains report "sh ended with exit code 9: a.txt, 1" "the first"
                Expect.stringContains report "sh ended with exit code 9: a.txt, 2" "the second"
            }
    ]

/// A script that tells its own number, starts a child, and that another; all of them wait. Each has `tag` in its
/// command line. Two of them ignore what asks them to end.
let private family (place: Workplace) (tag: string) =
    let path = place.At "family"

    File.WriteAllText(
        path,
        $"""#!/bin/sh
trap '' TERM HUP INT
sh -c 'trap "" TERM HUP; sh -c "sleep 987 # {tag}" {tag} & wait' {tag} &
env -i sh -c 'sleep 988 & wait # {tag}' {tag} &
echo started >> "{place.At "started"}"
wait
"""
    )

    File.SetUnixFileMode(path, UnixFileMode.UserRead ||| UnixFileMode.UserExecute)
    path

let private orphans =
    testList "nothing outlives" [
        for how in [ Signal.Kill; Signal.Term ] do
            scenario $"a worker that is ended by {how}"
            <| fun () ->
                task {
                    needs "sleep"
                    use place = new Workplace()
                    let tag = $"family-{Guid.NewGuid():N}"
                    let script = family place tag
                    place.Put("a.txt", "x")
                    place.Put("b.txt", "y\n")

                    let! struct (scheduler, port) =
                        startScheduler place [
                            "--expect"
                            $"exec:{script},exec-lines:{script}"
                            "--pipeline"
                            $"exec:{script} {tag}"
                        ]

                    use _ = scheduler

                    use worker =
                        startWorker place port [
                            "--slots"
                            "2"
                            "--drain"
                            "100ms"
                            "--allow-exec"
                            script
                        ]

                    let started () =
                        if File.Exists(place.At "started") then
                            (File.ReadAllLines(place.At "started")).Length
                        else
                            0

                    do! eventually "both run" (fun () -> started () = 2)
                    // Two of each family and a sleep at least, by their command lines.
                    do! eventually "with children" (fun () -> (running tag).Length >= 6)
                    let watch = Stopwatch.StartNew()
                    worker.Signal how
                    do! eventually "they are gone" (fun () -> (running tag).IsEmpty)

                    if how = Signal.Kill then
                        Expect.isLessThan watch.Elapsed (TimeSpan.FromSeconds 2.0) "and soon"
                }

        scenario "a worker that is killed while it starts programs, again and again"
        <| fun () ->
            task {
                needs "sleep"
                use place = new Workplace()
                let tag = $"many-{Guid.NewGuid():N}"
                let path = place.At "sleeper"
                File.WriteAllText(path, "#!/bin/sh\nsleep 0.01\n[ -e slow ] || exec sleep 986\n")
                File.SetUnixFileMode(path, UnixFileMode.UserRead ||| UnixFileMode.UserExecute)

                for number in 1..200 do
                    place.Put($"{number}.txt", "x")

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--expect"
                        $"exec:{path}"
                        "--pipeline"
                        $"exec:{path} {tag}"
                        "--task-timeout"
                        "30ms"
                        "--max-attempts"
                        "100"
                    ]

                use _ = scheduler

                for round in 1..5 do
                    use worker = startWorker place port [ "--slots"; "8"; "--allow-exec"; path ]
                    do! eventually "it works" (fun () -> not (running tag).IsEmpty)
                    do! Task.Delay(round * 17) // any moment will do: each round another
                    worker.Signal Signal.Kill

                    do!
                        eventually "they are gone" (fun () ->
                            (running tag).IsEmpty && (running "sleep 986").IsEmpty)
            }

        scenario "the folder of a worker that was killed, once the next one starts"
        <| fun () ->
            task {
                needs "sh"
                use place = new Workplace()
                place.Put("a.txt", "x")
                let told = place.At "told"

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--expect"
                        "exec:sh"
                        "--pipeline"
                        $"exec:sh -c 'pwd >> {told}; sleep 985'"
                    ]

                use _ = scheduler

                let folders () =
                    if File.Exists told then File.ReadAllLines told else [||]

                use first = startWorker place port [ "--allow-exec"; "sh" ]
                do! eventually "it runs" (fun () -> (folders ()).Length = 1)
                first.Signal Signal.Kill
                use _ = startWorker place port [ "--allow-exec"; "sh" ]
                do! eventually "the second runs it" (fun () -> (folders ()).Length = 2)
                let left = folders ()
                Expect.isFalse (Directory.Exists left[0]) "the first one's"
                Expect.isTrue (Directory.Exists left[1]) "the second one's"
            }
    ]

[<Tests>]
let tests = testList "programs" [ commands; orphans ]
