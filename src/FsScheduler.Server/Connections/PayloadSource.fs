namespace FsScheduler.Server

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Microsoft.Win32.SafeHandles
open FsScheduler.Core
open FsScheduler.Journal
open FsScheduler.Protocol
open FsScheduler.Folders

/// <summary>Opens the payloads that a scheduler sends from files: inputs where they are, and spooled ones.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="journal">Has the payloads that are recorded.</param>
/// <param name="reads">What is about to be read of it.</param>
/// <param name="tell">Takes what the machine is to be told; does not wait.</param>
/// <param name="unread">Told of inputs that could not be read.</param>
/// <param name="log">For a result that is not there any more.</param>
/// <param name="reconsider">Asks for another look at an input, of which this version cannot be used.</param>
/// <param name="missed">Is told of an input that is not to be seen.</param>
[<Sealed>]
type PayloadSource
    (
        inputs: InputFolder,
        journal: IJournal,
        reads: PendingReads,
        tell: Input -> unit,
        reconsider: TaskName -> FileVersion -> unit,
        missed: TaskName -> unit,
        unread: UnreadInputs,
        log: ILogger
    ) =

    let attemptOf (departure: OutgoingMessage<FromScheduler>) =
        match departure.message with
        | FromScheduler.Process work -> ValueSome work.attempt
        | _ -> ValueNone

    let unreadable (attempt: Attempt voption) reason =
        match attempt with
        | ValueSome attempt -> tell (Input.Unreadable(attempt, reason))
        | ValueNone -> ()

    let withdraw (attempt: Attempt voption) name version =
        match attempt with
        | ValueSome attempt ->
            reconsider name version // first: so somebody always knows of the file
            tell (Input.FileChanged attempt)
        | ValueNone -> ()

    /// Whoever deleted it, or whichever mount went: the inbox finds out, and then the task goes on or is cancelled.
    let miss (attempt: Attempt voption) name =
        match attempt with
        | ValueSome attempt ->
            missed name
            tell (Input.OutOfSight(attempt, "its input is not to be seen"))
        | ValueNone -> ()

    let nameOf (submission: Submission voption) =
        match submission with
        | ValueNone -> invalidOp "an input without its submission"
        | ValueSome submission ->
            match TaskName.parse submission.Name with
            | Ok name -> name
            | Error reason -> invalidOp $"a task is called '{submission.Name}': {reason}"

    let openInput attempt submission (stamp: FileVersion) =
        let name = nameOf submission

        let opened =
            if stamp.size <= InputFile.smallMax then
                InputFile.tryRead inputs name stamp |> Result.map Body.OfBytes
            else
                InputFile.openInput inputs name stamp
                |> Result.map (fun file -> {
                    bytes = ReadOnlyMemory.Empty
                    file = file
                    start = 0L<B>
                    size = stamp.size
                })

        match opened with
        | Ok body -> ValueSome body
        | Error Gone ->
            miss attempt name
            ValueNone
        | Error(Changed | BeingWritten _) ->
            withdraw attempt name stamp
            ValueNone
        | Error(NotReadable _ | Failing _ | Stuck _ as failure) ->
            unread.Note(name, stamp)
            unreadable attempt failure.Message
            ValueNone

    let openSpooled attempt path size =
        try
            ValueSome(Body.OfFile(path, size))
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            unreadable attempt $"{path} cannot be read: {error.Message}"
            ValueNone

    let openRecorded attempt number =
        try
            ValueSome(Body.OfBytes(journal.ReadPayload number))
        with :? IOException as error ->
            unreadable attempt error.Message
            ValueNone

    let rec openPayload attempt submission payload =
        match payload with
        | Input stamp -> openInput attempt submission stamp
        | Spooled(path, size) -> openSpooled attempt path size
        | Recorded(number, _) -> openRecorded attempt number
        | Slice(whole, start, size) ->
            openPayload attempt submission whole
            |> ValueOption.map (fun body -> { body with start = start; size = size })
        | Packed
        | Journaled
        | Bytes _ -> ValueNone

    /// <summary>Where the pieces of a payload end.</summary>
    /// <param name="attempt">Of the task, for what the machine is told.</param>
    /// <param name="submission">The task's.</param>
    /// <param name="payload">A file; one that is read as a whole, since it is small, is one piece.</param>
    /// <param name="pieceSize">See <c>LineCuts.find</c>.</param>
    /// <returns>None: the payload is not to be had, which the machine is told.</returns>
    member _.Cut(attempt: Attempt, submission: Submission, payload: Payload, pieceSize: Size) =
        let attempt, submission = ValueSome attempt, ValueSome submission

        match openPayload attempt submission payload with
        | ValueNone -> ValueNone
        | ValueSome body when isNull body.file -> ValueSome [| body.size |]
        | ValueSome body ->
            use file = nonNull body.file

            try
                ValueSome(LineCuts.find file body.start body.size pieceSize)
            with :? IOException as error ->
                match error, payload with
                | :? EndOfStreamException, Input stamp -> withdraw attempt (nameOf submission) stamp
                | _ -> unreadable attempt error.Message

                ValueNone

    interface IPayloadSource<FromScheduler> with
        member _.Posted departure = reads.Begin departure.payload

        member _.Open departure =
            try
                openPayload (attemptOf departure) departure.submission departure.payload
            finally
                reads.End departure.payload

        member _.Instead departure =
            match departure.message with
            | FromScheduler.Done outcome when outcome.error.IsNone ->
                log.LogError(
                    "the result of task {Task} cannot be read, and is not sent",
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

        member _.Sent(departure, body, whole) =
            match body.file with
            | null -> ()
            | file -> file.Dispose()

            match departure.payload with
            | Spooled(path, _) ->
                if departure.isLast then
                    SpoolFile.delete path
            | Input stamp
            | Slice(Input stamp, _, _) when not (isNull body.file) ->
                let name = nameOf departure.submission

                if not whole || (InputFile.stateOf inputs name stamp).IsReplaced then
                    withdraw (attemptOf departure) name stamp
            | Packed
            | Journaled
            | Recorded _
            | Bytes _
            | Input _
            | Slice _ -> ()

        member _.Unsent departure =
            reads.End departure.payload

            if departure.isLast then
                SpoolFile.discard departure.payload
