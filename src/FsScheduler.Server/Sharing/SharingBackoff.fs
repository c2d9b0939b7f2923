namespace FsScheduler.Server

open System.Collections.Generic
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>Which attempts of a worker use shared files, and whether new ones may. Safe for any thread.</summary>
/// <param name="clock">Measures the pauses.</param>
/// <param name="holding">Attempts of an earlier connection, which may use shared files.</param>
[<Sealed>]
type internal SharingBackoff(clock: Clock, holding: Attempt[]) =
    static let pauseMin = 5L * 60_000L<ms>
    static let pauseMax = 60L * 60_000L<ms>
    let referred = HashSet<Attempt> holding
    let mutable pause = pauseMin
    let mutable onFrom = clock.Now

    /// Whether the worker is given files. Paused after a failure, since a full disk gets space again; a worker that
    /// sees other files loses an attempt now and then.
    member _.IsOn = lock referred (fun () -> clock.Now - onFrom >= 0L<ms>)

    member _.Add(attempt: Attempt) =
        lock referred (fun () -> referred.Add attempt |> ignore)

    /// Whether the attempt, which has ended, used a shared file.
    member _.Remove(attempt: Attempt) : bool =
        lock referred (fun () -> referred.Remove attempt)

    /// <returns>The length of the pause: five minutes, doubled each time, one hour at most.</returns>
    member _.Pause() : Duration =
        lock referred (fun () ->
            let long = pause
            onFrom <- clock.Now + long
            pause <- min pauseMax (2L * pause)
            long)

    /// Ends the doubling, after a file was of use.
    member _.Succeed() =
        lock referred (fun () -> pause <- pauseMin)
