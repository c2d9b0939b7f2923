namespace FsScheduler.Server

open System.Collections.Concurrent
open Microsoft.Extensions.Logging
open FsScheduler.Core

/// What keeps the disk from taking anything, by the place where it was met. While there is something, no new work is
/// taken: what runs is kept.
[<Sealed>]
type Holdup(log: ILogger) =
    let reasons = ConcurrentDictionary<string, string>()

    /// A sentence with what is wrong and where, or null.
    member _.Reason: string | null =
        if reasons.IsEmpty then
            null
        else
            String.concat "; " reasons.Values

    /// It does not work there. Said once, however often it is tried again.
    member _.Begin(place: string, reason: string) =
        if reasons.TryAdd(place, $"{place}: {reason}") then
            log.LogError(
                "{Place}: {Reason}; new work is held back until that is over, it is tried again every second",
                place,
                reason
            )

    /// One result is larger than the room that is left: it holds up nothing but itself.
    member _.Skip(task: TaskId, reason: string) =
        log.LogWarning("task {Task}: {Reason}", task, reason)

    /// It works again.
    member _.End(place: string) =
        if not reasons.IsEmpty && reasons.TryRemove(place, ref "") then
            log.LogInformation("{Place}: it works again", place)
