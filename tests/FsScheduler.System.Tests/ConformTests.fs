/// What `fs-scheduler conform` finds right and wrong.
module FsScheduler.System.Tests.ConformTests

open System
open System.IO
open System.Text.Json
open System.Threading
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.TestProgram
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Requirements

/// A row, as `--json` tells of it.
type private Finding = { row: string; verdict: string; text: string }

let private findingOf (line: string) =
    use document = JsonDocument.Parse line

    let field (name: string) =
        document.RootElement.GetProperty(name).ToString()

    { row = field "row"; verdict = field "verdict"; text = line }

/// The exit code, and the rows, of a worker that is examined in the root of the repository.
let private conform (options: string list) (command: string list) =
    task {
        let args = [ "conform"; "--json" ] @ options @ [ "--" ] @ command
        use program = fsScheduler Repository.root args
        let! code = program.ExitWithin(TimeSpan.FromMinutes 5.0)
        Expect.isEmpty program.Errors.All program.Said
        return struct (code, program.Output.All |> List.map findingOf)
    }

let private rows (verdict: string) (findings: Finding list) =
    findings
    |> List.filter (fun finding -> finding.verdict = verdict)
    |> List.map _.row

let private told (findings: Finding list) =
    findings |> List.map _.text |> String.concat "\n"

/// The workers of this repository: the program that each needs, its command, and rows that are about what it need not do.
let private workers = [
    "Python", "python3", [ "python3"; "examples/python-worker/worker.py" ], [ "keep" ]
    "Node.js", "node", [ "node"; "examples/node-worker/worker.mjs" ], [ "keep" ]
    "F#, fs-worker", "dotnet", [ workerPath; "--log-level"; "none"; "--connect"; "{connect}" ], []
]

let private passesAll (command: string list) (optional: string list) =
    task {
        let! struct (code, findings) = conform [ "--timeout"; "30s" ] command
        let failed = rows "failed" findings
        // This one is about silence: whether a machine is busy shows in it, so it is asked again, alone.
        let! struct (code, findings) =
            if failed = [ "slow-link" ] then
                task {
                    let! struct (code, again) =
                        conform [ "--timeout"; "30s"; "--only"; "slow-link" ] command

                    Expect.equal (rows "failed" again) [] (told again)
                    return struct (code, findings)
                }
            else
                task {
                    Expect.equal failed [] (told findings)
                    return struct (code, findings)
                }

        // Whether it holds anything at the moment of the restart is up to the machine.
        Expect.isEmpty
            (rows "not applicable" findings |> List.except ("keep" :: optional))
            (told findings)

        Expect.isGreaterThan findings.Length 30 "rows"
        Expect.equal code 0 "exit code"
    }

/// Rows that are about time wait more than they work: the machine is theirs, and several are at it at once.
let private turns = lazy (new SemaphoreSlim 4)

/// Scenarios of a list that runs one by one, begun together when the first of them is.
let private together (scenarios: (string * (unit -> Task<unit>)) list) : Test list =
    let inTurn (body: unit -> Task<unit>) =
        task {
            do! turns.Value.WaitAsync()

            try
                do! body ()
            finally
                turns.Value.Release() |> ignore
        }

    let begun =
        lazy [| for _, body in scenarios -> Task.Run<unit>(fun () -> inTurn body) |]

    [
        for index, (name, _) in List.indexed scenarios ->
            scenario name (fun () -> begun.Value[index])
    ]

/// It starts slowly, and is the same worker as fs-worker but for its stages.
let private passesWithScript () =
    task {
        let options = [ "--timeout"; "60s"; "--stage"; "vowels"; "--only"; "cancel-while"; "drain" ]

        let! struct (code, findings) =
            conform options [ "dotnet"; "fsi"; "scripts/worker.fsx" ]

        Expect.equal (rows "passed" findings).Length 5 (told findings)
        Expect.equal code 0 "exit code"
    }

