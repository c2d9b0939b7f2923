namespace FsScheduler.Server

open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Protocol

/// <summary>What a peer's messages mean: inputs of the machine, or an answer at once.</summary>
/// <param name="session">The peer's.</param>
/// <param name="context">What all connections share.</param>
/// <param name="storage">What is done where the disk takes nothing.</param>
/// <param name="postWith">Sends a message, with its payload, to the peer.</param>
/// <param name="closing">The peer has gone.</param>
[<Sealed>]
type internal MessageHandler
    (
        session: SessionId,
        context: ConnectionContext,
        storage: StorageWait,
        postWith: FromScheduler -> Payload -> unit,
        closing: CancellationToken
    ) =
    let inputs = List<Input>()
    let submissions = SubmissionBuilder session
    let mutable name = ""
    let mutable isFetching = false
    let mutable shared: WorkerSharing voption = ValueNone

    let post message = postWith message Payload.empty

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

    /// A result that is somewhere else waits for us, and with it its worker.
    let fetch (answer: Task<Input>) : Task =
        task {
            isFetching <- true

            try
                let! input = answer
                inputs.Add input
            finally
                isFetching <- false
        }

    /// The worker was told files for this attempt, and what it says is the last of it.
    let endsShared attempt =
        match shared with
        | ValueSome work when work.Ends attempt -> shared
        | _ -> ValueNone

    let unshared attempt error : Task =
        match endsShared attempt with
        | ValueSome work -> fetch (work.UnsharedAsync(attempt, error))
        | ValueNone ->
            let error = $"it says that it cannot use a file, and was told none: {error}"
            inputs.Add(Input.Report(session, attempt, Failed(error, true), Payload.empty))
            Task.CompletedTask

    let stored attempt size : Task =
        match shared with
        | ValueSome work ->
            work.Ends attempt |> ignore
            fetch (work.StoredAsync(attempt, size))
        | ValueNone ->
            let error = "it says that it has stored a result, and was told no file"
            inputs.Add(Input.Report(session, attempt, Failed(error, true), Payload.empty))
            Task.CompletedTask

    let report attempt outcome payload : Task =
        let said = Input.Report(session, attempt, outcome, payload)

        match endsShared attempt with
        | ValueSome work -> fetch (work.JudgeAsync(attempt, said, payload))
        | ValueNone ->
            inputs.Add said
            Task.CompletedTask

    let take (arrival: IncomingMessage<ToScheduler>) : Task =
        match arrival.message with
        | ToScheduler.Beat ->
            post FromScheduler.Beat
            Task.CompletedTask
        | ToScheduler.Submit message when not (isNull arrival.failure) ->
            context.log.LogWarning(
                "{Peer}: the payload of a SUBMIT could not be stored: {Reason}",
                name,
                arrival.failure
            )

            reject message RejectionCode.Busy $"the payload could not be stored: {arrival.failure}"
            Task.CompletedTask
        | ToScheduler.Submit message ->
            match context.outage.Reason with
            | null -> submit message arrival.payload
            | reason ->
                SpoolFile.discard arrival.payload
                reject message RejectionCode.Busy $"no new work is taken now: {reason}"
                Task.CompletedTask
        | ToScheduler.Result(attempt, Succeeded) when not (isNull arrival.failure) ->
            storage.End()

            context.log.LogWarning(
                "{Peer}: the result of task {Task} could not be stored: {Reason}",
                name,
                attempt.task,
                arrival.failure
            )

            let error =
                $"the result could not be stored: {arrival.failure}; it is tried again, and holds up nothing else: make room, or cancel the task"

            inputs.Add(Input.Unstored(session, attempt, error))
            Task.CompletedTask
        | ToScheduler.Result(attempt, outcome) ->
            storage.End()
            report attempt outcome arrival.payload
        | ToScheduler.Stored(attempt, size) -> stored attempt size
        | ToScheduler.Unshared(attempt, error) -> unshared attempt error
        | ToScheduler.Ready slots ->
            inputs.Add(Input.Ready(session, (if context.isDraining () then 0 else slots)))
            Task.CompletedTask
        | ToScheduler.Status ->
            match context.outage.Reason with
            | null -> inputs.Add(Input.Ask session)
            | reason ->
                post (
                    FromScheduler.Status { context.agent.LatestStatus with trouble = Some reason }
                )

            Task.CompletedTask
        | ToScheduler.Cancel task ->
            inputs.Add(Input.Cancel(task, session))
            Task.CompletedTask
        | ToScheduler.Retry task ->
            inputs.Add(Input.Retry(task, session))
            Task.CompletedTask
        | ToScheduler.RetryWith(task, pipeline) ->
            inputs.Add(Input.RetryWith(task, pipeline, session))
            Task.CompletedTask
        | ToScheduler.RetryAll ->
            inputs.Add(Input.RetryAll session)
            Task.CompletedTask
        | ToScheduler.RetryAllWith pipeline ->
            inputs.Add(Input.RetryAllWith(pipeline, session))
            Task.CompletedTask
        | ToScheduler.Drain worker ->
            inputs.Add(Input.Drain(worker, session))
            Task.CompletedTask
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

    /// What the machine is to be told, in order; for the owner to clear.
    member _.Inputs = inputs

    /// What the peer is called in the log.
    member _.Name
        with get () = name
        and set value = name <- value

    /// Of a worker that sees the scheduler's files.
    member _.Sharing
        with get () = shared
        and set value = shared <- value

    /// Whether the peer waits for the scheduler, which looks at files.
    member _.IsFetching = isFetching

    /// <summary>Takes a message; adds to <c>Inputs</c>, or answers.</summary>
    /// <returns>Completes when the next message may be taken.</returns>
    member _.Take(arrival: IncomingMessage<ToScheduler>) : Task = take arrival
