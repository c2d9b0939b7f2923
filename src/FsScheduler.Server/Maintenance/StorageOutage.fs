namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform

/// The places where the disk takes no data, with reasons. While there is one, no new task is accepted.
[<Sealed>]
type StorageOutage(log: ILogger) =
    static let betweenTries = TimeSpan.FromSeconds 1.0

    let reasons = ConcurrentDictionary<string, string>()

    /// The outages, each with its place, as a sentence; null if there are none.
    member _.Reason: string | null =
        if reasons.IsEmpty then
            null
        else
            String.concat "; " reasons.Values

    /// Begins the outage of a place. Logged once, however often the operation is retried.
    member _.Begin(place: string, reason: string) =
        if reasons.TryAdd(place, $"{place}: {reason}") then
            log.LogError(
                "{Place}: {Reason}; new work is held back until that is over, it is tried again every second",
                place,
                reason
            )

    /// Logs a result that is larger than the free space. No outage, since smaller results still fit.
    member _.Skip(task: TaskId, reason: string) =
        log.LogWarning("task {Task}: {Reason}", task, reason)

    /// Ends the outage of a place.
    member _.End(place: string) =
        if not reasons.IsEmpty && reasons.TryRemove(place, ref "") then
            log.LogInformation("{Place}: it works again", place)

    /// The pause between two tries of an operation that the disk refused.
    static member BetweenTries = betweenTries

    /// <summary>Repeats an operation every second while the disk takes no data: results are not computed
    /// again.</summary>
    /// <param name="place">Names the place in the log and in STATUS.</param>
    /// <param name="clock">Measures the second.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="attempt">The operation: its value, or the error of a disk that takes no data.</param>
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

                outage.End place
            finally
                // A wait that was cancelled holds nothing back any more, and says nothing of the disk.
                if answer.IsNone then
                    reasons.TryRemove(place, ref "") |> ignore

            return answer.Value
        }
