namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders

/// <summary>Inputs that exist but could not be read, for lack of rights or because of a failing disk. As soon as one
/// can be opened it is taken again, also out of quarantine, without a `retry`.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="reconsider">Has a version taken again.</param>
[<Sealed>]
type UnreadInputs(inputs: InputFolder, reconsider: TaskName -> FileVersion -> unit) =
    static let every = TimeSpan.FromSeconds 2.0
    let noted = ConcurrentDictionary<TaskName, FileVersion>()

    /// Whether an error in the journal says that the input could not be read in an earlier run.
    static member IsUnread(error: string) =
        error.StartsWith((Failing "").Message, StringComparison.Ordinal)

    /// Inputs remembered at once, at most; others are taken again when they change, or by `retry`.
    static member NotedMax = 10_000

    /// Remembers a version that could not be read.
    member _.Note(name: TaskName, version: FileVersion) =
        if noted.Count < UnreadInputs.NotedMax then
            noted[name] <- version

    /// Tries to open each remembered input once.
    member _.Check() =
        for KeyValue(name, version) in noted do
            let forget () =
                noted.TryRemove(KeyValuePair(name, version)) |> ignore

            match InputFile.openInput inputs name version with
            | Ok file ->
                file.Dispose()
                forget ()
                reconsider name version
            // The scan of the folder reports these.
            | Error(Gone | Changed) -> forget ()
            | Error(NotReadable _ | Failing _ | BeingWritten _ | Stuck _) -> ()

    /// <summary>Checks periodically.</summary>
    /// <param name="clock">Measures the period.</param>
    /// <param name="ct">Ends the checks.</param>
    member unread.RunAsync(clock: Clock, ct: CancellationToken) : Task =
        Loops.everyAsync clock every unread.Check ct