let private passing =
    testList "passes every row" [
        yield!
            together [
                for name, program, command, optional in workers do
                    name,
                    fun () ->
                        task {
                            need program
                            do! passesAll command optional
                        }

                "C#, the SDK",
                fun () ->
                    task {
                        let! command = CSharpTests.workerCommand ()
                        do! passesAll command []
                    }

                "F#, a script", passesWithScript
            ]

        test "the worker in Node.js is short" {
            let script = Path.Combine(Repository.root, "examples", "node-worker", "worker.mjs")

            Expect.isLessThanOrEqual (File.ReadAllLines script).Length 50 "lines"
        }
    ]

/// Rows that take seconds, because they are about time or size.
let private slow =
    set [
        "large-payload"
        "beat-idle"
        "beat-busy"
        "slow-link"
        "lost-scheduler"
        "backoff"
        "unauthorized"
    ]

/// A defect, what it fails, and what it may fail if frames happen to come together. Those of the first list are about
/// time: they are asked nearly every row; the others only what is not slow.
let private timely = [
    "none", []
    "no-beats-while-working", [ "beat-busy" ]
    "one-time-limit-for-a-result", [ "slow-link" ]
    "ignores-silence", [ "lost-scheduler" ]
    "comes-back-at-once", [ "backoff" ]
    "knocks-again", [ "unauthorized" ]
    "does-not-come-back", [ "closed-middle"; "restart"; "keep"; "backoff" ]
]

let private other = [
    "payload-as-text", [ "binary-payload" ]
    "replaces-bad-text", [ "binary-payload"; "bad-input" ]
    "short-lines", [ "long-line" ]
    "unknown-types-without-payload", [ "unknown-type" ]
    "wrong-attempt", [ "large-ids"; "attempts"; "cancel-before" ]
    "answers-what-is-cancelled", [ "many-frames"; "attempts"; "cancel-while"; "cancel-after" ]
    "answers-half-a-payload", [ "closed-middle" ]
    "keeps-all", [ "closed-middle"; "restart"; "keep" ]
    "drains-without-a-word", [ "drain" ]
    "ends-with-any-error", [ "harmless-error" ]
    "floats", [ "process" ]
    "no-ready", [ "ready" ]
    "no-slots", [ "ready" ]
]

let private broken (options: string list) (defect: string) =
    need "python3"
    let script = "tests/FsScheduler.System.Tests/broken-workers/broken.py"
    conform ([ "--timeout"; "10s" ] @ options) [ "python3"; script; defect ]

/// What `--only` takes for the rows that are so.
let private only (isWanted: string -> bool) =
    let listed =
        lazy
            (task {
                use program = fsScheduler Repository.root [ "conform"; "--list"; "--json" ]
                let! _ = program.Exit

                return
                    program.Output.All
                    |> List.map (fun line ->
                        use document = JsonDocument.Parse line
                        document.RootElement.GetProperty("row").ToString())
            })

    fun () ->
        task {
            let! rows = listed.Value
            return "--only" :: List.filter isWanted rows
        }

let private quick = only (slow.Contains >> not)

/// 64 MiB are dear, and no defect here is about them.
let private timed = only ((<>) "large-payload")

let private failingInTime =
    testList "a defect that is about time fails its rows, and no others" [
        yield!
            together [
                for defect, expected in timely do
                    defect,
                    fun () ->
                        task {
                            let! only = timed ()
                            let! struct (code, findings) = broken only defect
                            Expect.equal (rows "failed" findings) expected (told findings)
                            Expect.equal code (if expected.IsEmpty then 0 else 1) "exit code"
                        }
            ]
    ]

let private failing =
    testList "a defect fails its rows, and no others" [
        for defect, expected in other do
            scenario defect
            <| fun () ->
                task {
                    let! only = quick ()
                    let! struct (code, findings) = broken only defect
                    Expect.equal (rows "failed" findings) expected (told findings)
                    Expect.equal code 1 "exit code"
                }

        // What else comes in one read is a matter of chance.
        scenario "one-frame-a-read"
        <| fun () ->
            task {
                let! only = quick ()
                let! struct (_, findings) = broken only "one-frame-a-read"
                let failed = rows "failed" findings
                Expect.contains failed "many-frames" (told findings)

                let chance = [
                    "unknown-type"
                    "attempts"
                    "cancel-before"
                    "cancel-while"
                    "cancel-after"
                    "harmless-error"
                ]

                Expect.isEmpty (failed |> List.except ("many-frames" :: chance)) (told findings)
            }
    ]

