namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders
open Microsoft.Extensions.Logging

/// A version whose task is done, and how often it was examined since.
[<Struct>]
type private Unfinished = { version: FileVersion; looks: int }

/// <summary>Inputs whose tasks are done and that could not be moved or deleted, since their folder was away or
/// read-only, or the disk full. Retried less and less often, until they are, or have another version. Forgotten by a
/// restart.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="onDone">Whether to move or to delete.</param>
/// <param name="log">Told of inputs moved or deleted in the end.</param>
[<Sealed>]
type UnfinishedInputs(inputs: InputFolder, onDone: OnDone, log: ILogger) =
    static let every = TimeSpan.FromSeconds 2.0

    /// Doubles the pause each time, up to about a minute.
    static let isDue looks =
        looks &&& (looks - 1) = 0 || looks % 32 = 0

    let noted = ConcurrentDictionary<TaskName, Unfinished>()

    /// Inputs remembered at once, at most; others stay where they are.
    static member NotedMax = 10_000

    /// Checks for a missing file until it counts as deleted; see `DeletionDetector`.
    static member AbsentMax = 320

    /// Remembers a version that is still to be moved or deleted, or that is out of sight.
    member _.Note(name: TaskName, version: FileVersion) =
        if noted.Count < UnfinishedInputs.NotedMax then
            noted[name] <- { version = version; looks = 0 }

    /// Retries the inputs that are due.
    member _.Check() =
        for KeyValue(name, was) in noted do
            let looks = was.looks + 1

            let forget () =
                noted.TryRemove(KeyValuePair(name, was)) |> ignore

            let keep () =
                noted.TryUpdate(name, { was with looks = looks }, was) |> ignore

            if not (isDue looks) then
                keep ()
            else
                match FinishedInput.finish inputs onDone name was.version with
                | Ok() ->
                    forget ()

                    log.LogInformation(
                        "{Name}: moved or deleted at last, after its task was done",
                        string name
                    )
                | Error Gone when looks >= UnfinishedInputs.AbsentMax -> forget ()
                | Error(Changed | NotReadable _) -> forget ()
                | Error(Gone | Failing _ | BeingWritten _ | Stuck _) -> keep ()

    /// <summary>Checks periodically.</summary>
    /// <param name="clock">Measures the period.</param>
    /// <param name="ct">Ends the checks.</param>
    member unfinished.RunAsync(clock: Clock, ct: CancellationToken) : Task =
        Loops.everyAsync clock every unfinished.Check ct
