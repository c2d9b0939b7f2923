namespace FsScheduler.Server

open System
open System.Collections.Concurrent
open System.Threading
open System.Threading.Tasks
open FsScheduler.Platform

/// <summary>Holds new tasks back after a payload found no free space, until there is some again. A payload larger than
/// the free space holds back nothing else.</summary>
/// <param name="outage">Begins and ends with the lack of space.</param>
/// <param name="clock">Measures the time between two checks.</param>
/// <param name="stop">Ends the checks.</param>
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

    /// <summary>Begins the outage of a folder.</summary>
    /// <param name="folder">Where a payload found no space.</param>
    /// <param name="reason">The error.</param>
    member _.Begin(folder: string, reason: string) =
        if not (Disk.hasRoomForOthers folder) && probed.TryAdd(folder, ()) then
            outage.Begin(folder, reason)
            watch folder |> ignore
