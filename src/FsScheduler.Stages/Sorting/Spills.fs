namespace FsScheduler.Stages

open System
open System.Collections.Generic
open System.Threading

/// Runs that came about in the same way share a file.
[<Sealed>]
type private SpillLevel(folder: string) =
    member val File = new SpillFile(folder)
    member val Runs = List<Run>()

/// <summary>
/// Runs of lines in order, on the disk. Those of memory are the first level. When a level has as many as can be merged
/// at once, they become one of the next level, so that there are few files and few runs however much comes.
/// </summary>
/// <param name="order">That of the lines.</param>
/// <param name="repeats">What becomes of equal lines.</param>
/// <param name="linesMax">How many lines of a run are of interest.</param>
/// <param name="spilling">Where, and how much at once.</param>
[<Sealed>]
type internal Spills(order: LineOrder, repeats: Repeats, linesMax: int64, spilling: Spilling) =

    let levels = List<SpillLevel>()
    let sink = LineSink(repeats, linesMax)
    let mutable writer = Unchecked.defaultof<SpillWriter>
    let mutable offset = 0L

    let start level =
        while levels.Count <= level do
            levels.Add(SpillLevel spilling.folder)

        let file = levels[level].File
        offset <- file.Length
        writer <- SpillWriter(file, spilling.readBytes)
        sink.Start writer

    let finish level =
        sink.Finish()
        writer.Flush()
        let file = levels[level].File

        if file.Length > offset then
            levels[level].Runs.Add {
                file = file
                offset = offset
                bytes = file.Length - offset
                longestBytes = sink.LongestBytes
            }

    /// How many runs the levels have, from the first to this one.
    let countTo level =
        let mutable count = 0

        for index in 0..level do
            count <- count + levels[index].Runs.Count

        count

    let fits level countMax =
        let mutable bytes = 0L

        for index in 0..level do
            for run in levels[index].Runs do
                bytes <- bytes + int64 (run.longestBytes + spilling.readBytes)

        let count = countTo level
        count < 2 || (count <= countMax && bytes <= int64 spilling.mergeBytesMax)

    let merge level target ct =
        let hasCounts = repeats = Repeats.Count

        let sources: LineSource[] = [|
            for index in 0..level do
                for run in levels[index].Runs do
                    RunSource(run, order, hasCounts, spilling)
        |]

        LineMerge(sources, order, target).Run ct

    /// Makes one run of the next level of all up to this one.
    let rec compact level ct =
        start (level + 1)
        merge level sink ct
        finish (level + 1)

        for index in 0..level do
            levels[index].Runs.Clear()
            levels[index].File.Clear()

        settle (level + 1) ct

    /// Before a level has more runs than can be merged at once.
    and settle level ct =
        if not (fits level (spilling.runsMax - 1)) then
            compact level ct

    member _.IsEmpty = levels.Count = 0

    /// Takes the lines of another run, in order. `Add` comes afterwards.
    member _.Begin() : LineSink =
        start 0
        sink

    /// The run is whole.
    member _.Add(ct: CancellationToken) =
        finish 0
        settle 0 ct

    /// All runs as one. `target.Finish` is left to the caller.
    member _.MergeTo(target: LineSink, ct: CancellationToken) =
        let last () = levels.Count - 1

        while countTo (last ()) > 2 && not (fits (last ()) spilling.runsMax) do
            let mutable level = 0

            while countTo level < 2 do
                level <- level + 1

            compact level ct

        if levels.Count > 0 then
            merge (last ()) target ct

    /// Deletes all of it.
    member _.Clear() =
        for level in levels do
            (level.File :> IDisposable).Dispose()

        levels.Clear()
        sink.Clear()
