namespace FsScheduler.Server

open System
open System.Collections.Generic
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Protocol

/// <summary>Hands each effect to its performer: a connection, the publisher, the merger, the loader.</summary>
/// <param name="find">Finds peers.</param>
/// <param name="publishing">Performs the effects that need the disk.</param>
/// <param name="submissions">Reads submissions from the journal.</param>
/// <param name="pieces">Splits and merges.</param>
/// <param name="reads">Delays drops of the journal.</param>
/// <param name="delivered">Told of tasks whose kept results were handed to live connections.</param>
/// <param name="outage">Its reason is `trouble` in STATUS.</param>
/// <param name="awaited">The file that is waited for, as a sentence, or null: part of STATUS.</param>
/// <param name="log">Warns the operator of the workers.</param>
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
    // Peers with new messages, to be signalled once, at the end.
    let touched = List<IPeer>()

    let touch (peer: IPeer) =
        if not peer.IsTouched then
            peer.IsTouched <- true
            touched.Add peer

    /// False: the peer has gone.
    let trySend session (outgoing: SchedulerMessage) =
        match find.Invoke session with
        | NonNull peer when peer.Post outgoing ->
            touch peer
            true
        | _ ->
            match outgoing.payload with
            | OutgoingPayload.Own(Spooled(path, _)) -> publishing.Post(DiskEffect.Discard path)
            | _ -> ()

            false

    let send session message payload =
        trySend session { message = message; payload = payload } |> ignore

    /// Notes the delivery of a kept result, which is kept less long from now on.
    let note message =
        match message with
        | FromScheduler.Done outcome when outcome.error.IsNone -> delivered.Invoke outcome.task
        | _ -> ()

    /// Adds the outage and the file that is waited for to a STATUS.
    let withOutage message =
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
            send session (FromScheduler.Process work) (OutgoingPayload.Task(submission, payload))
        | PeerEffect.Revoke(session, attempt) ->
            send session (FromScheduler.Cancel attempt) OutgoingPayload.none
        | PeerEffect.Reply(session, message) ->
            send session (withOutage message) OutgoingPayload.none
        | PeerEffect.ReplyResult(session, message, result) ->
            send session message (OutgoingPayload.Own result)
        | PeerEffect.ReplyKept(session, message, result) ->
            if trySend session { message = message; payload = OutgoingPayload.Kept result } then
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
                "worker {Worker} has done a task of '{Stages}', and is given such tasks as before",
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

    /// Hands effects on, in order. By one thread at a time.
    member _.Release(effects: List<Effect>) =
        for index in 0 .. effects.Count - 1 do
            perform effects[index]

        for peer in touched do
            peer.IsTouched <- false
            peer.Signal()

        touched.Clear()
