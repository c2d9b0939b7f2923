namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// <summary>Holds new work back where a payload found no room, until there is some again. A payload that is larger than
/// what is left holds up nothing but itself.</summary>
/// <param name="holdup">Where it says so.</param>
/// <param name="clock">For the time between two looks.</param>
/// <param name="stop">Ends it.</param>
[<Sealed>]
type RoomProbe(holdup: Holdup, clock: Clock, stop: CancellationToken) =
    static let every = TimeSpan.FromSeconds 1.0

    let probed = ConcurrentDictionary<string, unit>()

    let watch folder : Task =
        task {
            try
                while probed.ContainsKey folder do
                    do! Task.Delay(every, clock.Provider, stop)

                    if Disk.hasRoomForOthers folder then
                        probed.TryRemove folder |> ignore
                        holdup.End folder
            with :? OperationCanceledException ->
                ()
        }

    /// <summary>There was no room.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="reason">What the disk said.</param>
    member _.Begin(folder: string, reason: string) =
        if not (Disk.hasRoomForOthers folder) && probed.TryAdd(folder, ()) then
            holdup.Begin(folder, reason)
            watch folder |> ignore
