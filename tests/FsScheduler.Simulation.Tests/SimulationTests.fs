module FsScheduler.Simulation.Tests.SimulationTests

open Expecto

/// Seeds that every run of the tests tries.
let private seeds = 300

/// A run of each seed, all of them before the first test looks.
let private runs =
    lazy
        (let runs = Array.zeroCreate<Run> seeds

         System.Threading.Tasks.Parallel.For(
             0,
             seeds,
             fun index -> runs[index] <- Simulation.run (uint64 (index + 1))
         )
         |> ignore

         runs)

let tests =
    testList "simulation" [
        test $"{seeds} seeds end with every task at its end" {
            match runs.Value |> Array.filter _.failure.IsSome with
            | [||] -> ()
            | failed ->
                let first = failed |> Array.minBy _.ended.sinceStart
                failtest $"{failed.Length} seeds failed\n{Simulation.report first}"
        }

        test "the same seed gives the same run" {
            for seed in 1UL .. 20UL do
                let one = runs.Value[int seed - 1]
                let other = Simulation.run seed
                Expect.equal other.trace.Hash one.trace.Hash $"seed {seed}"
                Expect.equal other.ended one.ended $"seed {seed}"
        }

        test "other seeds give other runs" {
            let hashes = runs.Value |> Array.map _.trace.Hash |> Array.distinct
            Expect.hasLength hashes seeds "no two runs are the same"
        }

        test "whatever can go wrong did go wrong" {
            let all = Coverage()

            for run in runs.Value do
                all.Add run.coverage

            for what in Required.occurrences do
                Expect.isGreaterThan (all.Of what) 0L $"never in {seeds} seeds: {what}"
        }
    ]
