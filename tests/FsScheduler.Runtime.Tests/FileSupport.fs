module FsScheduler.Runtime.Tests.FileSupport

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Text
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Protocol
open FsScheduler.Server
open FsScheduler.Folders
open FsScheduler.Cli
open Microsoft.Extensions.Logging

/// A folder of its own for each test, on the real disk.
type TempFolder() =
    let path = Directory.CreateTempSubdirectory("fss-").FullName
    member _.Path = path
    member _.At(relative: string) = path + "/" + relative

    /// Writes a file last changed a minute ago: old enough for any settling time of these tests but an hour.
    member folder.Write(relative: string, text: string) =
        let file = folder.At relative
        Directory.CreateDirectory(nonNull (Path.GetDirectoryName file)) |> ignore
        IO.File.WriteAllText(file, text)
        IO.File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddMinutes -1.0)

    member folder.Link(relative: string, target: string) =
        IO.File.CreateSymbolicLink(folder.At relative, target) |> ignore

    interface IDisposable with
        member _.Dispose() =
            Directory.Delete(path, recursive = true)

    interface IAsyncDisposable with
        member _.DisposeAsync() =
            Directory.Delete(path, recursive = true)
            ValueTask.CompletedTask

let name text =
    match TaskName.parse text with
    | Ok name -> name
    | Error reason -> failwith $"{text}: {reason}"

let stampOf (folder: InputFolder) (text: string) =
    match folder.Examine text with
    | Present stamp -> stamp
    | other -> failwith $"{text}: {other}"

/// Fails a test that would wait for ever.
let within (work: Task<'T>) =
    work.WaitAsync(TimeSpan.FromSeconds 60.0)

let ended (work: Task) =
    work.WaitAsync(TimeSpan.FromSeconds 60.0)

/// Runs a program of the system, for what .NET cannot make.
let shell (folder: string) (command: string) =
    let start =
        ProcessStartInfo("/bin/sh", [ "-c"; command ], WorkingDirectory = folder)

    use child = nonNull (Process.Start start)
    child.WaitForExit()

    if child.ExitCode <> 0 then
        failwith $"{command}: exit code {child.ExitCode}"

type private ManualTimer(clock: ManualClock, callback: TimerCallback, state: objnull) =
    member val Due = Int64.MaxValue with get, set
    member _.Fire() = callback.Invoke state

    interface ITimer with
        member timer.Change(dueTime, _) =
            clock.Schedule(timer, dueTime)
            true

        member timer.Dispose() = clock.Cancel timer

        member timer.DisposeAsync() =
            clock.Cancel timer
            ValueTask.CompletedTask

/// A clock that stands still until it is told to go on.
and ManualClock() =
    inherit TimeProvider()
    let start = DateTimeOffset.UtcNow
    let timers = List<ManualTimer>()
    let mutable ticks = 0L

    let mutable asleep =
        TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)

    member internal _.Schedule(timer: obj, dueTime: TimeSpan) =
        let timer = timer :?> ManualTimer

        lock timers (fun () ->
            timers.Remove timer |> ignore

            if dueTime <> Timeout.InfiniteTimeSpan then
                timer.Due <- ticks + dueTime.Ticks
                timers.Add timer
                asleep.TrySetResult() |> ignore)

    member internal _.Cancel(timer: obj) =
        lock timers (fun () ->
            timers.Remove(timer :?> ManualTimer) |> ignore

            if timers.Count = 0 && asleep.Task.IsCompleted then
                asleep <- TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously))

    override _.TimestampFrequency = TimeSpan.TicksPerSecond
    override _.GetTimestamp() = lock timers (fun () -> ticks)
    override clock.GetUtcNow() = start.AddTicks(clock.GetTimestamp())

    override clock.CreateTimer(callback, state, dueTime, _) =
        let timer = new ManualTimer(clock, callback, state)
        clock.Schedule(timer, dueTime)
        timer

    /// Ends when somebody waits for the clock: what was to be done until now is done.
    member _.Asleep() : Task =
        ended (lock timers (fun () -> asleep.Task))

    /// Goes on by `ms`, once somebody waits for the clock, and ends when somebody does again.
    member clock.Advance(ms: int) : Task =
        task {
            let mutable due: ManualTimer[] voption = ValueNone

            while due.IsNone do
                do! clock.Asleep()

                lock timers (fun () ->
                    // Whoever slept may just have woken up; going on now would let it oversleep.
                    if timers.Count > 0 then
                        ticks <- ticks + int64 ms * TimeSpan.TicksPerMillisecond
                        let fired = timers.FindAll(fun timer -> timer.Due <= ticks).ToArray()
                        due <- ValueSome fired)

            for timer in due.Value do
                clock.Cancel timer
                timer.Fire()

            do! clock.Asleep()
        }

/// Keeps what is logged, each message as a line.
type RecordingLog() =
    let lines = List<string>()
    member _.Lines = lock lines (fun () -> List.ofSeq lines)

    interface ILogger with
        member _.BeginScope _ = null
        member _.IsEnabled _ = true

        member _.Log(level, _, state, error, format) =
            lock lines (fun () -> lines.Add $"{level}: {format.Invoke(state, error)}")

/// Collects what comes from elsewhere, and lets a test wait for it.
type Collector<'T>() =
    let items = List<'T>()

    let waiting =
        List<struct ((IReadOnlyList<'T> -> bool) * TaskCompletionSource<'T list>)>()

    let serve () =
        for struct (enough, source) in waiting.ToArray() do
            if enough items then
                source.TrySetResult(List.ofSeq items) |> ignore

    member _.Add(item: 'T) =
        lock items (fun () ->
            items.Add item
            serve ())

    member _.Items = lock items (fun () -> List.ofSeq items)

    /// All items, once they are enough.
    member _.Until(enough: 'T list -> bool) : Task<'T list> =
        let source =
            TaskCompletionSource<'T list> TaskCreationOptions.RunContinuationsAsynchronously

        lock items (fun () ->
            waiting.Add(struct ((fun all -> enough (List.ofSeq all)), source))
            serve ())

        within source.Task

/// Publishes what it is given, and logs nothing.
let publishQueue (entrada: string) (publisher: ResultStore) onDone sync flush =
    let log = Abstractions.NullLogger.Instance
    let clock = Clock TimeProvider.System

    ResultPublisher(
        Inputs(InputFolder entrada, onDone),
        publisher,
        Spool(),
        ResultOwners(publisher, (fun _ -> false), []),
        onDone,
        sync,
        flush,
        clock,
        StorageOutage log,
        ActivityLog(clock, log),
        log
    )
