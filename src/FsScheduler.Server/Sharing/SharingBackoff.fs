namespace FsScheduler.Server

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>Which attempts a worker was told a file for, and whether it is told any. Safe for any thread.</summary>
/// <param name="clock">For pauses.</param>
/// <param name="holding">What the worker still holds of a connection before: it may have been told one.</param>
[<Sealed>]
type internal SharingBackoff(clock: Clock, holding: Attempt[]) =
    static let pauseMin = 5L * 60_000L<ms>
    static let pauseMax = 60L * 60_000L<ms>
    let referred = HashSet<Attempt> holding
    let mutable pause = pauseMin
    let mutable onFrom = clock.Now

    /// Whether it is to be told files. Not for a while after what they were good for has failed: a disk that was full has
    /// room again; and who sees other files pays for that with an attempt now and then.
    member _.IsOn = lock referred (fun () -> clock.Now - onFrom >= 0L<ms>)

    member _.Add(attempt: Attempt) =
        lock referred (fun () -> referred.Add attempt |> ignore)

    /// Whether it was told a file for that attempt, of which it says nothing more.
    member _.Remove(attempt: Attempt) : bool =
        lock referred (fun () -> referred.Remove attempt)

    /// <returns>How long it is told none: five minutes, then twice as long each time, an hour at most.</returns>
    member _.Pause() : Duration =
        lock referred (fun () ->
            let long = pause
            onFrom <- clock.Now + long
            pause <- min pauseMax (2L * pause)
            long)

    /// A file was of use.
    member _.Succeed() =
        lock referred (fun () -> pause <- pauseMin)
