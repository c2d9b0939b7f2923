namespace FsScheduler.Stages

open System
open System.Collections.Generic
open System.Threading

/// The runs of one level, in one file.
[<Sealed>]
type private SpillLevel(folder: string) =
    member val File = new SpillFile(folder)
    member val Runs = List<Run>()

/// <summary>
/// Runs of sorted lines on disk. A run from memory is of the first level. When the levels up to one
/// have as many runs as can be merged at once, these become one run of the next level, so that
/// files and runs stay few for a payload of any size.
/// </summary>
/// <param name="order">The order of the lines.</param>
/// <param name="repeats">What becomes of equal lines.</param>
/// <param name="linesMax">The most lines of a run; further lines are dropped.</param>
/// <param name="spilling">The folder for files, and the limits of memory.</param>
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

    /// Number of runs in the levels from the first to `level`.
    let countTo level =
        let mutable count = 0

        for index in 0..level do
            count <- count + levels[index].Runs.Count

        count

    /// Whether one merge can take all runs up to `level`, at most `countMax`.
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

    /// Merges all runs up to `level` into one run of the next level.
    let rec compact level ct =
        start (level + 1)
        merge level sink ct
        finish (level + 1)

        for index in 0..level do
            levels[index].Runs.Clear()
            levels[index].File.Clear()

        settle (level + 1) ct

    /// Makes sure that one more run still leaves no more than can be merged at once.
    and settle level ct =
        if not (fits level (spilling.runsMax - 1)) then
            compact level ct

    member _.IsEmpty = levels.Count = 0

    /// Begins a run, and returns the sink for its lines, in order. `Add` ends the run.
    member _.Begin() : LineSink =
        start 0
        sink

    /// Ends the run of `Begin`, and merges runs if there are too many.
    member _.Add(ct: CancellationToken) =
        finish 0
        settle 0 ct

    /// Merges all runs into `target`; the caller calls `target.Finish`.
    member _.MergeTo(target: LineSink, ct: CancellationToken) =
        let last () = levels.Count - 1

        while countTo (last ()) > 2 && not (fits (last ()) spilling.runsMax) do
            let mutable level = 0

            while countTo level < 2 do
                level <- level + 1

            compact level ct

        if levels.Count > 0 then
            merge (last ()) target ct

    /// Deletes all runs and their files.
    member _.Clear() =
        for level in levels do
            (level.File :> IDisposable).Dispose()

        levels.Clear()
        sink.Clear()
