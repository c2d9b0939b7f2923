namespace FsScheduler.Core

open System
open System.Collections.Generic

/// <summary>What in a folder cannot be taken, as it stood when it was last looked at: what was put right, or removed,
/// does not count any more. Without disk and clock.</summary>
/// <param name="max">How many paths are remembered.</param>
[<Sealed>]
type Refusals(max: int) =
    /// The scan that each path was refused by or after, by path.
    let standing = Dictionary<string, int>(StringComparer.Ordinal)
    let mutable scan = 0

    /// How many stand, up to `max`.
    member _.Count = standing.Count

    /// A scan of the whole folder begins.
    member _.BeginScan() : unit = scan <- scan + 1

    /// <summary>A path is refused.</summary>
    /// <returns>Whether it was not before: then it is to be told.</returns>
    member _.Add(path: string) : bool =
        if standing.ContainsKey path then
            standing[path] <- scan
            false
        elif standing.Count < max then
            standing.Add(path, scan)
            true
        else
            false

    /// A path was looked at, and it is all right, or nothing is there.
    member _.Remove(path: string) : unit =
        if standing.Count > 0 then
            standing.Remove path |> ignore

    /// The scan has seen the whole folder: what it did not refuse is all right, or gone.
    member _.EndScan() : unit =
        for KeyValue(path, last) in Seq.toArray standing do
            if last < scan then
                standing.Remove path |> ignore
