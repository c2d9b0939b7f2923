namespace FsScheduler.Bench

open System
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices

#nowarn "9" // NativeMemory

/// A figure, as a row of the table.
type Row = { what: string; value: string; note: string }

module Measure =

    let median (values: float seq) =
        let sorted = values |> Seq.sort |> Seq.toArray
        sorted[sorted.Length / 2]

    let percentile (share: float) (values: float seq) =
        let sorted = values |> Seq.sort |> Seq.toArray
        sorted[min (sorted.Length - 1) (int (share * float sorted.Length))]

module Memory =

    let private atMost = 3L <<< 30

    /// Touches memory, up to 3 GiB and a quarter of what there is, and frees it. A virtual machine gives what was free for
    /// some seconds back to its host, and is slow to get it again: a `cp` of 1 GiB takes 0.3 s or 1.6 s. Whoever is
    /// measured finds it there.
    let touch () =
        let there = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes
        let size = unativeint (min atMost (there / 4L))
        let block = NativeMemory.Alloc size
        NativeMemory.Fill(block, size, 1uy)
        NativeMemory.Free block

/// Folders of a bench. They go when all is measured: for some seconds after many files were deleted, ext4 looks
/// long for a free inode at every file that is created, and what is measured would be that.
module Folders =

    let private made = System.Collections.Generic.List<string>()

    let create (root: string) =
        let path = Path.Combine(root, $"fs-scheduler-bench-{Guid.NewGuid():N}")
        made.Add path
        Directory.CreateDirectory(path).FullName

    let deleteAll () =
        for path in made do
            Directory.Delete(path, true)

/// A scheduler and its workers, as processes of their own in a folder of their own. Workers have numbers, from 1.
[<Sealed>]
type Farm
    (
        root: string,
        arguments: string list,
        workers: int,
        slots: int,
        ?workerArguments: int -> string list
    ) =
    let folder = Folders.create root

    let entrada = Directory.CreateDirectory(Path.Combine(folder, "entrada")).FullName

    let resultados =
        Directory.CreateDirectory(Path.Combine(folder, "resultados")).FullName

    let start (name: string) (arguments: string list) =
        let suffix = if OperatingSystem.IsWindows() then ".exe" else ""

        let info =
            ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, name + suffix), arguments)

        info.RedirectStandardInput <- true
        info.RedirectStandardOutput <- true
        nonNull (Process.Start info)

    let startScheduler () =
        start
            "fs-scheduler"
            ([ "--listen"; "127.0.0.1:0"; "--log-level"; "error" ]
             @ [
                 "--entrada"
                 entrada
                 "--resultados"
                 resultados
                 "--state"
                 Path.Combine(folder, "state")
             ]
             @ arguments)

    let portOf (scheduler: Process) =
        match scheduler.StandardOutput.ReadLine() with
        | null -> failwith "the scheduler did not start"
        | line -> int (line.Substring(line.LastIndexOf ':' + 1))

    let mutable scheduler = startScheduler ()
    let mutable port = portOf scheduler

    let workers = [
        for number in 1..workers ->
            start
                "fs-worker"
                ([
                    "--connect"
                    $"127.0.0.1:{port}"
                    "--slots"
                    string slots
                    "--name"
                    $"bench-{number}"
                 ]
                 @ [ "--end-with-stdin"; "--log-level"; "error" ]
                 @ (match workerArguments with
                    | Some arguments -> arguments number
                    | None -> []))
    ]

    member _.Port = port
    member _.Folder = folder
    member _.Entrada = entrada
    member _.Resultados = resultados

    /// The files of the journal, in bytes.
    member _.JournalBytes =
        Directory.EnumerateFiles(Path.Combine(folder, "state"), "journal.db*")
        |> Seq.sumBy (fun path -> FileInfo(path).Length)

    /// Kills the scheduler, and starts it again: how long it takes until it listens.
    member _.Restart() : TimeSpan =
        scheduler.Kill()
        scheduler.WaitForExit()
        let clock = Stopwatch.StartNew()
        scheduler <- startScheduler ()
        port <- portOf scheduler
        clock.Elapsed

    /// The memory that the scheduler holds, in bytes, as the operating system sees it.
    member _.ResidentBytes =
        scheduler.Refresh()
        scheduler.WorkingSet64

    /// The most memory that any of the processes has held, in bytes: the scheduler's, and the largest of the workers'.
    member _.PeakBytes =
        let peak (running: Process) =
            running.Refresh()
            running.PeakWorkingSet64

        struct (peak scheduler, workers |> Seq.map peak |> Seq.max)

    /// Processor time so far, in seconds: the scheduler's, and that of all workers.
    member _.ProcessorSeconds =
        scheduler.Refresh()

        let ofWorkers =
            workers
            |> List.sumBy (fun worker ->
                worker.Refresh()
                worker.TotalProcessorTime.TotalSeconds)

        struct (scheduler.TotalProcessorTime.TotalSeconds, ofWorkers)

    interface IDisposable with
        member _.Dispose() =
            for running in scheduler :: workers do
                running.Kill()
                running.WaitForExit()
                running.Dispose()
