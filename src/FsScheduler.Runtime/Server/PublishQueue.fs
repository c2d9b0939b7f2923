namespace FsScheduler.Runtime

open System
open System.Collections.Generic
open System.IO
open System.Threading
open System.Threading.Channels
open System.Threading.Tasks
open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// <summary>Does on the disk what effects ask for, away from the mailbox, and tells the machine how it went.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="publisher">The folder of results.</param>
/// <param name="onDone">What becomes of an input whose result is published.</param>
/// <param name="clock">For the dates in `NAME.err`.</param>
/// <param name="log">For what nobody else is told.</param>
[<Sealed>]
type PublishQueue
    (inputs: InputFolder, publisher: Publisher, onDone: OnDone, clock: Clock, log: ILogger) =
    let batchMax = 64
    // Results of one folder wait for each other in the file system, and spin while they do.
    let threads = max 1 (Environment.ProcessorCount / 2)
    let effects = Channel.CreateUnbounded<Effect>() // never more of them than tasks

    let discard path =
        try
            File.Delete path
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            log.LogWarning("{Path} cannot be deleted: {Reason}", path, error.Message)

    let discardPayload payload =
        match payload with
        | Spooled(path, _) -> discard path
        | Packed
        | Bytes _
        | Input _ -> ()

    let nameOf (submission: Submission) =
        match TaskName.parse submission.Name with
        | Ok name -> name
        | Error reason -> invalidOp $"a task is called '{submission.Name}': {reason}"

    let store name result =
        match result with
        | Bytes bytes -> publisher.Publish(name, ReadOnlyMemory bytes)
        | Spooled(path, _) -> publisher.PublishTemp(name, path)
        | Packed
        | Input _ -> invalidOp "a result is in memory or in a file of its own"

    let finishInput name stamp =
        match FinishedInput.finish inputs onDone name stamp with
        | Ok() -> ()
        | Error trouble ->
            log.LogWarning(
                "{Name} is done and stays where it is: {Reason}",
                string name,
                trouble.Message
            )

    let publish (attempt: Attempt) (submission: Submission) result =
        let name = nameOf submission

        match submission.Payload with
        | Input stamp when not (InputFile.isCurrent inputs name stamp) ->
            discardPayload result
            Input.Outdated attempt
        | payload ->
            match store name result with
            | Ok() ->
                match payload with
                | Input stamp -> finishInput name stamp
                | Packed
                | Bytes _
                | Spooled _ -> ()

                Input.Published attempt
            | Error trouble ->
                discardPayload result
                log.LogWarning("{Name}: {Reason}", string name, trouble.Message)
                Input.Unpublished(attempt, trouble.Message)

    let perform effect (told: List<Input>) =
        match effect with
        | Effect.Publish(attempt, submission, result) -> told.Add(publish attempt submission result)
        | Effect.PublishError(task, submission, troubles) ->
            let text = ErrorReport.write clock.DateOf task submission.Name troubles

            log.LogError(
                "{Name} is in quarantine: {Reason}",
                submission.Name,
                (List.last troubles).error
            )

            match publisher.PublishError(nameOf submission, text) with
            | Ok() -> ()
            | Error trouble ->
                log.LogError("{Name}.err: {Reason}", submission.Name, trouble.Message)
        | Effect.Discard payload -> discardPayload payload
        | Effect.Assign _
        | Effect.Revoke _
        | Effect.Reply _
        | Effect.Disconnect _ -> invalidOp "not a matter of the disk"

    /// Posts an effect that is a matter of the disk.
    member _.Post(effect: Effect) =
        effects.Writer.TryWrite effect |> ignore

    /// <summary>Works until it is stopped.</summary>
    /// <param name="tell">Takes what the machine is to be told.</param>
    /// <param name="ct">Stops it, between two files.</param>
    member _.RunAsync(tell: Input[] -> Task, ct: CancellationToken) : Task =
        let work () =
            task {
                let told = List<Input>()
                let mutable goOn = true

                while goOn do
                    let! more = effects.Reader.WaitToReadAsync ct
                    goOn <- more
                    let mutable effect = Unchecked.defaultof<Effect>

                    while told.Count < batchMax && effects.Reader.TryRead(&effect) do
                        perform effect told

                    if told.Count > 0 then
                        let batch = told.ToArray()
                        told.Clear()
                        do! tell batch
            }

        Task.WhenAll [ for _ in 1..threads -> Task.Run<unit>(fun () -> work ()) ] :> Task
