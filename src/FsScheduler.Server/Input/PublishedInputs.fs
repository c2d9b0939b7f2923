namespace FsScheduler.Server

open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Folders

/// <summary>What becomes of an input whose result is published.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="log">Told where an input stays.</param>
[<Sealed>]
type PublishedInputs(inputs: IInputFolder, log: ILogger) =
    let mutable reconsider: TaskName -> FileVersion -> unit = fun _ _ -> ()
    let mutable unfinished = fun (_: TaskName) (_: FileVersion) -> ()

    /// Asks for another look at an input that is still being written, or was not there, or not as it was, when its result was
    /// to be published. The inbox is made later than this.
    member _.Reconsider
        with set (ask: TaskName -> FileVersion -> unit) = reconsider <- ask

    /// Told of inputs that are done, and could not be moved or deleted.
    member _.Unfinished
        with set (note: TaskName -> FileVersion -> unit) = unfinished <- note

    /// Asks for another look at an input.
    member _.LookAgain(name: TaskName, version: FileVersion) = reconsider name version

    /// <summary>Moves or deletes an input, or leaves it, as the folder is told to.</summary>
    /// <param name="name">The name of its task.</param>
    /// <param name="payload">Of its task; one that is no input is left alone.</param>
    member _.Finish(name: TaskName, payload: Payload) =
        match payload with
        | Input stamp ->
            match inputs.Finish(name, stamp) with
            | Ok() -> ()
            | Error(BeingWritten who) ->
                log.LogWarning(
                    "{Name} is done, and stays: {Reason}; it is taken again when that has ended",
                    string name,
                    who
                )

                reconsider name stamp
            | Error Gone ->
                log.LogInformation(
                    "{Name} is done, and not there any more: when it comes back, it is moved or deleted",
                    string name
                )

                unfinished name stamp
            | Error failure ->
                log.LogWarning(
                    "{Name} is done and stays where it is: {Reason}",
                    string name,
                    failure.Message
                )

                unfinished name stamp
        | Packed
        | Bytes _
        | Journaled
        | Recorded _
        | Spooled _
        | Slice _ -> ()
