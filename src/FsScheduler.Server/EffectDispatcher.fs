namespace FsScheduler.Server

open System
open System.Collections.Generic
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Protocol

/// <summary>Brings effects to those whom they concern: connections, the disk, the journal's reader.</summary>
/// <param name="find">Finds peers.</param>
/// <param name="publishing">What is a matter of the disk.</param>
/// <param name="submissions">Those that are to be read from the journal.</param>
/// <param name="pieces">What is cut and joined.</param>
/// <param name="reads">Waits with what is dropped of the journal.</param>
/// <param name="delivered">Told of the tasks whose results, which are kept, were handed to connections that live.</param>
/// <param name="outage">What STATUS says in `trouble`.</param>
/// <param name="awaited">The file that is waited for, as a sentence, or null: what STATUS says of it.</param>
/// <param name="log">For whoever looks after the workers.</param>
[<Sealed>]
type EffectDispatcher
    (
        find: FindPeer,
        publishing: ResultPublisher,
        submissions: SubmissionLoader,
        pieces: PieceMerger,
        reads: PendingReads,
        delivered: Action<TaskId>,
        outage: StorageOutage,
        awaited: Func<string | null>,
        log: ILogger
    ) =
    // Those that have something new to send: they are told once, at the end.
    let touched = List<IPeer>()

    let touch (peer: IPeer) =
        if not peer.IsTouched then
            peer.IsTouched <- true
            touched.Add peer

    /// False: there is nobody any more.
    let trySend session (departure: OutgoingMessage<FromScheduler>) =
        match find.Invoke session with
        | NonNull peer when peer.Post departure ->
            touch peer
            true
        | _ ->
            if departure.isLast then
                publishing.Post(DiskEffect.Discard departure.payload)

            false

    let send session departure = trySend session departure |> ignore

    /// A result that is kept for whoever has its key is kept less long from now on.
    let note message =
        match message with
        | FromScheduler.Done outcome when outcome.error.IsNone -> delivered.Invoke outcome.task
        | _ -> ()

    /// Whoever asks how it goes is told what holds it up, and which file is waited for.
    let withFailure message =
        match message with
        | FromScheduler.Status report ->
            FromScheduler.Status {
                report with
                    trouble = Option.ofObj outage.Reason
                    awaited = Option.ofObj (awaited.Invoke())
            }
        | _ -> message

    let onPeer session (say: IPeer -> unit) =
        match find.Invoke session with
        | null -> ()
        | peer ->
            say peer
            touch peer

    let toPeer effect =
        match effect with
        | PeerEffect.Assign(session, work, submission, payload) ->
            send session {
                message = FromScheduler.Process work
                payload = payload
                submission = ValueSome submission
                isLast = false
            }
        | PeerEffect.Revoke(session, attempt) ->
            send session {
                message = FromScheduler.Cancel attempt
                payload = Payload.empty
                submission = ValueNone
                isLast = false
            }
        | PeerEffect.Reply(session, message, payload, kept) ->
            let isSent =
                trySend session {
                    message = withFailure message
                    payload = payload
                    submission = ValueNone
                    isLast = not kept
                }

            if isSent && kept then
                note message
        | PeerEffect.Welcome(session, keep) -> onPeer session _.Welcome(keep)
        | PeerEffect.Dismiss session -> onPeer session _.Dismiss()
        | PeerEffect.Disconnect(session, reason) ->
            match find.Invoke session with
            | null -> ()
            | peer -> peer.Close reason

    let toJournal effect =
        match effect with
        | JournalEffect.LoadSubmission(attempt, number) -> submissions.Load(attempt, number)
        | JournalEffect.ReplyLoaded(session, outcome, number) ->
            if not (isNull (find.Invoke session)) then
                submissions.Refer(session, outcome, number)
        | JournalEffect.Drop before -> reads.Drop before

    let toLog effect =
        match effect with
        | LogEffect.StageUnavailable(stage, tasks) ->
            log.LogWarning(
                "no worker offers '{Stage}': {Tasks} tasks wait for one; start one that does",
                stage,
                tasks
            )
        | LogEffect.HeldBack(worker, stages, error) ->
            log.LogWarning(
                "worker {Worker} only fails '{Stages}', last with: {Error}. It is held back: it is given them now and then only, until it does one; its tasks go to others",
                worker,
                System.String.Join(" | ", stages),
                error
            )
        | LogEffect.TakenUp(worker, stages) ->
            log.LogInformation(
                "worker {Worker} is given '{Stages}' again as any other",
                worker,
                System.String.Join(" | ", stages)
            )

    let perform effect =
        match effect with
        | Effect.ToPeer effect -> toPeer effect
        | Effect.ToDisk effect -> publishing.Post effect
        | Effect.ToPieces effect -> pieces.Post effect
        | Effect.ToJournal effect -> toJournal effect
        | Effect.ToLog effect -> toLog effect

    /// Lets effects out, in order. By one thread at a time.
    member _.Release(effects: List<Effect>) =
        for index in 0 .. effects.Count - 1 do
            perform effects[index]

        for peer in touched do
            peer.IsTouched <- false
            peer.Signal()

        touched.Clear()
