namespace FsScheduler.Server

open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Protocol

/// <summary>What goes to one worker and comes from it as files.</summary>
/// <param name="session">The worker's.</param>
/// <param name="sharing">Knows the files.</param>
/// <param name="references">The attempts for which the worker was told some.</param>
/// <param name="warn">Told why it gets bytes from now on, and for how many minutes.</param>
/// <param name="ct">The worker has gone.</param>
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

    /// What is taken over when the worker has gone is for nobody.
    let letGo (taking: Task<struct (Input * string voption)>) =
        task {
            match! taking with
            | struct (Input.Report(_, _, _, result), _) -> SpoolFile.discard result
            | _ -> ()
        }

    /// What a message is once it is said where its payload lies, if that need not travel.
    member _.Refer(departure: OutgoingMessage<FromScheduler>) : OutgoingMessage<FromScheduler> =
        match departure.message, departure.submission with
        | FromScheduler.Process work, ValueSome submission when references.IsOn ->
            let referring = sharing.Refer(work, submission, departure.payload)

            if referring.files.IsNone then
                departure
            else
                references.Add work.attempt

                {
                    departure with
                        message = FromScheduler.Process referring
                        payload = Payload.empty
                }
        | FromScheduler.Cancel attempt, _ ->
            references.Remove attempt |> ignore
            departure
        | _ -> departure

    /// Whether the worker was told a file for this attempt, by this connection or one before it. It says what became of
    /// it, once.
    member _.Ends(attempt: Attempt) : bool = references.Remove attempt

    /// The worker has stored a result.
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
                    letGo taking |> ignore
        }

    /// The worker cannot use the files that it was told.
    member _.UnsharedAsync(attempt: Attempt, error: string) : Task<Input> =
        task {
            let! answer = sharing.RefusedAsync(session, attempt, error).WaitAsync ct
            return hear answer
        }

    /// <summary>The worker has sent the outcome of an attempt for which it was told files.</summary>
    /// <param name="attempt">Which.</param>
    /// <param name="said">What the machine is to be told of it.</param>
    /// <param name="payload">What came with it.</param>
    member _.JudgeAsync(attempt: Attempt, said: Input, payload: Payload) : Task<Input> =
        task {
            let! judged = sharing.JudgeAsync(session, attempt, said).WaitAsync ct

            if not (obj.ReferenceEquals(judged, said)) then
                SpoolFile.discard payload

            return judged
        }
