module FsScheduler.Simulation.Tests.SimulationTests

open Expecto
open FsScheduler.Core

/// Seeds that every run of the tests tries.
let private seeds = 900

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

[<Tests>]
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

            for what in RequiredCoverage.occurrences do
                Expect.isGreaterThan (all.Of what) 0L $"never in {seeds} seeds: {what}"
        }

        test "work that nobody hurries is done under any load" {
            // Older than agingAfter, and then a few turns of those that are as old.
            let boundMs = 30_000L<ms> + 60_000L<ms>

            for seed in 1UL .. 20UL do
                let chance = Chance seed
                let stages = [| "a"; "b"; "c" |]
                let workers = Array.init (chance.Between(1, 5)) (fun _ -> chance.Pick stages)
                let takes () = chance.Time(50L<ms>, 900L<ms>)
                Expect.isLessThan (Starvation.longestWait workers takes) boundMs $"seed {seed}"
        }

        test "workers in lockstep starve nobody" {
            for count in 1..8 do
                let workers = Array.init count (fun index -> $"s{index}")
                let longest = Starvation.longestWait workers (fun () -> 500L<ms>)
                Expect.isLessThan longest 60_000L<ms> $"{count} workers, each with its own stage"
        }
    ]
