namespace FsScheduler.Server

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Platform
open FsScheduler.Protocol

/// <summary>What a connection does with a payload that the disk refused. A result waits for a full disk, and its worker
/// with it, as long as its attempt is current. A result that is only larger than the free space would hold back all
/// others: its task is retried later. A SUBMIT is refused.</summary>
/// <param name="context">Has the outage, and knows whether an attempt is current.</param>
/// <param name="closing">Ends the wait.</param>
[<Sealed>]
type internal StorageWait(context: ConnectionContext, closing: CancellationToken) =
    let mutable waitsAt: string | null = null

    /// Whether a result waits for the disk, which excuses the silence of the peer.
    member _.IsWaiting = not (isNull waitsAt)

    /// Ends the wait: the result is stored, or nobody wants it any more.
    member _.End() =
        match Interlocked.Exchange(&waitsAt, null) with
        | null -> ()
        | place -> context.outage.End place

    /// <summary>Waits a second where another try may help.</summary>
    /// <param name="message">The message of the payload.</param>
    /// <param name="path">The file that could not be written.</param>
    /// <param name="refusal">The error of the disk.</param>
    /// <returns>Whether to try again.</returns>
    member _.RetryAsync(message: ToScheduler, path: string, refusal: exn) : Task<bool> =
        task {
            let folder = nonNull (Path.GetDirectoryName path)

            match message with
            | ToScheduler.Result _ when Disk.isFull refusal && Disk.hasRoomForOthers folder ->
                return false
            | ToScheduler.Result(attempt, _) when Disk.passes refusal ->
                waitsAt <- path
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
