namespace FsScheduler.Core

/// The delay before another try: of a failed task (`Rules/Fail`), of a worker that reconnects, of a local worker that is
/// started again.
module Backoff =

    /// The delay after the first failure, before jitter.
    let delayMin = 100L<ms>

    let delayMax = 60_000L<ms>

    /// <summary>The next state of a random sequence, and a number from it.</summary>
    /// <remarks>SplitMix64: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014).</remarks>
    let random (state: uint64) : struct (uint64 * uint64) =
        let state = state + 0x9E3779B97F4A7C15UL
        let z = (state ^^^ (state >>> 30)) * 0xBF58476D1CE4E5B9UL
        let z = (z ^^^ (z >>> 27)) * 0x94D049BB133111EBUL
        struct (state, z ^^^ (z >>> 31))

    /// <summary>The delay before the next attempt: 100 ms, doubled with each failure, at most one minute; a random
    /// share of the upper half is taken off.</summary>
    /// <param name="failures">Failures of the task so far, from 1.</param>
    /// <param name="chance">A random number; equal numbers give equal delays.</param>
    /// <remarks>Truncated binary exponential backoff, after Metcalfe and Boggs, Ethernet (1976), with equal jitter,
    /// so that tasks that failed together do not come back together.</remarks>
    let delay (failures: int) (chance: uint64) : Duration =
        let full = min delayMax (delayMin * (1L <<< min (failures - 1) 10))
        let half = full / 2L
        half + 1L<ms> * int64 (chance % uint64 (half + 1L<ms>))
