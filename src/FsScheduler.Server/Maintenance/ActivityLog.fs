namespace FsScheduler.Server

open Microsoft.Extensions.Logging
open FsScheduler.Core
open FsScheduler.Platform

/// <summary>Tells at level `info` which files are taken and which results are published: a line for each of the first
/// `ActivityLog.LinesMax` of a second, and one line with the counts of all others once that second is over. So a person
/// sees each file, and a batch of a million does not drown the log. May be called from any thread.</summary>
/// <param name="clock">Says when a second is over.</param>
/// <param name="log">Gets the lines.</param>
[<Sealed>]
type ActivityLog(clock: Clock, log: ILogger) =
    let window = 1_000L<ms>
    let gate = obj ()
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

    /// Inside the gate: whether one more line of this second may be written.
    let mayTell () =
        if clock.Now - windowStart >= window then
            sumUp ()
            windowStart <- clock.Now
            lines <- 0

        lines <- lines + 1
        lines <= ActivityLog.LinesMax

    let tell (line: unit -> unit) (count: unit -> unit) =
        if log.IsEnabled LogLevel.Information then
            lock gate (fun () -> if mayTell () then line () else count ())

    /// Lines in a second, at most, besides the one with the counts.
    static member LinesMax = 20

    /// A file of the input folder became a task with this pipeline.
    member _.Taken(name: TaskName, pipeline: Pipeline) =
        tell
            (fun () ->
                log.LogInformation(
                    "{File} is taken: {Pipeline}",
                    string name,
                    Pipeline.print pipeline
                ))
            (fun () -> takenUntold <- takenUntold + 1)

    /// The result of a task has its final name.
    member _.Published(name: TaskName, target: string) =
        tell
            (fun () -> log.LogInformation("{File} is done: {Result}", string name, target))
            (fun () -> publishedUntold <- publishedUntold + 1)

    /// Writes the counts once their second is over; to be called several times a second.
    member _.Sweep() =
        lock gate (fun () ->
            if clock.Now - windowStart >= window then
                sumUp ())

    /// Writes the counts now.
    member _.Flush() = lock gate sumUp
