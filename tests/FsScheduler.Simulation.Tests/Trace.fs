namespace FsScheduler.Simulation.Tests

open System.Collections.Generic
open FsScheduler.Core

/// What has happened in a run: a hash of all of it, and the latest lines. Lines are put into words
/// only when somebody reads them, because nobody reads those of a run that goes well.
[<Sealed>]
type Trace(linesMax: int) =
    let lines = Queue<struct (Duration * string * int64 * obj)>()
    let mutable hash = 0xCBF29CE484222325UL

    let mix (value: uint64) =
        hash <- (hash ^^^ value) * 0x100000001B3UL

    member _.Add(now: Instant, what: string, number: int64, detail: obj) =
        mix (uint64 now.sinceStart)
        mix (uint64 number)

        for letter in what do
            mix (uint64 letter)

        lines.Enqueue(struct (now.sinceStart, what, number, detail))

        if lines.Count > linesMax then
            lines.Dequeue() |> ignore

    /// FNV-1a over everything added: equal for equal runs.
    member _.Hash = hash

    member _.Lines = [
        for struct (at, what, _, detail) in lines do
            $"%8d{at} ms  {what}  {TraceFormat.ofAny detail}"
    ]

/// How often each thing has occurred: a simulation in which nothing goes wrong proves nothing.
[<Sealed>]
type Coverage() =
    let counts = SortedDictionary<string, int64>(System.StringComparer.Ordinal)

    member _.Count(what: string, times: int64) =
        counts[what] <- counts.GetValueOrDefault(what, 0L) + times

    member coverage.Count what = coverage.Count(what, 1L)
    member _.Of what = counts.GetValueOrDefault(what, 0L)
    member _.All = counts |> Seq.map (fun (KeyValue(what, times)) -> struct (what, times))

    /// Keeps the largest value.
    member _.Most(what: string, value: int64) =
        counts[what] <- max (counts.GetValueOrDefault(what, 0L)) value

    member coverage.Add(other: Coverage) =
        for struct (what, times) in other.All do
            if what.StartsWith "longest" then
                coverage.Most(what, times)
            else
                coverage.Count(what, times)
