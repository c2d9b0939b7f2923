namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform

/// What keeps the disk from taking anything, by the place where it was met. While there is something, no new work is
/// taken: what runs is kept.
[<Sealed>]
type StorageOutage(log: ILogger) =
    static let betweenTries = TimeSpan.FromSeconds 1.0

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

    /// The time between two tries of what the disk does not take.
    static member BetweenTries = betweenTries

    /// <summary>Tries again, every second, while it is the disk that takes nothing: what is there already is not computed
    /// once more.</summary>
    /// <param name="place">Where, for the log and STATUS.</param>
    /// <param name="clock">Measures the second.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="attempt">Gives a value, or as an error what the disk said that takes nothing.</param>
    /// <exception cref="T:System.OperationCanceledException">By <c>ct</c>.</exception>
    member outage.RetryAsync
        (
            place: string,
            clock: Clock,
            ct: CancellationToken,
            attempt: unit -> Task<Result<'value, string>>
        ) : Task<'value> =
        task {
            let mutable answer = ValueNone

            try
                while answer.IsNone do
                    match! attempt () with
                    | Ok value -> answer <- ValueSome value
                    | Error reason ->
                        outage.Begin(place, reason)
                        do! Task.Delay(betweenTries, clock.Provider, ct)
            finally
                // However it ends, also where nobody wants the value any more: new work is not held back by it.
                outage.End place

            return answer.Value
        }
