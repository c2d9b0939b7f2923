namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// <summary>Holds new work back where a payload found no room, until there is some again. A payload that is larger than
/// what is left holds up nothing but itself.</summary>
/// <param name="outage">Where it says so.</param>
/// <param name="clock">For the time between two looks.</param>
/// <param name="stop">Ends it.</param>
[<Sealed>]
type FreeSpaceWatch(outage: StorageOutage, clock: Clock, stop: CancellationToken) =
    let probed = ConcurrentDictionary<string, unit>()

    let watch folder : Task =
        task {
            try
                while probed.ContainsKey folder do
                    do! Task.Delay(StorageOutage.BetweenTries, clock.Provider, stop)

                    if Disk.hasRoomForOthers folder then
                        probed.TryRemove folder |> ignore
                        outage.End folder
            with :? OperationCanceledException ->
                ()
        }

    /// <summary>There was no room.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="reason">What the disk said.</param>
    member _.Begin(folder: string, reason: string) =
        if not (Disk.hasRoomForOthers folder) && probed.TryAdd(folder, ()) then
            outage.Begin(folder, reason)
            watch folder |> ignore
