namespace FsScheduler.Server

open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Protocol

/// <summary>Turns the messages of a peer into inputs of the machine, or answers them at once.</summary>
/// <param name="session">The session of the peer.</param>
/// <param name="context">What all connections share.</param>
/// <param name="storage">Handles payloads that the disk refused.</param>
/// <param name="postWith">Sends a message, with its payload, to the peer.</param>
/// <param name="closing">Cancelled when the peer has gone.</param>
[<Sealed>]
type internal MessageHandler
    (
        session: SessionId,
        context: ConnectionContext,
        storage: StorageWait,
        postWith: FromScheduler -> KeptContent -> unit,
        closing: CancellationToken
    ) =
    let inputs = List<Input>()
    let submissions = SubmissionBuilder session
    let mutable name = ""
    let mutable isFetching = false
    let mutable shared: WorkerSharing voption = ValueNone

    let post message = postWith message KeptContent.empty

    let add input : Task =
        inputs.Add input
        Task.CompletedTask

    let reject (submit: Submit) code message =
        post (FromScheduler.Rejected(submit.ref, code, message))

    let submit (submit: Submit) payload =
        task {
            match! submissions.ReadAsync(submit, payload) with
            | Ok submission -> inputs.Add(Input.Submit(submission, submit.pipeline))
            | Error reason ->
                SpoolFile.discard payload

                reject
                    submit
                    RejectionCode.BadName
                    $"the name '{submit.name}' cannot be used: {reason}"
        }

    /// Waits for the check of a shared file; further messages of the worker wait too.
    let fetch (answer: Task<Input>) : Task =
        task {
            isFetching <- true

            try
                let! input = answer
                inputs.Add input
            finally
                isFetching <- false
        }

    /// The sharing of an attempt for which the worker was given files; its current message is the last about it.
    let endsShared attempt =
        match shared with
        | ValueSome work when work.Ends attempt -> shared
        | _ -> ValueNone

    let unshared attempt error : Task =
        match endsShared attempt with
        | ValueSome work -> fetch (work.UnsharedAsync(attempt, error))
        | ValueNone ->
            let error = $"the worker cannot use a shared file, and was given none: {error}"
            add (Input.Report(session, attempt, Failed(error, true), Content.empty))

    let stored attempt size : Task =
        match shared with
        | ValueSome work ->
            work.Ends attempt |> ignore
            fetch (work.StoredAsync(attempt, size))
        | ValueNone ->
            let error = "the worker has stored a result, and was given no file"
            add (Input.Report(session, attempt, Failed(error, true), Content.empty))

    let report attempt outcome payload : Task =
        let said = Input.Report(session, attempt, outcome, payload)

        match endsShared attempt with
        | ValueSome work -> fetch (work.JudgeAsync(attempt, said, payload))
        | ValueNone -> add said

    let take (incoming: IncomingMessage<ToScheduler>) : Task =
        match incoming.message with
        | ToScheduler.Beat ->
            post FromScheduler.Beat
            Task.CompletedTask
        | ToScheduler.Submit message when not (isNull incoming.failure) ->
            context.log.LogWarning(
                "{Peer}: the payload of a SUBMIT could not be stored: {Reason}",
                name,
                incoming.failure
            )

            reject message RejectionCode.Busy $"the payload could not be stored: {incoming.failure}"
            Task.CompletedTask
        | ToScheduler.Submit message ->
            match context.outage.Reason with
            | null -> submit message incoming.payload
            | reason ->
                SpoolFile.discard incoming.payload
                reject message RejectionCode.Busy $"no new work is taken now: {reason}"
                Task.CompletedTask
        | ToScheduler.Result(attempt, Succeeded) when not (isNull incoming.failure) ->
            storage.End()

            context.log.LogWarning(
                "{Peer}: the result of task {Task} could not be stored: {Reason}",
                name,
                attempt.task,
                incoming.failure
            )

            let error =
                $"the result could not be stored: {incoming.failure}; it is tried again, and holds up nothing else: make room, or cancel the task"

            add (Input.Unstored(session, attempt, error))
        | ToScheduler.Result(attempt, outcome) ->
            storage.End()
            report attempt outcome incoming.payload
        | ToScheduler.Stored(attempt, size) -> stored attempt size
        | ToScheduler.Unshared(attempt, error) -> unshared attempt error
        | ToScheduler.Ready slots ->
            add (Input.Ready(session, (if context.isDraining () then 0 else slots)))
        | ToScheduler.Status ->
            match context.outage.Reason with
            | null -> add (Input.Ask session)
            | reason ->
                post (
                    FromScheduler.Status { context.agent.LatestStatus with trouble = Some reason }
                )

                Task.CompletedTask
        | ToScheduler.Cancel task -> add (Input.Cancel(task, session))
        | ToScheduler.Retry task -> add (Input.Retry(task, session))
        | ToScheduler.RetryWith(task, pipeline) -> add (Input.RetryWith(task, pipeline, session))
        | ToScheduler.RetryAll -> add (Input.RetryAll session)
        | ToScheduler.RetryAllWith pipeline -> add (Input.RetryAllWith(pipeline, session))
        | ToScheduler.Drain worker -> add (Input.Drain(worker, session))
        | ToScheduler.Explain _
        | ToScheduler.Events _
        | ToScheduler.List _
        | ToScheduler.Stages
        | ToScheduler.Fetch _ as question ->
            task {
                let! struct (answer, payload) = (context.answer question).WaitAsync closing

                postWith answer payload
            }
        | ToScheduler.Hello _ -> Task.CompletedTask // `AccessControl` has admitted the peer, or not

    /// Inputs of the machine, in order; cleared by the owner.
    member _.Inputs = inputs

    /// The name of the peer in the log.
    member _.Name
        with get () = name
        and set value = name <- value

    /// The shared files of a worker that sees the scheduler's folders.
    member _.Sharing
        with get () = shared
        and set value = shared <- value

    /// Whether the peer waits for the scheduler, which checks shared files.
    member _.IsFetching = isFetching

    /// <summary>Handles a message: adds to <c>Inputs</c>, or answers.</summary>
    /// <returns>Completes when the next message may be taken.</returns>
    member _.Take(incoming: IncomingMessage<ToScheduler>) : Task = take incoming
