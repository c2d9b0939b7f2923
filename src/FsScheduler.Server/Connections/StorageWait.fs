namespace FsScheduler.Server

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol

/// <summary>What a connection does with a payload that the disk did not take. A result is not thrown away because the disk
/// is full: it waits, and with it its worker, as long as its attempt is the current one. A result that is only larger than
/// the room that is left would hold up all others: its task is tried again later. A SUBMIT is refused.</summary>
/// <param name="context">Where the outage is told, and who knows whether an attempt is the current one.</param>
/// <param name="closing">Ends the wait.</param>
[<Sealed>]
type internal StorageWait(context: ConnectionContext, closing: CancellationToken) =
    let mutable heldUpAt: string | null = null

    /// Whether a result waits for the disk: the silence of the peer is the scheduler's doing.
    member _.IsWaiting = not (isNull heldUpAt)

    /// The result has come, or nobody wants it any more.
    member _.End() =
        match Interlocked.Exchange(&heldUpAt, null) with
        | null -> ()
        | place -> context.outage.End place

    /// <summary>Waits a second where that may help.</summary>
    /// <param name="message">What the payload came with.</param>
    /// <param name="path">Where it was to be written.</param>
    /// <param name="refusal">What the disk said.</param>
    /// <returns>Whether to try again.</returns>
    member _.RetryAsync(message: ToScheduler, path: string, refusal: exn) : Task<bool> =
        task {
            let folder = nonNull (Path.GetDirectoryName path)

            match message with
            | ToScheduler.Result _ when Disk.isFull refusal && Disk.hasRoomForOthers folder ->
                return false
            | ToScheduler.Result(attempt, _) when Disk.passes refusal ->
                heldUpAt <- path
                context.outage.Begin(path, refusal.Message)

                try
                    do! Task.Delay(StorageOutage.BetweenTries, context.clock.Provider, closing)

                    let isOver scheduler =
                        (ResultTarget.ofResult attempt scheduler).IsNowhere

                    let! isOver = context.agent.QueryAsync(isOver).WaitAsync closing
                    return not isOver
                with :? OperationCanceledException ->
                    return false
            | ToScheduler.Submit _ when Disk.passes refusal ->
                context.noRoom folder refusal.Message
                return false
            | _ -> return false
        }