let private commandLine =
    testList "the command line" [
        scenario "a table for people, and nobody is left running"
        <| fun () ->
            task {
                need "python3"
                let marker = $"conform-{Guid.NewGuid():N}"
                let script = "import sys, time; print('offline', file=sys.stderr); time.sleep(100)"

                use program =
                    fsScheduler Repository.root [
                        "conform"
                        "--timeout"
                        "2s"
                        "--"
                        "python3"
                        "-c"
                        script
                        marker
                        "{host}"
                    ]

                let! code = program.Exit
                Expect.equal code 1 program.Said
                let all = program.Output.All |> String.concat " "
                Expect.stringContains all "offline" "what it said last"

                Expect.contains
                    program.Output.All
                    "0 passed, 1 failed, 31 not applicable"
                    program.Said

                if OperatingSystem.IsLinux() then
                    let left =
                        Directory.EnumerateFiles(
                            "/proc",
                            "cmdline",
                            EnumerationOptions(
                                MaxRecursionDepth = 1,
                                RecurseSubdirectories = true,
                                IgnoreInaccessible = true
                            )
                        )
                        |> Seq.filter (fun file ->
                            try
                                (File.ReadAllText file).Contains marker
                            with :? IOException ->
                                false)

                    Expect.isEmpty left "no process of it is left"
            }

        scenario "what cannot be started is said, and is 3"
        <| fun () ->
            task {
                use program = fsScheduler Repository.root [ "conform"; "--"; "./no-such-worker" ]

                let! code = program.Exit
                Expect.equal code 3 program.Said
                let error = List.exactlyOne program.Errors.All
                Expect.stringContains error "'./no-such-worker' cannot be started" "why"
            }

        for args, why in
            [
                [ "conform" ], "there is no command"
                [ "conform"; "--" ], "there is no command"
                [ "conform"; "--only"; "hell"; "--"; "x" ], "there is no check 'hell'"
                [ "conform"; "--timeout"; "soon"; "--"; "x" ], "'soon' is not a duration"
            ] do
            scenario (String.Join(" ", args) + $": {why}, and is 2")
            <| fun () ->
                task {
                    use program = fsScheduler Repository.root args
                    let! code = program.Exit
                    Expect.equal code 2 program.Said
                    Expect.stringContains (String.concat " " program.Errors.All) why "why"
                }

        scenario "a stage that the worker does not offer is said"
        <| fun () ->
            task {
                need "python3"

                let! struct (code, findings) =
                    conform [ "--stage"; "ocr:por"; "--timeout"; "5s" ] [
                        "python3"
                        "examples/python-worker/worker.py"
                    ]

                Expect.equal (code, rows "failed" findings) (1, [ "ready" ]) (told findings)
                Expect.stringContains (told findings) "it offers lower, number-lines" "which"
            }

        scenario "a stage whose results are not known is compared with itself"
        <| fun () ->
            task {
                need "python3"
                let! only = quick ()

                let! struct (code, findings) =
                    conform ([ "--stage"; "number-lines" ] @ only) [
                        "python3"
                        "examples/python-worker/worker.py"
                    ]

                Expect.equal (rows "failed" findings) [] (told findings)

                Expect.equal
                    (rows "not applicable" findings)
                    [ "bad-input"; "keep" ]
                    (told findings)

                Expect.equal code 0 "exit code"
            }
    ]

[<Tests>]
let tests = testList "conform" [ commandLine; failing ]

/// On a machine that is busy, rows that are about time may fail.
[<Tests>]
let timedTests = oneByOne (testList "conform in time" [ passing; failingInTime ])
