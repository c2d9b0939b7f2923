namespace FsScheduler.Server

open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Folders

/// <summary>Moves or deletes the inputs of published results.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="log">Told of inputs that stay.</param>
[<Sealed>]
type PublishedInputs(inputs: IInputFolder, log: ILogger) =
    let mutable reconsider: TaskName -> FileVersion -> unit = fun _ _ -> ()
    let mutable unfinished = fun (_: TaskName) (_: FileVersion) -> ()

    /// Has an input examined again that was being written, missing or changed when its result was to be published. Set
    /// later, since the inbox is made after this.
    member _.Reconsider
        with set (ask: TaskName -> FileVersion -> unit) = reconsider <- ask

    /// Told of inputs that are done, and could not be moved or deleted.
    member _.Unfinished
        with set (note: TaskName -> FileVersion -> unit) = unfinished <- note

    /// Has an input examined again.
    member _.LookAgain(name: TaskName, version: FileVersion) = reconsider name version

    /// <summary>Moves, deletes or keeps an input.</summary>
    /// <param name="name">The name of its task.</param>
    /// <param name="version">The version that its task was made from.</param>
    member _.Finish(name: TaskName, version: FileVersion) =
        match inputs.Finish(name, version) with
        | Ok() -> ()
        | Error(BeingWritten who) ->
            log.LogWarning(
                "{Name}: done, and not moved or deleted: {Reason}; taken again once that has ended",
                string name,
                who
            )

            reconsider name version
        | Error Gone ->
            log.LogInformation(
                "{Name}: done, and out of sight; moved or deleted when it comes back",
                string name
            )

            unfinished name version
        | Error failure ->
            log.LogWarning(
                "{Name} is done and stays where it is: {Reason}",
                string name,
                failure.Message
            )

            unfinished name version
