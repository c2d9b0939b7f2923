namespace FsScheduler.Runtime

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open Microsoft.Win32.SafeHandles
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// <summary>Opens the payloads that a scheduler sends from files: inputs where they are, and spooled ones.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="journal">Has the payloads that are recorded.</param>
/// <param name="tell">Takes what the machine is to be told; does not wait.</param>
/// <param name="log">For a result that is not there any more.</param>
/// <param name="reconsider">Asks for another look at an input, of which this version cannot be used.</param>
[<Sealed>]
type Bodies
    (
        inputs: InputFolder,
        journal: IJournal,
        tell: Input -> unit,
        reconsider: TaskName -> Stamp -> unit,
        log: ILogger
    ) =

    let attemptOf message =
        match message with
        | FromScheduler.Process work -> ValueSome work.attempt
        | FromScheduler.Cancel attempt -> ValueSome attempt
        | _ -> ValueNone

    let unreadable message reason =
        match attemptOf message with
        | ValueSome attempt -> tell (Input.Unreadable(attempt, reason))
        | ValueNone -> ()

    let withdraw message name version =
        match attemptOf message with
        | ValueSome attempt ->
            reconsider name version // first: so somebody always knows of the file
            tell (Input.Withdraw attempt)
        | ValueNone -> ()

    let nameOf (departure: Departure<FromScheduler>) =
        match departure.submission with
        | ValueNone -> invalidOp "an input without its submission"
        | ValueSome submission ->
            match TaskName.parse submission.Name with
            | Ok name -> name
            | Error reason -> invalidOp $"a task is called '{submission.Name}': {reason}"

    let openInput (departure: Departure<FromScheduler>) (stamp: Stamp) =
        let name = nameOf departure

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
        | Error(Gone | Changed) ->
            withdraw departure.message name stamp
            ValueNone
        | Error(NotReadable _ | Failing _ as trouble) ->
            unreadable departure.message trouble.Message
            ValueNone

    let openSpooled (departure: Departure<FromScheduler>) path size =
        try
            ValueSome(Body.OfFile(path, size))
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            unreadable departure.message $"{path} cannot be read: {error.Message}"
            ValueNone

    let openRecorded (departure: Departure<FromScheduler>) number =
        try
            ValueSome(Body.OfBytes(journal.ReadPayload number))
        with :? IOException as error ->
            unreadable departure.message error.Message
            ValueNone

    let rec openPayload departure payload =
        match payload with
        | Input stamp -> openInput departure stamp
        | Spooled(path, size) -> openSpooled departure path size
        | Recorded(number, _) -> openRecorded departure number
        | Slice(whole, start, size) ->
            openPayload departure whole
            |> ValueOption.map (fun body -> { body with start = start; size = size })
        | Packed
        | Filed
        | Bytes _ -> ValueNone

    /// <summary>Where the pieces of a payload end.</summary>
    /// <returns>None: the payload is not to be had, which the machine is told.</returns>
    member _.Cut(attempt: Attempt, submission: Submission, payload: Payload, pieceSize: Size) =
        // As if it were to be sent: it is opened, and missed, in the same way.
        let departure = {
            message = FromScheduler.Cancel attempt
            payload = payload
            submission = ValueSome submission
            isLast = false
        }

        match openPayload departure payload with
        | ValueNone -> ValueNone
        | ValueSome body ->
            use file = nonNull body.file

            try
                ValueSome(LineCuts.find file body.start body.size pieceSize)
            with
            | :? EndOfStreamException when payload.IsInput ->
                match payload with
                | Input stamp -> withdraw departure.message (nameOf departure) stamp
                | _ -> ()

                ValueNone
            | :? IOException as error ->
                unreadable departure.message error.Message
                ValueNone

    interface IBodies<FromScheduler> with
        member _.Open departure = openPayload departure departure.payload

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
                let name = nameOf departure

                if not whole || not (InputFile.isCurrent inputs name stamp) then
                    withdraw departure.message name stamp
            | Packed
            | Filed
            | Recorded _
            | Bytes _
            | Input _
            | Slice _ -> ()

        member _.Unsent departure =
            if departure.isLast then
                SpoolFile.discard departure.payload
