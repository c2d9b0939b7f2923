namespace FsScheduler.Core

open System
open System.Collections.Generic

/// <summary>The paths of a folder that are refused as inputs, as of the last look at each: a path that was corrected or
/// removed does not count any more. Without disk and clock.</summary>
/// <param name="max">The most paths that are remembered.</param>
[<Sealed>]
type Refusals(max: int) =
    /// The last scan that refused each path.
    let lastScans = Dictionary<string, int>(StringComparer.Ordinal)
    let mutable scan = 0

    /// How many paths are refused, up to `max`.
    member _.Count = lastScans.Count

    /// A scan of the whole folder begins.
    member _.BeginScan() : unit = scan <- scan + 1

    /// <summary>Records a refused path.</summary>
    /// <returns>Whether the refusal is new, and so to be reported.</returns>
    member _.Add(path: string) : bool =
        if lastScans.ContainsKey path then
            lastScans[path] <- scan
            false
        elif lastScans.Count < max then
            lastScans.Add(path, scan)
            true
        else
            false

    /// Records that a path is acceptable, or gone.
    member _.Remove(path: string) : unit =
        if lastScans.Count > 0 then
            lastScans.Remove path |> ignore

    /// The scan has seen the whole folder: paths that it did not refuse are acceptable, or gone.
    member _.EndScan() : unit =
        for KeyValue(path, last) in Seq.toArray lastScans do
            if last < scan then
                lastScans.Remove path |> ignore
