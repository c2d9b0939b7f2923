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

/// A version whose task is done, and how often it was looked at since.
[<Struct>]
type private Unfinished = { stamp: FileVersion; looks: int }

/// <summary>Inputs that are done and could not be moved or deleted: their folder was away, or read-only, or there was no room.
/// It is tried again, less and less often, until it works or another version stands there. A restart forgets them.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="onDone">What is to be done with them.</param>
/// <param name="log">Told what has worked in the end.</param>
[<Sealed>]
type UnfinishedInputs(inputs: InputFolder, onDone: OnDone, log: ILogger) =
    static let every = TimeSpan.FromSeconds 2.0

    /// Twice as long each time, up to about a minute.
    static let isDue looks =
        looks &&& (looks - 1) = 0 || looks % 32 = 0

    let noted = ConcurrentDictionary<TaskName, Unfinished>()

    /// Remembered at once, at most; more stay where they are.
    static member NotedMax = 10_000

    /// So often a file is looked for that is not there: then it counts as deleted everywhere, see `DoubtedFiles`.
    static member AbsentMax = 320

    /// That version is still to be moved or deleted, or not to be seen.
    member _.Note(name: TaskName, stamp: FileVersion) =
        if noted.Count < UnfinishedInputs.NotedMax then
            noted[name] <- { stamp = stamp; looks = 0 }

    /// Tries those that are due.
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
                match FinishedInput.finish inputs onDone name was.stamp with
                | Ok() ->
                    forget ()

                    log.LogInformation(
                        "{Name}, which was done before, is moved or deleted now",
                        string name
                    )
                | Error Gone when looks >= UnfinishedInputs.AbsentMax -> forget ()
                | Error(Changed | NotReadable _) -> forget ()
                | Error(Gone | Failing _ | BeingWritten _ | Stuck _) -> keep ()

    /// <summary>Looks again and again.</summary>
    /// <param name="clock">For the time between.</param>
    /// <param name="ct">Ends it.</param>
    member unfinished.RunAsync(clock: Clock, ct: CancellationToken) : Task =
        Loops.everyAsync clock every unfinished.Check ct
