namespace FsScheduler.Simulation.Tests

open System
open FsScheduler.Core

/// What a run must never show. A run that raises it has failed.
exception Violation of string

/// What may not be.
[<AutoOpen>]
module Rules =

    let violation text = raise (Violation text)

    /// Ends a run as failed where something does not hold. Only then is it put into words: in runs that go well, that would
    /// take most of the time.
    let must isSo (text: FormattableString) =
        if not isSo then
            violation (FormattableString.Invariant text)

/// The only source of chance of a run: all of it follows from the seed.
[<Sealed>]
type Chance(seed: uint64) =
    let mutable state = seed

    member _.Next() : uint64 =
        let struct (next, value) = Backoff.random state
        state <- next
        value

    /// From 0 to `count - 1`.
    member chance.Below(count: int) = int (chance.Next() % uint64 count)

    /// From `low` to `high`, both included.
    member chance.Between(low: int, high: int) = low + chance.Below(high - low + 1)

    member chance.Percent(percent: int) = chance.Below 100 < percent
    member chance.PerMille(perMille: int) = chance.Below 1000 < perMille
    member chance.Pick(choices: 'T[]) : 'T = choices[chance.Below choices.Length]

    member chance.Time(low: Duration, high: Duration) : Duration =
        low + 1L<ms> * int64 (chance.Next() % uint64 (high - low + 1L<ms>))
