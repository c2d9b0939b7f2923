namespace FsScheduler.Server

open System
open System.IO
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Microsoft.Win32.SafeHandles
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Journal
open FsScheduler.Protocol
open FsScheduler.Folders

/// <summary>Opens the payloads that a scheduler sends: inputs, spooled files, and events of the journal.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="journal">Holds the recorded payloads.</param>
/// <param name="reads">Counts the reads of the journal.</param>
/// <param name="report">Posts an input of the machine; does not wait.</param>
/// <param name="unread">Told of inputs that could not be read.</param>
/// <param name="log">Told of results that are gone.</param>
/// <param name="reconsider">Has an input examined again whose version cannot be used.</param>
/// <param name="missed">Told of an input that is out of sight.</param>
[<Sealed>]
type PayloadSource
    (
        inputs: InputFolder,
        journal: IJournal,
        reads: PendingReads,
        report: Input -> unit,
        reconsider: TaskName -> FileVersion -> unit,
        missed: TaskName -> unit,
        unread: UnreadInputs,
        log: ILogger
    ) =

    let attemptOf (outgoing: SchedulerMessage) =
        match outgoing.message with
        | FromScheduler.Process work -> ValueSome work.attempt
        | _ -> ValueNone

    let unreadable (attempt: Attempt voption) reason =
        match attempt with
        | ValueSome attempt -> report (Input.Unreadable(attempt, reason))
        | ValueNone -> ()

    let reportChanged (attempt: Attempt voption) name version =
        match attempt with
        | ValueSome attempt ->
            reconsider name version // first, so that the file is always known to somebody
            report (Input.FileChanged attempt)
        | ValueNone -> ()

    /// Reports an input that is deleted, or whose mount is gone: the inbox finds out which.
    let reportMissing (attempt: Attempt voption) name =
        match attempt with
        | ValueSome attempt ->
            missed name
            report (Input.OutOfSight(attempt, "its input is not to be seen"))
        | ValueNone -> ()

    let nameOf (submission: Submission) =
        match TaskName.parse submission.Name with
        | Ok name -> name
        | Error reason -> invalidOp $"a task is called '{submission.Name}': {reason}"

    let openInput attempt submission (version: FileVersion) =
        let name = nameOf submission

        let opened =
            if version.size <= InputFile.smallMax then
                InputFile.tryRead inputs name version
                |> Result.map (fun bytes -> Body.OfBytes(ReadOnlyMemory bytes))
            else
                InputFile.openInput inputs name version
                |> Result.map (fun file -> {
                    bytes = ReadOnlyMemory.Empty
                    file = file
                    start = 0L<B>
                    size = version.size
                })

        match opened with
        | Ok body -> ValueSome body
        | Error Gone ->
            reportMissing attempt name
            ValueNone
        | Error(Changed | BeingWritten _) ->
            reportChanged attempt name version
            ValueNone
        | Error(NotReadable _ | Failing _ | Stuck _ as failure) ->
            unread.Note(name, version)
            unreadable attempt failure.Message
            ValueNone

    let openContent attempt content =
        try
            ValueSome(Body.OfContent content)
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            let path = ValueOption.defaultValue "" (Content.file content)
            unreadable attempt $"{path} cannot be read: {error.Message}"
            ValueNone

    let openKept attempt kept =
        match kept with
        | Held content -> openContent attempt content
        | Recorded(number, _) ->
            try
                ValueSome(Body.OfBytes(ReadOnlyMemory(journal.ReadPayload number)))
            with :? IOException as error ->
                unreadable attempt error.Message
                ValueNone

    let rec openPayload attempt (submission: Submission) payload =
        match payload with
        | Input version -> openInput attempt submission version
        | Kept kept -> openKept attempt kept
        | Slice(whole, start, size) ->
            openPayload attempt submission whole
            |> ValueOption.map (fun body -> { body with start = start; size = size })
        | Packed -> ValueSome(Body.OfBytes submission.Packed)
        | Journaled -> ValueNone // loaded before the task is assigned or cut

    /// The content that the message itself refers to.
    let contentOf payload =
        match payload with
        | OutgoingPayload.Own content
        | OutgoingPayload.Kept(Held content)
        | OutgoingPayload.Task(_, Kept(Held content)) -> ValueSome content
        | _ -> ValueNone

    /// <summary>Finds the ends of the pieces of a payload.</summary>
    /// <param name="attempt">The attempt, for reports to the machine.</param>
    /// <param name="submission">The submission of the task.</param>
    /// <param name="payload">A file; one small enough to be read whole is one piece.</param>
    /// <param name="pieceSize">See <c>PieceBoundaries.find</c>.</param>
    /// <returns>None if the payload cannot be read, which the machine is told.</returns>
    member _.Cut(attempt: Attempt, submission: Submission, payload: Payload, pieceSize: Size) =
        let attempt = ValueSome attempt

        match openPayload attempt submission payload with
        | ValueNone -> ValueNone
        | ValueSome body when isNull body.file -> ValueSome [| body.size |]
        | ValueSome body ->
            use file = nonNull body.file

            try
                ValueSome(PieceBoundaries.find file body.start body.size pieceSize)
            with :? IOException as error ->
                match error, Payload.version payload with
                | :? EndOfStreamException, ValueSome version ->
                    reportChanged attempt (nameOf submission) version
                | _ -> unreadable attempt error.Message

                ValueNone

    interface IPayloadSource<FromScheduler, OutgoingPayload> with
        member _.TryBytes payload =
            match payload with
            | OutgoingPayload.Task(submission, Packed) -> ValueSome submission.Packed
            | _ -> ValueOption.bind Content.tryBytes (contentOf payload)

        // What is packed is the memory of its task.
        member _.MemorySize payload =
            match contentOf payload with
            | ValueSome content -> Content.memorySize content
            | ValueNone -> 0L

        member _.Posted outgoing = reads.Begin outgoing.payload

        member _.Open outgoing =
            let attempt = attemptOf outgoing

            try
                match outgoing.payload with
                | OutgoingPayload.Own content -> openContent attempt content
                | OutgoingPayload.Kept kept -> openKept attempt kept
                | OutgoingPayload.Task(submission, payload) ->
                    openPayload attempt submission payload
            finally
                reads.End outgoing.payload

        member _.Instead outgoing =
            match outgoing.message with
            | FromScheduler.Done outcome when outcome.error.IsNone ->
                log.LogError(
                    "the result of task {Task} cannot be read, and is not sent to its client",
                    outcome.task
                )

                ValueSome(
                    FromScheduler.Done {
                        outcome with
                            error =
                                Some
                                    "the task succeeded, but its result is not there any more; submit it again, with another key"
                    }
                )
            | FromScheduler.Fetch(task, _) ->
                ValueSome(
                    FromScheduler.Error(
                        ErrorCode.BadField,
                        $"the result of task {task} is not there any more"
                    )
                )
            | _ -> ValueNone

        member _.Sent(outgoing, body, whole) =
            match body.file with
            | null -> ()
            | file -> file.Dispose()

            match outgoing.payload with
            | OutgoingPayload.Own content -> SpoolFile.discard content
            | OutgoingPayload.Kept _ -> ()
            | OutgoingPayload.Task(submission, payload) ->
                match Payload.version payload with
                | ValueSome version when not (isNull body.file) ->
                    let name = nameOf submission

                    if not whole || (InputFile.stateOf inputs name version).IsReplaced then
                        reportChanged (attemptOf outgoing) name version
                | _ -> ()

        member _.Unsent outgoing =
            reads.End outgoing.payload

            match outgoing.payload with
            | OutgoingPayload.Own content -> SpoolFile.discard content
            | OutgoingPayload.Kept _
            | OutgoingPayload.Task _ -> ()
