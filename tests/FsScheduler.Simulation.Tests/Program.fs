module FsScheduler.Simulation.Tests.Program

open System
open System.Diagnostics
open System.Threading.Tasks
open FsScheduler.TestKit
open FsScheduler.Simulation.Tests.Crashes

/// Runs seeds on all processors. The failures, and the coverage of all.
let private runAll (first: uint64) (count: int) =
    let failures = ResizeArray<Run>()
    let coverage = Coverage()
    let watch = Stopwatch.StartNew()
    let mutable tasks = 0L

    Parallel.For(
        0,
        count,
        fun index ->
            let run = Simulation.run (first + uint64 index)

            lock failures (fun () ->
                coverage.Add run.coverage
                tasks <- tasks + int64 run.tasks

                if run.failure.IsSome then
                    failures.Add run)
    )
    |> ignore

    for struct (what, times) in coverage.All do
        printfn $"%10d{times}  %s{what}"

    printfn
        $"{count} seeds from {first}: {failures.Count} failed; {tasks} tasks; {watch.Elapsed.TotalSeconds:F1} s"

    if failures.Count > 0 then
        let smallest = failures |> Seq.minBy _.ended.sinceStart
        printfn $"{Simulation.report smallest}"

        for run in failures |> Seq.sortBy _.seed |> Seq.truncate 50 do
            printfn $"seed {run.seed}: {Option.get run.failure}"

    if failures.Count = 0 then 0 else 1

/// The same for crashes.
let private crashAll (first: uint64) (count: int) =
    let watch = Stopwatch.StartNew()
    let runs = CrashTests.many first count
    let failures = runs |> Array.filter _.failure.IsSome
    let coverage = Coverage()

    for run in runs do
        coverage.Add run.coverage

    for struct (what, times) in coverage.All do
        printfn $"%10d{times}  %s{what}"

    for run in Array.truncate 50 failures do
        printfn $"{CrashTests.describe run}"

    printfn
        $"{count} seeds from {first} with crashes: {failures.Length} failed; {watch.Elapsed.TotalSeconds:F1} s"

    if failures.Length = 0 then 0 else 1

let private usage =
    "--seed N [--lines L]: runs one seed, and shows the last L lines. --seeds N [--from M]: runs N seeds from M on (1). --crash N [--lines L], --crashes N [--from M]: the same with crashes of the scheduler. Otherwise: Expecto's options."

[<EntryPoint>]
let main args =
    let valueOf name fallback =
        match Array.tryFindIndex ((=) name) args with
        | Some index when index + 1 < args.Length -> UInt64.Parse args[index + 1]
        | Some _ -> invalidArg name usage
        | None -> fallback

    if Array.contains "--seed" args then
        let lines = int (valueOf "--lines" 40UL)
        let run = Simulation.runKeeping lines (valueOf "--seed" 1UL)

        if run.failure.IsNone && Array.contains "--lines" args then
            for line in run.trace.Lines do
                printfn $"{line}"

        match run.failure with
        | Some _ ->
            printfn $"{Simulation.report run}"
            1
        | None ->
            printfn
                $"seed {run.seed}: {run.tasks} tasks in {run.ended.sinceStart} ms, trace {run.trace.Hash:x16}"

            0
    elif Array.contains "--seeds" args then
        runAll (valueOf "--from" 1UL) (int (valueOf "--seeds" 1UL))
    elif Array.contains "--crash" args then
        let run =
            CrashRun.largeKeeping (int (valueOf "--lines" 40UL)) (valueOf "--crash" 1UL)

        for line in run.trace.Lines do
            printfn $"{line}"

        printfn $"seed {run.seed}: {Option.defaultValue (string run.boundaries) run.failure}"
        if run.failure.IsSome then 1 else 0
    elif Array.contains "--crashes" args then
        crashAll (valueOf "--from" 1UL) (int (valueOf "--crashes" 1UL))
    else
        TestProgram.run "simulation" args
