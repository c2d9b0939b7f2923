namespace FsScheduler.Server

open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>Logs at level `info` each file taken and each result published, at most `LinesMax` lines a second, then a
/// count of the others: a batch of a million must not flood the log. Safe for any thread.</summary>
/// <param name="clock">Measures the seconds.</param>
/// <param name="log">Gets the lines.</param>
[<Sealed>]
type ActivityLog(clock: Clock, log: ILogger) =
    let window = 1_000L<ms>
    let syncRoot = obj ()
    let mutable windowStart = clock.Now
    let mutable lines = 0
    let mutable takenUntold = 0
    let mutable publishedUntold = 0

    let sumUp () =
        if takenUntold > 0 || publishedUntold > 0 then
            log.LogInformation(
                "{Taken} more files were taken, {Published} more results published",
                takenUntold,
                publishedUntold
            )

        takenUntold <- 0
        publishedUntold <- 0

    /// Under the lock: whether this second has room for one more line.
    let hasRoom () =
        if clock.Now - windowStart >= window then
            sumUp ()
            windowStart <- clock.Now
            lines <- 0

        lines <- lines + 1
        lines <= ActivityLog.LinesMax

    let writeOrCount (line: unit -> unit) (count: unit -> unit) =
        if log.IsEnabled LogLevel.Information then
            lock syncRoot (fun () -> if hasRoom () then line () else count ())

    /// Lines a second, at most, besides the line with the counts.
    static member LinesMax = 20

    /// Logs a file of the input folder that became a task.
    member _.Taken(name: TaskName, pipeline: Pipeline) =
        writeOrCount
            (fun () ->
                log.LogInformation(
                    "{File} is taken: {Pipeline}",
                    string name,
                    Pipeline.print pipeline
                ))
            (fun () -> takenUntold <- takenUntold + 1)

    /// Logs a result that has its final name.
    member _.Published(name: TaskName, target: string) =
        writeOrCount
            (fun () -> log.LogInformation("{File} is done: {Result}", string name, target))
            (fun () -> publishedUntold <- publishedUntold + 1)

    /// Logs the counts of a second that is over; to be called several times a second.
    member _.Sweep() =
        lock syncRoot (fun () ->
            if clock.Now - windowStart >= window then
                sumUp ())

    /// Logs the counts now.
    member _.Flush() = lock syncRoot sumUp
