namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Collections.Generic
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders

/// <summary>Inputs that could not be read, though they were there: rights that were missing, of the file or of a folder above
/// it, or a disk that failed. As soon as one can be opened it is taken again, also out of quarantine: nobody has to say
/// `retry`. Where the file itself was changed, its version says so already.</summary>
/// <param name="inputs">The folder of inputs.</param>
/// <param name="reconsider">Has that version taken again.</param>
[<Sealed>]
type UnreadInputs(inputs: InputFolder, reconsider: TaskName -> FileVersion -> unit) =
    static let every = TimeSpan.FromSeconds 2.0
    let noted = ConcurrentDictionary<TaskName, FileVersion>()

    /// What could not be read when an earlier run ended is known by its error.
    static member IsUnread(error: string) =
        error.StartsWith((Failing "").Message, StringComparison.Ordinal)

    /// Remembered at once, at most; more are taken again when they change, or by `retry`.
    static member NotedMax = 10_000

    /// That version could not be read.
    member _.Note(name: TaskName, stamp: FileVersion) =
        if noted.Count < UnreadInputs.NotedMax then
            noted[name] <- stamp

    /// Looks at all of them once.
    member _.Check() =
        for KeyValue(name, stamp) in noted do
            let forget () =
                noted.TryRemove(KeyValuePair(name, stamp)) |> ignore

            match InputFile.openInput inputs name stamp with
            | Ok file ->
                file.Dispose()
                forget ()
                reconsider name stamp
            // Whoever scans the folder sees that.
            | Error(Gone | Changed) -> forget ()
            | Error(NotReadable _ | Failing _ | BeingWritten _ | Stuck _) -> ()

    /// <summary>Looks again and again.</summary>
    /// <param name="clock">For the time between.</param>
    /// <param name="ct">Ends it.</param>
    member unread.RunAsync(clock: Clock, ct: CancellationToken) : Task =
        Loops.everyAsync clock every unread.Check ct
