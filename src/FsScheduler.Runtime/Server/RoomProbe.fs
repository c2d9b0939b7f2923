namespace FsScheduler.Runtime

open System
open System.Collections.Concurrent
open System.IO
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Runtime.Files

/// <summary>Holds new work back where a payload found no room, until there is as much again.</summary>
/// <param name="holdup">Where it says so.</param>
/// <param name="clock">For the time between two looks.</param>
/// <param name="stop">Ends it.</param>
[<Sealed>]
type RoomProbe(holdup: Holdup, clock: Clock, stop: CancellationToken) =
    static let every = TimeSpan.FromSeconds 1.0

    // A payload may be larger than the disk: that is no reason to take nothing for ever.
    static let sizeMax = 64L * 1024L * 1024L

    let probed = ConcurrentDictionary<string, unit>()

    let hasRoom (folder: string) (size: Size) =
        let path = Path.Combine(folder, ".room")

        try
            (Disk.create path (min (int64 size) sizeMax)).Dispose()
            File.Delete path
            true
        with Disk.Trouble _ ->
            false

    let watch folder size : Task =
        task {
            try
                while probed.ContainsKey folder do
                    do! Task.Delay(every, clock.Provider, stop)

                    if hasRoom folder size then
                        probed.TryRemove folder |> ignore
                        holdup.End folder
            with :? OperationCanceledException ->
                ()
        }

    /// <summary>There was no room.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="size">For how much; 64 MiB at the most are looked for.</param>
    /// <param name="reason">What the disk said.</param>
    member _.Begin(folder: string, size: Size, reason: string) =
        if probed.TryAdd(folder, ()) then
            holdup.Begin(folder, reason)
            watch folder size |> ignore
