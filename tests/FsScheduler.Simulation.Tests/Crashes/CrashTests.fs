module FsScheduler.Simulation.Tests.Crashes.CrashTests

open System.Threading.Tasks
open Expecto
open FsScheduler.Simulation.Tests

/// Small histories of which every boundary is tried, by killing the process and by cutting the power.
let private histories = 5

/// Large ones, with a few crashes and a disk that misbehaves.
let private seeds = 500

/// Every history that there is, in parallel: the run without a crash tells how many boundaries there are.
let exhaustive (first: uint64) (count: int) : CrashRun list =
    let plans = [
        for seed in first .. first + uint64 count - 1UL do
            for cutsPower in [ false; true ] do
                let whole = CrashRun.small seed (Once(0, cutsPower))
                whole
    ]

    let crashed =
        [|
            for whole in plans do
                match whole.plan with
                | Once(_, cutsPower) ->
                    for boundary in 1 .. whole.boundaries do
                        struct (whole.seed, Once(boundary, cutsPower))
                | Often _ -> ()
        |]
        |> Array.Parallel.map (fun struct (seed, plan) -> CrashRun.small seed plan)

    plans @ List.ofArray crashed

let many (first: uint64) (count: int) : CrashRun[] =
    let runs = Array.zeroCreate<CrashRun> count

    Parallel.For(0, count, fun index -> runs[index] <- CrashRun.large (first + uint64 index))
    |> ignore

    runs

let private large = lazy (many 1UL seeds)

let describe (run: CrashRun) =
    $"seed {run.seed}, %A{run.plan}: {Option.get run.failure}"

/// `again` is the command that runs one of them again; "": there is none.
let private expectNoFailure (again: CrashRun -> string) (runs: CrashRun seq) =
    match runs |> Seq.filter _.failure.IsSome |> Seq.toList with
    | [] -> ()
    | failed ->
        let described =
            failed
            |> List.truncate 20
            |> List.map (fun run -> $"{describe run}\n{again run}")
            |> String.concat "\n"

        failtest $"{failed.Length} runs failed\n{described}"

/// Without these the runs would mean little.
let private required = [
    "carried: File"
    "carried: Key"
    "carried: Owner"
    "carried: Part"
    "carried: Task"
    "carried: Worker"
    "fault: answer lost"
    "fault: cut failed"
    "fault: disk full"
    "fault: file vanished"
    "fault: join failed"
    "fault: killed"
    "fault: power cut"
    "fault: rename failed"
    "fault: second scheduler"
    "seen: asked again with a key"
    "seen: content lost"
    "seen: content torn"
    "seen: crash between carrying and dropping"
    "seen: crash while carrying"
    "seen: crash while dropping"
    "seen: crash while starting"
    "seen: damaged result found"
    "seen: dropped"
    "seen: fenced"
    "seen: result for nobody"
    "seen: late result"
    "seen: name lost"
    "seen: part dropped"
    "seen: part gone"
    "seen: part kept"
    "seen: result found after a crash"
    "seen: worker back with what it holds"
    "effect: Drop"
    "effect: LoadSubmission"
    "effect: ReplyLoaded"
    "effect: ConfirmPublished"
    "event: Claimed"
    "event: Part"
    "event: PartLost"
    "event: Quarantined"
    "event: Speculated"
    "event: Split"
    "input: Cut"
    "input: PartsMerged"
    "input: Note"
    "input: Outdated"
    "input: Retain"
    "input: MergeFailed"
    "input: Unpublished"
    "input: Unreadable"
    "input: Unstored"
    "input: FileChanged"
]

/// Also where every boundary is tried.
let private requiredOfSmall = [
    "carried: Part"
    "carried: Task"
    "event: Part"
    "event: Split"
    "input: PartsMerged"
    "seen: crash between carrying and dropping"
    "seen: crash while carrying"
    "seen: dropped"
    "seen: part dropped"
    "seen: part kept"
    "seen: result found after a crash"
]

let private expectSeen what (runs: CrashRun seq) =
    let all = Coverage()

    for run in runs do
        all.Add run.coverage

    for what in what do
        Expect.isGreaterThan (all.Of what) 0L $"never in {Seq.length runs} runs: {what}"

[<Tests>]
let tests =
    testList "crashes" [
        test "wherever a small history is cut, it comes to its end" {
            let runs = exhaustive 1UL histories
            expectNoFailure (fun _ -> "") runs
            Expect.isGreaterThan runs.Length 1_000 "boundaries"
            expectSeen requiredOfSmall runs
        }

        test $"{seeds} large histories with crashes come to their ends" {
            expectNoFailure
                (fun run ->
                    $"again: dotnet run --project tests/FsScheduler.Simulation.Tests -- --crash {run.seed} --lines 200")
                large.Value
        }

        test "the same seed gives the same run" {
            for seed in 1UL .. 20UL do
                let again = CrashRun.large seed
                let first = large.Value[int seed - 1]
                Expect.equal again.boundaries first.boundaries $"seed {seed}"
                Expect.equal again.tasks first.tasks $"seed {seed}"
        }

        test "whatever can go wrong did go wrong" { expectSeen required large.Value }
    ]
