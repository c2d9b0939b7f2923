namespace FsScheduler.Server

open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol

/// <summary>The payloads and results of one worker that are shared as files.</summary>
/// <param name="session">The session of the worker.</param>
/// <param name="sharing">Takes files over.</param>
/// <param name="references">The attempts that use shared files.</param>
/// <param name="warn">Told why the worker is sent bytes from now on, and for how many minutes.</param>
/// <param name="ct">Cancelled when the worker has left.</param>
[<Sealed>]
type internal WorkerSharing
    (
        session: SessionId,
        sharing: SharedFileTransfer,
        references: SharingBackoff,
        warn: string -> int64 -> unit,
        ct: CancellationToken
    ) =
    let hear (struct (input: Input, failure: string voption)) =
        match failure with
        | ValueNone when input.IsReport -> references.Succeed()
        | ValueSome reason when references.IsOn -> warn reason (references.Pause() / 60_000L<ms>)
        | _ -> ()

        input

    /// Deletes a result that arrives after its worker has left.
    let discardLate (taking: Task<struct (Input * string voption)>) =
        task {
            match! taking with
            | struct (Input.Report(_, _, _, result), _) -> SpoolFile.discard result
            | _ -> ()
        }

    /// The message with a file in place of its payload, where the payload need not be sent.
    member _.Refer(outgoing: SchedulerMessage) : SchedulerMessage =
        match outgoing.message, outgoing.payload with
        | FromScheduler.Process work, OutgoingPayload.Task(submission, payload) when references.IsOn ->
            let referring = sharing.Refer(work, submission, payload)

            if referring.files.IsNone then
                outgoing
            else
                references.Add work.attempt

                { message = FromScheduler.Process referring; payload = OutgoingPayload.none }
        | FromScheduler.Cancel attempt, _ ->
            references.Remove attempt |> ignore
            outgoing
        | _ -> outgoing

    /// Whether the worker was given a file for this attempt, over this connection or an earlier one. True once, for the
    /// last message about the attempt.
    member _.Ends(attempt: Attempt) : bool = references.Remove attempt

    /// Takes over a result that the worker has stored.
    member _.StoredAsync(attempt: Attempt, size: Size) : Task<Input> =
        task {
            let taking = sharing.TakeAsync(session, attempt, size, ct)
            let mutable isTaken = false

            try
                let! answer = taking.WaitAsync ct
                isTaken <- true
                return hear answer
            finally
                if not isTaken then
                    discardLate taking |> ignore
        }

    /// Handles a worker that cannot use the files it was given.
    member _.UnsharedAsync(attempt: Attempt, error: string) : Task<Input> =
        task {
            let! answer = sharing.RefusedAsync(session, attempt, error).WaitAsync ct
            return hear answer
        }

    /// <summary>Checks the outcome of an attempt for which the worker was given files.</summary>
    /// <param name="attempt">The attempt.</param>
    /// <param name="said">The input of the machine that reports the outcome.</param>
    /// <param name="payload">The payload of the outcome.</param>
    member _.JudgeAsync(attempt: Attempt, said: Input, payload: Content) : Task<Input> =
        task {
            let! judged = sharing.JudgeAsync(session, attempt, said).WaitAsync ct

            if not (obj.ReferenceEquals(judged, said)) then
                SpoolFile.discard payload

            return judged
        }
